//! Workers that bring their own runtime: a program `bootstrap` that asks for events over HTTP, by the runtime API of AWS Lambda
//! (`/2018-06-01/runtime/…`) or that of Tencent SCF's custom runtimes (`/runtime/…`).
//!
//! To the pool such a worker looks like any other: what is said over HTTP is told over a socket in the words of a bootstrap
//! (`ready`, `result`, `error`, `done`), and what comes from there is given to who asks. Each worker has a listener of its own on
//! the loopback. Clients take a host and a port but not all of them a path, so no secret can be part of the address: a connection
//! is served only if one of the worker's own processes holds its other end.
//!
//! An invocation ends when the runtime asks for the next event: what it does after its answer belongs to it. The first answer counts.
//! It must never know pools, limits of time, or how a process is started.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::invocation::Failure;
use crate::profile::arn;
use crate::program::Program;

/// Connections of one worker at once.
const CONNECTIONS_MAX: usize = 16;
/// The largest line from the pool before an event, in bytes: what a context can be, and room.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// The largest report of an error, in bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
const LAMBDA: &str = "/2018-06-01/runtime/";
const SCF: &str = "/runtime/";

/// Lists the processes of a worker: its own and those that it has started.
pub(crate) type Members = Arc<dyn Fn() -> Vec<u32> + Send + Sync>;

/// The listener of one worker.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    listener: TcpListener,
    address: SocketAddr,
    facts: Facts,
}

/// What the headers of an event say of the program.
#[derive(Debug)]
struct Facts {
    arn: String,
    memory_mb: u32,
    timeout_ms: u128,
}

/// What all connections of a worker share.
struct Shared {
    state: Mutex<State>,
    /// There is an event.
    changed: Notify,
    pool: tokio::sync::Mutex<OwnedWriteHalf>,
    began: Instant,
    answer_bytes_max: usize,
    facts: Facts,
}

#[derive(Default)]
struct State {
    ready: bool,
    current: Option<Current>,
}

/// The invocation that runs.
struct Current {
    id: String,
    event: Bytes,
    headers: HeaderMap,
    answered: bool,
}

/// What the pool says.
#[derive(Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
enum Said {
    Init {
        answer_bytes_max: usize,
    },
    Invoke {
        id: String,
        deadline_ms: i64,
        context: Value,
        event_bytes: usize,
    },
}

impl RuntimeApi {
    /// Listens on a free port of the loopback.
    ///
    /// # Errors
    /// There is none to be had.
    pub(crate) async fn listen(program: &Program) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            facts: Facts {
                arn: arn(program),
                memory_mb: program.limits.memory_mb,
                timeout_ms: program.limits.timeout.as_millis(),
            },
        })
    }

    /// What the worker's environment says of it; goes after everything else in there.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let host = self.address.ip().to_string();
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("SCF_RUNTIME_API", host),
            ("SCF_RUNTIME_API_PORT", self.address.port().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Speaks for the worker on its end of the conversation, until the pool closes the other end.
    ///
    /// # Errors
    /// The conversation broke off.
    pub(crate) async fn serve(self, pool: UnixStream, members: Members) -> io::Result<()> {
        let (read, write) = pool.into_split();
        let mut read = BufReader::new(read);
        let Some(Said::Init { answer_bytes_max }) = next_said(&mut read).await? else {
            return Ok(());
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            pool: tokio::sync::Mutex::new(write),
            began: Instant::now(),
            answer_bytes_max,
            facts: self.facts,
        });
        // Dropped at the end of this function, and every connection with it.
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(
            self.listener,
            self.address,
            members,
            Arc::clone(&shared),
        ));
        loop {
            match next_said(&mut read).await? {
                Some(Said::Invoke {
                    id,
                    deadline_ms,
                    context,
                    event_bytes,
                }) => {
                    let mut event = vec![0; event_bytes];
                    read.read_exact(&mut event).await?;
                    let headers = shared.headers(&id, deadline_ms, &context);
                    shared.state().current = Some(Current {
                        id,
                        event: event.into(),
                        headers,
                        answered: false,
                    });
                    shared.changed.notify_waiters();
                }
                Some(Said::Init { .. }) => {}
                None => return Ok(()),
            }
        }
    }
}

/// The next line of the pool; `None`: it has closed its end.
async fn next_said(
    read: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
) -> io::Result<Option<Said>> {
    let mut line = Vec::new();
    match read.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        // It did not wait for what was still to be said.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

async fn accept(listener: TcpListener, own: SocketAddr, members: Members, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            // No descriptors to be had: there will be, when another connection ends.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (members, shared) = (Arc::clone(&members), Arc::clone(&shared));
        connections.spawn(async move {
            let _permit = permit;
            let held = tokio::task::spawn_blocking(move || {
                is_held_by(peer.port(), own.port(), &members())
            });
            if held.await.unwrap_or(false) {
                serve_connection(stream, shared).await;
            } else {
                tracing::warn!(%peer, "refused a connection to the runtime API of a function: it is no process of its worker");
            }
        });
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .half_close(false);
    if let Err(error) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a connection to the runtime API of a function broke off");
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Both vendors' headers of an event. What tells a repeat goes where Lambda's clients look: into the client context.
    fn headers(&self, id: &str, deadline_ms: i64, context: &Value) -> HeaderMap {
        let own: serde_json::Map<String, Value> =
            ["event_id", "event_ids", "delivery_id", "attempt"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), context.get(name)?.clone())))
                .collect();
        let trace = id.replace('-', "");
        let (time, rest) = (trace.get(..8), trace.get(8..));
        let trace = format!(
            "Root=1-{}-{};Sampled=0",
            time.unwrap_or_default(),
            rest.unwrap_or_default()
        );
        [
            ("lambda-runtime-aws-request-id", id.to_owned()),
            ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
            (
                "lambda-runtime-invoked-function-arn",
                self.facts.arn.clone(),
            ),
            ("lambda-runtime-trace-id", trace),
            (
                "lambda-runtime-client-context",
                json!({ "custom": own }).to_string(),
            ),
            ("request_id", id.to_owned()),
            ("memory_limit_in_mb", self.facts.memory_mb.to_string()),
            ("time_limit_in_ms", self.facts.timeout_ms.to_string()),
            ("content-type", "application/json".to_owned()),
        ]
        .into_iter()
        .filter_map(|(name, value)| {
            Some((
                HeaderName::from_static(name),
                HeaderValue::from_str(&value).ok()?,
            ))
        })
        .collect()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let lambda = path.strip_prefix(LAMBDA);
        let Some(called) = lambda.or_else(|| path.strip_prefix(SCF)) else {
            return refused(StatusCode::NOT_FOUND, "no such path");
        };
        match (&head.method, called) {
            (&Method::GET, "invocation/next") => self.next().await,
            (&Method::POST, "init/ready") => {
                self.be_ready().await;
                accepted()
            }
            (&Method::POST, "init/error") => {
                let text = read(body, ERROR_BYTES_MAX).await.unwrap_or_default();
                let error = failure(&text, &head.headers);
                if !self.state().ready {
                    self.tell(&json!({"type": "init_error", "error": error}).to_string())
                        .await;
                }
                accepted()
            }
            (&Method::POST, "invocation/response") => {
                self.take(None, true, body, &head.headers).await
            }
            (&Method::POST, "invocation/error") => {
                self.take(None, false, body, &head.headers).await
            }
            (&Method::POST, called) => {
                let rest = called
                    .strip_prefix("invocation/")
                    .and_then(|rest| rest.split_once('/'));
                match rest {
                    Some((id, "response")) => self.take(Some(id), true, body, &head.headers).await,
                    Some((id, "error")) => self.take(Some(id), false, body, &head.headers).await,
                    _ => refused(StatusCode::NOT_FOUND, "no such path"),
                }
            }
            _ => refused(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    /// Waits for an event. Until it is answered, whoever asks again gets it again.
    async fn next(&self) -> Response<Full<Bytes>> {
        self.be_ready().await;
        loop {
            let changed = self.changed.notified();
            let done = {
                let mut state = self.state();
                match &state.current {
                    Some(current) if !current.answered => {
                        let mut response = Response::new(Full::new(current.event.clone()));
                        *response.headers_mut() = current.headers.clone();
                        return response;
                    }
                    _ => state.current.take(),
                }
            };
            if let Some(done) = done {
                self.tell(&json!({"type": "done", "id": done.id}).to_string())
                    .await;
            }
            changed.await;
        }
    }

    async fn be_ready(&self) {
        if !std::mem::replace(&mut self.state().ready, true) {
            let took = self.began.elapsed().as_micros();
            self.tell(&format!(
                r#"{{"type":"ready","initUs":{took},"version":"custom"}}"#
            ))
            .await;
        }
    }

    /// Takes an answer: the first one to the event that runs.
    async fn take(
        &self,
        id: Option<&str>,
        good: bool,
        body: Incoming,
        headers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        let max = if good {
            self.answer_bytes_max
        } else {
            ERROR_BYTES_MAX
        };
        let body = read(body, max).await;
        let body = if good {
            // A text that is no JSON becomes longer as a string.
            body.map(one_line).filter(|value| value.len() <= max)
        } else {
            body
        };
        let current = {
            let mut state = self.state();
            let Some(current) = state
                .current
                .as_mut()
                .filter(|current| id.is_none_or(|id| id == current.id))
            else {
                return refused(
                    StatusCode::BAD_REQUEST,
                    "no such event is waiting for an answer",
                );
            };
            if std::mem::replace(&mut current.answered, true) {
                return accepted();
            }
            current.id.clone()
        };
        let error = |kind: &str, error: Failure| {
            json!({"type": "error", "id": current, "kind": kind, "error": error, "done": false})
                .to_string()
        };
        match body {
            Some(value) if good => {
                self.tell(&format!(
                    r#"{{"type":"result","id":"{current}","done":false,"value":{value}}}"#
                ))
                .await;
                accepted()
            }
            Some(text) => {
                self.tell(&error("exception", failure(&text, headers)))
                    .await;
                accepted()
            }
            None => {
                let why = format!("the answer has more than {max} bytes, or did not come whole");
                let told = Failure {
                    kind: "AnswerTooLarge".to_owned(),
                    message: why.clone(),
                    stack: None,
                };
                let kind = if good { "too_large" } else { "exception" };
                self.tell(&error(kind, told)).await;
                refused(StatusCode::PAYLOAD_TOO_LARGE, &why)
            }
        }
    }

    /// Says a line to the pool. If the pool is gone, this worker is about to be, too.
    async fn tell(&self, line: &str) {
        let mut pool = self.pool.lock().await;
        let line = format!("{line}\n");
        if let Err(error) = pool.write_all(line.as_bytes()).await {
            tracing::debug!(%error, "the pool of functions does not listen any more");
        }
    }
}

/// The text of a body; `None`: it is longer, or broke off.
async fn read(body: Incoming, max: usize) -> Option<String> {
    let bytes = Limited::new(body, max).collect().await.ok()?.to_bytes();
    Some(
        String::from_utf8(bytes.into())
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// An answer as JSON on one line: as it is, or as a string if it is none.
fn one_line(text: String) -> String {
    if text.trim().is_empty() {
        return "null".to_owned();
    }
    match serde_json::from_str::<&RawValue>(&text) {
        // Within JSON a line ends only between its parts.
        Ok(json) => json.get().replace(['\n', '\r'], " "),
        Err(_) => Value::String(text).to_string(),
    }
}

/// An error as Lambda's clients report it (`errorMessage`, `errorType`, `stackTrace`), or any text.
fn failure(text: &str, headers: &HeaderMap) -> Failure {
    let told: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let member = |name: &str| told.get(name).and_then(Value::as_str);
    let stack = match told.get("stackTrace") {
        Some(Value::String(stack)) => Some(stack.clone()),
        Some(Value::Array(lines)) => Some(
            lines
                .iter()
                .map(|line| {
                    line.as_str()
                        .map_or_else(|| line.to_string(), |line| line.trim_end().to_owned())
                })
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        _ => None,
    };
    let kind = member("errorType").or_else(|| {
        headers
            .get("lambda-runtime-function-error-type")?
            .to_str()
            .ok()
    });
    Failure {
        kind: kind.unwrap_or("Error").to_owned(),
        message: member("errorMessage")
            .unwrap_or_else(|| text.trim())
            .to_owned(),
        stack: stack.filter(|stack| !stack.is_empty()),
    }
}

fn accepted() -> Response<Full<Bytes>> {
    answered(StatusCode::ACCEPTED, &json!({"status": "OK"}))
}

fn refused(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    answered(
        status,
        &json!({"errorType": "Refused", "errorMessage": why}),
    )
}

fn answered(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Whether one of these processes holds the other end of the connection between two ports of the loopback.
fn is_held_by(peer: u16, own: u16, members: &[u32]) -> bool {
    // A client of IPv6 that was given an address of IPv4 is in the other table.
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| socket_of(&table, peer, own))
        .is_some_and(|socket| {
            let socket = format!("socket:[{socket}]");
            members.iter().any(|member| {
                std::fs::read_dir(format!("/proc/{member}/fd")).is_ok_and(|open| {
                    open.flatten().any(|each| {
                        std::fs::read_link(each.path())
                            .is_ok_and(|target| target.as_os_str() == socket.as_str())
                    })
                })
            })
        })
}

/// The number of the socket that is connected from port `local` to port `remote`, in a table of `/proc/net/tcp`
/// (see `proc_net(5)`): addresses are in columns 1 and 2 as hex digits, their ports behind a colon; the number is in column 9.
fn socket_of(table: &str, local: u16, remote: u16) -> Option<u64> {
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let here = port(columns.nth(1)?)?;
        let there = port(columns.next()?)?;
        let socket: u64 = columns.nth(6)?.parse().ok()?;
        (here == local && there == remote && socket != 0).then_some(socket)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Stdio;

    use belfry_model::FunctionName;
    use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
    use tokio::process::{Child, Command};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::call::tests_support::call;
    use crate::program::tests_support::program;
    use crate::spec::Profile;
    use crate::{context, environment};

    const PATIENCE: Duration = Duration::from_mins(1);

    /// The pool's side of a worker that runs `program` (with arguments) in `folder`.
    struct Worker {
        read: BufReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
        context: Value,
        address: String,
        child: Child,
        _speaks: JoinHandle<io::Result<()>>,
    }

    /// This process's own child and what that has started.
    fn family(head: u32) -> Vec<u32> {
        let mut all = vec![head];
        let mut at = 0;
        while let Some(one) = all.get(at).copied() {
            let children = std::fs::read_to_string(format!("/proc/{one}/task/{one}/children"));
            all.extend(
                children
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(|id| id.parse::<u32>().unwrap()),
            );
            at += 1;
        }
        all
    }

    impl Worker {
        async fn start(folder: &Path, command: &[&str], handler: &str) -> Self {
            let function: FunctionName = "default/custom".parse().unwrap();
            let mut program = program(&function);
            program.profile = Profile::Lambda;
            program.handler = handler.to_owned();
            program.code = folder.to_owned();
            let api = RuntimeApi::listen(&program).await.unwrap();
            let child = Command::new(command[0])
                .args(&command[1..])
                .env_clear()
                .envs(environment(&program, folder))
                .envs(api.environment())
                .current_dir(folder)
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let address = api.address.to_string();
            let head = child.id().unwrap();
            let (ours, theirs) = UnixStream::pair().unwrap();
            let context = context(&program, &call(&function), uuid::Uuid::nil(), 0);
            let speaks =
                tokio::spawn(
                    async move { api.serve(theirs, Arc::new(move || family(head))).await },
                );
            let (read, mut write) = ours.into_split();
            write
                .write_all(b"{\"type\":\"init\",\"dir\":\"/\",\"answerBytesMax\":1000}\n")
                .await
                .unwrap();
            Self {
                read: BufReader::new(read),
                write,
                context,
                address,
                child,
                _speaks: speaks,
            }
        }

        async fn said(&mut self) -> Value {
            let mut line = String::new();
            tokio::time::timeout(PATIENCE, self.read.read_line(&mut line))
                .await
                .expect("the worker says something")
                .unwrap();
            serde_json::from_str(&line).unwrap()
        }

        async fn invoke(&mut self, id: &str, event: &str) -> Value {
            let deadline_ms = i64::MAX / 1_000_000;
            let head = json!({"type": "invoke", "id": id, "deadlineMs": deadline_ms, "context": self.context, "eventBytes": event.len()});
            self.write
                .write_all(format!("{head}\n{event}").as_bytes())
                .await
                .unwrap();
            self.said().await
        }

        async fn done(&mut self, id: &str) {
            assert_eq!(self.said().await, json!({"type": "done", "id": id}));
        }
    }

    /// A request on a connection of its own, from this process.
    async fn ask(address: &str, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A connection that is refused may be gone before all is written.
        let written = stream.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer).await;
        (written.is_ok() && read.is_ok() && !answer.is_empty()).then_some(answer)
    }

    #[tokio::test]
    async fn a_custom_runtime_of_scf_in_bash_answers_fails_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"
            api=http://$SCF_RUNTIME_API:$SCF_RUNTIME_API_PORT/runtime
            curl -sf -X POST $api/init/ready -d '' >/dev/null
            while true; do
                event=$(curl -sf -D headers $api/invocation/next) || exit 7
                again=$(curl -sf $api/invocation/next)
                [ "$event" = "$again" ] || exit 8
                grep -qi '^request_id: ' headers && grep -qi '^time_limit_in_ms: 3000' headers && grep -qi '^memory_limit_in_mb: 128' headers || exit 9
                case $event in
                    *fail*) curl -s -X POST $api/invocation/error -d 'it broke' >/dev/null ;;
                    *text*) curl -s -X POST $api/invocation/response -d 'plain "text"' >/dev/null ;;
                    *control*) head -c 900 /dev/zero | tr '\0' '\1' | curl -s -X POST $api/invocation/response -d @- >/dev/null ;;
                    *large*) head -c 2000 /dev/zero | tr '\0' x | curl -s -X POST $api/invocation/response -d @- >/dev/null ;;
                    *) curl -s -X POST $api/invocation/response -d "{
  \"got\": $event }" >/dev/null
                       curl -s -X POST $api/invocation/response -d '"second"' >/dev/null ;;
                esac
            done"#;
        let mut worker = Worker::start(folder.path(), &["/bin/bash", "-c", script], "x").await;
        assert_eq!(worker.said().await["type"], "ready");
        let answer = worker.invoke("a-1", r#"{"n": 1}"#).await;
        assert_eq!(
            answer,
            json!({"type": "result", "id": "a-1", "done": false, "value": {"got": {"n": 1}}})
        );
        worker.done("a-1").await;
        let answer = worker.invoke("a-2", r#""fail""#).await;
        assert_eq!(
            (&answer["kind"], &answer["error"]["message"]),
            (&json!("exception"), &json!("it broke"))
        );
        worker.done("a-2").await;
        assert_eq!(
            worker.invoke("a-3", r#""text""#).await["value"],
            r#"plain "text""#
        );
        worker.done("a-3").await;
        assert_eq!(
            worker.invoke("a-4", r#""large""#).await["kind"],
            "too_large"
        );
        worker.done("a-4").await;
        assert_eq!(
            worker.invoke("a-6", r#""control""#).await["kind"],
            "too_large"
        );
        worker.done("a-6").await;
        assert_eq!(worker.invoke("a-5", "2").await["value"]["got"], 2);
        worker.done("a-5").await;
        assert_eq!(worker.child.try_wait().unwrap(), None);
    }

    #[tokio::test]
    async fn an_unmodified_awslambdaric_function_answers_throws_and_sees_its_context() {
        let packages = std::env::var("BELFRY_TEST_AWSLAMBDARIC").expect(
            "BELFRY_TEST_AWSLAMBDARIC names a folder with awslambdaric; `cargo xtask test` makes it",
        );
        let folder = tempfile::tempdir().unwrap();
        let path = format!("PYTHONPATH={packages}:{}", folder.path().display());
        let code = r#"
def handler(event, context):
    if event.get("fail"):
        raise KeyError("nothing of the name")
    return {
        "event": event,
        "id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis() > 0,
        "attempt": context.client_context.custom["attempt"],
    }
"#;
        std::fs::write(folder.path().join("app.py"), code).unwrap();
        let command = [
            "/usr/bin/env",
            &path,
            "/usr/bin/python3",
            "-m",
            "awslambdaric",
            "app.handler",
        ];
        let mut worker = Worker::start(folder.path(), &command, "app.handler").await;
        assert_eq!(worker.said().await["type"], "ready");
        for id in ["b-1", "b-2"] {
            let answer = worker.invoke(id, r#"{"名": "值"}"#).await;
            assert_eq!(
                answer["value"],
                json!({"event": {"名": "值"}, "id": id, "arn": "arn:aws:lambda::000000000000:function:custom", "left": true, "attempt": 1})
            );
            worker.done(id).await;
        }
        let answer = worker.invoke("b-3", r#"{"fail": true}"#).await;
        assert_eq!(answer["error"]["type"], "KeyError");
        assert!(
            answer["error"]["stack"]
                .as_str()
                .unwrap()
                .contains("app.py"),
            "{answer}"
        );
        worker.done("b-3").await;
        let mut broken = Worker::start(
            folder.path(),
            &[
                "/usr/bin/env",
                &path,
                "/usr/bin/python3",
                "-m",
                "awslambdaric",
                "none.handler",
            ],
            "none.handler",
        )
        .await;
        let answer = broken.said().await;
        assert_eq!(answer["type"], "init_error");
        assert_eq!(answer["error"]["type"], "Runtime.ImportModuleError");
    }

    #[tokio::test]
    async fn a_stranger_gets_no_event_and_answers_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = Worker::start(folder.path(), &["/bin/sleep", "1000"], "x").await;
        let head =
            json!({"type": "invoke", "id": "c-1", "deadlineMs": 0, "context": {}, "eventBytes": 8});
        worker
            .write
            .write_all(format!("{head}\n\"secret\"").as_bytes())
            .await
            .unwrap();
        for request in [
            "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "POST /runtime/invocation/response HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        ] {
            assert_eq!(ask(&worker.address, request).await, None);
        }
    }

    #[tokio::test]
    async fn the_interface_keeps_to_its_paths_and_its_events() {
        let function: FunctionName = "default/custom".parse().unwrap();
        let program = program(&function);
        let api = RuntimeApi::listen(&program).await.unwrap();
        let address = api.address.to_string();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let own = std::process::id();
        let speaks =
            tokio::spawn(async move { api.serve(theirs, Arc::new(move || vec![own])).await });
        let (read, mut write) = ours.into_split();
        write
            .write_all(b"{\"type\":\"init\",\"answerBytesMax\":1000}\n")
            .await
            .unwrap();
        for (request, status) in [
            ("GET /", "404"),
            ("GET /2018-06-01/runtime/invocation/x/response", "404"),
            ("POST /2018-06-01/runtime/invocation/next", "404"),
            ("POST /2018-06-01/runtime/invocation/none/response", "400"),
            ("POST /2018-06-01/runtime/invocation/../response", "400"),
            ("POST /runtime/invocation/error", "400"),
            ("POST /runtime/init/ready", "202"),
        ] {
            let answer = ask(
                &address,
                &format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
            )
            .await
            .unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {answer}"
            );
        }
        drop((write, read));
        tokio::time::timeout(PATIENCE, speaks)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(TcpStream::connect(&address).await.is_err());
    }

    #[test]
    fn answers_are_one_line_of_json_whatever_they_are() {
        for (text, line) in [
            ("", "null"),
            (" {\n\"a\":\r\n 1}\n", "{ \"a\":   1}"),
            ("\"a\\nb\"", "\"a\\nb\""),
            ("hello\nworld", "\"hello\\nworld\""),
            ("{} {}", "\"{} {}\""),
        ] {
            assert_eq!(one_line(text.to_owned()), line);
        }
    }

    #[test]
    fn a_connection_is_found_in_the_table_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n   1: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n   2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(socket_of(table, 0xd431, 0x1f90), Some(222));
        assert_eq!(socket_of(table, 0x1f90, 0xd431), Some(333));
        assert_eq!(socket_of(table, 1, 2), None);
        assert_eq!(socket_of("", 1, 2), None);
    }
}
