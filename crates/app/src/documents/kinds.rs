//! The kinds of named documents, one file each.

mod contact_groups;
mod contacts;
mod silences;

pub(super) use contact_groups::ContactGroupKind;
pub(super) use contacts::ContactKind;
pub(super) use silences::SilenceKind;
