//! What scripts find beside the language: names of Python's modules, pure functions only.
//!
//! Nothing here reads a clock, a file or a source of chance: the time and the seed come with the message, so that
//! an event that is tried again gives the same result.

use std::fmt::Write as _;
use std::io;

use anyhow::{anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, Offset as _, TimeZone as _, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension, Module};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::none::NoneOr;
use starlark::values::{Heap, UnpackValue as _, Value};

use super::{Bounded, module, wrong};
use crate::OUTPUT_BYTES_MAX;
use crate::frame::Wrong;

/// Written in the language itself.
const PRELUDE: &str = include_str!("prelude.star");
/// Memory of a compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Longest format of a time, in bytes.
const TIME_FORMAT_BYTES_MAX: usize = 256;

/// The names that every script sees.
pub(super) fn globals() -> Result<Globals, Wrong> {
    let hidden = builder().with(hidden).build();
    let prelude = module("prelude", PRELUDE, &hidden)?;
    let mut globals = builder();
    let re = prelude
        .get("re")
        .map_err(|error| wrong(format!("the library: {error}")))?;
    globals.set("re", re);
    Ok(globals.build())
}

fn builder() -> GlobalsBuilder {
    let extensions = [
        LibraryExtension::StructType,
        LibraryExtension::Map,
        LibraryExtension::Filter,
        LibraryExtension::Print,
    ];
    let mut globals = GlobalsBuilder::extended_by(&extensions).with(numbers_and_texts);
    globals.namespace("json", json);
    globals.namespace("time", time);
    globals.namespace("math", |builder| {
        math(builder);
        builder.set("pi", std::f64::consts::PI);
        builder.set("e", std::f64::consts::E);
    });
    globals.namespace("base64", base64_text);
    globals.namespace("hashlib", hashlib);
    globals.namespace("hmac", hmac_text);
    globals.namespace("random", random);
    globals
}

/// When it is, and what chance is made of, for one evaluation.
pub(super) fn set_occasion(module: &Module, now_ms: i64, seed: &str) {
    let digest = Sha256::digest(seed);
    let seed = digest
        .iter()
        .take(8)
        .fold(0, |seed, byte| (seed << 8) | i64::from(*byte));
    module.set_extra_value(module.heap().alloc((now_ms, seed)));
}

fn occasion(evaluator: &Evaluator<'_, '_, '_>) -> anyhow::Result<(i64, i64)> {
    let occasion = evaluator.module().extra_value();
    occasion
        .and_then(|value| <(i64, i64)>::unpack_value(value).ok().flatten())
        .ok_or_else(|| anyhow!("time and random are only there inside of dw_process"))
}

/// 53 bits of chance (splitmix64), moved on by each call.
fn chance(evaluator: &mut Evaluator<'_, '_, '_>) -> anyhow::Result<u64> {
    let (now_ms, state) = occasion(evaluator)?;
    let state = state.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let module = evaluator.module();
    module.set_extra_value(module.heap().alloc((now_ms, state.cast_signed())));
    Ok((mixed ^ (mixed >> 31)) >> 11)
}

#[starlark_module]
fn numbers_and_texts(builder: &mut GlobalsBuilder) {
    /// As in Python: to the even neighbour when both are equally near; a whole number without `digits`.
    fn round<'v>(
        #[starlark(require = pos)] x: Value<'v>,
        #[starlark(require = pos)] digits: Option<i32>,
        heap: &'v Heap,
    ) -> anyhow::Result<Value<'v>> {
        if x.get_type() == "int" {
            return Ok(x);
        }
        let x = number(x)?;
        let Some(digits) = digits else {
            return Ok(heap.alloc(whole(x.round_ties_even())?));
        };
        let Ok(places) = usize::try_from(digits) else {
            let unit = 10_f64.powi(-digits.max(-308));
            return Ok(heap.alloc((x / unit).round_ties_even() * unit));
        };
        let rounded: f64 = format!("{x:.*}", places.min(30)).parse()?;
        Ok(heap.alloc(rounded))
    }

    /// The sum of numbers; of lists or texts too, when `start` is one.
    fn sum<'v>(
        #[starlark(require = pos)] items: Value<'v>,
        #[starlark(require = pos)] start: Option<Value<'v>>,
        heap: &'v Heap,
    ) -> starlark::Result<Value<'v>> {
        let mut total = start.unwrap_or_else(|| heap.alloc(0));
        for item in items.iterate(heap)? {
            total = total.add(item, heap)?;
        }
        Ok(total)
    }

    /// `base` to the power of `exponent`.
    fn pow<'v>(
        #[starlark(require = pos)] base: Value<'v>,
        #[starlark(require = pos)] exponent: Value<'v>,
        heap: &'v Heap,
    ) -> anyhow::Result<Value<'v>> {
        power(base, exponent, heap)
    }

    /// Without the blanks that all lines after the first begin with, and those before the first.
    fn dedent(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        let blanks = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
        let lines = text.split('\n').skip(1);
        let margin = lines
            .filter(|line| !line.trim().is_empty())
            .map(blanks)
            .min();
        let margin = margin.unwrap_or(0);
        let mut out = String::with_capacity(text.len());
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                out.push('\n');
            }
            let cut = if n == 0 {
                blanks(line)
            } else {
                margin.min(blanks(line))
            };
            out.push_str(line.get(cut..).unwrap_or_default());
        }
        Ok(out)
    }
}

#[starlark_module]
fn json(builder: &mut GlobalsBuilder) {
    fn loads<'v>(
        #[starlark(require = pos)] text: &str,
        heap: &'v Heap,
    ) -> anyhow::Result<Value<'v>> {
        read(text, heap)
    }

    fn decode<'v>(
        #[starlark(require = pos)] text: &str,
        heap: &'v Heap,
    ) -> anyhow::Result<Value<'v>> {
        read(text, heap)
    }

    /// With blanks after `,` and `:`, as Python writes it; what is not ASCII stays as it is.
    fn dumps<'v>(
        #[starlark(require = pos)] x: Value<'v>,
        #[starlark(require = named, default = NoneOr::None)] indent: NoneOr<i32>,
    ) -> anyhow::Result<String> {
        match indent.into_option() {
            None => written(x, Blanks),
            Some(n) => {
                let blanks = " ".repeat(usize::try_from(n).unwrap_or(0).min(16));
                written(x, PrettyFormatter::with_indent(blanks.as_bytes()))
            }
        }
    }

    /// The shortest form.
    fn encode<'v>(#[starlark(require = pos)] x: Value<'v>) -> anyhow::Result<String> {
        written(x, serde_json::ser::CompactFormatter)
    }
}

fn read<'v>(text: &str, heap: &'v Heap) -> anyhow::Result<Value<'v>> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| anyhow!("the text is no JSON: {error}"))?;
    Ok(heap.alloc(value))
}

fn written(x: Value<'_>, formatter: impl Formatter) -> anyhow::Result<String> {
    let mut bytes = Bounded::new(4 * OUTPUT_BYTES_MAX);
    x.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| {
            if error.is_io() {
                anyhow!("the JSON is larger than {} bytes", 4 * OUTPUT_BYTES_MAX)
            } else {
                anyhow!("this cannot be written as JSON: {error}")
            }
        })?;
    Ok(bytes.into_text())
}

/// JSON as Python writes it.
struct Blanks;

impl Formatter for Blanks {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

#[starlark_module]
fn time(builder: &mut GlobalsBuilder) {
    /// Seconds since 1970 when the attempt began.
    fn time(eval: &mut Evaluator<'_, '_, '_>) -> anyhow::Result<f64> {
        let (now_ms, _) = occasion(eval)?;
        #[allow(
            clippy::cast_precision_loss,
            reason = "exact for hundreds of thousands of years"
        )]
        Ok(now_ms as f64 / 1000.0)
    }

    /// `at`: seconds or milliseconds since 1970, or a text of RFC 3339; now by default. `zone`: `Asia/Shanghai`, `+08:00`.
    fn strftime<'v>(
        #[starlark(require = pos)] format: &str,
        #[starlark(require = pos)] at: Option<Value<'v>>,
        #[starlark(require = pos, default = "UTC")] zone: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<String> {
        let at = match at {
            Some(value) => instant(value)?,
            None => at_ms(occasion(eval)?.0)?,
        };
        let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
        if format.len() > TIME_FORMAT_BYTES_MAX || items.contains(&Item::Error) {
            bail!("`{format}` is no format of a time; `%Y-%m-%d %H:%M:%S` is one");
        }
        let at = at.with_timezone(&offset(zone, at)?);
        let mut out = String::new();
        write!(out, "{}", at.format_with_items(items.iter()))
            .map_err(|_| anyhow!("the time cannot be written as `{format}`"))?;
        Ok(out)
    }
}

fn offset(zone: &str, at: DateTime<Utc>) -> anyhow::Result<FixedOffset> {
    if let Ok(offset) = zone.parse() {
        return Ok(offset);
    }
    let zone: chrono_tz::Tz = zone
        .parse()
        .map_err(|_| anyhow!("`{zone}` is no time zone; `Asia/Shanghai` and `+08:00` are"))?;
    Ok(zone.offset_from_utc_datetime(&at.naive_utc()).fix())
}

fn instant(value: Value<'_>) -> anyhow::Result<DateTime<Utc>> {
    if let Some(text) = value.unpack_str() {
        if let Ok(time) = DateTime::parse_from_rfc3339(text.trim()) {
            return Ok(time.to_utc());
        }
        let seconds = text.trim().parse().map_err(|_| {
            anyhow!("`{text}` is no time: expected seconds, milliseconds or RFC 3339")
        })?;
        return from_number(seconds);
    }
    from_number(number(value)?)
}

/// Seconds up to the year 5138, milliseconds above.
fn from_number(number: f64) -> anyhow::Result<DateTime<Utc>> {
    let ms = if number.abs() < 1e11 {
        number * 1000.0
    } else {
        number
    };
    at_ms(whole(ms.floor())?)
}

fn at_ms(ms: i64) -> anyhow::Result<DateTime<Utc>> {
    DateTime::from_timestamp_millis(ms).ok_or_else(|| anyhow!("{ms} is no time"))
}

#[starlark_module]
fn math(builder: &mut GlobalsBuilder) {
    fn ceil(#[starlark(require = pos)] x: UnpackFloat) -> anyhow::Result<i64> {
        whole(x.0.ceil())
    }

    fn floor(#[starlark(require = pos)] x: UnpackFloat) -> anyhow::Result<i64> {
        whole(x.0.floor())
    }

    fn fabs(#[starlark(require = pos)] x: UnpackFloat) -> anyhow::Result<f64> {
        Ok(x.0.abs())
    }

    fn sqrt(#[starlark(require = pos)] x: UnpackFloat) -> anyhow::Result<f64> {
        if x.0 < 0.0 {
            bail!("{} has no square root", x.0);
        }
        Ok(x.0.sqrt())
    }

    fn pow(
        #[starlark(require = pos)] base: UnpackFloat,
        #[starlark(require = pos)] exponent: UnpackFloat,
    ) -> anyhow::Result<f64> {
        Ok(base.0.powf(exponent.0))
    }
}

fn number(value: Value<'_>) -> anyhow::Result<f64> {
    UnpackFloat::unpack_value(value)
        .ok()
        .flatten()
        .map(|number| number.0)
        .ok_or_else(|| anyhow!("expected a number, got a {}", value.get_type()))
}

fn whole(x: f64) -> anyhow::Result<i64> {
    if x.abs() < 9e18 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "its range was just looked at"
        )]
        Ok(x as i64)
    } else {
        Err(anyhow!("{x} is no whole number of up to 63 bits"))
    }
}

fn power<'v>(base: Value<'v>, exponent: Value<'v>, heap: &'v Heap) -> anyhow::Result<Value<'v>> {
    let int = |value: Value<'v>| i64::unpack_value(value).ok().flatten();
    if let (Some(base), Some(exponent @ 0..)) = (int(base), int(exponent)) {
        let result = u32::try_from(exponent)
            .ok()
            .and_then(|exponent| base.checked_pow(exponent));
        return result.map(|result| heap.alloc(result)).ok_or_else(|| {
            anyhow!("the result has more than 63 bits; `math.pow` gives it roughly")
        });
    }
    Ok(heap.alloc(number(base)?.powf(number(exponent)?)))
}

#[starlark_module]
fn base64_text(builder: &mut GlobalsBuilder) {
    fn b64encode(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(STANDARD.encode(text))
    }

    fn b64decode(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|error| anyhow!("this is no base64: {error}"))?;
        String::from_utf8(bytes).map_err(|_| anyhow!("what is encoded is no text in UTF-8"))
    }
}

#[starlark_module]
fn hashlib(builder: &mut GlobalsBuilder) {
    fn md5(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(hex::encode(Md5::digest(text)))
    }

    fn sha1(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(hex::encode(Sha1::digest(text)))
    }

    fn sha256(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(hex::encode(Sha256::digest(text)))
    }
}

#[starlark_module]
fn hmac_text(builder: &mut GlobalsBuilder) {
    /// The code of a text as hexadecimal digits; `name` is `md5`, `sha1` or `sha256`.
    fn new(
        #[starlark(require = pos)] key: &str,
        #[starlark(require = pos)] text: &str,
        #[starlark(require = pos, default = "sha256")] name: &str,
    ) -> anyhow::Result<String> {
        macro_rules! code {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(key.as_bytes())?;
                mac.update(text.as_bytes());
                Ok(hex::encode(mac.finalize().into_bytes()))
            }};
        }
        match name {
            "md5" => code!(Md5),
            "sha1" => code!(Sha1),
            "sha256" => code!(Sha256),
            other => bail!("`{other}` is none of md5, sha1, sha256"),
        }
    }
}

#[starlark_module]
fn random(builder: &mut GlobalsBuilder) {
    /// From 0 to below 1. The seed is the event's id: an event that is tried again gets the same numbers.
    fn random(eval: &mut Evaluator<'_, '_, '_>) -> anyhow::Result<f64> {
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
        Ok(chance(eval)? as f64 / (1_u64 << 53) as f64)
    }

    /// From `least` to `most`, both included.
    fn randint(
        #[starlark(require = pos)] least: i32,
        #[starlark(require = pos)] most: i32,
        eval: &mut Evaluator<'_, '_, '_>,
    ) -> anyhow::Result<i64> {
        let (least, most) = (i64::from(least), i64::from(most));
        let Ok(range @ 1..) = u64::try_from(most - least + 1) else {
            bail!("{most} is less than {least}");
        };
        Ok(least + (chance(eval)? % range).cast_signed())
    }

    fn choice<'v>(
        #[starlark(require = pos)] items: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<Value<'v>> {
        let items = ListRef::from_value(items).ok_or_else(|| anyhow!("expected a list"))?;
        let count = u64::try_from(items.len())?.max(1);
        let at = usize::try_from(chance(eval)? % count)?;
        let item = items.content().get(at).copied();
        item.ok_or_else(|| anyhow!("the list is empty"))
    }
}

/// What the prelude makes `re` of.
#[starlark_module]
fn hidden(builder: &mut GlobalsBuilder) {
    /// The groups of the first match, the whole one first; `None` when there is none.
    fn _re_find<'v>(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
        #[starlark(require = pos)] at_start: bool,
        heap: &'v Heap,
    ) -> anyhow::Result<Value<'v>> {
        let regex = regex(pattern)?;
        let mut found = regex.create_captures();
        let anchored = if at_start {
            Anchored::Yes
        } else {
            Anchored::No
        };
        regex.captures(Input::new(text).anchored(anchored), &mut found);
        if !found.is_match() {
            return Ok(Value::new_none());
        }
        let group = |n| match found.get_group(n) {
            Some(span) => heap.alloc(text.get(span.range()).unwrap_or_default()),
            None => Value::new_none(),
        };
        let groups: Vec<Value<'v>> = (0..found.group_len()).map(group).collect();
        Ok(heap.alloc(groups))
    }

    /// Replaces matches, `count` at most (0: all); `\1` in `replacement` is a group.
    fn _re_sub(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] replacement: &str,
        #[starlark(require = pos)] text: &str,
        #[starlark(require = pos)] count: i32,
    ) -> anyhow::Result<String> {
        let regex = regex(pattern)?;
        let most = usize::try_from(count).ok().filter(|most| *most > 0);
        let mut out = String::new();
        let mut end = 0;
        for found in regex.captures_iter(text).take(most.unwrap_or(usize::MAX)) {
            let Some(span) = found.get_match() else { break };
            out.push_str(text.get(end..span.start()).unwrap_or_default());
            let mut rest = replacement.chars();
            while let Some(c) = rest.next() {
                match (c, rest.as_str().chars().next()) {
                    ('\\', Some(digit @ '0'..='9')) => {
                        rest.next();
                        let group = digit.to_digit(10).unwrap_or(0) as usize;
                        let span = found.get_group(group);
                        out.push_str(
                            span.and_then(|span| text.get(span.range()))
                                .unwrap_or_default(),
                        );
                    }
                    ('\\', Some('\\')) => {
                        rest.next();
                        out.push('\\');
                    }
                    _ => out.push(c),
                }
            }
            end = span.end();
            if out.len() > 4 * OUTPUT_BYTES_MAX {
                bail!("the text is larger than {} bytes", 4 * OUTPUT_BYTES_MAX);
            }
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Ok(out)
    }
}

/// Linear in the text, whatever the expression.
fn regex(pattern: &str) -> anyhow::Result<Regex> {
    Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX)))
        .build(pattern)
        .map_err(|error| {
            let why = error
                .syntax_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            let why = why.lines().last().unwrap_or_default().to_owned();
            anyhow!("`{pattern}` is no regular expression: {why}")
        })
}
