//! Puts the layers together and remembers where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::table::Setting;
use super::unknown::{misplaced, unknown_key, unknown_section, unknown_variable};
use super::value::{Raw, SettingValue};
use super::{SECTIONS, Settings};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One thing wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, or what was taken for one.
    pub key: String,
    /// What is wrong and what was expected.
    pub detail: String,
    /// Where it stands.
    pub origin: Origin,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.key, self.detail, self.origin)
    }
}

/// The configuration file.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// For messages.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// A setting given on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As the user wrote it, for messages.
    pub shown: String,
    /// `section.key`.
    pub path: String,
    /// The value.
    pub value: String,
}

/// Everything settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<FileSource>,
    /// The environment; only names that start with `BELFRY_` are looked at.
    pub variables: Vec<(String, String)>,
    /// The command line.
    pub flags: Vec<Flag>,
}

/// One setting with its value in force.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value as TOML, masked if secret; `None` when not set.
    pub toml: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

impl Effective {
    /// Whether somebody set it.
    pub fn is_set(&self) -> bool {
        self.origin != Origin::Default
    }
}

/// Settings that hold together.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// For the program.
    pub settings: Settings,
    /// For people.
    pub effective: Vec<Effective>,
}

/// Variables that are no settings: they belong to the command line.
pub(super) const OTHER_VARIABLES: [&str; 5] = [
    "BELFRY_CONFIG",
    "BELFRY_URL",
    "BELFRY_API_KEY",
    "BELFRY_API_KEY_FILE",
    "BELFRY_OUTPUT",
];

/// Reads the settings; else everything that is wrong with them.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    let mut reader = Reader::default();
    if let Some(file) = &sources.file {
        reader.add_file(file);
    }
    reader.add_variables(&sources.variables);
    for flag in &sources.flags {
        reader.add_flag(flag);
    }
    reader.take_secret_files();
    let settings = Settings::assemble(&mut reader);
    match settings {
        Some(settings) if reader.problems.is_empty() => {
            let problems = settings.check(&reader.effective);
            if problems.is_empty() {
                return Ok(Loaded {
                    settings,
                    effective: reader.effective,
                });
            }
            Err(problems)
        }
        _ => Err(reader.problems),
    }
}

/// The layers, merged; later ones replace earlier ones.
#[derive(Debug, Default)]
pub(super) struct Reader {
    given: BTreeMap<String, (Raw, Origin)>,
    problems: Vec<Problem>,
    effective: Vec<Effective>,
}

impl Reader {
    /// One setting, checked; notes what is wrong.
    pub(super) fn read<T: SettingValue>(&mut self, section: &str, key: &str) -> Option<T> {
        let setting = find(section, key)?;
        let path = setting.path();
        let default = || (Raw::Text(setting.default.to_owned()), Origin::Default);
        let (raw, origin) = self.given.get(&path).cloned().unwrap_or_else(default);
        let Some(value) = T::read(&raw) else {
            let got = if setting.secret {
                "something else".to_owned()
            } else {
                raw.shown()
            };
            let detail = format!("expected {}, got {got}", T::expected());
            self.problems.push(Problem {
                key: path,
                detail,
                origin,
            });
            return None;
        };
        self.effective.push(Effective {
            setting,
            toml: value.toml(),
            origin,
        });
        Some(value)
    }

    fn add_file(&mut self, file: &FileSource) {
        let line_at = |offset: usize| {
            file.text
                .get(..offset)
                .map_or(1, |before| before.matches('\n').count() + 1)
        };
        let table = match DeTable::parse(&file.text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_at(span.start));
                self.problems.push(Problem {
                    key: "file".to_owned(),
                    detail: format!("this is no TOML: {}", error.message()),
                    origin: Origin::File(file.path.clone(), line),
                });
                return;
            }
        };
        for (name, entry) in table.get_ref() {
            let origin = Origin::File(file.path.clone(), line_at(name.span().start));
            let section = name.get_ref().as_ref();
            let DeValue::Table(inner) = entry.get_ref() else {
                let problem = misplaced(section, origin);
                self.problems.push(problem);
                continue;
            };
            for (key, value) in inner {
                let origin = Origin::File(file.path.clone(), line_at(key.span().start));
                self.give(section, key.get_ref(), raw_of(value.get_ref()), origin);
            }
            if inner.is_empty() && !SECTIONS.iter().any(|known| known.name == section) {
                let problem = unknown_section(section, origin);
                self.problems.push(problem);
            }
        }
    }

    fn add_variables(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix("BELFRY_") else {
                continue;
            };
            let origin = Origin::Variable(name.clone());
            if let Some((section, key)) = rest.split_once("__") {
                let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
                if known(&section, &key) {
                    self.give(&section, &key, Raw::Text(value.clone()), origin);
                } else {
                    self.problems.push(unknown_variable(name, origin));
                }
            } else if !OTHER_VARIABLES.contains(&name.as_str()) && !of_kubernetes(rest) {
                self.problems.push(unknown_variable(name, origin));
            }
        }
    }

    fn add_flag(&mut self, flag: &Flag) {
        let origin = Origin::Flag(flag.shown.clone());
        let (section, key) = flag
            .path
            .split_once('.')
            .unwrap_or((flag.path.as_str(), ""));
        self.give(section, key, Raw::Text(flag.value.clone()), origin);
    }

    fn give(&mut self, section: &str, key: &str, raw: Raw, origin: Origin) {
        if known(section, key) {
            let path = format!("{section}.{key}");
            // A later layer that gives the secret itself replaces an earlier layer's file, and the other way round.
            match key.strip_suffix("_file") {
                Some(base) => self.given.remove(&format!("{section}.{base}")),
                None => self.given.remove(&format!("{path}_file")),
            };
            self.given.insert(path, (raw, origin));
        } else if SECTIONS.iter().any(|known| known.name == section) {
            self.problems.push(unknown_key(section, key, origin));
        } else {
            self.problems.push(unknown_section(section, origin));
        }
    }

    /// Turns each `<key>_file` of a secret into the secret.
    fn take_secret_files(&mut self) {
        for setting in SECTIONS
            .iter()
            .flat_map(|section| section.settings)
            .filter(|one| one.secret)
        {
            let path = format!("{}_file", setting.path());
            let Some((raw, origin)) = self.given.remove(&path) else {
                continue;
            };
            let content = match &raw {
                Raw::Text(file) | Raw::String(file) => std::fs::read_to_string(file)
                    .map_err(|error| format!("the file {file:?} cannot be read: {error}")),
                other => Err(format!("expected a path, got {}", other.shown())),
            };
            match content.map(|text| text.trim_end_matches(['\n', '\r']).to_owned()) {
                Ok(text) if !text.is_empty() => {
                    self.given
                        .insert(setting.path(), (Raw::String(text), origin));
                }
                Ok(_) => {
                    let detail = format!("the file {} is empty", raw.shown());
                    self.problems.push(Problem {
                        key: path,
                        detail,
                        origin,
                    });
                }
                Err(detail) => self.problems.push(Problem {
                    key: path,
                    detail,
                    origin,
                }),
            }
        }
    }
}

fn find(section: &str, key: &str) -> Option<&'static Setting> {
    SECTIONS
        .iter()
        .find(|known| known.name == section)
        .and_then(|known| known.settings.iter().find(|setting| setting.key == key))
}

fn known(section: &str, key: &str) -> bool {
    find(section, key).is_some()
        || key
            .strip_suffix("_file")
            .and_then(|base| find(section, base))
            .is_some_and(|base| base.secret)
}

fn raw_of(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::String(text.to_string()),
        DeValue::Integer(number) => {
            i128::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_or(Raw::Other("integer"), Raw::Integer)
        }
        DeValue::Boolean(flag) => Raw::Bool(*flag),
        DeValue::Array(items) => {
            Raw::List(items.iter().map(|item| raw_of(item.get_ref())).collect())
        }
        DeValue::Float(_) => Raw::Other("float"),
        DeValue::Datetime(_) => Raw::Other("datetime"),
        DeValue::Table(_) => Raw::Other("table"),
    }
}

/// A Kubernetes service named `belfry` puts `BELFRY_PORT`, `BELFRY_PORT_7311_TCP`, `BELFRY_SERVICE_HOST` ... into
/// every container of its namespace; refusing them would keep the server from starting for no fault of its operator.
fn of_kubernetes(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}
