//! An invocation as it is kept: a text of JSON for what is searched and shown, and one with the lines of its log.
//!
//! Members are those of [`Invocation`]. Of a long answer only the beginning is kept, with its true size beside it. The lines
//! are apart, one object a line, because lists do not need them.

use serde::{Deserialize, Serialize};

use crate::invocation::{Invocation, Line};

/// How much of an answer is kept, in bytes.
pub const RESULT_BYTES_KEPT: usize = 4096;

/// What is kept of an invocation beside its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The invocation; without its log, and with an answer cut to [`RESULT_BYTES_KEPT`].
    #[serde(flatten)]
    pub invocation: Invocation,
    /// The size of the whole answer, in bytes; 0: there is none.
    #[serde(default)]
    pub result_bytes: u64,
    /// Whether it is not tried again by itself although it failed: asynchronous invocations only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

impl Record {
    /// What is to be kept of `invocation`.
    pub fn of(invocation: &Invocation) -> Self {
        let mut kept = Invocation {
            log: Vec::new(),
            ..invocation.clone()
        };
        let whole = kept.result.as_ref().map_or(0, String::len);
        if let Some(result) = &mut kept.result {
            result.truncate(result.floor_char_boundary(RESULT_BYTES_KEPT));
        }
        Self {
            invocation: kept,
            result_bytes: whole as u64,
            given_up: false,
        }
    }

    /// As text; the empty one if it could not be written.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From its text and that of its log.
    ///
    /// # Errors
    /// The text is none that [`Record::text`] has written.
    pub fn read(text: &str, log: &str) -> Result<Self, serde_json::Error> {
        let mut record: Self = serde_json::from_str(text)?;
        record.invocation.log = log
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        Ok(record)
    }
}

/// The lines of a log as text: a JSON object a line.
pub fn log_text(log: &[Line]) -> String {
    let lines = log
        .iter()
        .filter_map(|line| serde_json::to_string(line).ok());
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::call::Call;
    use crate::invocation::{InvokedBy, Stream};

    #[test]
    fn what_is_kept_can_be_read_again_and_is_bounded() {
        let call = Call {
            function: &"default/restart".parse().unwrap(),
            qualifier: "$DEFAULT",
            event: "{}",
            invoked_by: InvokedBy::Api,
            delivery: None,
            events: &[],
            attempt: 1,
            routing: 0,
        };
        let mut invocation = Invocation::begun(&call, Uuid::now_v7(), 7);
        invocation.result = Some("é".repeat(4000));
        invocation.isolation = Some("landlock".into());
        let line = |text: &str| Line {
            at_ms: 8,
            stream: Stream::Stdout,
            text: text.to_owned(),
            init: false,
        };
        invocation.log = vec![line("a\nb"), line("")];
        let record = Record::of(&invocation);
        assert_eq!(record.result_bytes, 8000);
        let read = Record::read(&record.text(), &log_text(&invocation.log)).unwrap();
        assert_eq!(read.invocation.log, invocation.log);
        assert_eq!(
            read.invocation.result.as_ref().unwrap().len(),
            RESULT_BYTES_KEPT
        );
        assert_eq!(Record::of(&read.invocation).invocation, record.invocation);
    }
}
