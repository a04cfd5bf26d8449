//! One evaluation of a template. What it inserts is kept apart from its own text, so that whoever sends the result can
//! escape values for the medium, whether or not the author thought of it.

use std::fmt::Write as _;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use crate::frame::Wrong;
use crate::{OUTPUT_BYTES_MAX, TEMPLATE_BYTES_MAX};

/// Steps of one evaluation: loops over an event of the largest kind fit, endless ones end in a millisecond.
const FUEL: u64 = 50_000;
/// They stand around what is inserted; a value has none of its own. Both are of no use in any text (private use).
const BEGIN: char = '\u{e000}';
const END: char = '\u{e001}';

/// A part of what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// The template's own text, or a value that its author declared safe (`| safe`, `| tojson`).
    Text(String),
    /// An inserted value.
    Value(String),
}

/// Evaluates a template; without a context it is only read.
pub(crate) fn evaluate(template: &str, context: Option<&str>) -> Result<Vec<Piece>, Wrong> {
    let wrong = |message: String| Wrong {
        message,
        ..Wrong::default()
    };
    if template.len() > TEMPLATE_BYTES_MAX {
        return Err(wrong(format!(
            "the template is larger than {TEMPLATE_BYTES_MAX} bytes"
        )));
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, _, value| {
        if value.is_none() {
            return Ok(());
        }
        let text = value.to_string();
        let ours = |c| c == BEGIN || c == END;
        if value.is_safe() {
            out.write_str(&text.replace(ours, ""))?;
        } else {
            out.write_char(BEGIN)?;
            out.write_str(&text.replace(ours, ""))?;
            out.write_char(END)?;
        }
        Ok(())
    });
    let compiled = environment
        .template_from_str(template)
        .map_err(|error| told(&error))?;
    let Some(context) = context else {
        return Ok(Vec::new());
    };
    let context: serde_json::Value =
        serde_json::from_str(context).map_err(|error| wrong(format!("the context: {error}")))?;
    let text = compiled
        .render(Serde(&context))
        .map_err(|error| told(&error))?;
    if text.len() > OUTPUT_BYTES_MAX {
        return Err(wrong(format!(
            "the result is larger than {OUTPUT_BYTES_MAX} bytes"
        )));
    }
    Ok(pieces(&text))
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(BEGIN) {
        // The template's own text may hold the marks too; alone they mean nothing.
        let (value, after) = from.split_once(END).unwrap_or((from, ""));
        push(&mut pieces, before);
        pieces.push(Piece::Value(value.to_owned()));
        rest = after;
    }
    push(&mut pieces, rest);
    pieces
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    let text = text.replace(END, "");
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn told(error: &minijinja::Error) -> Wrong {
    let line = error.line().unwrap_or(0);
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("the template takes more than {FUEL} steps"),
        (ErrorKind::UndefinedError, _) => {
            "a name that is not there; `| default('-')` says what stands for it".to_owned()
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    Wrong {
        line,
        message,
        ..Wrong::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(template: &str, context: &str) -> String {
        let pieces = evaluate(template, Some(context)).unwrap();
        crate::join(pieces, |value| value.to_uppercase().into())
    }

    #[test]
    fn what_is_inserted_is_told_from_the_templates_own_text() {
        let context = r#"{"event":{"subject":"ins-1","n":1.50,"list":["a","b"],"gone":null}}"#;
        let whole = "a {{ event.subject }} {% for x in event.list %}<{{ x }}>{% endfor %}{{ event.gone }} b";
        assert_eq!(text(whole, context), "a INS-1 <A><B> b");
        assert_eq!(
            text("{{ event.list | tojson }}", context),
            r#"["a", "b"]"#,
            "what the author declares safe stays"
        );
        assert_eq!(text("{% if event.nope %}x{% endif %}-", context), "-");
    }

    #[test]
    fn values_cannot_pass_for_the_templates_text() {
        let context = format!(r#"{{"x":"a{END}b{BEGIN}c"}}"#);
        assert_eq!(text("<{{ x }}>", &context), "<ABC>");
        assert_eq!(
            text("{% set y %}<{{ x }}>{% endset %}{{ y }}", &context),
            "<ABC>"
        );
    }

    #[test]
    fn a_template_at_fault_is_told_with_its_line() {
        let wrong = evaluate("a\n{% if %}", None).unwrap_err();
        assert_eq!(wrong.line, 2);
        let wrong = evaluate("a\n\n{{ nope }}", Some("{}")).unwrap_err();
        assert_eq!(wrong.line, 3);
        assert!(wrong.message.contains("default"), "{wrong:?}");
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        let wrong = evaluate(loops, Some("{}")).unwrap_err();
        assert!(wrong.message.contains("steps"), "{wrong:?}");
    }
}
