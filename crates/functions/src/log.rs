//! What a function prints: read all the time, bounded, secrets masked, told live to whoever follows.
//!
//! Of too much the beginning and the end are kept. Pipes are never waited for to close: something that the function has started
//! may hold them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use belfry_model::{Clock, FunctionName};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::invocation::{Failure, Line, Stream};
use crate::outcome::Outcome;

/// What stands for a secret.
const MASK: &str = "********";
/// Shorter values are too common to be masked.
const SECRET_BYTES_MIN: usize = 6;
/// Of a failure's type, message and stack so much is kept each, in bytes.
const FAILURE_BYTES_MAX: usize = 8 * 1024;
/// Read at once, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;
/// At the end of an invocation at most this many chunks are read: something that it has left behind may print without end.
const CHUNKS_AT_END: usize = 16;

/// What happens in an invocation, told while it happens.
#[derive(Debug, Clone)]
pub struct LiveLine {
    /// The function.
    pub function: FunctionName,
    /// The invocation.
    pub request_id: Uuid,
    /// What happens.
    pub part: LivePart,
}

/// What happens in an invocation.
#[derive(Debug, Clone)]
pub enum LivePart {
    /// It begins.
    Start,
    /// It has printed a line.
    Line(Line),
    /// It has ended.
    End(Outcome),
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLimits {
    pub(crate) bytes: usize,
    pub(crate) line_bytes: usize,
}

/// Values that must not show.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// A secret of several lines is printed line by line, so each of them is one.
    pub(crate) fn new(values: &[String]) -> Self {
        let mut all: Vec<String> = values
            .iter()
            .flat_map(|value| std::iter::once(value.as_str()).chain(value.lines()))
            .map(str::trim)
            .filter(|value| value.len() >= SECRET_BYTES_MIN)
            .map(str::to_owned)
            .collect();
        // One that is part of another must not spoil it.
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        all.dedup();
        Self(all)
    }

    fn longest(&self) -> usize {
        self.0.first().map_or(0, String::len)
    }

    /// The text without them.
    pub(crate) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for secret in &self.0 {
            if masked.contains(secret.as_str()) {
                masked = Cow::Owned(masked.replace(secret.as_str(), MASK));
            }
        }
        masked
    }

    /// Takes them out of a failure, and cuts what is too long of it: a secret that is cut through would not be recognised.
    pub(crate) fn mask_failure(&self, failure: &mut Failure) {
        let Failure {
            kind,
            message,
            stack,
        } = failure;
        for text in [Some(kind), Some(message), stack.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Cow::Owned(masked) = self.mask(text) {
                *text = masked;
            }
            text.truncate(text.floor_char_boundary(FAILURE_BYTES_MAX));
        }
    }

    /// JSON text without them, also where its strings are written with escapes; everything else stays as it is. It must be
    /// well-formed.
    pub(crate) fn mask_json(&self, text: String) -> String {
        if self.0.is_empty() {
            return text;
        }
        let mut masked = String::new();
        let (mut rest, mut is_changed) = (text.as_str(), false);
        while !rest.is_empty() {
            let (token, after) = rest.split_at(token_end(rest));
            rest = after;
            let string = token
                .starts_with('"')
                .then(|| serde_json::from_str::<String>(token).ok())
                .flatten();
            let without = match &string {
                Some(string) => self.mask(string),
                None => self.mask(token),
            };
            if matches!(without, Cow::Owned(_)) {
                is_changed = true;
                // A number that is a secret becomes a string.
                masked.push_str(&Value::from(without.as_ref()).to_string());
            } else {
                masked.push_str(token);
            }
        }
        if is_changed { masked } else { text }
    }
}

/// Where the first token of a JSON text ends: a string, a run of what numbers and words are made of, or one other byte.
fn token_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        let word = bytes
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte));
        // What is no token of JSON is passed on a character at a time.
        let one = text.chars().next().map_or(0, char::len_utf8);
        return word.unwrap_or(bytes.len()).max(one);
    }
    let mut is_escaped = false;
    let end = bytes.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(bytes.len(), |end| end + 2)
}

/// The log of one invocation.
pub(crate) struct Log {
    limits: LogLimits,
    secrets: Arc<Secrets>,
    clock: Arc<dyn Clock>,
    live: broadcast::Sender<LiveLine>,
    function: FunctionName,
    request_id: Uuid,
    /// Whether the code is being loaded.
    pub(crate) init: bool,
    /// The runtime has said that it ran out of memory.
    pub(crate) out_of_memory: bool,
    head: Vec<Line>,
    head_bytes: usize,
    tail: VecDeque<Line>,
    tail_bytes: usize,
    bytes: u64,
    truncated: bool,
    open: [Vec<u8>; 2],
    /// Bytes of the open line that were not kept.
    over: [usize; 2],
}

/// What Node.js prints when its heap is full.
const HEAP_IS_FULL: [&str; 2] = [
    "JavaScript heap out of memory",
    "Fatal process out of memory",
];

impl Log {
    pub(crate) fn new(
        limits: LogLimits,
        secrets: Arc<Secrets>,
        clock: Arc<dyn Clock>,
        live: broadcast::Sender<LiveLine>,
        function: FunctionName,
        request_id: Uuid,
    ) -> Self {
        Self {
            limits,
            secrets,
            clock,
            live,
            function,
            request_id,
            init: false,
            out_of_memory: false,
            head: Vec::new(),
            head_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            bytes: 0,
            truncated: false,
            open: [Vec::new(), Vec::new()],
            over: [0; 2],
        }
    }

    /// Tells followers.
    pub(crate) fn tell(&self, part: LivePart) {
        if self.live.receiver_count() > 0 {
            // Nobody follows any more: nobody is told.
            drop(self.live.send(LiveLine {
                function: self.function.clone(),
                request_id: self.request_id,
                part,
            }));
        }
    }

    /// Takes what was printed.
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut lines = bytes.split(|byte| *byte == b'\n');
        // What comes after the last end of a line is the beginning of the next.
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            self.extend(stream, line);
            self.end_line(stream);
        }
        self.extend(stream, last);
    }

    fn extend(&mut self, stream: Stream, bytes: &[u8]) {
        // A secret that the limit cuts through must still be recognised.
        let most = self.limits.line_bytes + self.secrets.longest();
        let [out, err] = &mut self.open;
        let [out_over, err_over] = &mut self.over;
        let (open, over) = if stream == Stream::Stderr {
            (err, err_over)
        } else {
            (out, out_over)
        };
        let room = most.saturating_sub(open.len()).min(bytes.len());
        let (kept, rest) = bytes.split_at(room);
        open.extend_from_slice(kept);
        *over += rest.len();
    }

    fn end_line(&mut self, stream: Stream) {
        let [out, err] = &mut self.open;
        let [out_over, err_over] = &mut self.over;
        let (open, over) = if stream == Stream::Stderr {
            (err, err_over)
        } else {
            (out, out_over)
        };
        let bytes = std::mem::take(open);
        let mut is_cut = std::mem::take(over) > 0;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        if stream == Stream::Stderr && HEAP_IS_FULL.iter().any(|mark| text.contains(mark)) {
            self.out_of_memory = true;
        }
        let mut text = self.secrets.mask(text).into_owned();
        if text.len() > self.limits.line_bytes {
            text.truncate(text.floor_char_boundary(self.limits.line_bytes));
            is_cut = true;
        }
        if is_cut {
            text.push('…');
            self.truncated = true;
        }
        self.add(stream, text);
    }

    /// Adds a line of Belfry's own.
    pub(crate) fn note(&mut self, text: String) {
        self.add(Stream::Platform, text);
    }

    fn add(&mut self, stream: Stream, text: String) {
        let bytes = text.len() + 1;
        let line = Line {
            at_ms: self.clock.now_ms(),
            stream,
            text,
            init: self.init,
        };
        if self.live.receiver_count() > 0 {
            self.tell(LivePart::Line(line.clone()));
        }
        let head_max = self.limits.bytes / 4 * 3;
        if self.tail.is_empty() && self.head_bytes + bytes <= head_max {
            self.head_bytes += bytes;
            self.head.push(line);
            return;
        }
        self.tail_bytes += bytes;
        self.tail.push_back(line);
        while self.tail_bytes > self.limits.bytes - head_max {
            let Some(gone) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes -= gone.text.len() + 1;
            if !self.truncated_between() {
                // So that the place shows.
                self.head.push(Line {
                    at_ms: gone.at_ms,
                    stream: Stream::Platform,
                    text: String::new(),
                    init: gone.init,
                });
            }
            self.truncated = true;
        }
    }

    fn truncated_between(&self) -> bool {
        self.head
            .last()
            .is_some_and(|line| line.stream == Stream::Platform && line.text.is_empty())
    }

    /// The last lines so far.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let all = self.head.iter().chain(&self.tail);
        let mut last: Vec<String> = all
            .rev()
            .take(count)
            .map(|line| line.text.clone())
            .collect();
        last.reverse();
        last
    }

    /// The end: what is kept, how many bytes were printed, whether that is not all.
    pub(crate) fn finish(mut self) -> (Vec<Line>, u64, bool) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let open = usize::from(stream == Stream::Stderr);
            if self.open.get(open).is_some_and(|open| !open.is_empty()) {
                self.end_line(stream);
            }
        }
        if self.truncated_between() {
            let (printed, most) = (self.bytes, self.limits.bytes);
            if let Some(mark) = self.head.last_mut() {
                mark.text = format!(
                    "lines are left out here: {printed} bytes were printed, {most} are kept"
                );
            }
        }
        self.head.extend(self.tail);
        (self.head, self.bytes, self.truncated)
    }
}

/// The pipes that a worker prints to.
pub(crate) struct Pipes {
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    out_chunk: Box<[u8]>,
    err_chunk: Box<[u8]>,
}

impl Pipes {
    /// Those of a process; standard output only if it was not taken for something else.
    pub(crate) fn of(child: &mut Child) -> Self {
        Self {
            out: child.stdout.take(),
            err: child.stderr.take(),
            out_chunk: vec![0; CHUNK_BYTES].into(),
            err_chunk: vec![0; CHUNK_BYTES].into(),
        }
    }

    /// Standard output, where it is the answer.
    pub(crate) fn take_out(&mut self) -> Option<ChildStdout> {
        self.out.take()
    }

    /// Reads what comes next into the log. Waits for ever once nothing can come. May be dropped without losing anything.
    pub(crate) async fn read(&mut self, log: &mut Log) {
        let Self {
            out,
            err,
            out_chunk,
            err_chunk,
        } = self;
        let from_out = async {
            match out {
                Some(out) => out.read(out_chunk).await,
                None => std::future::pending().await,
            }
        };
        let from_err = async {
            match err {
                Some(err) => err.read(err_chunk).await,
                None => std::future::pending().await,
            }
        };
        let (stream, read) = tokio::select! {
            read = from_out => (Stream::Stdout, read),
            read = from_err => (Stream::Stderr, read),
        };
        let chunk = if stream == Stream::Stdout {
            &self.out_chunk
        } else {
            &self.err_chunk
        };
        match read {
            Ok(count @ 1..) => log.push(stream, chunk.get(..count).unwrap_or_default()),
            // Closed, which a program may do while it goes on.
            _ if stream == Stream::Stdout => self.out = None,
            _ => self.err = None,
        }
    }

    /// Reads what is there, without waiting.
    pub(crate) fn drain(&mut self, log: &mut Log) {
        if let Some(out) = &self.out {
            drain(out, &mut self.out_chunk, Stream::Stdout, log);
        }
        if let Some(err) = &self.err {
            drain(err, &mut self.err_chunk, Stream::Stderr, log);
        }
    }
}

/// Reads past Tokio, which may not have been told yet that there is something.
fn drain(pipe: impl std::os::fd::AsFd, chunk: &mut [u8], stream: Stream, log: &mut Log) {
    for _ in 0..CHUNKS_AT_END {
        match rustix::io::read(&pipe, &mut *chunk).map_err(io::Error::from) {
            Ok(count @ 1..) => log.push(stream, chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use belfry_model::SystemClock;
    use proptest::prelude::*;

    use super::*;

    fn log(secrets: &[&str]) -> Log {
        let secrets: Vec<String> = secrets.iter().map(|&secret| secret.to_owned()).collect();
        Log::new(
            LogLimits {
                bytes: 64 * 1024,
                line_bytes: 8 * 1024,
            },
            Arc::new(Secrets::new(&secrets)),
            Arc::new(SystemClock),
            broadcast::channel(1).0,
            "default/talks".parse().unwrap(),
            Uuid::nil(),
        )
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn of_too_much_the_beginning_and_the_end_are_kept_and_the_gap_is_marked() {
        let mut log = log(&[]);
        for number in 0..20_000 {
            log.push(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        let (lines, bytes, truncated) = log.finish();
        assert!(truncated);
        assert_eq!(
            bytes,
            20_000 * 6 + 10 + 90 * 2 + 900 * 3 + 9000 * 4 + 10_000 * 5
        );
        assert_eq!(lines[0].text, "line 0");
        assert_eq!(lines.last().unwrap().text, "line 19999");
        let kept: usize = lines.iter().map(|line| line.text.len() + 1).sum();
        assert!((60 * 1024..66 * 1024).contains(&kept), "{kept}");
        let marks: Vec<_> = lines
            .iter()
            .filter(|line| line.stream == Stream::Platform)
            .collect();
        assert_eq!(marks.len(), 1);
        assert!(
            marks[0].text.contains(&bytes.to_string()),
            "{}",
            marks[0].text
        );
    }

    #[test]
    fn secrets_are_masked_also_where_a_line_is_cut_and_line_by_line() {
        let mut log = log(&["hunter2hunter2", "first part\nsecond part", "abc"]);
        log.push(Stream::Stdout, b"a hunter2hun");
        log.push(Stream::Stdout, b"ter2 b abc\nfirst part\nsecond part\n");
        let cut = format!("{}hunter2hunter2\n", "x".repeat(8 * 1024 - 4));
        log.push(Stream::Stderr, cut.as_bytes());
        let (lines, _, truncated) = log.finish();
        let texts = texts(&lines);
        assert_eq!(texts[..3], ["a ******** b abc", "********", "********"]);
        assert!(texts[3].ends_with("x****…"), "{}", &texts[3][8180..]);
        assert!(truncated);
    }

    #[test]
    fn secrets_are_masked_in_answers_however_they_are_written() {
        let secrets = Secrets::new(&["hunter2é\"/2".to_owned(), "1234567890".to_owned()]);
        for (answer, masked) in [
            (r#"{"a": 1.50, "b": [null,"x"]}"#, None),
            (r#""hunter2""#, None),
            (r#"["\ud83d\ude00 \\"]"#, None),
            (
                r#"{"a":  1.50, "key hunter2é\"/2":"\\"}"#,
                Some(r#"{"a":  1.50, "key ********":"\\"}"#),
            ),
            (
                r#"["\u0068unter2\u00e9\u0022\/2\n", "hunter2é"]"#,
                Some(r#"["********\n", "hunter2é"]"#),
            ),
            (r#"{"n":1234567890}"#, Some(r#"{"n":"********"}"#)),
            ("-1234567890.5e7", Some(r#""-********.5e7""#)),
        ] {
            let found = secrets.mask_json(answer.to_owned());
            assert_eq!(found, masked.unwrap_or(answer));
        }
    }

    proptest! {
        /// Whatever stands around it, a masked answer is JSON and does not hold the secret, and one without it stays as it is.
        #[test]
        fn a_masked_answer_is_json_without_the_secret(
            before in "\\PC{0,9}", after in "[a-z\\\\\"]{0,9}", number in any::<f64>(), ascii in any::<bool>(),
        ) {
            let secrets = Secrets::new(&["geheim\"\\schlüssel".to_owned()]);
            let text = |middle: &str| {
                let text = serde_json::json!([number, {format!("{before}{middle}{after}"): null}]).to_string();
                if !ascii {
                    return text;
                }
                // As Python writes it.
                text.chars().fold(String::new(), |text, c| {
                    if c.is_ascii() {
                        return text + &c.to_string();
                    }
                    c.encode_utf16(&mut [0; 2]).iter().fold(text, |text, unit| text + &format!("\\u{unit:04x}"))
                })
            };
            prop_assert_eq!(secrets.mask_json(text("")), text(""));
            let masked = secrets.mask_json(text("geheim\"\\schlüssel"));
            let read: Value = serde_json::from_str(&masked).unwrap();
            let expected: Value = serde_json::from_str(&text(MASK)).unwrap();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn lines_do_not_depend_on_how_they_arrive(text in "[a-c\n]{0,80}", cut in 0usize..80) {
            let cut = cut.min(text.len());
            let (mut whole, mut parts) = (log(&[]), log(&[]));
            whole.push(Stream::Stdout, text.as_bytes());
            parts.push(Stream::Stdout, &text.as_bytes()[..cut]);
            parts.push(Stream::Stdout, &text.as_bytes()[cut..]);
            let (whole, parts) = (whole.finish().0, parts.finish().0);
            prop_assert_eq!(texts(&whole), texts(&parts));
            let expected: Vec<&str> = text.lines().collect();
            prop_assert_eq!(texts(&whole), expected);
        }
    }
}
