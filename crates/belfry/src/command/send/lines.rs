//! Reading events line by line, on a thread of its own: standard input cannot be waited for in any other way.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// An event to send.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Where it stands, for messages.
    pub(super) place: String,
    /// Its JSON, with an id; else why it cannot be sent.
    pub(super) event: Result<String, String>,
}

impl Line {
    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, String::len)
    }
}

/// Where lines come from.
pub(super) struct LineSource {
    name: Arc<str>,
    input: Box<dyn BufRead + Send>,
    /// One event over several lines. `None`: the first line tells.
    single: Option<bool>,
}

impl LineSource {
    pub(super) fn single(name: &str, text: String) -> Self {
        Self {
            name: name.into(),
            input: Box::new(Cursor::new(text)),
            single: Some(true),
        }
    }
    pub(super) fn stdin() -> Self {
        Self {
            name: "line".into(),
            input: Box::new(BufReader::new(std::io::stdin())),
            single: None,
        }
    }
    pub(super) fn file(path: &Path) -> std::io::Result<Self> {
        let name = format!("{} line", path.display()).into();
        Ok(Self {
            name,
            input: Box::new(BufReader::new(File::open(path)?)),
            single: Some(false),
        })
    }
}

/// Longest line; the server takes no event that large.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a batch that is not full waits for more lines: senders that write line by line should not wait for 500.
const LINGER: Duration = Duration::from_millis(20);

/// A batch is full with so many bytes: well below what a server takes in one request unless told otherwise.
const BATCH_BYTES: usize = 1024 * 1024;

/// Lines as they are read.
pub(super) struct Lines {
    incoming: mpsc::Receiver<Line>,
    /// The batch that is being filled. Kept here, so that a call that is cut off loses none of it.
    batch: Vec<Line>,
}

impl Lines {
    /// The next lines, at most `max`; empty at the end. May be cut off and called again.
    pub(super) async fn batch(&mut self, max: usize) -> Vec<Line> {
        if self.batch.is_empty() {
            self.batch.extend(self.incoming.recv().await);
        }
        let mut bytes: usize = self.batch.iter().map(Line::bytes).sum();
        while !self.batch.is_empty() && self.batch.len() < max && bytes < BATCH_BYTES {
            match tokio::time::timeout(LINGER, self.incoming.recv()).await {
                Ok(Some(line)) => {
                    bytes += line.bytes();
                    self.batch.push(line);
                }
                Ok(None) | Err(_) => break,
            }
        }
        std::mem::take(&mut self.batch)
    }
}

/// Starts to read.
pub(super) fn read(sources: Vec<LineSource>, ahead: usize) -> Lines {
    let (sender, receiver) = mpsc::channel(ahead);
    std::thread::spawn(move || {
        for source in sources {
            if read_source(source, &sender).is_none() {
                return;
            }
        }
    });
    Lines {
        incoming: receiver,
        batch: Vec::new(),
    }
}

/// `None` when nobody listens any more.
fn read_source(mut source: LineSource, lines: &mpsc::Sender<Line>) -> Option<()> {
    let name = Arc::clone(&source.name);
    let mut number = 0_u64;
    loop {
        number += 1;
        let place = format!("{name} {number}");
        let mut text = Vec::new();
        let read = source
            .input
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut text);
        if let Err(error) = &read {
            return lines
                .blocking_send(Line {
                    place,
                    event: Err(error.to_string()),
                })
                .ok();
        }
        if matches!(read, Ok(0)) {
            return Some(());
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let single = *source
            .single
            .get_or_insert_with(|| serde_json::from_slice::<&RawValue>(&text).is_err());
        if single {
            let rest = source
                .input
                .by_ref()
                .take(LINE_BYTES_MAX)
                .read_to_end(&mut text);
            let event = rest
                .map_err(|error| error.to_string())
                .and_then(|_| event(&text));
            // A name that ends in "line" counts lines; the whole is no line.
            let place = name
                .strip_suffix("line")
                .map_or_else(|| name.to_string(), |name| format!("{name}the event"));
            return lines.blocking_send(Line { place, event }).ok();
        }
        lines
            .blocking_send(Line {
                place,
                event: event(&text),
            })
            .ok()?;
    }
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// The event as it is written, with an id in front if it has none.
fn event(text: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the text is no UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let Some(members) = text.strip_prefix('{') else {
        return Err("expected an event as a JSON object".to_owned());
    };
    let probe: Probe<'_> =
        serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    if probe.id.is_some() {
        return Ok(text.to_owned());
    }
    let comma = if members.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    Ok(format!(
        "{{\"id\":\"{}\"{comma}{members}",
        uuid::Uuid::new_v4()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(
        text: &'static str,
        single: Option<bool>,
    ) -> Vec<(String, Result<String, String>)> {
        let source = LineSource {
            name: "line".into(),
            input: Box::new(Cursor::new(text)),
            single,
        };
        let mut lines = read(vec![source], 4);
        let mut all = Vec::new();
        loop {
            let batch = lines.batch(3).await;
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.into_iter().map(|line| (line.place, line.event)));
        }
    }

    #[tokio::test]
    async fn lines_are_numbered_and_bad_ones_do_not_stop_the_others() {
        let all = all(
            "{\"id\":\"1\",\"n\":1.50}\n\nnonsense\n[1]\r\n{\"id\":\"2\"}",
            None,
        )
        .await;
        let shown: Vec<_> = all
            .iter()
            .map(|(place, event)| (place.as_str(), event.as_deref().ok()))
            .collect();
        assert_eq!(
            shown,
            [
                ("line 1", Some("{\"id\":\"1\",\"n\":1.50}")),
                ("line 3", None),
                ("line 4", None),
                ("line 5", Some("{\"id\":\"2\"}")),
            ]
        );
    }

    /// Sending takes batches beside waiting for answers: whichever comes first cuts the other off. 310 of 20,000 events
    /// were lost that way, and nothing said so.
    #[tokio::test]
    async fn a_batch_that_is_cut_off_loses_no_line() {
        let text: String = "{\"id\":\"1\"}\n".repeat(500);
        let source = LineSource {
            name: "line".into(),
            input: Box::new(Cursor::new(text)),
            single: Some(false),
        };
        let mut lines = read(vec![source], 4);
        let mut count = 0;
        loop {
            tokio::select! {
                biased;
                batch = lines.batch(7) => {
                    if batch.is_empty() {
                        break;
                    }
                    count += batch.len();
                }
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(count, 500);
    }

    #[tokio::test]
    async fn one_event_over_several_lines_is_one_event() {
        let all = all("{\n  \"id\": \"1\"\n}\n", None).await;
        assert_eq!(
            all,
            [(
                "the event".to_owned(),
                Ok("{\n  \"id\": \"1\"\n}".to_owned())
            )]
        );
    }

    #[test]
    fn an_event_without_id_gets_one_and_stays_as_it_is() {
        let made = event(b" {\"n\":1e3} ").unwrap();
        assert!(
            made.starts_with("{\"id\":\"") && made.ends_with("\",\"n\":1e3}"),
            "{made}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&event(b"{ }").unwrap()).is_ok());
        assert_eq!(event(b"{\"id\":\"\"}").unwrap(), "{\"id\":\"\"}");
    }
}
