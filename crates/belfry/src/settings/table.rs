//! What one setting is, and the macro that makes structs and table of one definition.

use super::value::SettingValue;

/// A group of settings: one table of the file.
#[derive(Debug)]
pub struct Section {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is about, line by line.
    pub doc: &'static [&'static str],
    /// Its settings.
    pub settings: &'static [Setting],
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its section.
    pub section: &'static str,
    /// Its name in the section.
    pub key: &'static str,
    /// What it does, line by line.
    pub doc: &'static [&'static str],
    /// What is expected.
    pub expected: fn() -> String,
    /// Its default, as the environment would give it.
    pub default: &'static str,
    /// Its default as TOML; `None` when not set.
    pub default_toml: fn() -> Option<String>,
    /// Whether it must not be shown, and can be given as `<key>_file`.
    pub secret: bool,
}

impl Setting {
    /// `section.key`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        variable(self.section, self.key)
    }
}

/// The environment variable of a setting.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!(
        "BELFRY_{}__{}",
        section.to_ascii_uppercase(),
        key.to_ascii_uppercase()
    )
}

/// The default of a type as TOML; checked for every setting by a test.
pub(super) fn default_toml<T: SettingValue>(default: &str) -> Option<String> {
    T::read(&super::value::Raw::Text(default.to_owned())).and_then(|value| value.toml())
}

/// One struct a section, and a list of sections for whoever reads or describes settings.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        [$section:ident] $Section:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $type:ty = $default:literal, )*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone)]
            #[expect(missing_docs, reason = "the docs are below, in the table")]
            pub struct $Section { $( pub $key: $type, )* }
        )*

        /// Every setting of the server.
        #[derive(Debug, Clone)]
        #[expect(missing_docs, reason = "each section has its own")]
        pub struct Settings { $( pub $section: $Section, )* }

        /// Every section with every setting, in the order in which they are shown.
        pub static SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                doc: &[$( $section_doc, )*],
                settings: &[$(
                    Setting {
                        section: stringify!($section),
                        key: stringify!($key),
                        doc: &[$( $doc, )*],
                        expected: <$type as SettingValue>::expected,
                        default: $default,
                        default_toml: || default_toml::<$type>($default),
                        secret: <$type as SettingValue>::SECRET,
                    },
                )*],
            },
        )*];

        impl Settings {
            /// Reads every setting from the layers; `None` when something was wrong, which the reader has noted.
            #[expect(clippy::items_after_statements, reason = "one struct a section, beside the one place that uses it")]
            fn assemble(reader: &mut Reader) -> Option<Self> {
                $(
                    // All settings are read before any missing one ends it, so that all errors are found.
                    struct $Section { $( $key: Option<$type>, )* }
                    let $section = $Section {
                        $( $key: reader.read::<$type>(stringify!($section), stringify!($key)), )*
                    };
                )*
                Some(Self { $( $section: self::$Section { $( $key: $section.$key?, )* }, )* })
            }
        }
    };
}
pub(super) use settings;
