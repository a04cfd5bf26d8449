//! An invocation as Tencent SCF shows it: for people who know that form. The spaces are SCF's.

use std::fmt::Write as _;

use crate::invocation::{Line, Stream};
use crate::record::Record;

/// The text of an invocation: its lines between `START` and `END`, and what it used.
pub fn scf_text(record: &Record) -> String {
    let one = &record.invocation;
    let (id, memory) = (one.request_id, one.memory_mb);
    #[expect(clippy::cast_precision_loss, reason = "no memory has so many bytes")]
    let used = one.memory_peak_bytes as f64 / 1024.0 / 1024.0;
    let mut text = format!("START RequestId: {id}\n");
    let mut push = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for line in one.log.iter().filter(|line| line.init) {
        push(shown(line));
    }
    if let Some(cold) = one.cold {
        push(format!(
            "Init Report RequestId: {id} Coldstart: {}ms (PullCode: {}ms InitRuntime: {}ms InitFunction: {}ms) Memory: {memory}MB MemUsage: {used:.2}MB",
            cold.total_ms, cold.prepare_ms, cold.runtime_ms, cold.function_ms
        ));
    }
    for line in one.log.iter().filter(|line| !line.init) {
        push(shown(line));
    }
    let mut answer = one.result.clone().unwrap_or_else(|| "null".to_owned());
    if let Some(failure) = &one.failure {
        let error = serde_json::json!({
            "errorCode": -1,
            "errorMessage": failure.message,
            "requestId": id,
            "stackTrace": failure.stack.as_deref().unwrap_or_default(),
            "statusCode": one.outcome.status_code(),
        });
        push(format!("ERROR RequestId:{id} Result:{error}"));
        if one.result.is_none() {
            answer = error.to_string();
        }
    }
    push(format!("Response RequestId:{id} RetMsg:{answer}"));
    push(format!("END RequestId:{id}"));
    push(format!(
        "Report RequestId:{id} Duration:{}ms Memory:{memory}MB MemUsage:{used:.6}MB",
        one.duration_us.div_ceil(1000)
    ));
    text
}

fn shown(line: &Line) -> String {
    let mut text = String::new();
    if line.stream == Stream::Platform {
        text.push_str("BELFRY ");
    }
    // Writing into a String cannot fail.
    write!(text, "{}", line.text).unwrap_or_default();
    text
}
