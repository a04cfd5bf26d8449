//! Text with `${…}` placeholders, and the program that every kind of template compiles to.
//!
//! A program is a list of parts: literal text, and slots that say what to insert and how. Literals
//! go out as they are, each slot's value is inserted once, and nothing that was inserted is ever
//! read again. The output is therefore at most the template plus what the slots insert, and a
//! value that holds `${…}` stays just that text.

use crate::error::{Errors, RenderError, TEMPLATE_ERROR, TransformError};
use crate::escape::Escape;
use crate::filter::{self, Arg, Filter, Full, Refusal, Value};
use crate::limits::{FILTERS_MAX, PASSES_MAX, PLACEHOLDERS_MAX};
use crate::path::{Found, Names, Path, PathSet};
use crate::scan;
use crate::spec::Missing;

/// Facts about the delivery that a template can name as `${@…}`.
///
/// `@` starts no path (a path starts with `$`), so the two can never be confused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context<'a> {
    /// `${@rule}`: name of the rule.
    pub rule: &'a str,
    /// Full ARN of the rule for AWS templates, when the caller speaks that dialect.
    pub rule_arn: Option<&'a str>,
    /// `${@bus}`: name of the bus.
    pub bus: &'a str,
    /// `${@target}`: name of the target.
    pub target: &'a str,
    /// `${@eventUid}`: the server's own id of the event.
    pub event_uid: &'a str,
    /// `${@delivery}`: id of the delivery.
    pub delivery: &'a str,
    /// `${@attempt}`: number of the attempt, a JSON number.
    pub attempt: u32,
    /// `${@acceptedAt}`: when the server accepted the event, shown as RFC 3339 in UTC.
    pub accepted_at_ms: i64,
    /// `${@now}`: the time of rendering, shown as RFC 3339 in UTC.
    pub now_ms: i64,
}

/// A named fact of the [`Context`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Rule,
    RuleArn,
    Bus,
    Target,
    EventUid,
    Delivery,
    Attempt,
    AcceptedAt,
    Now,
}

const VARIABLES: [(&str, Variable); 8] = [
    ("rule", Variable::Rule),
    ("bus", Variable::Bus),
    ("target", Variable::Target),
    ("eventUid", Variable::EventUid),
    ("delivery", Variable::Delivery),
    ("attempt", Variable::Attempt),
    ("acceptedAt", Variable::AcceptedAt),
    ("now", Variable::Now),
];

impl Variable {
    fn value<'a>(self, ctx: &Context<'a>) -> Value<'a> {
        let text = match self {
            Self::Rule => ctx.rule,
            Self::RuleArn => match ctx.rule_arn {
                Some(arn) => arn,
                None => return Value::Text(rule_arn(ctx).into()),
            },
            Self::Bus => ctx.bus,
            Self::Target => ctx.target,
            Self::EventUid => ctx.event_uid,
            Self::Delivery => ctx.delivery,
            Self::Attempt => return Value::Json(ctx.attempt.to_string().into()),
            Self::AcceptedAt => {
                return Value::Text(filter::rfc3339_millis(ctx.accepted_at_ms).into());
            }
            Self::Now => return Value::Text(filter::rfc3339_millis(ctx.now_ms).into()),
        };
        Value::Text(text.into())
    }
}

/// An ARN without region and account, which this crate does not know.
fn rule_arn(ctx: &Context<'_>) -> String {
    if ctx.bus == "default" {
        format!("arn:aws:events:::rule/{}", ctx.rule)
    } else {
        format!("arn:aws:events:::rule/{}/{}", ctx.bus, ctx.rule)
    }
}

/// What a placeholder inserts, as parsed.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Path(Path),
    Variable(Variable),
    /// The event without its `detail`, as AWS puts it.
    AwsEvent,
}

/// A parsed `${…}`.
#[derive(Clone, Debug)]
pub(crate) struct Placeholder {
    pub(crate) source: Source,
    pub(crate) filters: Vec<Filter>,
    /// The placeholder as written, shortened, for messages.
    pub(crate) label: Box<str>,
}

/// A piece of a parsed text.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Literal(String),
    Placeholder(Placeholder),
}

/// Parses a text with placeholders; reports all errors, not only the first.
pub(crate) fn parse(text: &str, pointer: &str, errors: &mut Errors) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(dollar) = text.get(at..).and_then(|rest| rest.find('$')) {
        let dollar = at + dollar;
        literal.push_str(text.get(at..dollar).unwrap_or(""));
        let rest = text.get(dollar..).unwrap_or("");
        if rest.starts_with("$${") {
            literal.push_str("${");
            at = dollar + 3;
        } else if rest.starts_with("${") {
            let mut parser = Parser {
                text,
                at: dollar + 2,
                pointer,
                start: dollar,
            };
            match parser.placeholder() {
                Ok(placeholder) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Placeholder(placeholder));
                    at = parser.at;
                }
                Err(error) => {
                    errors.push(error);
                    if errors.is_full() {
                        return pieces;
                    }
                    // Go on behind the broken placeholder, so that later ones are checked too.
                    let skipped = text.get(parser.at..).and_then(|rest| rest.find('}'));
                    at = skipped.map_or(text.len(), |skipped| parser.at + skipped + 1);
                }
            }
        } else {
            literal.push('$');
            at = dollar + 1;
        }
    }
    literal.push_str(text.get(at..).unwrap_or(""));
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    pointer: &'t str,
    /// Where the placeholder starts.
    start: usize,
}

type Parsed<T> = Result<T, TransformError>;

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn blanks(&mut self) {
        while let Some(c) = self.peek().filter(char::is_ascii_whitespace) {
            self.at += c.len_utf8();
        }
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> TransformError {
        TransformError::within(self.pointer, self.text, offset, message)
    }

    fn unclosed(&self) -> TransformError {
        let hint = Some("write `$${` for a literal `${`".to_owned());
        self.error(self.start, "the placeholder is not closed")
            .with_hint(hint)
    }

    fn placeholder(&mut self) -> Parsed<Placeholder> {
        self.blanks();
        let source = self.source()?;
        let mut filters = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    break;
                }
                Some('|') if filters.len() == FILTERS_MAX => {
                    let message = format!("a placeholder has at most {FILTERS_MAX} filters");
                    return Err(self.error(self.at, message));
                }
                Some('|') => {
                    self.at += 1;
                    filters.push(self.filter()?);
                }
                Some(c) => {
                    let message = format!("unexpected `{}` in a placeholder", c.escape_debug());
                    let hint = "names with other characters are written ['name']; a filter \
                                follows `|`";
                    let error = self
                        .error(self.at, message)
                        .with_hint(Some(hint.to_owned()));
                    return Err(error);
                }
                None => return Err(self.unclosed()),
            }
        }
        let written = self.text.get(self.start..self.at).unwrap_or("");
        Ok(Placeholder {
            source,
            filters,
            label: shortened(written).into(),
        })
    }

    fn source(&mut self) -> Parsed<Source> {
        let start = self.at;
        match self.peek() {
            None => return Err(self.unclosed()),
            Some('}') => return Err(self.error(self.start, "the placeholder is empty")),
            Some('@') => {}
            Some(_) => {
                return match Path::parse_prefix(self.rest(), Names::Ours) {
                    Ok((path, length)) => {
                        self.at += length;
                        Ok(Source::Path(path))
                    }
                    Err(error) => {
                        let offset = start + error.offset;
                        let reported = self.error(offset, error.message).with_hint(error.hint);
                        Err(reported)
                    }
                };
            }
        }
        self.at += 1;
        let name = self.word();
        if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            return Ok(Source::Variable(*variable));
        }
        let near = filter::nearest(name, VARIABLES.iter().map(|(known, _)| *known));
        let message = format!("unknown variable `@{}`", shortened(name));
        let hint = near.map(|near| format!("did you mean `@{near}`?"));
        Err(self.error(start, message).with_hint(hint))
    }

    /// Letters, digits and `_` from here on.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    fn filter(&mut self) -> Parsed<Filter> {
        self.blanks();
        let start = self.at;
        let name = self.word();
        if name.is_empty() {
            return Err(match self.peek() {
                None => self.unclosed(),
                Some(_) => self.error(start, "a filter's name must follow `|`"),
            });
        }
        self.blanks();
        let mut args = Vec::new();
        if self.eat(':') {
            loop {
                args.push(self.argument(name == "map")?);
                if !self.eat(',') {
                    break;
                }
            }
        }
        Filter::compile(name, &args).map_err(
            |Refusal {
                 offset,
                 message,
                 hint,
             }| { self.error(offset.unwrap_or(start), message).with_hint(hint) },
        )
    }

    /// Reads up to an unquoted `,`, `|` or `}`. A quote opens only at the start (and behind the
    /// `=` of a case), so that `it's` needs no quoting.
    fn argument(&mut self, is_case: bool) -> Parsed<Arg> {
        self.blanks();
        let mut arg = Arg {
            offset: self.at,
            ..Arg::default()
        };
        let mut fresh = true;
        // Blanks at the end do not count unless they are quoted.
        let mut kept = 0;
        loop {
            match self.peek() {
                None => return Err(self.unclosed()),
                Some(',' | '|' | '}') => break,
                Some(quote @ ('\'' | '"')) if fresh => {
                    self.quoted(quote, &mut arg.text)?;
                    kept = arg.text.len();
                    fresh = false;
                }
                Some('=') if is_case && arg.equals.is_none() => {
                    self.at += 1;
                    arg.text.truncate(kept);
                    arg.equals = Some(arg.text.len());
                    arg.text.push('=');
                    self.blanks();
                    kept = arg.text.len();
                    fresh = true;
                }
                Some(c) => {
                    self.at += c.len_utf8();
                    arg.text.push(c);
                    if !c.is_ascii_whitespace() {
                        kept = arg.text.len();
                    }
                    fresh = false;
                }
            }
        }
        arg.text.truncate(kept);
        Ok(arg)
    }

    fn quoted(&mut self, quote: char, out: &mut String) -> Parsed<()> {
        let start = self.at;
        self.at += 1;
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, c)) => out.push(c),
                    None => break,
                },
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(());
                }
                c => out.push(c),
            }
        }
        Err(self.error(start, "the quoted argument is not closed"))
    }
}

/// At most 80 characters of a text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
    }
}

/// Where a slot stands, which decides how its value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// In a text body.
    Text,
    /// In place of a whole JSON value.
    JsonValue,
    /// Between the quotes of a JSON string.
    JsonString,
}

/// Small differences between our templates and AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Ours,
    /// Missing is `""` also as a whole JSON value; `null` is written out in text; JSON in text
    /// loses its blanks and quotes.
    Aws,
}

#[derive(Clone, Debug)]
enum Input {
    Path(usize),
    Variable(Variable),
    AwsEvent,
}

#[derive(Clone, Debug)]
enum Op {
    Literal(String),
    Slot {
        input: Input,
        filters: Vec<Filter>,
        position: Position,
        label: Box<str>,
    },
}

/// A compiled template.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    ops: Vec<Op>,
    paths: PathSet,
    slots: usize,
    dialect: Dialect,
    missing: Missing,
}

impl Program {
    pub(crate) fn new(dialect: Dialect, missing: Missing) -> Self {
        Self {
            ops: Vec::new(),
            paths: PathSet::default(),
            slots: 0,
            dialect,
            missing,
        }
    }

    pub(crate) fn literal(&mut self, text: &str) {
        if let Some(Op::Literal(last)) = self.ops.last_mut() {
            last.push_str(text);
        } else if !text.is_empty() {
            self.ops.push(Op::Literal(text.to_owned()));
        }
    }

    pub(crate) fn slot(&mut self, placeholder: Placeholder, position: Position) {
        let input = match placeholder.source {
            Source::Path(path) => Input::Path(self.paths.insert(&path)),
            Source::Variable(variable) => Input::Variable(variable),
            Source::AwsEvent => Input::AwsEvent,
        };
        self.slots += 1;
        self.ops.push(Op::Slot {
            input,
            filters: placeholder.filters,
            position,
            label: placeholder.label,
        });
    }

    /// Checks the number of placeholders, once all are in.
    pub(crate) fn check(&self, pointer: &str, errors: &mut Errors) {
        if self.slots > PLACEHOLDERS_MAX {
            let message = format!(
                "{} placeholders, at most {PLACEHOLDERS_MAX} are allowed",
                self.slots
            );
            errors.push(TransformError::at(pointer, message));
        }
    }

    pub(crate) fn render(
        &self,
        event: &str,
        ctx: &Context<'_>,
        escape: Escape,
        limit: usize,
    ) -> Result<String, RenderError> {
        let found = self
            .paths
            .evaluate(event)
            .map_err(|much| RenderError::TooMuchWork {
                code: TEMPLATE_ERROR,
                message: much.0,
            })?;
        let mut out = String::new();
        let mut work = event.len().saturating_mul(PASSES_MAX).saturating_add(limit);
        for op in &self.ops {
            let place: &str = match op {
                Op::Literal(text) => {
                    out.push_str(text);
                    "the template's own text"
                }
                Op::Slot {
                    input,
                    filters,
                    position,
                    label,
                } => {
                    let value = match input {
                        Input::Path(id) => match found.get(*id) {
                            None | Some(Found::Missing) => Value::Missing,
                            Some(Found::One(raw)) => Value::Json((*raw).into()),
                            Some(Found::Many(list)) => Value::List(list),
                        },
                        Input::Variable(variable) => variable.value(ctx),
                        Input::AwsEvent => Value::Json(aws_event(event).into()),
                    };
                    let value = filtered(value, filters, limit, &mut work)
                        .map_err(|stop| stop.into_error(limit, label))?;
                    let escaped = filters.last().and_then(Filter::escape).unwrap_or_default();
                    let escape = if escape.is_met_by(escaped) {
                        Escape::None
                    } else {
                        escape
                    };
                    self.insert(&mut out, value, *position, escape);
                    label
                }
            };
            if out.len() > limit {
                return Err(too_large(limit, place));
            }
        }
        Ok(out)
    }

    fn insert(&self, out: &mut String, value: Value<'_>, position: Position, escape: Escape) {
        let aws = self.dialect == Dialect::Aws;
        // A string of a JSON body is markup to the target as well.
        let value = match position {
            Position::JsonValue if !value.is_string() => value,
            Position::JsonValue | Position::JsonString
                if !matches!(escape, Escape::None) && !value.is_nothing() =>
            {
                Value::Text(escape.apply(&value.into_text()).into_owned().into())
            }
            _ => value,
        };
        match position {
            Position::JsonValue => match value {
                Value::Missing if aws => out.push_str("\"\""),
                value => out.push_str(&value.into_json()),
            },
            Position::JsonString => match value {
                // Already the inside of a JSON string: copied with the escapes it came with.
                Value::Json(raw) => match scan::string_inner(&raw) {
                    Some(inner) => out.push_str(inner),
                    None if raw == "null" && !aws => {}
                    None => scan::escape_into(out, &raw),
                },
                value => scan::escape_into(out, &value.into_text()),
            },
            Position::Text => {
                let missing = if aws {
                    value == Value::Missing
                } else {
                    value.is_nothing()
                };
                if missing {
                    if self.missing == Missing::Dash {
                        out.push('-');
                    }
                    return;
                }
                let text = match value {
                    Value::Json(raw) if aws && scan::string_inner(&raw).is_none() => {
                        aws_text(&raw).into()
                    }
                    Value::List(list) if aws => aws_text(&crate::path::list_text(list)).into(),
                    value => value.into_text(),
                };
                out.push_str(&escape.apply(&text));
            }
        }
    }
}

/// Why a value did not come through its filters.
enum Stop {
    Full,
    Work,
}

impl Stop {
    fn into_error(self, limit: usize, place: &str) -> RenderError {
        match self {
            Self::Full => too_large(limit, place),
            Self::Work => RenderError::TooMuchWork {
                code: TEMPLATE_ERROR,
                message: format!(
                    "the filters read more than {PASSES_MAX} times the event at {place}"
                ),
            },
        }
    }
}

/// Runs a value through its filters.
///
/// `work` is the number of bytes that all filters of one rendering may still read: a large value
/// may be read by a few filters, but not by a thousand placeholders whose output stays small.
fn filtered<'a>(
    mut value: Value<'a>,
    filters: &[Filter],
    limit: usize,
    work: &mut usize,
) -> Result<Value<'a>, Stop> {
    for filter in filters {
        *work = work.checked_sub(value.cost()).ok_or(Stop::Work)?;
        value = filter.apply(value, limit).map_err(|Full| Stop::Full)?;
    }
    *work = work.checked_sub(value.cost()).ok_or(Stop::Work)?;
    Ok(value)
}

fn too_large(limit: usize, place: &str) -> RenderError {
    RenderError::TooLarge {
        code: TEMPLATE_ERROR,
        limit,
        place: place.to_owned(),
    }
}

/// JSON in an AWS text template: without blanks, and without any quote.
fn aws_text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    scan::compact_into(&mut out, raw);
    out.retain(|c| c != '"');
    out
}

/// `aws.events.event`: the event without `detail`, with `detail-type` spelled `detailType`.
fn aws_event(event: &str) -> String {
    let Some(members) = scan::members(event) else {
        return event.to_owned();
    };
    let mut kept: Vec<(String, &str)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (name, value) in members {
        let name = scan::unescape(scan::string_inner(name).unwrap_or(name));
        let name = match &*name {
            "detail" => continue,
            "detail-type" => "detailType".to_owned(),
            _ => name.into_owned(),
        };
        if let Some((_, earlier)) = places.get(&name).and_then(|place| kept.get_mut(*place)) {
            *earlier = value;
        } else {
            places.insert(name.clone(), kept.len());
            kept.push((name, value));
        }
    }
    let mut out = String::from("{");
    for (i, (name, value)) in kept.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&scan::quote(name));
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

/// Compiles a text template.
pub(crate) fn compile(text: &str, missing: Missing, pointer: &str, errors: &mut Errors) -> Program {
    let mut program = Program::new(Dialect::Ours, missing);
    for piece in parse(text, pointer, errors) {
        match piece {
            Piece::Literal(text) => program.literal(&text),
            Piece::Placeholder(placeholder) => program.slot(placeholder, Position::Text),
        }
    }
    program.check(pointer, errors);
    program
}
