//! The check that every JSON text from outside passes before anything else looks at it.
//!
//! It runs on every accepted event: it allocates once for all names, and a second time only when it finds a mistake,
//! an escaped name or an object of many names.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FieldError, Members, push_pointer};

/// Longest number, in characters: enough for every double written out, too short to keep a parser busy.
pub const NUMBER_CHARS_MAX: usize = 400;
/// Names of one object that are compared one by one; more go into a set.
const NAMES_COMPARED: usize = 16;
/// `serde_json` reads no deeper.
const DEPTH_MAX: usize = 127;

/// Bounds of a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonLimits {
    /// Most levels of arrays and objects; more than 127 are never read.
    pub depth: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth: 64 }
    }
}

/// What [`check`] found out on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// No name has a dot or an escape in it: no path can be spelled in two ways.
    pub plain_names: bool,
}

/// Checks that `text` is exactly one JSON value in UTF-8 that means the same to every reader: no name repeated
/// within an object, no U+0000, no number longer than [`NUMBER_CHARS_MAX`], not deeper than `limits` say.
pub fn check(text: &[u8], limits: &JsonLimits) -> Result<Checked, FieldError> {
    read(text, limits).map(|(_, checked, _)| checked)
}

/// The same, and the members of the object that it is, if it is one.
pub(crate) fn check_members<'a>(
    text: &'a [u8],
    limits: &JsonLimits,
) -> Result<(Checked, Option<Members<'a>>), FieldError> {
    let (text, checked, names) = read(text, limits)?;
    let members = text
        .trim_ascii_start()
        .starts_with('{')
        .then(|| Members::named(text, names).or_else(|| serde_json::from_str(text).ok()));
    Ok((checked, members.flatten()))
}

/// The names of one object.
type Names<'de> = Vec<Cow<'de, str>>;

/// The text, what was found out, and the names of the outermost object.
fn read<'a>(
    text: &'a [u8],
    limits: &JsonLimits,
) -> Result<(&'a str, Checked, Names<'a>), FieldError> {
    match std::str::from_utf8(text) {
        Ok(text) => {
            let (checked, names) = walk(serde_json::Deserializer::from_str(text), limits)?;
            long_number(text).map_or(Ok((text, checked, names)), Err)
        }
        // The same walk over bytes finds the string that is no UTF-8, and so its pointer.
        Err(error) => walk(serde_json::Deserializer::from_slice(text), limits).and_then(|_| {
            let detail = format!("expected UTF-8; byte {} is not", error.valid_up_to());
            Err(FieldError::new("", detail))
        }),
    }
}

fn walk<'de, R: serde_json::de::Read<'de>>(
    mut input: serde_json::Deserializer<R>,
    limits: &JsonLimits,
) -> Result<(Checked, Names<'de>), FieldError> {
    let levels = limits.depth.min(DEPTH_MAX);
    let mut state = State {
        levels,
        plain_names: true,
        names: Vec::with_capacity(32),
        path: Vec::new(),
        ours: false,
    };
    let seed = Look {
        state: &mut state,
        levels,
    };
    if let Err(error) = seed.deserialize(&mut input).and_then(|()| input.end()) {
        let mut pointer = String::new();
        for segment in state.path.iter().rev() {
            push_pointer(&mut pointer, segment);
        }
        let what = if state.ours { "" } else { "not valid JSON: " };
        return Err(FieldError::new(pointer, format!("{what}{error}")));
    }
    let checked = Checked {
        plain_names: state.plain_names,
    };
    Ok((checked, state.names))
}

struct State<'de> {
    /// Those that the outermost value may have.
    levels: usize,
    plain_names: bool,
    /// The names of all objects that are open, innermost last; at the end those of the outermost value.
    names: Names<'de>,
    /// Where the error is, innermost first; filled while an error travels out.
    path: Vec<String>,
    /// Whether the error is one of this module and not one of syntax.
    ours: bool,
}

impl State<'_> {
    fn fail<E: Error>(&mut self, what: impl fmt::Display) -> E {
        self.ours = true;
        E::custom(what)
    }

    fn no_nul<E: Error>(&mut self, text: &str) -> Result<(), E> {
        if text.as_bytes().contains(&0) {
            return Err(self.fail("U+0000 (\\u0000) is not allowed in strings and names"));
        }
        Ok(())
    }
}

struct Look<'s, 'de> {
    state: &'s mut State<'de>,
    levels: usize,
}

impl<'de> DeserializeSeed<'de> for Look<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_borrowed_str<E: Error>(self, _: &'de str) -> Result<(), E> {
        // Borrowed means free of escapes, and U+0000 can only be written as one.
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.state.no_nul(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { state, levels } = self;
        let levels = deeper(state, levels)?;
        for index in 0_usize.. {
            match items.next_element_seed(Look {
                state: &mut *state,
                levels,
            }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    state.path.push(index.to_string());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { state, levels } = self;
        let outermost = levels == state.levels;
        let levels = deeper(state, levels)?;
        let first = state.names.len();
        let mut many: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(name) = members.next_key_seed(NameSeed)? {
            if let Cow::Owned(name) = &name {
                state.no_nul(name)?;
                state.plain_names = false;
            }
            state.plain_names &= !name.contains('.');
            let earlier = state.names.get(first..).unwrap_or_default();
            let repeated = if earlier.len() < NAMES_COMPARED {
                earlier.contains(&name)
            } else {
                if many.is_empty() {
                    many.extend(earlier.iter().cloned());
                }
                !many.insert(name.clone())
            };
            if repeated {
                state.path.push(name.into_owned());
                return Err(state.fail("the name stands twice in the same object; keep one"));
            }
            state.names.push(name);
            let open = state.names.len();
            if let Err(error) = members.next_value_seed(Look {
                state: &mut *state,
                levels,
            }) {
                // An object that failed has left its names behind.
                state.names.truncate(open);
                let name = state.names.pop().unwrap_or_default();
                state.path.push(name.into_owned());
                return Err(error);
            }
        }
        if !outermost {
            state.names.truncate(first);
        }
        Ok(())
    }
}

fn deeper<E: Error>(state: &mut State<'_>, levels: usize) -> Result<usize, E> {
    levels
        .checked_sub(1)
        .ok_or_else(|| state.fail("arrays and objects are nested too deeply; flatten the value"))
}

/// Reads a member's name, borrowed where it has no escapes.
pub(super) struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// The first number that is too long, in a text that is valid JSON.
///
/// `serde_json` hands out values, not spellings. But a run of more than [`NUMBER_CHARS_MAX`] number characters covers
/// a position that is a multiple of it, so looking at those finds out cheaply whether it is worth a closer look (the
/// run may well stand in a string).
fn long_number(text: &str) -> Option<FieldError> {
    let bytes = text.as_bytes();
    let counts = |b: &&u8| matches!(**b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let suspicious = (0..bytes.len()).step_by(NUMBER_CHARS_MAX).any(|at| {
        let (before, after) = bytes.split_at_checked(at).unwrap_or_default();
        let right = after
            .iter()
            .take(NUMBER_CHARS_MAX + 1)
            .take_while(counts)
            .count();
        right > 0
            && right
                + before
                    .iter()
                    .rev()
                    .take(NUMBER_CHARS_MAX)
                    .take_while(counts)
                    .count()
                > NUMBER_CHARS_MAX
    });
    let mut path = Vec::new();
    if !suspicious || !find_long_number(text.trim_ascii(), &mut path) {
        return None;
    }
    let mut pointer = String::new();
    for segment in path.iter().rev() {
        push_pointer(&mut pointer, segment);
    }
    let detail = format!(
        "a number has at most {NUMBER_CHARS_MAX} characters; send a longer one as a string"
    );
    Some(FieldError::new(pointer, detail))
}

fn find_long_number(raw: &str, path: &mut Vec<String>) -> bool {
    match raw.as_bytes().first() {
        Some(b'{') => {
            let Ok(Members(members)) = serde_json::from_str(raw) else {
                return false;
            };
            members.iter().any(|(name, value)| {
                let found = find_long_number(value, path);
                if found {
                    path.push(name.clone().into_owned());
                }
                found
            })
        }
        Some(b'[') => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
                return false;
            };
            items.iter().enumerate().any(|(index, value)| {
                let found = find_long_number(value.get(), path);
                if found {
                    path.push(index.to_string());
                }
                found
            })
        }
        Some(b'-' | b'0'..=b'9') => raw.len() > NUMBER_CHARS_MAX,
        _ => false,
    }
}
