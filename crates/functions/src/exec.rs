//! The runtime `exec`: a program is started for each event, gets it on standard input, and answers on standard output.
//!
//! Answer: JSON if it is, else a text. Exit code 0 is success. Parts of the event are also variables: `EVENT_ID`,
//! `EVENT_SOURCE`, `EVENT_TYPE`, `EVENT_SUBJECT`, `EVENT_REGION`, `EVENT_STATUS`, and `EVENT_DATA_<KEY>` for values of `data` that
//! are no lists or objects.

use std::future::pending;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::call::Call;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::pool::Slot;
use crate::program::Program;
use crate::runner::Place;
use crate::worker::{Cut, End, Process, conclude};

/// Longer values are no variables: the kernel bounds an environment.
const VARIABLE_BYTES_MAX: usize = 4096;
/// Variables made of `data`.
const DATA_VARIABLES_MAX: usize = 100;

/// The program and its arguments.
///
/// # Errors
/// The operator does not allow it; or they cannot be told apart.
pub(crate) fn command(
    program: &Program,
    allowed: &[PathBuf],
) -> Result<(PathBuf, Vec<String>), End> {
    let mut words = words(&program.handler)
        .map_err(|why| End::with(Outcome::InitFailed, "Handler", why))?
        .into_iter();
    let path = PathBuf::from(words.next().unwrap_or_default());
    if !allowed.contains(&path) {
        return Err(End::with(
            Outcome::Unavailable,
            "Runtime",
            format!(
                "the settings of this server do not allow the program {} (functions.exec_allowed)",
                path.display()
            ),
        ));
    }
    Ok((path, words.collect()))
}

/// The words of a command line, parted by blanks as a shell does it: quotes and backslashes keep what belongs together, `#`
/// begins a comment, nothing is replaced by anything.
///
/// # Errors
/// What is not closed, for people.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    shlex::split(line).ok_or_else(|| {
        format!("{line:?} ends within quotes, or with a backslash: its words cannot be told apart")
    })
}

/// Runs it once.
pub(crate) async fn run(
    place: &Place,
    program: &Program,
    slot: Slot,
    command: (PathBuf, Vec<String>),
    call: &Call<'_>,
    log: &mut Log,
    now_ms: impl Fn() -> i64,
) -> End {
    let deadline = Instant::now() + program.limits.timeout;
    let started = Process::start(
        place,
        program,
        slot,
        command,
        variables(call),
        Stdio::piped(),
    );
    let mut process = match started {
        Ok(process) => process,
        Err(error) => return End::with(Outcome::NotStarted, "NotStarted", error.to_string()),
    };
    let (stdin, stdout) = (process.child.stdin.take(), process.pipes.take_out());
    let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
        process.end().await;
        return End::default();
    };
    let most = place.answer_bytes_max;
    let mut answer = Vec::new();
    let cut = process
        .during(deadline, log, async {
            let give = async {
                // A program need not read its event.
                drop(stdin.write_all(call.event.as_bytes()).await);
                drop(stdin.shutdown().await);
                drop(stdin);
                pending::<()>().await;
            };
            let take = async {
                while answer.len() <= most {
                    if !matches!(stdout.read_buf(&mut answer).await, Ok(1..)) {
                        pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = give => {}
                () = take => {}
            }
        })
        .await;
    // Something that it has started may hold the pipe: what is there counts.
    let mut chunk = vec![0; 16 * 1024];
    while answer.len() <= most {
        match rustix::io::read(&stdout, &mut *chunk) {
            Ok(count @ 1..) => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            _ => break,
        }
    }
    process.pipes.drain(log);
    let mut end = End::default();
    match cut {
        _ if answer.len() > most => {
            end = End::with(
                Outcome::AnswerTooLarge,
                "AnswerTooLarge",
                format!("the answer has more than {most} bytes"),
            );
        }
        Err(Cut::Ended(status)) if status.success() => {
            end.outcome = Some(Outcome::Succeeded);
            end.result = Some(json(&answer));
            end.answered_at_ms = Some(now_ms());
            end.exit = Some(status);
        }
        Err(cut) => conclude(cut, program, log, &mut end),
        Ok(()) => {}
    }
    end.memory_peak_bytes = process.take_peak();
    let left = process.end().await;
    if left > 0 {
        log.note(format!("processes left over and ended: {left}"));
    }
    end
}

/// JSON text of what was printed.
fn json(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim();
    if text.is_empty() {
        return "null".to_owned();
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => text.to_owned(),
        Err(_) => Value::from(text).to_string(),
    }
}

fn variables(call: &Call<'_>) -> Vec<(String, String)> {
    let event: Value = serde_json::from_str(call.event).unwrap_or_default();
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let fits = |text: &String| text.len() <= VARIABLE_BYTES_MAX && !text.contains('\0');
    let mut all = vec![("BELFRY_ATTEMPT".to_owned(), call.attempt.to_string())];
    if let Some(delivery) = call.delivery {
        all.push(("BELFRY_DELIVERY_ID".to_owned(), delivery.to_string()));
    }
    for name in ["id", "source", "type", "subject", "region", "status"] {
        if let Some(text) = event.get(name).and_then(scalar).filter(fits) {
            all.push((format!("EVENT_{}", name.to_uppercase()), text));
        }
    }
    let data = event.get("data").and_then(Value::as_object);
    for (key, value) in data.into_iter().flatten().take(DATA_VARIABLES_MAX) {
        let name: String = key
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        if let Some(text) = scalar(value).filter(fits).filter(|_| fits(&name)) {
            all.push((format!("EVENT_DATA_{name}"), text));
        }
    }
    all
}
