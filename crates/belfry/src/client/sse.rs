//! Reads server-sent events.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::failure::{Failure, Result};

/// Longest event; a server that sends more is none of ours.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// To resume after it.
    pub id: Option<String>,
    /// Its name; `message` if the server gave none.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
}

impl Parser {
    /// Takes more bytes; returns the events that are complete now.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
                    return Err(Failure::failed("the server sent an event without end"));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line =
                String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            events.extend(self.take_line(&line));
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then(|| SseEvent {
                name: if event.name.is_empty() {
                    "message".to_owned()
                } else {
                    event.name
                },
                ..event
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            // Comments keep the connection alive.
            _ => {}
        }
        None
    }
}

/// The events of an answer, until it ends.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    parser: Parser,
}

impl Stream {
    /// Of this body.
    pub fn new(body: Incoming) -> Self {
        Self {
            body,
            parser: Parser::default(),
        }
    }

    /// The next events; `None` when the stream has ended or broken.
    pub async fn next(&mut self) -> Result<Option<Vec<SseEvent>>> {
        loop {
            let Some(Ok(frame)) = self.body.frame().await else {
                return Ok(None);
            };
            if let Some(bytes) = frame.data_ref() {
                let events = self.parser.push(bytes)?;
                if !events.is_empty() {
                    return Ok(Some(events));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let text = ": hello\n\nid: 7\nevent: delivery\ndata: {\"a\":1}\n\nretry: 5\ndata: x\r\ndata: y\r\n\r\ndata: cut";
        let whole = Parser::default().push(text.as_bytes()).unwrap();
        let mut parser = Parser::default();
        let single: Vec<SseEvent> = text
            .as_bytes()
            .chunks(1)
            .flat_map(|byte| parser.push(byte).unwrap())
            .collect();
        assert_eq!(whole, single);
        assert_eq!(
            whole,
            [
                SseEvent {
                    id: Some("7".to_owned()),
                    name: "delivery".to_owned(),
                    data: "{\"a\":1}".to_owned()
                },
                SseEvent {
                    id: None,
                    name: "message".to_owned(),
                    data: "x\ny".to_owned()
                },
            ]
        );
    }
}
