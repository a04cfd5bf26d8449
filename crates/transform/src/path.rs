//! Paths into an event: the part of RFC 9535 whose cost is bounded.
//!
//! `$`, `.name`, `['name']`, `[n]` (negative counts from the end) and `[*]`. No `..`, no filters,
//! no slices: each of them lets a short path select far more than the event holds.
//!
//! All paths of a transform are evaluated together by [`PathSet`]: one walk over the event, which
//! skips whatever no path asks for, instead of one walk per placeholder.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use crate::limits::{MATCHES_MAX, PASSES_MAX, PATH_SEGMENTS_MAX};
use crate::scan;

/// A step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Name(Box<str>),
    Index(i64),
    Wild,
}

/// A parsed path such as `$.data.items[0].name`.
///
/// Names compare byte for byte after unescaping. When an event repeats a name within one object,
/// the last one wins. `[*]` selects the elements of an array or the members' values of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    segments: Vec<Segment>,
}

/// Says why a text is no path, and where.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{message} at column {column}")]
pub struct PathError {
    /// Place in the text, in bytes from 0.
    pub offset: usize,
    /// The same place in characters from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What the author may have meant.
    pub hint: Option<String>,
}

/// What a path selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found<'e> {
    Missing,
    One(&'e str),
    /// A path with a wildcard always gives a list, also for one or no element.
    Many(Vec<&'e str>),
}

/// Which names may stand unquoted behind a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// RFC 9535 plus `-` and leading digits, which no operator of ours gives another meaning.
    Ours,
    /// AWS also allows `/`.
    Aws,
}

impl Names {
    fn allows(self, c: char) -> bool {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-')
            || !c.is_ascii()
            || (self == Self::Aws && c == '/')
    }
}

impl Path {
    /// Parses a whole text as a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Self::parse_all(text, Names::Ours)
    }

    pub(crate) fn parse_all(text: &str, names: Names) -> Result<Self, PathError> {
        let (path, end) = Self::parse_prefix(text, names)?;
        if end == text.len() {
            return Ok(path);
        }
        let rest = text.get(end..).unwrap_or("");
        let message = match rest.chars().next() {
            Some(c) => format!("unexpected `{}`", c.escape_debug()),
            None => "unexpected end".to_owned(),
        };
        let hint = "write names with other characters as ['name']".to_owned();
        Err(error(text, end, message).hint(hint))
    }

    /// Parses the path at the start of `text`; gives the number of bytes it takes up.
    pub(crate) fn parse_prefix(text: &str, names: Names) -> Result<(Self, usize), PathError> {
        let mut parser = Parser { text, at: 0, names };
        if !parser.eat('$') {
            let hint = first_name(text).map(|name| format!("did you mean `$.{name}`?"));
            return Err(PathError {
                hint,
                ..error(text, 0, "a path starts with `$`".to_owned())
            });
        }
        let mut segments = Vec::new();
        while let Some(c) = parser.peek() {
            let start = parser.at;
            let segment = match c {
                '.' => parser.dotted()?,
                '[' => parser.bracketed()?,
                _ => break,
            };
            if segments.len() == PATH_SEGMENTS_MAX {
                let message = format!("a path has at most {PATH_SEGMENTS_MAX} segments");
                return Err(error(text, start, message));
            }
            segments.push(segment);
        }
        Ok((Self { segments }, parser.at))
    }

    /// The path `$`: the whole event.
    pub(crate) fn root() -> Self {
        Self {
            segments: Vec::new(),
        }
    }

    /// True when the path holds `[*]` and so selects a list.
    pub fn is_list(&self) -> bool {
        self.segments.contains(&Segment::Wild)
    }

    /// Gives the selected value as JSON text: a slice of `event`, byte for byte, or a list that is
    /// put together when the path holds `[*]`. `None` when nothing is there, or when `event` is
    /// not JSON.
    pub fn find<'e>(&self, event: &'e [u8]) -> Option<Cow<'e, str>> {
        match self.found(event) {
            Found::Missing => None,
            Found::One(raw) => Some(Cow::Borrowed(raw)),
            Found::Many(list) => Some(Cow::Owned(list_text(&list))),
        }
    }

    /// Gives the selected value as plain text, as a key for ordering for example: a string without
    /// quotes and escapes, other values as their JSON text; `None` for a missing value and `null`.
    pub fn find_text<'e>(&self, event: &'e [u8]) -> Option<Cow<'e, str>> {
        match self.found(event) {
            Found::Missing | Found::One("null") => None,
            Found::One(raw) => Some(match scan::string_inner(raw) {
                Some(inner) => scan::unescape(inner),
                None => Cow::Borrowed(raw),
            }),
            Found::Many(list) => Some(Cow::Owned(list_text(&list))),
        }
    }

    fn found<'e>(&self, event: &'e [u8]) -> Found<'e> {
        let mut set = PathSet::default();
        set.insert(self);
        scan::validate(event)
            .ok()
            .and_then(|json| set.evaluate(json).ok()?.pop())
            .unwrap_or(Found::Missing)
    }
}

impl std::str::FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    /// Writes the path in one canonical form, which parses back to an equal path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for segment in &self.segments {
            match segment {
                Segment::Name(name)
                    if !name.is_empty() && name.chars().all(|c| Names::Ours.allows(c)) =>
                {
                    write!(f, ".{name}")?;
                }
                Segment::Name(name) => {
                    let mut inner = String::new();
                    scan::escape_into(&mut inner, name);
                    write!(f, "[\"{inner}\"]")?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Wild => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

impl PathError {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn error(text: &str, offset: usize, message: String) -> PathError {
    PathError {
        offset,
        column: crate::error::line_column(text, offset).1,
        message,
        hint: None,
    }
}

/// The text up to the first character that ends a name, for hints.
fn first_name(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !(Names::Ours.allows(c) || c == '.'))
        .unwrap_or(text.len());
    text.get(..end)
        .filter(|name| !name.is_empty() && name.len() <= 64)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    names: Names,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn blanks(&mut self) {
        while self.eat(' ') || self.eat('\t') {}
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> PathError {
        error(self.text, offset, message.into())
    }

    fn dotted(&mut self) -> Result<Segment, PathError> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some('.') => {
                return Err(self
                    .error(start, "`..` is not supported")
                    .hint("name every step of the path"));
            }
            Some('*') => {
                return Err(self
                    .error(start, "`.*` is not supported")
                    .hint("write `[*]`"));
            }
            _ => {}
        }
        let names = self.names;
        let rest = self.rest();
        let end = rest.find(|c| !names.allows(c)).unwrap_or(rest.len());
        let name: Box<str> = rest.get(..end).unwrap_or("").into();
        if name.is_empty() {
            return Err(self.error(start, "a name must follow `.`"));
        }
        self.at += end;
        Ok(Segment::Name(name))
    }

    fn bracketed(&mut self) -> Result<Segment, PathError> {
        let start = self.at;
        self.at += 1;
        self.blanks();
        let segment = match self.peek() {
            Some('*') => {
                self.at += 1;
                Segment::Wild
            }
            Some(quote @ ('\'' | '"')) => Segment::Name(self.quoted(quote)?.into()),
            Some('-' | '0'..='9') => self.index()?,
            Some('?') => {
                return Err(self
                    .error(start, "filters `[?…]` are not supported")
                    .hint("filter events with the rule's pattern"));
            }
            Some(':') => return Err(self.error(start, "slices are not supported")),
            _ => {
                return Err(self.error(
                    self.at,
                    "expected a quoted name, a number or `*` behind `[`",
                ));
            }
        };
        self.blanks();
        match self.peek() {
            Some(']') => {
                self.at += 1;
                Ok(segment)
            }
            Some(':') => Err(self.error(self.at, "slices are not supported")),
            Some(',') => Err(self.error(self.at, "lists of selectors are not supported")),
            _ => Err(self.error(self.at, "`]` is missing")),
        }
    }

    fn index(&mut self) -> Result<Segment, PathError> {
        let start = self.at;
        self.eat('-');
        while matches!(self.peek(), Some('0'..='9')) {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at).unwrap_or("");
        match digits.parse::<i64>() {
            // RFC 9535 bounds indices to what a double holds exactly.
            Ok(index) if index.unsigned_abs() < 1 << 53 => Ok(Segment::Index(index)),
            _ => Err(self.error(start, format!("`{digits:.24}` is not an index"))),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        let start = self.at;
        self.at += 1;
        let mut name = String::new();
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(self.error(start, "the quoted name is not closed")),
                Some(c) if c == quote => return Ok(name),
                Some('\\') => {
                    let Some(c) = self.next() else {
                        return Err(self.error(start, "the quoted name is not closed"));
                    };
                    match c {
                        'n' => name.push('\n'),
                        't' => name.push('\t'),
                        'r' => name.push('\r'),
                        'b' => name.push('\u{8}'),
                        'f' => name.push('\u{c}'),
                        '\'' | '"' | '\\' | '/' => name.push(c),
                        'u' => name.push(self.unicode(at)?),
                        _ => return Err(self.error(at, "unknown escape in a quoted name")),
                    }
                }
                Some(c) => name.push(c),
            }
        }
    }

    /// `\uXXXX`, or two of them for a character outside the basic plane; `\u` is already eaten.
    fn unicode(&mut self, start: usize) -> Result<char, PathError> {
        let high = self.hex4(start)?;
        let code = if (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u") {
            self.at += 2;
            let low = self.hex4(start)?;
            if (0xdc00..0xe000).contains(&low) {
                0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            } else {
                high
            }
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.error(start, "lone surrogate in a quoted name"))
    }

    fn hex4(&mut self, start: usize) -> Result<u32, PathError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|c| c.to_digit(16));
            let Some(digit) = digit else {
                return Err(self.error(start, "`\\u` needs four hexadecimal digits"));
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }
}

/// The elements as a JSON array, each as it stands in the event.
pub(crate) fn list_text(list: &[&str]) -> String {
    let mut out = String::with_capacity(list.iter().map(|raw| raw.len() + 1).sum::<usize>() + 2);
    out.push('[');
    for (i, raw) in list.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(raw);
    }
    out.push(']');
    out
}

/// All paths of one transform, merged into a tree so that one walk over the event serves them.
#[derive(Clone, Debug)]
pub(crate) struct PathSet {
    nodes: Vec<Node>,
    lists: Vec<bool>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted by name.
    names: Vec<(Box<str>, usize)>,
    indices: Vec<(i64, usize)>,
    wild: Option<usize>,
    /// The path that ends here.
    end: Option<usize>,
    /// Paths whose first wildcard is the one below this node: they give `[]`, not "missing", as
    /// soon as there is something to iterate over.
    opens: Vec<usize>,
}

impl Default for PathSet {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            lists: Vec::new(),
        }
    }
}

/// The bounds of one evaluation were hit; the text says which.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMuch(pub(crate) String);

impl PathSet {
    /// Adds a path, or finds it again; gives its place in the result of [`Self::evaluate`].
    pub(crate) fn insert(&mut self, path: &Path) -> usize {
        let mut node = 0;
        let mut first_wild = None;
        for segment in &path.segments {
            let fresh = self.nodes.len();
            let Some(current) = self.nodes.get_mut(node) else {
                break;
            };
            let next = match segment {
                Segment::Name(name) => {
                    match current.names.binary_search_by(|(known, _)| known.cmp(name)) {
                        Ok(i) => current.names.get(i).map_or(fresh, |(_, next)| *next),
                        Err(i) => {
                            current.names.insert(i, (name.clone(), fresh));
                            fresh
                        }
                    }
                }
                Segment::Index(index) => {
                    let known = current.indices.iter().find(|(known, _)| known == index);
                    if let Some((_, next)) = known {
                        *next
                    } else {
                        current.indices.push((*index, fresh));
                        fresh
                    }
                }
                Segment::Wild => {
                    first_wild.get_or_insert(node);
                    *current.wild.get_or_insert(fresh)
                }
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            node = next;
        }
        let fresh = self.lists.len();
        let id = match self.nodes.get_mut(node) {
            Some(last) => *last.end.get_or_insert(fresh),
            None => fresh,
        };
        if id == fresh {
            self.lists.push(first_wild.is_some());
            if let Some(opener) = first_wild.and_then(|node| self.nodes.get_mut(node)) {
                opener.opens.push(id);
            }
        }
        id
    }

    /// Evaluates all paths over `json`, which [`scan::validate`] has passed.
    pub(crate) fn evaluate<'e>(&self, json: &'e str) -> Result<Vec<Found<'e>>, TooMuch> {
        let mut walk = Walk {
            set: self,
            found: vec![Found::Missing; self.lists.len()],
            matches: 0,
            budget: json
                .len()
                .saturating_mul(PASSES_MAX)
                .saturating_add(64 * 1024),
        };
        if !self.lists.is_empty() {
            walk.visit(0, json)?;
        }
        Ok(walk.found)
    }
}

struct Walk<'s, 'e> {
    set: &'s PathSet,
    found: Vec<Found<'e>>,
    matches: usize,
    budget: usize,
}

impl<'e> Walk<'_, 'e> {
    /// Recursion is bounded by the number of segments of a path, not by the event.
    fn visit(&mut self, node: usize, value: &'e str) -> Result<(), TooMuch> {
        let set = self.set;
        let Some(node) = set.nodes.get(node) else {
            return Ok(());
        };
        if let Some(id) = node.end {
            self.record(id, value)?;
        }
        if node.names.is_empty() && node.indices.is_empty() && node.wild.is_none() {
            return Ok(());
        }
        self.budget = self.budget.checked_sub(value.len()).ok_or_else(|| {
            TooMuch(format!(
                "the event would be read more than {PASSES_MAX} times"
            ))
        })?;
        if let Some(members) = scan::members(value) {
            if let Some(wild) = node.wild {
                self.open(node);
                let mut places: HashMap<Cow<'e, str>, usize> = HashMap::new();
                let mut values: Vec<&'e str> = Vec::new();
                for (name, value) in scan::members(value).into_iter().flatten() {
                    let place = *places.entry(decoded(name)).or_insert(values.len());
                    match values.get_mut(place) {
                        Some(earlier) => *earlier = value,
                        None => values.push(value),
                    }
                }
                for value in values {
                    self.visit(wild, value)?;
                }
            }
            if !node.names.is_empty() {
                self.visit_names(node, members)?;
            }
        } else if value.starts_with('[') {
            self.visit_elements(node, value)?;
        }
        Ok(())
    }

    fn visit_names(&mut self, node: &Node, members: scan::Members<'e>) -> Result<(), TooMuch> {
        // Collected before descending: of a repeated name only the last value counts.
        let mut last: Vec<Option<&'e str>> = vec![None; node.names.len()];
        for (name, value) in members {
            let name = decoded(name);
            let place = node
                .names
                .binary_search_by(|(known, _)| (**known).cmp(&*name));
            if let Some(slot) = place.ok().and_then(|place| last.get_mut(place)) {
                *slot = Some(value);
            }
        }
        for ((_, next), value) in node.names.iter().zip(last) {
            if let Some(value) = value {
                self.visit(*next, value)?;
            }
        }
        Ok(())
    }

    fn visit_elements(&mut self, node: &Node, value: &'e str) -> Result<(), TooMuch> {
        let length = if node.indices.iter().any(|(index, _)| *index < 0) {
            scan::elements(value).map_or(0, Iterator::count)
        } else {
            0
        };
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let wanted: Vec<(i64, usize)> = node
            .indices
            .iter()
            .map(|&(index, next)| (if index < 0 { index + length } else { index }, next))
            .collect();
        let furthest = wanted.iter().map(|(index, _)| *index).max().unwrap_or(-1);
        if node.wild.is_some() {
            self.open(node);
        }
        for (place, element) in scan::elements(value).into_iter().flatten().enumerate() {
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            if let Some(wild) = node.wild {
                self.visit(wild, element)?;
            } else if place > furthest {
                break;
            }
            if place <= furthest {
                for (_, next) in wanted.iter().filter(|(index, _)| *index == place) {
                    self.visit(*next, element)?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, node: &Node) {
        for id in &node.opens {
            if let Some(found @ Found::Missing) = self.found.get_mut(*id) {
                *found = Found::Many(Vec::new());
            }
        }
    }

    fn record(&mut self, id: usize, value: &'e str) -> Result<(), TooMuch> {
        self.matches += 1;
        if self.matches > MATCHES_MAX {
            let message = format!("more than {MATCHES_MAX} values are selected");
            return Err(TooMuch(message));
        }
        let is_list = self.set.lists.get(id).copied().unwrap_or(false);
        if let Some(found) = self.found.get_mut(id) {
            match found {
                Found::Many(list) => list.push(value),
                _ if is_list => *found = Found::Many(vec![value]),
                _ => *found = Found::One(value),
            }
        }
        Ok(())
    }
}

fn decoded(name: &str) -> Cow<'_, str> {
    scan::unescape(scan::string_inner(name).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"e-1","data":{"n":1.10,"名称":"主机","a.b":true,"":"empty",
        "items":[{"k":"x","n":1},{"k":"y"},{"n":3}],"none":[],"x":1,"x":2},"null":null}"#;

    fn find(path: &str) -> Option<String> {
        let path = Path::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        path.find(EVENT.as_bytes()).map(Cow::into_owned)
    }

    #[test]
    fn each_kind_of_segment_selects() {
        for (path, expected) in [
            ("$.id", Some(r#""e-1""#)),
            ("$.data.n", Some("1.10")),
            ("$.data.名称", Some(r#""主机""#)),
            ("$['data'][\"n\"]", Some("1.10")),
            ("$.data['a.b']", Some("true")),
            ("$.data['']", Some(r#""empty""#)),
            ("$.data.items[0].k", Some(r#""x""#)),
            ("$.data.items[ -1 ]", Some(r#"{"n":3}"#)),
            ("$.data.items[-4]", None),
            ("$.data.items[3]", None),
            ("$.data.items[*].k", Some(r#"["x","y"]"#)),
            ("$.data.items[*].none", Some("[]")),
            ("$.data.none[*]", Some("[]")),
            ("$.data.gone[*]", None),
            ("$.data.n[*]", None),
            ("$.data.n.deeper", None),
            ("$.data.items.k", None),
            ("$.null", Some("null")),
        ] {
            assert_eq!(find(path).as_deref(), expected, "{path}");
        }
        assert_eq!(find("$").as_deref(), Some(EVENT));
    }

    #[test]
    fn the_last_of_a_repeated_name_wins() {
        assert_eq!(find("$.data.x").as_deref(), Some("2"));
        let event = br#"{"a":{"b":1},"a":{"c":2},"\u0061":{"b":3,"b":4}}"#;
        assert_eq!(Path::parse("$.a.b").unwrap().find(event).unwrap(), "4");
        assert_eq!(Path::parse("$.a.c").unwrap().find(event), None);
        assert_eq!(
            Path::parse("$[*]").unwrap().find(event).unwrap(),
            r#"[{"b":3,"b":4}]"#
        );
    }

    #[test]
    fn find_text_gives_what_a_key_needs() {
        let text = |path: &str| Path::parse(path).unwrap().find_text(EVENT.as_bytes());
        assert_eq!(text("$.id").unwrap(), "e-1");
        assert_eq!(text("$.data.n").unwrap(), "1.10");
        assert_eq!(text("$.null"), None);
        assert_eq!(text("$.gone"), None);
        assert_eq!(Path::parse("$.a").unwrap().find_text(b"not json"), None);
    }

    #[test]
    fn errors_name_the_place() {
        for (path, column, part) in [
            ("", 1, "starts with"),
            ("data.x", 1, "starts with"),
            ("$..a", 2, "`..`"),
            ("$.a.*", 4, "`.*`"),
            ("$.", 2, "name must follow"),
            ("$.a[", 5, "expected"),
            ("$.a[1", 6, "`]` is missing"),
            ("$.a['x", 5, "not closed"),
            ("$.a['\\q']", 6, "unknown escape"),
            ("$.a['\\ud800']", 6, "surrogate"),
            ("$.a[?(@.x)]", 4, "filters"),
            ("$.a[0:2]", 6, "slices"),
            ("$.a[:2]", 4, "slices"),
            ("$.a[0,1]", 6, "lists of selectors"),
            ("$.a[99999999999999999999]", 5, "not an index"),
            ("$.a[-]", 5, "not an index"),
            ("$.名 x", 4, "unexpected ` `"),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert_eq!(error.column, column, "{path}: {error}");
            assert!(error.message.contains(part), "{path}: {error}");
        }
        let error = Path::parse("data.x | upper").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `$.data.x`?"));
        let long = format!("${}", ".a".repeat(PATH_SEGMENTS_MAX + 1));
        assert!(Path::parse(&long).is_err());
        assert!(Path::parse(&long[..long.len() - 2]).is_ok());
    }

    #[test]
    fn the_display_form_parses_back() {
        for text in [
            "$",
            "$.a-b[0][-1][*]['x y']['']",
            "$['\\'\\\"\\\\\\n']",
            "$['\\ud83d\\ude00']",
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(Path::parse(&path.to_string()).unwrap(), path, "{text}");
        }
    }

    #[test]
    fn one_walk_serves_overlapping_paths() {
        let texts = [
            "$.data.items[0]",
            "$.data.items[*].n",
            "$.data",
            "$.data.items[0].k",
            "$.data.items[-1].n",
            "$.data.items[0]",
        ];
        let mut set = PathSet::default();
        let ids: Vec<_> = texts
            .iter()
            .map(|text| set.insert(&Path::parse(text).unwrap()))
            .collect();
        assert_eq!(ids.first(), ids.last());
        let found = set.evaluate(EVENT).unwrap();
        for (text, id) in texts.iter().zip(ids) {
            let got = match &found[id] {
                Found::Missing => None,
                Found::One(raw) => Some((*raw).to_owned()),
                Found::Many(list) => Some(list_text(list)),
            };
            assert_eq!(got, find(text), "{text}");
        }
    }

    #[test]
    fn crossing_wildcards_hit_a_bound_instead_of_running_on() {
        let mut set = PathSet::default();
        for bits in 0..512_u32 {
            let mut text = "$".to_owned();
            for bit in 0..9 {
                text.push_str(if bits >> bit & 1 == 0 { "[0]" } else { "[*]" });
            }
            text.push_str("[*]");
            set.insert(&Path::parse(&text).unwrap());
        }
        let event = format!(
            "{}{}1{}",
            "[".repeat(10),
            "1,".repeat(100_000),
            "]".repeat(10)
        );
        assert!(set.evaluate(&event).is_err());
    }
}
