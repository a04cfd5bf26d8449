//! AWS's input transformer: `InputPathsMap` and an `InputTemplate` with `<name>` placeholders.
//!
//! How a value is written depends on where its placeholder stands: bare in a JSON template it is
//! JSON, inside a string of a JSON template it is text, in a text template it is text without any
//! quotes of its own. Where AWS produces broken JSON and silently loses the event, values are
//! escaped here.

use std::collections::BTreeMap;

use crate::error::{Errors, TransformError};
use crate::filter;
use crate::limits::{AWS_PATHS_MAX, TEMPLATE_BYTES_MAX};
use crate::path::{Names, Path};
use crate::scan;
use crate::spec::Missing;
use crate::template::{Dialect, Placeholder, Position, Program, Source, Variable, shortened};

const RESERVED: [&str; 5] = [
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event.ingestion-time",
    "aws.events.event",
    "aws.events.event.json",
];

/// A compiled input transformer; `is_json` says which of the two kinds its template is.
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) is_json: bool,
}

enum Piece<'t> {
    Literal(&'t str),
    Name { name: &'t str, offset: usize },
}

pub(crate) fn compile(
    paths: &BTreeMap<String, String>,
    template: &str,
    errors: &mut Errors,
) -> Compiled {
    let known = parse_paths(paths, errors);
    let is_json = template.trim_start().starts_with('{');
    let mut program = Program::new(Dialect::Aws, Missing::Empty);
    if template.len() > TEMPLATE_BYTES_MAX {
        let message = format!("the template is larger than {TEMPLATE_BYTES_MAX} bytes");
        errors.push(TransformError::at("/inputTemplate", message));
        return Compiled { program, is_json };
    }
    let mut place = Place::default();
    // The template with `""` and with `0` for each bare placeholder: it must be JSON one way or
    // the other, or no event could ever be rendered.
    let mut probes = [String::new(), String::new()];
    for piece in pieces(template) {
        match piece {
            Piece::Literal(text) => {
                program.literal(text);
                if is_json {
                    place.walk(text);
                }
                for probe in &mut probes {
                    probe.push_str(text);
                }
            }
            Piece::Name { name, offset } => {
                if place.escaped {
                    // The value's first character would become part of the escape.
                    let message = "a placeholder cannot follow a single backslash";
                    let pointer = "/inputTemplate";
                    errors.push(TransformError::within(pointer, template, offset, message));
                    place.escaped = false;
                }
                let position = match (is_json, place.in_string) {
                    (false, _) => Position::Text,
                    (true, false) => Position::JsonValue,
                    (true, true) => Position::JsonString,
                };
                let source = match reserved(name) {
                    Some(source) => source,
                    // A path that is refused has its own error.
                    None => match (known.get(name), paths.contains_key(name)) {
                        (Some(path), _) => Source::Path(path.clone()),
                        (None, true) => continue,
                        (None, false) => {
                            errors.push(unknown(name, offset, paths, template));
                            continue;
                        }
                    },
                };
                if position == Position::JsonValue {
                    for (probe, value) in probes.iter_mut().zip(["\"\"", "0"]) {
                        probe.push_str(value);
                    }
                }
                let label = shortened(&format!("<{name}>")).into();
                program.slot(
                    Placeholder {
                        source,
                        filters: Vec::new(),
                        label,
                    },
                    position,
                );
            }
        }
    }
    program.check("/inputTemplate", errors);
    if is_json && !errors.any() {
        let [texts, numbers] = probes.map(|probe| scan::validate(probe.as_bytes()).map(|_| ()));
        if let (Err(error), Err(_)) = (texts, numbers) {
            let message = format!(
                "a template that starts with `{{` must be JSON with its placeholders filled in: {error}"
            );
            let hint = "to send plain text, start it with another character".to_owned();
            errors.push(TransformError::at("/inputTemplate", message).with_hint(Some(hint)));
        }
    }
    Compiled { program, is_json }
}

fn reserved(name: &str) -> Option<Source> {
    Some(match name {
        "aws.events.rule-arn" => Source::Variable(Variable::RuleArn),
        "aws.events.rule-name" => Source::Variable(Variable::Rule),
        "aws.events.event.ingestion-time" => Source::Variable(Variable::AcceptedAt),
        "aws.events.event" => Source::AwsEvent,
        "aws.events.event.json" => Source::Path(Path::root()),
        _ => return None,
    })
}

fn unknown(
    name: &str,
    offset: usize,
    paths: &BTreeMap<String, String>,
    template: &str,
) -> TransformError {
    let known = paths.keys().map(String::as_str).chain(RESERVED);
    let hint = filter::nearest(name, known).map(|near| format!("did you mean `<{near}>`?"));
    let message = format!(
        "invalid placeholder `{}`: no path has this name",
        shortened(name)
    );
    TransformError::within("/inputTemplate", template, offset, message).with_hint(hint)
}

fn parse_paths<'p>(
    paths: &'p BTreeMap<String, String>,
    errors: &mut Errors,
) -> BTreeMap<&'p str, Path> {
    if paths.len() > AWS_PATHS_MAX {
        let message = format!("{} names, at most {AWS_PATHS_MAX} are allowed", paths.len());
        errors.push(TransformError::at("/inputPathsMap", message));
    }
    let mut known = BTreeMap::new();
    for (name, text) in paths {
        let pointer = format!(
            "/inputPathsMap/{}",
            name.replace('~', "~0").replace('/', "~1")
        );
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(valid) {
            let message = "a name is made of letters, digits, `-` and `_`";
            errors.push(TransformError::at(pointer.clone(), message));
        }
        match Path::parse_all(text, Names::Aws) {
            Ok(path) => {
                known.insert(name.as_str(), path);
            }
            Err(error) => errors.push(
                TransformError::within(pointer, text, error.offset, error.message)
                    .with_hint(error.hint),
            ),
        }
    }
    known
}

/// Cuts a template at its placeholders. `<` and `>` around anything that cannot be a name are
/// ordinary text.
fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    let mut ahead: Option<Piece<'_>> = None;
    std::iter::from_fn(move || {
        if let Some(piece) = ahead.take() {
            return Some(piece);
        }
        let start = at;
        while let Some(open) = template.get(at..).and_then(|rest| rest.find('<')) {
            let open = at + open;
            let inner = template.get(open + 1..).unwrap_or("");
            let length = inner
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
                .unwrap_or(inner.len());
            at = open + 1 + length;
            if length > 0 && template.get(at..).is_some_and(|rest| rest.starts_with('>')) {
                at += 1;
                let name = inner.get(..length).unwrap_or("");
                let piece = Piece::Name { name, offset: open };
                if open == start {
                    return Some(piece);
                }
                ahead = Some(piece);
                return template.get(start..open).map(Piece::Literal);
            }
        }
        at = template.len();
        template
            .get(start..)
            .filter(|rest| !rest.is_empty())
            .map(Piece::Literal)
    })
}

/// Where in a JSON document one is.
#[derive(Default)]
struct Place {
    in_string: bool,
    /// Directly behind a backslash that escapes what comes next.
    escaped: bool,
}

impl Place {
    fn walk(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ => {}
            }
        }
    }
}
