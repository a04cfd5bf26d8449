//! A function as an operator writes it, and what may stand in it.
//!
//! It must never know files or machines: whether an interpreter or a folder is there is asked where a function is run.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use belfry_model::DocumentName;
use belfry_model::json::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exec::words;
use crate::profile::reserved;

/// A function as an operator writes it: its draft, and what is frozen in a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FunctionSpec {
    /// For people; at most 4,096 bytes.
    #[serde(default)]
    pub description: String,
    /// A disabled function is not run: deliveries to it wait.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// `nodejs`, `python`, `exec` or `custom`; names of the vendors (`Nodejs16.13`, `python3.10`) mean the same, and are kept as
    /// given.
    pub runtime: String,
    /// Whose functions it is written like.
    #[serde(default)]
    pub profile: Profile,
    /// `file.function`, the file below the code's folder; by default `index.main_handler` (scf) or `index.handler` (fc, lambda).
    /// For `exec` the program to run, by its absolute path, and its arguments: words as in a shell, quoted where they hold blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The code; absent only for `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeSpec>,
    /// Names of layers: folders with packages that the server's operator keeps (`functions.layers_dir`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Environment variables, at most 4 KB in all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// How long an invocation may take, in seconds (1 to 900; 3).
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u32,
    /// How long loading the code may take, in seconds (1 to 300; 65).
    #[serde(default = "init_timeout_seconds")]
    pub init_timeout_seconds: u32,
    /// Memory in MB (64 to 3,072; 128).
    #[serde(default = "memory_mb")]
    pub memory_mb: u32,
    /// Workers at once on one server (1 to 100; 2).
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Workers that are kept whatever happens (0 to `concurrency`; 0).
    #[serde(default)]
    pub min_warm: u32,
    /// How long a worker is kept that has nothing to do, in seconds (1 to 86,400; 300).
    #[serde(default = "idle_seconds")]
    pub idle_seconds: u32,
    /// Invocations of one worker before it is replaced (1 to 1,000,000; 10,000).
    #[serde(default = "invocations_per_worker")]
    pub max_invocations_per_worker: u32,
    /// Whether it may use the network.
    #[serde(default)]
    pub network: Network,
    /// When an invocation ends.
    #[serde(default)]
    pub drain: Drain,
    /// The region of its context; empty by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// The longest text of inline code, in bytes.
const INLINE_BYTES_MAX: usize = 256 * 1024;
/// All names and values of an environment together, in bytes: SCF's number.
const ENV_BYTES_MAX: usize = 4_096;
/// The longest handler, in bytes.
const HANDLER_BYTES_MAX: usize = 256;
/// The most layers: SCF's number.
const LAYERS_MAX: usize = 5;
/// The longest name of a layer or a region, in characters.
const WORD_CHARS_MAX: usize = 60;

/// What the settings of the server allow functions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecLimits {
    /// Folders below which `code.path` may be.
    pub code_paths: Vec<PathBuf>,
    /// Whether there is a folder of layers.
    pub layers: bool,
    /// Programs that `exec` may start, by their absolute paths.
    pub exec_allowed: Vec<PathBuf>,
}

/// Whose functions it is written like: which handler, context and form of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Tencent SCF.
    #[default]
    Scf,
    /// Alibaba Function Compute: the event is bytes.
    Fc,
    /// AWS Lambda.
    Lambda,
}

/// What runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// Node.js.
    NodeJs,
    /// Python 3.
    Python,
    /// A program that is started for each event.
    Exec,
    /// The code's own `bootstrap`, which asks for events by Lambda's runtime API or SCF's.
    Custom,
}

/// Where the code is: exactly one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CodeSpec {
    /// One file's text, at most 256 KiB; it gets the name that the handler says.
    Inline(String),
    /// A zip file that was sent to `.../code`.
    Zip(ZipRef),
    /// A folder of the server's machine, below one that the settings allow.
    Path(String),
}

/// A zip file that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZipRef {
    /// The SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Its size in bytes.
    #[serde(default)]
    pub bytes: u64,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvValue {
    /// The value itself.
    Text(String),
    /// That of a document of kind `secrets`.
    Secret {
        /// Its name.
        secret: String,
    },
}

/// Whether a function may use the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// As the server may.
    #[default]
    All,
    /// Not at all.
    None,
}

/// When an invocation of a Node.js function ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drain {
    /// When nothing is left to be done, as in SCF.
    #[default]
    Wait,
    /// When it has answered.
    Answer,
}

impl RuntimeKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeJs => "nodejs",
            Self::Python => "python",
            Self::Exec => "exec",
            Self::Custom => "custom",
        }
    }

    /// From our word or a vendor's: `Nodejs16.13`, `nodejs20.x`, `python3.10`, `CustomRuntime`, `provided.al2023`. The versions in
    /// them say nothing: the interpreter is the one that the server has.
    ///
    /// # Errors
    /// Why it is none, and what to write.
    pub fn from_word(word: &str) -> Result<Self, String> {
        let lower = word.to_ascii_lowercase();
        let versioned = |language: &str| {
            lower.strip_prefix(language).filter(|version| {
                version
                    .bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'x'))
            })
        };
        if versioned("nodejs").is_some() {
            return Ok(Self::NodeJs);
        }
        if let Some(version) = versioned("python") {
            return if version.is_empty() || version.starts_with('3') {
                Ok(Self::Python)
            } else {
                Err(format!("{word:?} is Python 2; functions run in Python 3"))
            };
        }
        match lower.as_str() {
            "exec" => Ok(Self::Exec),
            "custom" | "customruntime" | "provided" | "provided.al2" | "provided.al2023" => {
                Ok(Self::Custom)
            }
            _ if lower.starts_with("custom.") => Err(format!(
                "{word:?} is a web server of Function Compute, which Belfry does not run; `custom` asks for its events by Lambda's runtime API or SCF's"
            )),
            _ => Err(format!(
                "{word:?} is no runtime; expected nodejs, python, exec or custom (for other languages: a program `bootstrap`), or a vendor's name for one such as Nodejs20.19, python3.10, provided.al2023"
            )),
        }
    }
}

impl Profile {
    /// The handler of functions that name none.
    pub const fn handler(self) -> &'static str {
        match self {
            Self::Scf => "index.main_handler",
            Self::Fc | Self::Lambda => "index.handler",
        }
    }
}

impl FunctionSpec {
    /// What runs it; `None`: the word is none that [`Self::check`] lets pass.
    pub fn runtime_kind(&self) -> Option<RuntimeKind> {
        RuntimeKind::from_word(&self.runtime).ok()
    }

    /// Its handler, or that of its profile.
    pub fn handler(&self) -> &str {
        self.handler
            .as_deref()
            .unwrap_or_else(|| self.profile.handler())
    }

    /// The name of the file that inline code becomes; `None`: the handler names none.
    pub fn inline_file(&self) -> Option<String> {
        let file = match self.runtime_kind()? {
            RuntimeKind::NodeJs => format!("{}.js", self.handler().rsplit_once('.')?.0),
            RuntimeKind::Python => format!(
                "{}.py",
                self.handler().rsplit_once('.')?.0.replace('.', "/")
            ),
            RuntimeKind::Exec => words(self.handler())
                .ok()?
                .into_iter()
                .skip(1)
                .find(|argument| !argument.starts_with('-'))?,
            RuntimeKind::Custom => "bootstrap".to_owned(),
        };
        is_inside(&file).then_some(file)
    }

    /// Everything that is wrong with it, each with its place. What is on the disk is not looked at.
    pub fn check(&self, limits: &SpecLimits) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, detail: String| {
            errors.push(FieldError::new(pointer, detail));
        };
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            wrong(
                "/description",
                format!("at most {DESCRIPTION_BYTES_MAX} bytes"),
            );
        }
        let runtime = match RuntimeKind::from_word(&self.runtime) {
            Ok(runtime) => Some(runtime),
            Err(why) => {
                wrong("/runtime", why);
                None
            }
        };
        if let Some(runtime) = runtime {
            if let Some(why) = self.wrong_handler(runtime, limits) {
                wrong("/handler", why);
            }
            if runtime == RuntimeKind::Custom && self.network == Network::None {
                wrong(
                    "/network",
                    "runtime custom asks for its events over the network of this machine: it cannot be without".to_owned(),
                );
            }
            if runtime == RuntimeKind::Exec && self.min_warm > 0 {
                wrong(
                    "/minWarm",
                    "runtime exec starts a program for each event: none is kept".to_owned(),
                );
            }
        }
        for (pointer, value, least, most) in [
            ("/timeoutSeconds", self.timeout_seconds, 1, 900),
            ("/initTimeoutSeconds", self.init_timeout_seconds, 1, 300),
            ("/memoryMb", self.memory_mb, 64, 3_072),
            ("/concurrency", self.concurrency, 1, 100),
            ("/idleSeconds", self.idle_seconds, 1, 86_400),
            (
                "/maxInvocationsPerWorker",
                self.max_invocations_per_worker,
                1,
                1_000_000,
            ),
        ] {
            if !(least..=most).contains(&value) {
                wrong(pointer, format!("{value} is not from {least} to {most}"));
            }
        }
        if self.min_warm > self.concurrency {
            wrong(
                "/minWarm",
                format!("at most the concurrency, {}", self.concurrency),
            );
        }
        if self.region.len() > WORD_CHARS_MAX
            || !self
                .region
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            wrong(
                "/region",
                format!("a region like ap-guangzhou, at most {WORD_CHARS_MAX} characters"),
            );
        }
        self.check_code(runtime, limits, &mut wrong);
        self.check_layers(limits, &mut wrong);
        self.check_environment(&mut wrong);
        errors
    }

    fn wrong_handler(&self, runtime: RuntimeKind, limits: &SpecLimits) -> Option<String> {
        let handler = self.handler();
        if handler.len() > HANDLER_BYTES_MAX || handler.chars().any(char::is_control) {
            return Some(format!(
                "at most {HANDLER_BYTES_MAX} bytes without control characters"
            ));
        }
        match runtime {
            RuntimeKind::Custom => None,
            RuntimeKind::NodeJs | RuntimeKind::Python => {
                let good = handler.rsplit_once('.').is_some_and(|(file, function)| {
                    let mut letters = function.chars();
                    is_inside(file)
                        && letters
                            .next()
                            .is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '$'))
                        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
                });
                (!good).then(|| {
                    format!(
                        "{handler:?} is not file.function, with the file relative to the code and without \"..\", such as {}",
                        self.profile.handler()
                    )
                })
            }
            RuntimeKind::Exec => {
                let Some(handler) = self.handler.as_deref() else {
                    return Some(
                        "the program to start, by its absolute path, and its arguments".to_owned(),
                    );
                };
                let program = match words(handler) {
                    Ok(words) => words.into_iter().next().unwrap_or_default(),
                    Err(why) => return Some(why),
                };
                let is_allowed = |path: &PathBuf| path == Path::new(&program);
                (!limits.exec_allowed.iter().any(is_allowed)).then(|| {
                    format!(
                        "{program} is not among the programs that the settings allow (functions.exec_allowed)"
                    )
                })
            }
        }
    }

    fn check_code(
        &self,
        runtime: Option<RuntimeKind>,
        limits: &SpecLimits,
        wrong: &mut impl FnMut(&str, String),
    ) {
        match &self.code {
            None => {
                if runtime.is_some_and(|runtime| runtime != RuntimeKind::Exec) {
                    wrong(
                        "/code",
                        "missing: inline, a zip file sent to .../code, or an allowed path"
                            .to_owned(),
                    );
                }
            }
            Some(CodeSpec::Inline(text)) => {
                if text.len() > INLINE_BYTES_MAX {
                    wrong(
                        "/code/inline",
                        format!(
                            "{} bytes; at most {INLINE_BYTES_MAX}: send a zip file instead",
                            text.len()
                        ),
                    );
                }
                if runtime == Some(RuntimeKind::Exec) && self.inline_file().is_none() {
                    wrong(
                        "/code/inline",
                        "it gets the name of the first argument in the handler, and there is none that stays inside"
                            .to_owned(),
                    );
                }
            }
            Some(CodeSpec::Zip(zip)) => {
                if digest(&zip.sha256).is_none() {
                    wrong(
                        "/code/zip/sha256",
                        "expected the SHA-256 of a zip file, 64 hex digits in lower case"
                            .to_owned(),
                    );
                }
            }
            Some(CodeSpec::Path(path)) => {
                let path = Path::new(path);
                let plain = path.is_absolute()
                    && !path
                        .components()
                        .any(|part| matches!(part, Component::ParentDir));
                if !plain || !limits.code_paths.iter().any(|root| path.starts_with(root)) {
                    wrong(
                        "/code/path",
                        "expected a folder below one that the settings allow (functions.code_paths), by its absolute path without \"..\"".to_owned(),
                    );
                }
            }
        }
    }

    fn check_layers(&self, limits: &SpecLimits, wrong: &mut impl FnMut(&str, String)) {
        if self.layers.len() > LAYERS_MAX {
            wrong("/layers", format!("at most {LAYERS_MAX}"));
        }
        if !self.layers.is_empty() && !limits.layers {
            wrong(
                "/layers",
                "the settings name no folder of layers (functions.layers_dir)".to_owned(),
            );
        }
        for (place, name) in self.layers.iter().enumerate() {
            if !is_layer(name) {
                wrong(
                    &format!("/layers/{place}"),
                    format!(
                        "{name:?} is no name of a layer: 1 to {WORD_CHARS_MAX} of a-z A-Z 0-9 - _ . that begin with a letter or digit"
                    ),
                );
            }
        }
    }

    fn check_environment(&self, wrong: &mut impl FnMut(&str, String)) {
        let mut bytes = 0;
        for (name, value) in &self.env {
            let pointer = format!("/env/{}", name.replace('~', "~0").replace('/', "~1"));
            let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !named {
                wrong(
                    &pointer,
                    "a name of a-z A-Z 0-9 _ that begins with a letter".to_owned(),
                );
            } else if let Some(why) = reserved(self.profile, name) {
                wrong(&pointer, format!("{name} cannot be set: {why}"));
            }
            bytes += name.len();
            match value {
                EnvValue::Text(text) => {
                    bytes += text.len();
                    if text.contains('\0') {
                        wrong(&pointer, "no NUL characters".to_owned());
                    }
                }
                EnvValue::Secret { secret } => {
                    if let Err(why) = secret.parse::<DocumentName>() {
                        wrong(&format!("{pointer}/secret"), why.to_string());
                    }
                }
            }
        }
        if bytes > ENV_BYTES_MAX {
            wrong(
                "/env",
                format!("{bytes} bytes of names and values; at most {ENV_BYTES_MAX}"),
            );
        }
    }
}

/// 64 hex digits in lower case as bytes.
pub(crate) fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    let lower = !text.contains(|c: char| c.is_ascii_uppercase());
    lower.then_some(bytes)
}

/// Whether it is the name of a layer: one folder's name, nothing hidden.
pub(crate) fn is_layer(name: &str) -> bool {
    (1..=WORD_CHARS_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether it is a relative path that stays inside, of letters, digits and `- _ . /`.
fn is_inside(path: &str) -> bool {
    path.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

const fn yes() -> bool {
    true
}
const fn timeout_seconds() -> u32 {
    3
}
const fn init_timeout_seconds() -> u32 {
    65
}
const fn memory_mb() -> u32 {
    128
}
const fn concurrency() -> u32 {
    2
}
const fn idle_seconds() -> u32 {
    300
}
const fn invocations_per_worker() -> u32 {
    10_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn limits() -> SpecLimits {
        SpecLimits {
            code_paths: vec![PathBuf::from("/srv/functions")],
            layers: true,
            exec_allowed: vec![PathBuf::from("/bin/sh")],
        }
    }

    fn errors(changed: &Value) -> Vec<String> {
        let mut spec = json!({"runtime": "nodejs", "code": {"inline": "x"}});
        for (name, value) in changed.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let spec: FunctionSpec = serde_json::from_value(spec).unwrap();
        spec.check(&limits())
            .into_iter()
            .map(|error| error.pointer)
            .collect()
    }

    #[test]
    fn a_spec_says_where_it_is_wrong() {
        let good = [
            json!({}),
            json!({"runtime": "Nodejs16.13", "handler": "src/deep/index.main_handler"}),
            json!({"runtime": "python3.10", "profile": "fc"}),
            json!({"runtime": "provided.al2023", "profile": "lambda", "handler": "anything at all"}),
            json!({"runtime": "exec", "handler": "/bin/sh -e run.sh"}),
            json!({"runtime": "exec", "handler": "/bin/sh", "code": null}),
            json!({"runtime": "exec", "handler": "/bin/sh -c 'echo \"$EVENT_ID\"'", "code": null}),
            json!({"code": {"path": "/srv/functions/restart"}}),
            json!({"code": {"zip": {"sha256": "ab".repeat(32), "bytes": 5}}}),
            json!({"env": {"A": "1", "B": {"secret": "vendor-key"}, "TENCENTCLOUD_SECRETID": "x"}}),
            json!({"layers": ["sdk-4.0"], "minWarm": 2, "network": "none", "drain": "answer"}),
        ];
        for change in good {
            assert_eq!(errors(&change), Vec::<String>::new(), "{change}");
        }
        let bad = [
            (json!({"description": "x".repeat(4_097)}), "/description"),
            (json!({"runtime": "cobol"}), "/runtime"),
            (json!({"runtime": "python2.7"}), "/runtime"),
            (json!({"runtime": "custom.debian10"}), "/runtime"),
            (json!({"handler": "../index.main"}), "/handler"),
            (json!({"handler": "/etc/index.main"}), "/handler"),
            (json!({"handler": "index"}), "/handler"),
            (json!({"handler": "index.main handler"}), "/handler"),
            (json!({"handler": "index.main\u{0}"}), "/handler"),
            (
                json!({"runtime": "exec", "handler": "/bin/bash x.sh"}),
                "/handler",
            ),
            (
                json!({"runtime": "exec", "handler": "/bin/sh -c 'echo hello", "code": null}),
                "/handler",
            ),
            (
                json!({"runtime": "exec", "handler": "'/bin/sh -e' run.sh"}),
                "/handler",
            ),
            (
                json!({"runtime": "exec", "handler": "/bin/sh ../x.sh"}),
                "/code/inline",
            ),
            (
                json!({"runtime": "exec", "handler": "/bin/sh x.sh", "minWarm": 1}),
                "/minWarm",
            ),
            (json!({"runtime": "custom", "network": "none"}), "/network"),
            (json!({"code": null}), "/code"),
            (
                json!({"code": {"inline": "x".repeat(262_145)}}),
                "/code/inline",
            ),
            (
                json!({"code": {"path": "/srv/functions/../secret"}}),
                "/code/path",
            ),
            (json!({"code": {"path": "/etc"}}), "/code/path"),
            (json!({"code": {"path": "srv/functions/x"}}), "/code/path"),
            (
                json!({"code": {"zip": {"sha256": "AB".repeat(32)}}}),
                "/code/zip/sha256",
            ),
            (
                json!({"code": {"zip": {"sha256": "éé".repeat(16)}}}),
                "/code/zip/sha256",
            ),
            (json!({"layers": ["../x"]}), "/layers/0"),
            (json!({"layers": ["a", "b", "c", "d", "e", "f"]}), "/layers"),
            (json!({"env": {"1A": "x"}}), "/env/1A"),
            (json!({"env": {"a/b": "x"}}), "/env/a~1b"),
            (json!({"env": {"LD_PRELOAD": "x"}}), "/env/LD_PRELOAD"),
            (json!({"env": {"NODE_OPTIONS": "x"}}), "/env/NODE_OPTIONS"),
            (json!({"env": {"BELFRY_WORKER": "x"}}), "/env/BELFRY_WORKER"),
            (json!({"env": {"SCF_NAMESPACE": "x"}}), "/env/SCF_NAMESPACE"),
            (
                json!({"profile": "lambda", "env": {"AWS_REGION": "x"}}),
                "/env/AWS_REGION",
            ),
            (json!({"env": {"A": "x\u{0}"}}), "/env/A"),
            (json!({"env": {"A": "x".repeat(4_096)}}), "/env"),
            (json!({"env": {"A": {"secret": "../x"}}}), "/env/A/secret"),
            (json!({"timeoutSeconds": 0}), "/timeoutSeconds"),
            (json!({"timeoutSeconds": 901}), "/timeoutSeconds"),
            (json!({"initTimeoutSeconds": 301}), "/initTimeoutSeconds"),
            (json!({"memoryMb": 63}), "/memoryMb"),
            (json!({"concurrency": 101}), "/concurrency"),
            (json!({"minWarm": 3}), "/minWarm"),
            (json!({"idleSeconds": 0}), "/idleSeconds"),
            (
                json!({"maxInvocationsPerWorker": 0}),
                "/maxInvocationsPerWorker",
            ),
            (json!({"region": "ap guangzhou"}), "/region"),
        ];
        for (change, pointer) in bad {
            assert_eq!(errors(&change), [pointer], "{change}");
        }
    }

    #[test]
    fn inline_code_gets_the_name_that_its_handler_says() {
        for (runtime, handler, file) in [
            ("nodejs", None, "index.js"),
            ("nodejs", Some("src/app.handler"), "src/app.js"),
            ("python", Some("pkg.app.handler"), "pkg/app.py"),
            ("custom", None, "bootstrap"),
            ("exec", Some("/bin/sh -e run.sh now"), "run.sh"),
            ("exec", Some("/bin/sh -e 'run.sh' 'not now'"), "run.sh"),
        ] {
            let mut spec = json!({"runtime": runtime});
            if let Some(handler) = handler {
                spec["handler"] = json!(handler);
            }
            let spec: FunctionSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(spec.inline_file().as_deref(), Some(file));
        }
    }
}
