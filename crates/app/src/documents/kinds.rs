//! The kinds of named documents, one file each.

mod contact_groups;
mod contacts;
mod silences;
mod sources;

pub(super) use contact_groups::ContactGroupKind;
pub(super) use contacts::ContactKind;
pub(super) use silences::SilenceKind;
pub(super) use sources::SourceKind;
pub(crate) use sources::{SOURCES, SourceDocument, set_tokens, tokens_of};
