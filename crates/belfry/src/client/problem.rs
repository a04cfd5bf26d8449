//! What the server says when it refuses, in words for the command line.

use http::StatusCode;
use serde_json::Value;

use super::Answer;
use crate::failure::{Exit, Failure};
use crate::output::printable;

/// The failure that an answer stands for.
pub fn failure(answer: &Answer, with_key: bool) -> Failure {
    let message = message(answer);
    let failure = Failure {
        exit: exit_of(answer.status),
        message,
        hint: None,
        transient: answer.status.is_server_error()
            || answer.status == StatusCode::TOO_MANY_REQUESTS,
    };
    match answer.status {
        StatusCode::UNAUTHORIZED if !with_key => failure.hint(
            "give an API key: export BELFRY_API_KEY=..., --api-key or --api-key-file. The first start of a server prints one",
        ),
        StatusCode::UNAUTHORIZED => {
            failure.hint("the key is wrong, expired or revoked, or belongs to another server (see --url)")
        }
        StatusCode::FORBIDDEN => failure.hint("`belfry key list` (with an admin key) shows what each key may do"),
        StatusCode::PRECONDITION_FAILED => failure.hint("somebody else changed it in the meantime; look again, then repeat"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => match answer.retry_after() {
            Some(wait) => failure.hint(format!("try again in {} s", wait.as_secs().max(1))),
            None => failure.hint("try again later"),
        },
        _ => failure,
    }
}

fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::BAD_REQUEST
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// Title, detail and every member that is wrong.
pub fn message(answer: &Answer) -> String {
    let Ok(problem) = serde_json::from_slice::<Value>(&answer.body) else {
        let text: String = answer.text().chars().take(300).collect();
        return format!(
            "the server answered {}: {}",
            answer.status,
            printable(text.trim())
        );
    };
    let text = |name: &str| {
        problem
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let errors = problem
        .get("errors")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    // With errors, the detail only repeats the first of them.
    let detail = text("detail").filter(|_| errors.is_empty());
    let mut message = match (text("title"), detail) {
        (Some(title), Some(detail)) if title != detail => format!("{title}: {detail}"),
        (Some(text), _) | (None, Some(text)) => text.to_owned(),
        (None, None) => format!("the server answered {}", answer.status),
    };
    for error in errors {
        message.push_str("\n  ");
        message.push_str(&field(error));
    }
    message
        .split('\n')
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
}

/// One wrong member: `pointer line 2 column 5: detail`, with the place in its text and what would be right where the server says so.
pub fn field(error: &Value) -> String {
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let pointer = text("pointer");
    let place = if pointer.is_empty() {
        "(whole document)"
    } else {
        pointer
    };
    let number = |name: &str| error.get(name).and_then(Value::as_u64);
    let place = match (number("line"), number("column")) {
        (Some(line), Some(column)) => format!("{place} line {line} column {column}"),
        (Some(line), None) => format!("{place} line {line}"),
        (None, _) => place.to_owned(),
    };
    match text("hint") {
        "" => format!("{place}: {}", text("detail")),
        hint => format!("{place}: {} ({hint})", text("detail")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn problems_become_messages_with_every_member_and_an_exit_code() {
        let body = r#"{"title":"Invalid","detail":"2 errors","errors":[{"pointer":"/a","detail":"x"},{"pointer":"","detail":"y"}]}"#;
        let failure = failure(&answer(400, body), true);
        assert_eq!(failure.message, "Invalid\n  /a: x\n  (whole document): y");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn what_would_be_right_is_said() {
        let error = serde_json::json!({"pointer": "/p", "detail": "no operator `prefx`", "hint": "did you mean `prefix`?"});
        assert_eq!(
            field(&error),
            "/p: no operator `prefx` (did you mean `prefix`?)"
        );
    }

    #[test]
    fn the_place_in_a_text_is_said() {
        let error = serde_json::json!({"pointer": "/transform/source", "detail": "no `is`", "line": 2, "column": 22});
        assert_eq!(field(&error), "/transform/source line 2 column 22: no `is`");
    }

    #[test]
    fn what_to_do_about_a_missing_key_is_said() {
        let without = failure(&answer(401, "{}"), false).to_string();
        assert!(without.contains("BELFRY_API_KEY"), "{without}");
        assert_eq!(failure(&answer(404, "{}"), true).exit, Exit::NotFound);
    }

    #[test]
    fn an_answer_of_some_other_server_is_shown_safely() {
        let shown = failure(&answer(502, "<html>\u{1b}[2J bad gateway"), true).message;
        assert!(
            shown.contains("502") && shown.contains("bad gateway") && !shown.contains('\u{1b}'),
            "{shown}"
        );
    }
}
