//! Kinds of Tencent Cloud: `tencent-sms` and `tencent-voice`.
//!
//! | module | owns |
//! |---|---|
//! | `tc3` | signatures |
//! | `account` | who calls the API, and what its error codes mean |
//! | `sms`, `voice` | the kinds |

mod account;
mod sms;
pub(crate) mod tc3;
mod voice;

pub(crate) use sms::TencentSms;
pub(crate) use voice::TencentVoice;
