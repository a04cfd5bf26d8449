//! Whose functions a function is written like: the context of an invocation, the environment of a worker, names that are not free.
//!
//! Members and variables are those that Tencent SCF, Alibaba Function Compute and AWS Lambda document, so that code from there
//! runs unchanged. Beside them every context has the same five of Belfry's own, by which a function can be idempotent:
//! `event_id`, `event_ids`, `delivery_id`, `attempt`, `deadline_ms`.
//!
//! It must never know how a context reaches the code, nor how a process is started.

use std::path::Path;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::call::Call;
use crate::program::Program;
use crate::spec::{Profile, RuntimeKind};

/// Lambda's number of an account, where the code wants one.
const NO_ACCOUNT: &str = "000000000000";
/// Where programs are looked for, after those of layers.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The context of an invocation, as plain data: the members that the profile has in the language of the program. Functions among
/// them (how much time is left) are the bootstrap's. `deadline_ms`: when the time of the invocation is over, ms since 1970.
///
/// `event_id` and `delivery_id` are null when nobody's delivery asks.
pub fn context(program: &Program, call: &Call<'_>, request_id: Uuid, deadline_ms: i64) -> Value {
    let request = request_id.to_string();
    let mut context = match (program.profile, program.runtime) {
        (Profile::Scf, _) => scf(program, &request),
        (Profile::Fc, RuntimeKind::NodeJs) => fc_node(program, call, &request),
        (Profile::Fc, _) => fc(program, call, &request),
        (Profile::Lambda, RuntimeKind::NodeJs) => lambda_node(program, &request),
        (Profile::Lambda, _) => lambda(program, &request),
    };
    if let Some(members) = context.as_object_mut() {
        members.extend(own(call, deadline_ms));
    }
    context
}

/// What Belfry tells every function, whatever its profile.
pub(crate) fn own(call: &Call<'_>, deadline_ms: i64) -> Map<String, Value> {
    let ids: Vec<String> = call.events.iter().map(ToString::to_string).collect();
    let mut own = Map::new();
    own.insert("event_id".to_owned(), json!(ids.first()));
    own.insert("event_ids".to_owned(), json!(ids));
    own.insert(
        "delivery_id".to_owned(),
        json!(call.delivery.map(|delivery| delivery.to_string())),
    );
    own.insert("attempt".to_owned(), json!(call.attempt));
    own.insert("deadline_ms".to_owned(), json!(deadline_ms));
    own
}

fn scf(program: &Program, request: &str) -> Value {
    let environment: Map<String, Value> = program
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let (namespace, name) = (program.function.namespace(), program.function.name());
    json!({
        "request_id": request,
        "function_name": name,
        "function_version": program.version,
        "namespace": namespace,
        "memory_limit_in_mb": program.limits.memory_mb,
        "time_limit_in_ms": millis(program),
        "environment": Value::Object(environment).to_string(),
        "environ": format!(
            "SCF_NAMESPACE={namespace};SCF_FUNCTIONNAME={name};SCF_FUNCTIONVERSION={}",
            program.version
        ),
        "tencentcloud_region": program.region,
        "tencentcloud_appid": "",
        "tencentcloud_uin": "",
    })
}

fn fc(program: &Program, call: &Call<'_>, request: &str) -> Value {
    json!({
        "request_id": request,
        "credentials": {
            "access_key_id": operators(program, "ALIBABA_CLOUD_ACCESS_KEY_ID"),
            "access_key_secret": operators(program, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
            "security_token": operators(program, "ALIBABA_CLOUD_SECURITY_TOKEN"),
        },
        "function": fc_function(program),
        "service": {
            "name": program.function.namespace(),
            "qualifier": call.qualifier,
            "version_id": program.version,
            "log_project": "",
            "log_store": "",
        },
        "region": program.region,
        "account_id": "",
        "retry_count": call.attempt.saturating_sub(1),
    })
}

fn fc_node(program: &Program, call: &Call<'_>, request: &str) -> Value {
    json!({
        "requestId": request,
        "credentials": {
            "accessKeyId": operators(program, "ALIBABA_CLOUD_ACCESS_KEY_ID"),
            "accessKeySecret": operators(program, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
            "securityToken": operators(program, "ALIBABA_CLOUD_SECURITY_TOKEN"),
        },
        "function": fc_function(program),
        "service": {
            "name": program.function.namespace(),
            "qualifier": call.qualifier,
            "versionId": program.version,
            "logProject": "",
            "logStore": "",
        },
        "region": program.region,
        "accountId": "",
        "retryCount": call.attempt.saturating_sub(1),
    })
}

fn fc_function(program: &Program) -> Value {
    json!({
        "name": program.function.name(),
        "handler": program.handler,
        "memory": program.limits.memory_mb,
        "timeout": program.limits.timeout.as_secs(),
    })
}

fn lambda(program: &Program, request: &str) -> Value {
    json!({
        "aws_request_id": request,
        "function_name": program.function.name(),
        "function_version": program.version,
        "invoked_function_arn": arn(program),
        "memory_limit_in_mb": program.limits.memory_mb.to_string(),
        "log_group_name": log_group(program),
        "log_stream_name": log_stream(program),
        "client_context": null,
        "identity": null,
    })
}

fn lambda_node(program: &Program, request: &str) -> Value {
    json!({
        "awsRequestId": request,
        "functionName": program.function.name(),
        "functionVersion": program.version,
        "invokedFunctionArn": arn(program),
        "memoryLimitInMB": program.limits.memory_mb.to_string(),
        "logGroupName": log_group(program),
        "logStreamName": log_stream(program),
        "callbackWaitsForEmptyEventLoop": true,
    })
}

/// The function as Lambda names it.
pub(crate) fn arn(program: &Program) -> String {
    let (region, name) = (&program.region, program.function.name());
    let mut arn = format!("arn:aws:lambda:{region}:{NO_ACCOUNT}:function:{name}");
    if program.version != "$LATEST" {
        arn.push(':');
        arn.push_str(&program.version);
    }
    arn
}

fn log_group(program: &Program) -> String {
    format!("/aws/lambda/{}", program.function.name())
}

fn log_stream(program: &Program) -> String {
    format!("[{}]", program.version)
}

fn millis(program: &Program) -> u64 {
    u64::try_from(program.limits.timeout.as_millis()).unwrap_or(u64::MAX)
}

/// A variable that the operator has set; empty if not.
fn operators<'a>(program: &'a Program, name: &str) -> &'a str {
    program
        .environment
        .iter()
        .find(|(key, _)| key == name)
        .map_or("", |(_, value)| value)
}

/// The whole environment of a worker: what every worker has, what the profile adds, then the operator's own variables.
/// `scratch` is the only folder that it may write to.
pub fn environment(program: &Program, scratch: &Path) -> Vec<(String, String)> {
    let scratch = text(scratch);
    let code = text(&program.code);
    let mut all = vec![
        ("PATH".to_owned(), search(program, &["bin"], Some(PATH))),
        ("HOME".to_owned(), scratch.clone()),
        ("TMPDIR".to_owned(), scratch),
        ("TZ".to_owned(), "UTC".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
        (
            "NODE_PATH".to_owned(),
            join(
                format!("{code}:{code}/node_modules"),
                &search(program, &["", "node_modules", "nodejs/node_modules"], None),
            ),
        ),
        (
            "PYTHONPATH".to_owned(),
            join(code.clone(), &search(program, &["", "python"], None)),
        ),
        ("_HANDLER".to_owned(), program.handler.clone()),
    ];
    let function = &program.function;
    let memory = program.limits.memory_mb.to_string();
    let mut add = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    match program.profile {
        Profile::Scf => {
            add("TENCENTCLOUD_RUNENV", "SCF");
            add("TENCENTCLOUD_REGION", &program.region);
            add("TENCENTCLOUD_APPID", "");
            add("TENCENTCLOUD_UIN", "");
            add("SCF_NAMESPACE", function.namespace());
            add("SCF_FUNCTIONNAME", function.name());
            add("SCF_FUNCTIONVERSION", &program.version);
            add("USER_CODE_ROOT", &format!("{code}/"));
        }
        Profile::Fc => {
            add("FC_FUNC_CODE_PATH", &format!("{code}/"));
            add("FC_SERVICE_NAME", function.namespace());
            add("FC_FUNCTION_NAME", function.name());
            add("FC_FUNCTION_HANDLER", &program.handler);
            add("FC_FUNCTION_MEMORY_SIZE", &memory);
            add("FC_VERSION_ID", &program.version);
            add("FC_REGION", &program.region);
            add("FC_ACCOUNT_ID", "");
        }
        Profile::Lambda => {
            add("LAMBDA_TASK_ROOT", &code);
            add("AWS_LAMBDA_FUNCTION_NAME", function.name());
            add("AWS_LAMBDA_FUNCTION_VERSION", &program.version);
            add("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory);
            add("AWS_LAMBDA_LOG_GROUP_NAME", &log_group(program));
            add("AWS_LAMBDA_LOG_STREAM_NAME", &log_stream(program));
            add("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
            // The vendor's libraries take an empty region for a wrong one, and look elsewhere when there is none.
            if !program.region.is_empty() {
                add("AWS_REGION", &program.region);
                add("AWS_DEFAULT_REGION", &program.region);
            }
        }
    }
    for (name, value) in &program.environment {
        all.retain(|(known, _)| known != name);
        all.push((name.clone(), value.clone()));
    }
    all
}

/// The folders below each layer that there are, by the names that layers of the vendors have, then `last`.
fn search(program: &Program, below: &[&str], last: Option<&str>) -> String {
    program
        .layers
        .iter()
        .flat_map(|layer| below.iter().map(move |name| layer.join(name)))
        .filter(|folder| folder.is_dir())
        .map(|folder| text(&folder).trim_end_matches('/').to_owned())
        .chain(last.map(str::to_owned))
        .collect::<Vec<_>>()
        .join(":")
}

fn join(first: String, rest: &str) -> String {
    if rest.is_empty() {
        first
    } else {
        format!("{first}:{rest}")
    }
}

/// Folders of ours have names that are text; of an operator's folder that has none only that part is lost.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Why an operator cannot set a variable of this name; `None`: it is free.
///
/// Free are also the names under which a cloud gives its functions credentials: here nobody else would.
pub(crate) fn reserved(profile: Profile, name: &str) -> Option<&'static str> {
    const LOADERS: [&str; 4] = ["NODE_OPTIONS", "PYTHONSTARTUP", "PYTHONHOME", "NODE_PATH"];
    if name.starts_with("BELFRY_") {
        return Some("names that begin with BELFRY_ are Belfry's own");
    }
    if matches!(name, "HOME" | "TMPDIR" | "PYTHONPATH") || LOADERS.contains(&name) {
        return Some(
            "it is set by Belfry, or changes what the runtime loads; packages belong into the code or a layer",
        );
    }
    if name.starts_with("LD_") {
        return Some("names that begin with LD_ change what the system loads");
    }
    if matches!(
        name,
        "AWS_LAMBDA_RUNTIME_API" | "SCF_RUNTIME_API" | "SCF_RUNTIME_API_PORT"
    ) {
        return Some("it says where the runtime asks for events");
    }
    let taken = match profile {
        Profile::Scf => {
            ["SCF_", "QCLOUD_", "TENCENTCLOUD_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                && !matches!(
                    name,
                    "TENCENTCLOUD_SECRETID"
                        | "TENCENTCLOUD_SECRETKEY"
                        | "TENCENTCLOUD_SESSIONTOKEN"
                )
                || name == "USER_CODE_ROOT"
        }
        Profile::Fc => name.starts_with("FC_"),
        Profile::Lambda => {
            name.starts_with("AWS_LAMBDA_")
                || name.starts_with("LAMBDA_")
                || matches!(
                    name,
                    "AWS_REGION" | "AWS_DEFAULT_REGION" | "AWS_EXECUTION_ENV"
                )
        }
    };
    taken.then_some(match profile {
        Profile::Scf => "profile scf sets it (SCF_, QCLOUD_, TENCENTCLOUD_ are reserved but for the SECRETID, SECRETKEY and SESSIONTOKEN of TENCENTCLOUD_)",
        Profile::Fc => "profile fc sets it (FC_ is reserved)",
        Profile::Lambda => "profile lambda sets it (AWS_LAMBDA_, LAMBDA_ and AWS_REGION are reserved; the region is the member region)",
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use belfry_model::{EventId, FunctionName};

    use super::*;
    use crate::call::tests_support::call;
    use crate::program::tests_support::program;

    #[test]
    fn every_context_has_the_members_of_its_vendor_and_ours() {
        let function: FunctionName = "ops/restart".parse().unwrap();
        let events = [EventId::first_at(1_700_000_000_000)];
        let mut call = call(&function);
        call.events = &events;
        call.attempt = 2;
        let both = [
            "event_id",
            "event_ids",
            "delivery_id",
            "attempt",
            "deadline_ms",
        ];
        let table: [(Profile, RuntimeKind, &[&str]); 6] = [
            (
                Profile::Scf,
                RuntimeKind::NodeJs,
                &[
                    "request_id",
                    "function_name",
                    "function_version",
                    "namespace",
                    "memory_limit_in_mb",
                    "time_limit_in_ms",
                    "environment",
                    "environ",
                    "tencentcloud_region",
                    "tencentcloud_appid",
                    "tencentcloud_uin",
                ],
            ),
            (
                Profile::Scf,
                RuntimeKind::Python,
                &["request_id", "environment"],
            ),
            (
                Profile::Fc,
                RuntimeKind::Python,
                &[
                    "request_id",
                    "credentials",
                    "function",
                    "service",
                    "region",
                    "account_id",
                ],
            ),
            (
                Profile::Fc,
                RuntimeKind::NodeJs,
                &["requestId", "credentials", "accountId"],
            ),
            (
                Profile::Lambda,
                RuntimeKind::Python,
                &["aws_request_id", "invoked_function_arn"],
            ),
            (
                Profile::Lambda,
                RuntimeKind::NodeJs,
                &["awsRequestId", "invokedFunctionArn"],
            ),
        ];
        for (profile, runtime, members) in table {
            let mut program = program(&function);
            program.profile = profile;
            program.runtime = runtime;
            let context = context(&program, &call, Uuid::nil(), 5_000);
            for member in members.iter().chain(&both) {
                assert!(
                    context.get(member).is_some(),
                    "{profile:?} {runtime:?} {member}: {context}"
                );
            }
            assert_eq!(context["attempt"], 2);
            assert_eq!(context["event_id"], events[0].to_string());
            assert_eq!(context["delivery_id"], Value::Null);
        }
    }

    #[test]
    fn scf_tells_the_environment_as_json_text() {
        let function: FunctionName = "default/restart".parse().unwrap();
        let mut program = program(&function);
        program.environment = vec![("BANK".to_owned(), "a \"b\"".to_owned())];
        program.limits.timeout = Duration::from_secs(3);
        let context = context(&program, &call(&function), Uuid::nil(), 0);
        let told: Value = serde_json::from_str(context["environment"].as_str().unwrap()).unwrap();
        assert_eq!(told, json!({"BANK": "a \"b\""}));
        assert_eq!(context["time_limit_in_ms"], 3_000);
        assert_eq!(
            context["environ"],
            "SCF_NAMESPACE=default;SCF_FUNCTIONNAME=restart;SCF_FUNCTIONVERSION=$LATEST"
        );
    }

    #[test]
    fn credentials_of_fc_are_the_operators_variables() {
        let function: FunctionName = "default/snapshot".parse().unwrap();
        let mut program = program(&function);
        program.profile = Profile::Fc;
        program.runtime = RuntimeKind::Python;
        program.environment = vec![("ALIBABA_CLOUD_ACCESS_KEY_ID".to_owned(), "LTAI1".to_owned())];
        let context = context(&program, &call(&function), Uuid::nil(), 0);
        assert_eq!(context["credentials"]["access_key_id"], "LTAI1");
        assert_eq!(context["credentials"]["security_token"], "");
    }

    #[test]
    fn an_environment_has_each_name_once_and_the_operators_value_wins() {
        let function: FunctionName = "default/restart".parse().unwrap();
        for profile in [Profile::Scf, Profile::Fc, Profile::Lambda] {
            let mut program = program(&function);
            program.profile = profile;
            program.environment = vec![("TZ".to_owned(), "Asia/Shanghai".to_owned())];
            let all = environment(&program, Path::new("/scratch/1"));
            let names: std::collections::BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), all.len());
            let of = |wanted: &str| {
                all.iter()
                    .find(|(name, _)| name == wanted)
                    .map(|(_, value)| value.as_str())
            };
            assert_eq!(of("TZ"), Some("Asia/Shanghai"));
            assert_eq!(of("HOME"), Some("/scratch/1"));
            assert_eq!(of("NODE_PATH"), Some("/code:/code/node_modules"));
            assert_eq!(of("PYTHONPATH"), Some("/code"));
        }
    }

    #[test]
    fn packages_of_layers_are_found_after_those_of_the_code() {
        let folder = tempfile::tempdir().unwrap();
        let layer = folder.path().join("sdk");
        for name in ["nodejs/node_modules", "python", "bin"] {
            std::fs::create_dir_all(layer.join(name)).unwrap();
        }
        let function: FunctionName = "default/restart".parse().unwrap();
        let mut program = program(&function);
        program.layers = vec![layer.clone()];
        let all = environment(&program, Path::new("/scratch/1"));
        let of = |wanted: &str| {
            all.iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
                .unwrap()
        };
        let layer = layer.display();
        assert_eq!(
            of("NODE_PATH"),
            format!("/code:/code/node_modules:{layer}:{layer}/nodejs/node_modules")
        );
        assert_eq!(of("PYTHONPATH"), format!("/code:{layer}:{layer}/python"));
        assert!(of("PATH").starts_with(&format!("{layer}/bin:/usr/local")));
    }
}
