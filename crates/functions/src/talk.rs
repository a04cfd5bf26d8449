//! The conversation with a worker, over a socket. Runtimes with a conversation of their own have somebody who speaks for them
//! (`custom`).
//!
//! Every message is a line of JSON. After the line of an invocation come the bytes of its event, as they are:
//!
//! | to the worker | from the worker |
//! |---|---|
//! | `init {dir, handler, profile, drain, answerBytesMax}` | `ready {initUs, version}` or `init_error {error}` |
//! | `invoke {id, deadlineMs, context, eventBytes}`, the event | `result {id, done, value}` or `error {id, done, kind, error}`, one of them |
//! | | `late_error {id, error}`: nobody caught it, after the answer |
//! | | `done {id}`: nothing is left to be done |
//! | end of file: please end | end of file: gone |
//!
//! It must never know what an invocation's end means.

use std::io;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use uuid::Uuid;

use crate::invocation::Failure;

/// What a message may have beside its answer, in bytes: the largest error that a runtime of the code's own may report, twice, and
/// as JSON.
const BESIDE_ANSWER_BYTES: usize = 1024 * 1024;

/// An invocation, as a worker is asked for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Which.
    pub(crate) request_id: Uuid,
    /// Until when, ms since 1970.
    pub(crate) deadline_ms: i64,
    /// The context of the profile.
    pub(crate) context: &'a Value,
    /// JSON text.
    pub(crate) event: &'a str,
}

/// What a worker says.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// The code is loaded.
    Ready {
        /// How long that took, in microseconds.
        init_us: u64,
    },
    /// The code cannot be loaded.
    InitError(Failure),
    /// The answer, as JSON text. `done`: and nothing is left to be done.
    Answer { id: Uuid, value: String, done: bool },
    /// There will be no answer.
    Error {
        id: Uuid,
        kind: ErrorKind,
        failure: Failure,
        done: bool,
    },
    /// Nobody caught it, after the answer.
    LateError { id: Uuid, failure: Failure },
    /// Nothing is left to be done.
    Done { id: Uuid },
    /// The other end is closed.
    Gone,
}

/// Why there will be no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorKind {
    /// The handler threw.
    Exception,
    /// Something else threw, and nobody caught it; the process ends.
    Uncaught,
    /// The answer is no JSON.
    NotSerializable,
    /// Nothing is left to be done.
    NoAnswer,
    /// The answer is too large.
    TooLarge,
}

/// The conversation with one worker.
pub(crate) struct Talk {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    line: Vec<u8>,
    line_bytes_max: usize,
}

impl Talk {
    /// `answer_bytes_max`: the largest answer.
    pub(crate) fn new(socket: UnixStream, answer_bytes_max: usize) -> Self {
        let (from, to) = socket.into_split();
        Self {
            from: BufReader::with_capacity(16 * 1024, from),
            to,
            line: Vec::new(),
            line_bytes_max: answer_bytes_max.saturating_add(BESIDE_ANSWER_BYTES),
        }
    }

    /// Says what it is to load.
    ///
    /// # Errors
    /// It does not listen.
    pub(crate) async fn init(&mut self, init: &Value) -> io::Result<()> {
        self.to.write_all(format!("{init}\n").as_bytes()).await
    }

    /// Gives it an invocation. A worker of which this was dropped half-way must be ended.
    ///
    /// # Errors
    /// It does not listen any more.
    pub(crate) async fn ask(&mut self, ask: &Ask<'_>) -> io::Result<()> {
        let mut message = format!(
            r#"{{"type":"invoke","id":"{}","deadlineMs":{},"eventBytes":{},"context":{}}}"#,
            ask.request_id,
            ask.deadline_ms,
            ask.event.len(),
            ask.context
        );
        message.push('\n');
        message.push_str(ask.event);
        self.to.write_all(message.as_bytes()).await
    }

    /// What it says next. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// It broke the rules; the text says how.
    pub(crate) async fn hear(&mut self) -> Result<Heard, String> {
        loop {
            // A worker that is gone and one whose connection was reset are the same.
            let Ok(bytes) = self.from.fill_buf().await else {
                return Ok(Heard::Gone);
            };
            if bytes.is_empty() {
                return Ok(Heard::Gone);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(bytes.len());
            if self.line.len() + taken > self.line_bytes_max {
                return Err(format!(
                    "a message of more than {} bytes",
                    self.line_bytes_max
                ));
            }
            self.line
                .extend_from_slice(bytes.get(..taken).unwrap_or_default());
            self.from.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return read(&line);
            }
        }
    }
}

/// A message as it stands in its line. Unknown members are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: MessageKind,
    id: Option<Uuid>,
    #[serde(default)]
    done: bool,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(rename = "kind")]
    error_kind: Option<ErrorKind>,
    error: Option<Failure>,
    #[serde(default)]
    init_us: u64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum MessageKind {
    Ready,
    InitError,
    Result,
    Error,
    LateError,
    Done,
}

fn read(line: &[u8]) -> Result<Heard, String> {
    let message: Message<'_> = serde_json::from_slice(line)
        .map_err(|error| format!("a line that is no message: {error}"))?;
    let id = message.id.ok_or("a message without its id");
    let failure = message.error.ok_or("a message without its error");
    Ok(match message.kind {
        MessageKind::Ready => Heard::Ready {
            init_us: message.init_us,
        },
        MessageKind::InitError => Heard::InitError(failure?),
        MessageKind::Result => Heard::Answer {
            id: id?,
            value: message.value.map_or("null", RawValue::get).to_owned(),
            done: message.done,
        },
        MessageKind::Error => Heard::Error {
            id: id?,
            kind: message.error_kind.ok_or("an error without its kind")?,
            failure: failure?,
            done: message.done,
        },
        MessageKind::LateError => Heard::LateError {
            id: id?,
            failure: failure?,
        },
        MessageKind::Done => Heard::Done { id: id? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_and_what_is_none_is_told() {
        let id = Uuid::nil();
        let answer = |value: &str, done| Heard::Answer {
            id,
            value: value.to_owned(),
            done,
        };
        let text = |rest: &str| format!(r#"{{"type":{rest}}}"#).replace("ID", &id.to_string());
        for (line, heard) in [
            (r#""result","id":"ID","value":null"#, answer("null", false)),
            (
                r#""result","id":"ID","done":true,"value":{"a": 1.50},"more":1"#,
                answer(r#"{"a": 1.50}"#, true),
            ),
            (
                r#""ready","initUs":7,"version":"20""#,
                Heard::Ready { init_us: 7 },
            ),
            (r#""done","id":"ID""#, Heard::Done { id }),
        ] {
            assert_eq!(read(text(line).as_bytes()), Ok(heard), "{line}");
        }
        for (line, word) in [
            (r#""done""#, "without its id"),
            (r#""init_error""#, "without its error"),
            (
                r#""error","id":"ID","error":{"type":"E","message":"m"}"#,
                "without its kind",
            ),
            (r#""result","id":"ID","value":NaN"#, "no message"),
            (r#""dance","id":"ID""#, "no message"),
        ] {
            let told = read(text(line).as_bytes()).unwrap_err();
            assert!(told.contains(word), "{line}: {told}");
        }
    }
}
