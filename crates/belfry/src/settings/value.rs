//! The types a setting can have: how each is read from text and from TOML, and how it is written.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value as a layer gives it, before its type is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// From an environment variable, a flag or a default: any type may be meant.
    Text(String),
    /// A TOML string.
    String(String),
    /// A TOML integer.
    Integer(i128),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array.
    List(Vec<Self>),
    /// Anything else, by what TOML calls it.
    Other(&'static str),
}

impl Raw {
    /// For error messages; long texts are cut, so that a misplaced file does not fill the screen.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::String(text) => {
                let cut: String = text.chars().take(80).collect();
                format!("{cut:?}")
            }
            Self::Integer(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Other(kind) => format!("a TOML {kind}"),
        }
    }
}

/// A type of setting.
pub trait SettingValue: Sized {
    /// What is expected, for error messages and the reference.
    fn expected() -> String;
    /// Whether the value must not be shown.
    const SECRET: bool = false;
    /// Reads it; `None` when it is not of this type.
    fn read(raw: &Raw) -> Option<Self>;
    /// As TOML; `None` when not set.
    fn toml(&self) -> Option<String>;
}

fn text_of(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Text(text) | Raw::String(text) => Some(text),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl SettingValue for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Bool(flag) => Some(*flag),
            Raw::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
    fn toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A whole number between `MIN` and `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// For collections and channels.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
    /// For small numbers.
    pub fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> SettingValue for Count<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn read(raw: &Raw) -> Option<Self> {
        let number = match raw {
            Raw::Integer(number) => u64::try_from(*number).ok()?,
            // Underscores as TOML allows them, so that a value can be moved between file and environment.
            Raw::Text(text) => text.replace('_', "").parse().ok()?,
            _ => return None,
        };
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }
    fn toml(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl SettingValue for Duration {
    fn expected() -> String {
        r#"a duration such as "30s", "5m", "24h" or "30d""#.to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        let text = text_of(raw)?.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let (_, factor) = DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())?;
        let millis = number.parse::<u64>().ok()?.checked_mul(*factor)?;
        // Nothing here means anything with zero; a hundred years keeps sums far from overflowing.
        (1..=3_155_760_000_000)
            .contains(&millis)
            .then(|| Self::from_millis(millis))
    }
    fn toml(&self) -> Option<String> {
        let millis = self.as_millis();
        let (name, factor) = DURATION_UNITS
            .iter()
            .find(|(_, factor)| millis.is_multiple_of(u128::from(*factor)))
            .copied()
            .unwrap_or(("ms", 1));
        // 24h, not 1d: days read better from two up.
        if (name, millis) == ("d", 86_400_000) {
            return Some(quoted("24h"));
        }
        Some(quoted(&format!("{}{name}", millis / u128::from(factor))))
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// For buffers.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];

impl SettingValue for ByteSize {
    fn expected() -> String {
        r#"a size such as "256KiB", "64MiB" or "10GiB""#.to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        let bytes = match raw {
            Raw::Integer(number) => u64::try_from(*number).ok()?,
            Raw::Text(text) | Raw::String(text) => {
                let text = text.trim();
                let digits = text
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(text.len());
                let (number, unit) = text.split_at(digits);
                let unit = if unit.is_empty() { "B" } else { unit.trim() };
                let (_, factor) = SIZE_UNITS
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
                number.parse::<u64>().ok()?.checked_mul(*factor)?
            }
            _ => return None,
        };
        (bytes > 0 && i64::try_from(bytes).is_ok()).then_some(Self(bytes))
    }
    fn toml(&self) -> Option<String> {
        let (name, factor) = SIZE_UNITS
            .iter()
            .take(4)
            .find(|(_, factor)| self.0.is_multiple_of(*factor))
            .copied()
            .unwrap_or(("B", 1));
        Some(quoted(&format!("{}{name}", self.0 / factor)))
    }
}

impl SettingValue for SocketAddr {
    fn expected() -> String {
        r#"an address with a port such as "127.0.0.1:7311""#.to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        text_of(raw)?.trim().parse().ok()
    }
    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl SettingValue for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        let text = text_of(raw)?;
        (!text.is_empty() && !text.contains('\0')).then(|| Self::from(text))
    }
    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

/// A text of at least one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl SettingValue for Text {
    fn expected() -> String {
        "a text".to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        text_of(raw)
            .filter(|text| !text.is_empty())
            .map(|text| Self(text.to_owned()))
    }
    fn toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

impl SettingValue for url::Url {
    fn expected() -> String {
        r#"a URL such as "https://belfry.example.com""#.to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        let url: Self = text_of(raw)?.parse().ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
    }
    fn toml(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

/// A text that is never shown. Every setting `x` of this type can also be given as `x_file`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(********)")
    }
}

impl SettingValue for Secret {
    const SECRET: bool = true;
    fn expected() -> String {
        "a text (secret)".to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        text_of(raw)
            .filter(|text| !text.is_empty())
            .map(|text| Self(text.to_owned()))
    }
    fn toml(&self) -> Option<String> {
        Some(quoted("********"))
    }
}

/// Not set: the empty text.
impl<T: SettingValue> SettingValue for Option<T> {
    const SECRET: bool = T::SECRET;
    fn expected() -> String {
        T::expected()
    }
    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) | Raw::String(text) if text.is_empty() => Some(None),
            raw => T::read(raw).map(Some),
        }
    }
    fn toml(&self) -> Option<String> {
        self.as_ref().and_then(T::toml)
    }
}

/// In the environment and in flags: separated by commas.
impl<T: SettingValue> SettingValue for Vec<T> {
    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }
    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| T::read(&Raw::Text(part.to_owned())))
                .collect(),
            Raw::List(items) => items.iter().map(T::read).collect(),
            _ => None,
        }
    }
    fn toml(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(T::toml).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

impl SettingValue for ipnet::IpNet {
    fn expected() -> String {
        r#"a network such as "10.1.0.0/16" or an address"#.to_owned()
    }
    fn read(raw: &Raw) -> Option<Self> {
        let text = text_of(raw)?.trim();
        text.parse()
            .ok()
            .or_else(|| text.parse::<std::net::IpAddr>().ok().map(Self::from))
    }
    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

/// Makes an enum of words a type of setting.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $vdoc])* $variant,)* }
        impl SettingValue for $name {
            fn expected() -> String {
                format!("one of {}", [$(concat!("\"", $word, "\""),)*].join(", "))
            }
            fn read(raw: &Raw) -> Option<Self> {
                match text_of(raw)? { $($word => Some(Self::$variant),)* _ => None }
            }
            fn toml(&self) -> Option<String> {
                Some(quoted(match self { $(Self::$variant => $word,)* }))
            }
        }
    };
}
words! {
    /// How log lines are written.
    LogFormat {
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}
words! {
    /// When a commit counts as done.
    Synchronous {
        /// After it has reached the disk.
        Full = "full",
        /// After it was handed to the operating system.
        Normal = "normal",
    }
}
words! {
    /// How far functions are shut in.
    Isolation {
        /// A session, an environment and limits of their own.
        Process = "process",
        /// They also see and touch only named files.
        Landlock = "landlock",
        /// They are also alone.
        Namespace = "namespace",
    }
}
