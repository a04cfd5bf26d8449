//! Kinds of Alibaba Cloud: `alibaba-sms` and `alibaba-voice`.
//!
//! | module | owns |
//! |---|---|
//! | `acs3` | signatures |
//! | `account` | who calls the API, and what its codes mean |
//! | `sms`, `voice` | the kinds |

mod account;
pub(crate) mod acs3;
mod sms;
mod voice;

pub(crate) use sms::AlibabaSms;
pub(crate) use voice::AlibabaVoice;
