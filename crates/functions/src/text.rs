//! An invocation as text, in the form that Tencent SCF shows: for people who read it there.
//!
//! The blanks after `RequestId:` are in some lines and not in others, as in SCF's own.

use crate::record::Record;

/// The text. What a function prints stands between the first and the last lines, and may look like them; the record's own lines
/// tell who wrote which.
pub fn scf_text(record: &Record) -> String {
    let invocation = &record.invocation;
    let id = invocation.request_id;
    let memory = invocation.memory_mb;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let used = invocation.memory_peak_bytes as f64 / f64::from(1 << 20);
    let mut text = format!("START RequestId: {id}\n");
    let lines = |init: bool| {
        let lines = invocation.log.iter().filter(move |line| line.init == init);
        lines.fold(String::new(), |text, line| text + &line.text + "\n")
    };
    text.push_str(&lines(true));
    let failure = invocation.failure.as_ref().map(|failure| {
        serde_json::json!({
            "errorCode": -1,
            "errorMessage": failure.message,
            "errorType": failure.kind,
            "requestId": id,
            "stackTrace": failure.stack.as_deref().unwrap_or_default(),
            "statusCode": invocation.outcome.status_code(),
        })
    });
    if let Some(cold) = invocation.cold {
        text.push_str(&format!(
            "Init Report RequestId: {id} Coldstart: {}ms (PullCode: {}ms InitRuntime: {}ms InitFunction: {}ms) Memory: {memory}MB MemUsage: {used:.2}MB\n",
            cold.total_ms, cold.prepare_ms, cold.runtime_ms, cold.function_ms
        ));
    }
    text.push_str(&lines(false));
    let result = invocation.result.clone();
    let answer = match (result, &failure) {
        (Some(result), _) => result,
        (None, Some(failure)) => failure.to_string(),
        (None, None) => "null".to_owned(),
    };
    if let Some(failure) = failure {
        text.push_str(&format!("ERROR RequestId:{id} Result:{failure}\n"));
    }
    let duration_ms = invocation.duration_us.div_ceil(1000);
    text.push_str(&format!(
        "Response RequestId:{id} RetMsg:{answer}\nEND RequestId:{id}\nReport RequestId:{id} Duration:{duration_ms}ms Memory:{memory}MB MemUsage:{used:.6}MB\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::call::tests_support::call;
    use crate::invocation::{ColdStart, Failure, Invocation, Line, Stream};
    use crate::outcome::Outcome;

    #[test]
    fn an_invocation_reads_as_in_scf() {
        let function = "default/restart".parse().unwrap();
        let id: Uuid = "55f3f65e-6881-11ec-9b7e-5254009d9841".parse().unwrap();
        let mut invocation = Invocation::begun(&call(&function), id, 0);
        invocation.outcome = Outcome::Succeeded;
        invocation.cold = Some(ColdStart {
            total_ms: 224,
            prepare_ms: 111,
            runtime_ms: 10,
            function_ms: 103,
        });
        invocation.memory_mb = 128;
        invocation.memory_peak_bytes = 33_903_411;
        invocation.duration_us = 954_321;
        invocation.result = Some("null".to_owned());
        let line = |text: &str, init| Line {
            at_ms: 0,
            stream: Stream::Stdout,
            text: text.to_owned(),
            init,
        };
        invocation.log = vec![
            line("loading", true),
            line(
                &format!("2021-12-29T08:28:45.525Z\t{id}\t{{ RequestId: 'e10b5f97' }}"),
                false,
            ),
        ];
        let expected = format!(
            "START RequestId: {id}\nloading\nInit Report RequestId: {id} Coldstart: 224ms (PullCode: 111ms InitRuntime: 10ms InitFunction: 103ms) Memory: 128MB MemUsage: 32.33MB\n2021-12-29T08:28:45.525Z\t{id}\t{{ RequestId: 'e10b5f97' }}\nResponse RequestId:{id} RetMsg:null\nEND RequestId:{id}\nReport RequestId:{id} Duration:955ms Memory:128MB MemUsage:32.332812MB\n"
        );
        let mut record = Record::of(&invocation);
        record.invocation.log = invocation.log.clone();
        assert_eq!(scf_text(&record), expected);

        invocation.cold = None;
        invocation.log.clear();
        invocation.outcome = Outcome::Threw;
        invocation.result = None;
        invocation.failure = Some(Failure {
            kind: "TypeError".to_owned(),
            message: "x is not a function".to_owned(),
            stack: None,
        });
        let text = scf_text(&Record::of(&invocation));
        let told = r#"{"errorCode":-1,"errorMessage":"x is not a function","errorType":"TypeError","requestId":"55f3f65e-6881-11ec-9b7e-5254009d9841","stackTrace":"","statusCode":430}"#;
        assert!(
            text.contains(&format!("ERROR RequestId:{id} Result:{told}\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("Response RequestId:{id} RetMsg:{told}\n")),
            "{text}"
        );
    }
}
