//! A function's code: zip files as they come in and go out.

use belfry_functions::{CodeError, CodeSpec, FunctionSpec, ZipRef, inspect_zip};
use belfry_model::FunctionName;
use belfry_model::access::Scope;
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::versions::{draft, stored_version_spec};
use super::{LATEST, place_of, resource};
use crate::App;
use crate::actor::Actor;
use crate::config::{ChangeOptions, settle};
use crate::documents::spec_of;
use crate::error::{Code, Error, Fault, Result};

/// A zip file that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FunctionCode)]
pub struct CodeView {
    /// Its SHA-256, in hex: what `code.zip.sha256` of a function says.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many files are in it.
    pub files: u64,
    /// Their size in bytes.
    pub unpacked_bytes: u64,
    /// The revision of the draft that runs it now. Absent: there is no such function yet, or it was a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub revision: Option<i64>,
}

/// Code as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeText {
    /// A zip file.
    Zip(Bytes),
    /// The text of one file.
    Inline(String),
}

/// The SHA-256 of a function's code in hex, if the server keeps it.
pub(super) fn digest(spec: &FunctionSpec) -> Option<String> {
    match spec.code.as_ref()? {
        CodeSpec::Zip(zip) => Some(zip.sha256.clone()),
        CodeSpec::Inline(text) => Some(hex::encode(Sha256::digest(text.as_bytes()))),
        CodeSpec::Path(_) => None,
    }
}

/// The SHA-256 that a zip file is named by.
pub(super) fn read_digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl App {
    /// Largest zip file that is taken, in bytes, for who may send one.
    pub fn function_zip_bytes_max(&self, actor: &Actor) -> Result<usize> {
        actor.require(&Scope::FunctionsWrite)?;
        let max = self.functions.settings.code.zip_bytes_max;
        Ok(usize::try_from(max).unwrap_or(usize::MAX))
    }

    /// Takes a zip file, and has the draft run it. Without a draft it is only kept, for the function that is about to be made.
    pub async fn put_function_code(
        &self,
        actor: &Actor,
        function: &FunctionName,
        zip: Bytes,
        options: &ChangeOptions,
    ) -> Result<CodeView> {
        actor.require(&Scope::FunctionsWrite)?;
        self.functions.must_be_enabled()?;
        let limits = self.functions.settings.code;
        let looked_at = zip.clone();
        let facts = tokio::task::spawn_blocking(move || inspect_zip(&looked_at, &limits)).await;
        let facts = facts
            .map_err(Error::internal)?
            .map_err(|error| match error {
                CodeError::TooLarge { .. } => Error::new(Code::TooLarge, error.to_string()),
                CodeError::Disk(_) => Error::internal(error),
                error => Error::field("", error.to_string()),
            })?;
        let sha256 = facts.sha256;
        let mut view = CodeView {
            sha256: hex::encode(sha256),
            bytes: zip.len() as u64,
            files: facts.files as u64,
            unpacked_bytes: facts.unpacked_bytes,
            revision: None,
        };
        // What the draft is not given is removed after a while.
        if !options.dry_run {
            self.store.put_code(&sha256, &zip, self.now_ms()).await?;
        }
        let code = CodeSpec::Zip(ZipRef {
            sha256: view.sha256.clone(),
            bytes: view.bytes,
        });
        let code = serde_json::to_value(code).map_err(Error::internal)?;
        view.revision = settle(|| async {
            let index = self.index().await?;
            let Ok(old) = draft(&index, function) else {
                options.check(None)?;
                return Ok(None);
            };
            let mut spec = old.spec.clone();
            if let Some(members) = spec.as_object_mut() {
                members.insert("code".to_owned(), code.clone());
            }
            let place = place_of(&old.name)?;
            // As a client would send it back.
            place.kind.hide(&mut spec);
            let changed = self
                .change_document(actor, &index, place, spec, options)
                .await?;
            Ok((!options.dry_run).then_some(changed.value.revision))
        })
        .await?;
        Ok(view)
    }

    /// The code of the draft, or of a version.
    pub async fn get_function_code(
        &self,
        actor: &Actor,
        function: &FunctionName,
        version: Option<&str>,
    ) -> Result<CodeText> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let old = draft(&index, function)?;
        let spec = match version.filter(|version| *version != LATEST) {
            None => spec_of(&old.spec).map_err(Error::internal)?,
            Some(version) => stored_version_spec(&index, function, version)?,
        };
        match spec.code {
            Some(CodeSpec::Inline(text)) => Ok(CodeText::Inline(text)),
            Some(CodeSpec::Zip(zip)) => {
                let found = match read_digest(&zip.sha256) {
                    Some(sha256) => self.store.read_code(&sha256).await?,
                    None => None,
                };
                let found = found.ok_or_else(|| Error::not_found("zip file", &zip.sha256))?;
                Ok(CodeText::Zip(found.into()))
            }
            Some(CodeSpec::Path(path)) => Err(Error::new(
                Code::WrongState,
                format!("the code lies in the server's folder {path}; it is not given out"),
            )),
            None => Err(Error::new(
                Code::WrongState,
                format!(
                    "{} has no code: it runs a program of the server's",
                    resource(function)
                ),
            )),
        }
    }

    /// Everything wrong with a function that only this server can tell: what its settings allow, what it has.
    pub(crate) async fn check_function(&self, spec: &serde_json::Value) -> Result<()> {
        self.functions.must_be_enabled()?;
        let spec = spec_of(spec).map_err(Error::internal)?;
        let mut faults = self.functions.faults(&spec);
        if let Some(CodeSpec::Zip(zip)) = &spec.code {
            let known = match read_digest(&zip.sha256) {
                Some(sha256) => self
                    .store
                    .list_codes()
                    .await?
                    .iter()
                    .any(|code| code.sha256 == sha256),
                None => false,
            };
            if !known {
                let detail =
                    "the server has no such zip file; send it first, to .../code of this function";
                faults.push(Fault::new("/code/zip/sha256", detail));
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(Code::InvalidRequest, faults))
        }
    }
}
