//! Tencent's ETL: `Extraction`, then `EtlFilter`, then `Transform`.
//!
//! Extraction takes one value out of the event and, for text, cuts it into fields; the filter is
//! an event pattern on what was extracted; the transform builds a new object. What a step leaves
//! out is skipped: without a transform the extracted value itself is sent.
//!
//! The pattern language belongs to another crate. The caller hands in a compiler for it (see
//! [`Transform::compile_with`](crate::Transform::compile_with)); without one a filter is refused.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex_automata::meta::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Errors, RenderError, TRANSFORM_ERROR, TransformError};
use crate::filter::{nearest, rfc3339_china};
use crate::limits::{
    PLACEHOLDERS_MAX, TEMPLATE_BYTES_MAX, TENCENT_REGEX_CHARS_MAX, TENCENT_REGEX_INPUT_MAX,
};
use crate::path::{Found, Names, Path, PathSet, list_text};
use crate::scan;
use crate::template::Context;

/// The first step: which part of the event the other steps see.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Extraction {
    /// Path to the part; `$` and `$.` are the whole event.
    #[serde(default = "whole_event")]
    pub extraction_input_path: String,
    /// `JSON` (parsed when it is a text) or `TEXT` (cut into fields).
    pub format: String,
    /// How a text is cut; needed for `TEXT` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_params: Option<TextParams>,
}

fn whole_event() -> String {
    "$".to_owned()
}

/// How a text is cut into fields: one of the two members.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TextParams {
    /// One of `,` `|` `%` `#`, tab, blank, newline; the fields are called `0`, `1`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// A regular expression; named groups are called by name, others by number from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// The second step: events whose extracted part does not match are not sent.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EtlFilter {
    /// An event pattern as JSON text.
    pub filter: String,
}

/// The third step: builds one object.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct OutputTransform {
    /// The members, in this order.
    pub output_structs: Vec<OutputStruct>,
}

/// One member of the object that a [`OutputTransform`] builds.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct OutputStruct {
    /// Name of the member.
    pub key: String,
    /// Its value; how it is read depends on the type.
    pub value: String,
    /// `STRING`, `NUMBER`, `BOOLEAN`, `NULL`, `SYS_VARIABLE` or `JSONPATH`.
    pub value_type: String,
}

/// A compiled pattern: says whether a JSON value matches.
pub type EtlMatch = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Compiles the pattern of an [`EtlFilter`]; the error is a sentence for the author.
pub type EtlFilterCompiler<'a> = &'a dyn Fn(&str) -> Result<EtlMatch, String>;

const VALUE_TYPES: [&str; 6] = [
    "BOOLEAN",
    "JSONPATH",
    "NULL",
    "NUMBER",
    "STRING",
    "SYS_VARIABLE",
];

#[derive(Clone)]
pub(crate) struct Compiled {
    extraction: Option<Extractor>,
    filter: Option<EtlMatch>,
    output: Option<Output>,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tencent")
            .field("extraction", &self.extraction)
            .field("filter", &self.filter.is_some())
            .field("output", &self.output)
            .finish()
    }
}

#[derive(Clone, Debug)]
struct Extractor {
    path: String,
    paths: PathSet,
    format: Format,
}

#[derive(Clone, Debug)]
enum Format {
    Json,
    Separator(char),
    Regex(Regex),
}

#[derive(Clone, Debug)]
struct Output {
    paths: PathSet,
    /// Each with its name as JSON.
    members: Vec<(String, Part)>,
}

#[derive(Clone, Debug)]
enum Part {
    Fixed(String),
    Path(usize),
    Date,
}

pub(crate) fn compile(
    extraction: Option<&Extraction>,
    filter: Option<&EtlFilter>,
    transform: Option<&OutputTransform>,
    compiler: Option<EtlFilterCompiler<'_>>,
    errors: &mut Errors,
) -> Compiled {
    let filter = filter.and_then(|filter| {
        let pointer = "/etlFilter/Filter";
        let Some(compiler) = compiler else {
            let message = "EtlFilter is not supported here";
            let hint = Some("put the condition into the rule's pattern".to_owned());
            errors.push(TransformError::at(pointer, message).with_hint(hint));
            return None;
        };
        if filter.filter.len() > TEMPLATE_BYTES_MAX {
            errors.push(TransformError::at(pointer, "the filter is too large"));
            return None;
        }
        compiler(&filter.filter)
            .map_err(|message| errors.push(TransformError::at(pointer, message)))
            .ok()
    });
    Compiled {
        extraction: extraction.and_then(|extraction| extractor(extraction, errors)),
        filter,
        output: transform.map(|transform| output(transform, errors)),
    }
}

fn parse_path(text: &str, pointer: &str, errors: &mut Errors) -> Option<Path> {
    // The vendor's own comments write the whole event as `$.`.
    let text = if text == "$." { "$" } else { text };
    Path::parse_all(text, Names::Ours)
        .map_err(|error| {
            errors.push(
                TransformError::within(pointer, text, error.offset, error.message)
                    .with_hint(error.hint),
            );
        })
        .ok()
}

fn extractor(extraction: &Extraction, errors: &mut Errors) -> Option<Extractor> {
    let text = &extraction.extraction_input_path;
    let path = parse_path(text, "/extraction/ExtractionInputPath", errors);
    let format = match extraction.format.as_str() {
        "JSON" => Some(Format::Json),
        "TEXT" => cut(extraction.text_params.as_ref(), errors),
        other => {
            let message = format!("unknown Format `{other:.40}`");
            let hint = Some("`JSON` or `TEXT`".to_owned());
            errors.push(TransformError::at("/extraction/Format", message).with_hint(hint));
            None
        }
    };
    let mut paths = PathSet::default();
    paths.insert(&path?);
    Some(Extractor {
        path: text.clone(),
        paths,
        format: format?,
    })
}

fn cut(params: Option<&TextParams>, errors: &mut Errors) -> Option<Format> {
    let pointer = "/extraction/TextParams";
    // Clients send an empty text for a member they do not use.
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let separator = params.and_then(|params| given(&params.separator));
    let regex = params.and_then(|params| given(&params.regex));
    match (separator, regex) {
        (Some(separator), None) => {
            let separator = match separator.as_str() {
                "\\t" => "\t",
                "\\n" => "\n",
                other => other,
            };
            let mut chars = separator.chars();
            if let (Some(c @ (',' | '|' | '\t' | ' ' | '\n' | '%' | '#')), None) =
                (chars.next(), chars.next())
            {
                return Some(Format::Separator(c));
            }
            let message = "Separator is one of `,` `|` `%` `#`, tab, blank and newline";
            errors.push(TransformError::at(format!("{pointer}/Separator"), message));
            None
        }
        (None, Some(text)) => compile_regex(&text)
            .map(Format::Regex)
            .map_err(|message| {
                errors.push(TransformError::at(format!("{pointer}/Regex"), message));
            })
            .ok(),
        (Some(_), Some(_)) => {
            let message = "give either Separator or Regex, not both";
            errors.push(TransformError::at(pointer, message));
            None
        }
        (None, None) => {
            let message = "Format TEXT needs Separator or Regex";
            errors.push(TransformError::at(pointer, message));
            None
        }
    }
}

fn compile_regex(text: &str) -> Result<Regex, String> {
    if text.chars().count() > TENCENT_REGEX_CHARS_MAX {
        return Err(format!(
            "Regex has at most {TENCENT_REGEX_CHARS_MAX} characters"
        ));
    }
    // The engine is linear in text × program; these bounds keep the program small.
    let config = Regex::config()
        .nfa_size_limit(Some(2 * 1024 * 1024))
        .onepass_size_limit(Some(256 * 1024))
        .hybrid_cache_capacity(4 * 1024 * 1024);
    Regex::builder()
        .configure(config)
        .build(text)
        .map_err(|error| {
            if error.size_limit().is_some() {
                "Regex is too large when compiled; repeat less".to_owned()
            } else {
                match error.syntax_error() {
                    Some(error) => format!("Regex is invalid: {error}"),
                    None => format!("Regex is invalid: {error}"),
                }
            }
        })
}

fn output(transform: &OutputTransform, errors: &mut Errors) -> Output {
    let mut paths = PathSet::default();
    let mut members = Vec::new();
    let list = "/transform/OutputStructs";
    if transform.output_structs.len() > PLACEHOLDERS_MAX {
        let message = format!("at most {PLACEHOLDERS_MAX} entries are allowed");
        errors.push(TransformError::at(list, message));
        return Output { paths, members };
    }
    let bytes: usize = transform
        .output_structs
        .iter()
        .map(|s| s.key.len() + s.value.len())
        .sum();
    if bytes > TEMPLATE_BYTES_MAX {
        let message = format!("keys and values are larger than {TEMPLATE_BYTES_MAX} bytes");
        errors.push(TransformError::at(list, message));
        return Output { paths, members };
    }
    let mut names = std::collections::HashSet::new();
    for (i, entry) in transform.output_structs.iter().enumerate() {
        let pointer = format!("{list}/{i}");
        if !names.insert(entry.key.as_str()) {
            let message = format!("the key `{:.40}` is given twice", entry.key);
            errors.push(TransformError::at(format!("{pointer}/Key"), message));
        }
        if let Some(part) = part(entry, &pointer, &mut paths, errors) {
            members.push((scan::quote(&entry.key), part));
        }
    }
    Output { paths, members }
}

fn part(
    entry: &OutputStruct,
    pointer: &str,
    paths: &mut PathSet,
    errors: &mut Errors,
) -> Option<Part> {
    let value = entry.value.as_str();
    let at = format!("{pointer}/Value");
    let wrong = match entry.value_type.as_str() {
        "STRING" => return Some(Part::Fixed(scan::quote(value))),
        "NULL" => return Some(Part::Fixed("null".to_owned())),
        "JSONPATH" => {
            return parse_path(value, &at, errors).map(|path| Part::Path(paths.insert(&path)));
        }
        "NUMBER" => {
            // Kept as written: `1.10` is not turned into `1.1`.
            let is_number = value.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                && scan::validate(value.as_bytes()).is_ok_and(|text| text == value);
            if is_number {
                return Some(Part::Fixed(value.to_owned()));
            }
            TransformError::at(at, format!("`{value:.40}` is no number"))
        }
        "BOOLEAN" => match value {
            "true" | "false" => return Some(Part::Fixed(value.to_owned())),
            _ => TransformError::at(at, format!("`{value:.40}` is neither `true` nor `false`")),
        },
        "SYS_VARIABLE" => match value {
            "date" => return Some(Part::Date),
            _ => TransformError::at(at, format!("unknown system variable `{value:.40}`"))
                .with_hint(Some("only `date` is known".to_owned())),
        },
        other => {
            let hint = nearest(other, VALUE_TYPES).map_or_else(
                || format!("one of {}", VALUE_TYPES.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("unknown ValueType `{other:.40}`");
            TransformError::at(format!("{pointer}/ValueType"), message).with_hint(Some(hint))
        }
    };
    errors.push(wrong);
    None
}

impl Compiled {
    pub(crate) fn render(
        &self,
        event: &str,
        ctx: &Context<'_>,
        limit: usize,
    ) -> Result<String, RenderError> {
        let extracted = match &self.extraction {
            Some(extractor) => extractor.run(event)?,
            None => Cow::Borrowed(event),
        };
        if let Some(matches) = &self.filter
            && !matches(extracted.as_bytes())
        {
            return Err(RenderError::Filtered { step: "EtlFilter" });
        }
        let Some(output) = &self.output else {
            return if extracted.len() > limit {
                Err(too_large(limit, "the extracted value"))
            } else {
                Ok(extracted.into_owned())
            };
        };
        let found = output.paths.evaluate(&extracted).map_err(too_much)?;
        let mut out = String::from("{");
        for (i, (name, part)) in output.members.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            match part {
                Part::Fixed(json) => out.push_str(json),
                Part::Date => out.push_str(&scan::quote(&rfc3339_china(ctx.now_ms))),
                Part::Path(id) => match found.get(*id) {
                    None | Some(Found::Missing) => out.push_str("null"),
                    Some(Found::One(raw)) => out.push_str(raw),
                    Some(Found::Many(list)) => out.push_str(&list_text(list)),
                },
            }
            if out.len() >= limit {
                return Err(too_large(limit, &format!("the member {name}")));
            }
        }
        out.push('}');
        Ok(out)
    }
}

fn too_large(limit: usize, place: &str) -> RenderError {
    RenderError::TooLarge {
        code: TRANSFORM_ERROR,
        limit,
        place: place.to_owned(),
    }
}

fn too_much(much: crate::path::TooMuch) -> RenderError {
    RenderError::TooMuchWork {
        code: TRANSFORM_ERROR,
        message: much.0,
    }
}

impl Extractor {
    fn run<'e>(&self, event: &'e str) -> Result<Cow<'e, str>, RenderError> {
        let fail = |message: String| RenderError::Value {
            place: self.path.clone(),
            message,
        };
        let value: Cow<'e, str> = match self.paths.evaluate(event).map_err(too_much)?.pop() {
            Some(Found::One(raw)) => Cow::Borrowed(raw),
            Some(Found::Many(list)) => Cow::Owned(list_text(&list)),
            None | Some(Found::Missing) => {
                return Err(match self.format {
                    Format::Json => fail("nothing to extract in this event".to_owned()),
                    Format::Separator(_) | Format::Regex(_) => {
                        RenderError::Filtered { step: "Extraction" }
                    }
                });
            }
        };
        let text = scan::string_inner(&value).map(|inner| scan::unescape(inner).into_owned());
        match &self.format {
            Format::Json => match text {
                None => Ok(value),
                Some(text) => match scan::validate(text.as_bytes()) {
                    Ok(json) => Ok(Cow::Owned(json.to_owned())),
                    Err(error) => Err(fail(format!("the text there is not JSON: {error}"))),
                },
            },
            Format::Separator(separator) => {
                let text = text.unwrap_or_else(|| value.into_owned());
                let fields = text.split(*separator).enumerate();
                Ok(Cow::Owned(object(
                    fields.map(|(i, field)| (i.to_string(), field)),
                )))
            }
            Format::Regex(regex) => {
                let text = text.unwrap_or_else(|| value.into_owned());
                if text.len() > TENCENT_REGEX_INPUT_MAX {
                    return Err(fail(format!(
                        "the text for Regex is larger than {TENCENT_REGEX_INPUT_MAX} bytes"
                    )));
                }
                fields_of(regex, &text)
                    .map(Cow::Owned)
                    .ok_or(RenderError::Filtered { step: "Extraction" })
            }
        }
    }
}

/// The groups of the first match as an object; without any group the whole match is called `0`.
fn fields_of(regex: &Regex, text: &str) -> Option<String> {
    let mut captures = regex.create_captures();
    regex.captures(text, &mut captures);
    let whole = captures.get_match()?;
    let field = |span: std::ops::Range<usize>| text.get(span).unwrap_or("");
    if captures.group_len() < 2 {
        return Some(object([("0".to_owned(), field(whole.range()))]));
    }
    let names = captures.group_info().pattern_names(whole.pattern());
    let groups = names.enumerate().skip(1).filter_map(|(i, name)| {
        let span = captures.get_group(i)?;
        Some((
            name.map_or_else(|| i.to_string(), str::to_owned),
            field(span.range()),
        ))
    });
    Some(object(groups))
}

fn object<'f>(fields: impl IntoIterator<Item = (String, &'f str)>) -> String {
    let mut out = String::from("{");
    for (name, field) in fields {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&scan::quote(&name));
        out.push(':');
        out.push_str(&scan::quote(field));
    }
    out.push('}');
    out
}
