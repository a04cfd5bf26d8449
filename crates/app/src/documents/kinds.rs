//! The kinds of named documents, one file each.

mod contact_groups;
mod contacts;
mod functions;
mod secrets;
mod silences;
mod sources;

pub(super) use contact_groups::ContactGroupKind;
pub(super) use contacts::ContactKind;
pub(crate) use functions::{
    ALIASES, AliasSpec, FUNCTIONS, FunctionDocument, VERSIONS, VersionSpec, last_version,
    set_last_version, spec_of,
};
pub(super) use functions::{FunctionKind, read_internal};
pub(super) use secrets::SecretKind;
pub(crate) use secrets::{SECRETS, Secret};
pub(super) use silences::SilenceKind;
pub(super) use sources::SourceKind;
pub(crate) use sources::{SOURCES, SourceDocument, set_tokens, tokens_of};
