//! Strict doubles of chat, paging, push and phone services.
//!
//! Each checks what its vendor checks (address, credentials, signature, content type, size, form), keeps the vendor's
//! rate limit as a sliding window, and answers with the vendor's own codes. Besides, none of them lets a message call
//! anybody who is not [allowed](Im::allow): the vendor would, which is what event texts try.
//!
//! ```text
//! let wecom = Im::wecom("the-key").await?;      // settings: {"key": "the-key", "baseUrl": wecom.base()}
//! ... deliver ...
//! wecom.taken();  wecom.refused();
//! ```

mod chat;
mod discord;
mod paging;
mod phone;
mod push;
mod slack;
mod telegram;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::sink::{Received, Reply, Sink};
use crate::wait::wait_until;

/// A request that the service has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// When.
    pub at: Instant,
    /// The path and query.
    pub path: String,
    /// The body.
    pub body: Value,
}

/// A request that the service has refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// When.
    pub at: Instant,
    /// The vendor's code, or `forbidden_mention`.
    pub code: String,
    /// The path and query.
    pub path: String,
    /// The body, as far as it is JSON.
    pub body: Value,
}

/// What a service says to a request.
enum Said {
    Taken(Reply),
    Refused(String, Reply),
}

/// Everything that differs between services.
trait Service: Send {
    /// Looks at a request; `pass` says whether the rate limit lets it through and whom it may call.
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said;
}

/// What holds for every service.
struct Pass {
    windows: Vec<Window>,
    allowed: HashSet<String>,
    now: Instant,
    now_seconds: i64,
}

/// A sliding window.
struct Window {
    permits: usize,
    per: Duration,
    times: VecDeque<Instant>,
}

impl Window {
    fn new(permits: usize, per: Duration) -> Self {
        Self {
            permits,
            per,
            times: VecDeque::new(),
        }
    }
}

impl Pass {
    /// Whether all windows have room; takes it.
    fn in_time(&mut self) -> bool {
        for window in &mut self.windows {
            while let Some(first) = window.times.front() {
                if self.now.duration_since(*first) < window.per {
                    break;
                }
                window.times.pop_front();
            }
            if window.times.len() >= window.permits {
                return false;
            }
        }
        for window in &mut self.windows {
            window.times.push_back(self.now);
        }
        true
    }

    /// Whether all of these may be called.
    fn may_call<'a>(&self, who: impl IntoIterator<Item = &'a str>) -> bool {
        who.into_iter().all(|who| self.allowed.contains(who))
    }
}

struct State {
    service: Box<dyn Service>,
    pass: Pass,
    scripted: VecDeque<Reply>,
    taken: Vec<Taken>,
    refused: Vec<Refused>,
}

/// A running double. Ends when it is dropped.
pub struct Im {
    sink: Sink,
    path: &'static str,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Im {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Im")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

impl Im {
    async fn start(
        path: &'static str,
        service: impl Service + 'static,
        windows: Vec<Window>,
    ) -> Result<Self> {
        let state = Arc::new(Mutex::new(State {
            service: Box::new(service),
            pass: Pass {
                windows,
                allowed: HashSet::new(),
                now: Instant::now(),
                now_seconds: 0,
            },
            scripted: VecDeque::new(),
            taken: Vec::new(),
            refused: Vec::new(),
        }));
        let sink = {
            let state = Arc::clone(&state);
            Sink::deciding(move |request| lock(&state).answer(request)).await?
        };
        Ok(Self { sink, path, state })
    }

    /// The value for `baseUrl`.
    pub fn base(&self) -> String {
        self.sink.url("")
    }

    /// The value for `url`, of services whose whole address is the secret.
    pub fn url(&self) -> String {
        self.sink.url(self.path)
    }

    /// Lets messages call these: ids as they stand in the request, `all`, `here`, `channel`, `everyone`.
    #[must_use]
    pub fn allow(self, who: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let who = who.into_iter().map(Into::into);
        lock(&self.state).pass.allowed.extend(who);
        self
    }

    /// Puts other limits in the place of the vendor's.
    #[must_use]
    pub fn limit(self, windows: impl IntoIterator<Item = (usize, Duration)>) -> Self {
        let windows = windows.into_iter();
        lock(&self.state).pass.windows = windows
            .map(|(permits, per)| Window::new(permits, per))
            .collect();
        self
    }

    /// Answers the next requests with these, whatever they are; they count as refused, with the code `scripted`.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.state).scripted.extend(replies);
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        lock(&self.state).taken.clone()
    }

    /// What was refused so far.
    pub fn refused(&self) -> Vec<Refused> {
        lock(&self.state).refused.clone()
    }

    /// Every request so far, as it came.
    pub fn received(&self) -> Vec<Received> {
        self.sink.received()
    }

    /// Waits until at least so many were taken, and gives all of them.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Taken>> {
        let what = format!("{count} messages");
        wait_until(&what, limit, async || {
            let taken = self.taken();
            Ok((taken.len() >= count).then_some(taken))
        })
        .await
    }
}

impl State {
    fn answer(&mut self, request: &Received) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let (at, path) = (request.at, request.path.clone());
        if let Some(reply) = self.scripted.pop_front() {
            let code = "scripted".to_owned();
            self.refused.push(Refused {
                at,
                code,
                path,
                body,
            });
            return reply;
        }
        self.pass.now = at;
        self.pass.now_seconds = now_seconds();
        match self.service.answer(request, &body, &mut self.pass) {
            Said::Taken(reply) => {
                self.taken.push(Taken { at, path, body });
                reply
            }
            Said::Refused(code, reply) => {
                self.refused.push(Refused {
                    at,
                    code,
                    path,
                    body,
                });
                reply
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "a vendor has a clock of its own")]
fn now_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// An answer with a JSON body.
fn answer(status: u16, body: &Value) -> Reply {
    Reply::Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string(),
    }
}

/// A refusal whose code stands in the body as a number.
fn refuse(status: u16, code: i64, body: &Value) -> Said {
    Said::Refused(code.to_string(), answer(status, body))
}

/// What no vendor would refuse, and no message of ours may do.
fn forbidden_mention() -> Said {
    let body = json!({ "mock": "the message calls somebody who is not allowed" });
    Said::Refused("forbidden_mention".to_owned(), answer(418, &body))
}

/// A value of the query, decoded once.
fn query(request: &Received, name: &str) -> Option<String> {
    let (_, query) = request.path.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The path without the query.
fn path(request: &Received) -> &str {
    request
        .path
        .split_once('?')
        .map_or(request.path.as_str(), |(path, _)| path)
}

fn is_json(request: &Received) -> bool {
    request
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"))
}

/// The member of the body that is a text; empty when it is not.
fn text<'b>(body: &'b Value, pointer: &str) -> &'b str {
    body.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The texts of a list.
fn texts<'b>(body: &'b Value, pointer: &str) -> impl Iterator<Item = &'b str> {
    let list = body.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// What stands between `before` and `after`, each time.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Vec<&'t str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(after)?.0))
        .collect()
}

/// Every text anywhere in a value whose member is called `name`.
fn all_texts<'b>(value: &'b Value, name: &str, found: &mut Vec<&'b str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| all_texts(item, name, found)),
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == name => found.push(text),
                    member => all_texts(member, name, found),
                }
            }
        }
        _ => {}
    }
}

/// Base64 of HMAC-SHA256.
fn hmac(key: &str, message: &str) -> String {
    use ::hmac::{Hmac, KeyInit, Mac};
    use base64::Engine;
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(message.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(mac.finalize().into_bytes())
}
