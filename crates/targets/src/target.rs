//! One attempt of one delivery: what goes in, what comes out.

use std::time::Duration;

use async_trait::async_trait;
use belfry_functions::Invocation;
use belfry_model::delivery::Reason;
use belfry_model::{BusName, DeliveryId, Event, LogName, ReplayId};
use belfry_transform::{Escape, Rendered};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::people::Person;

/// Something that events are delivered to.
#[async_trait]
pub trait Target: Send + Sync {
    /// Makes one attempt: at most one request to the receiver.
    async fn deliver(&self, job: &Job<'_>) -> Attempted;

    /// The same to these people instead of those in the settings; only for kinds that
    /// [reach people](crate::TargetKind::reaches).
    async fn deliver_to(&self, job: &Job<'_>, people: &[Person]) -> Attempted {
        let _ = (job, people);
        Attempted::unsent(Verdict::Permanent {
            reason: Reason::Internal,
            detail: "this kind of target reaches nobody by name".to_owned(),
        })
    }

    /// The longest that one [`deliver`](Self::deliver) can take.
    fn timeout(&self) -> Duration;

    /// What the vendor counts its rate limit by, with a limit below it: the channel that every request goes through.
    /// Targets with the same key share it.
    fn channel(&self) -> Option<Channel> {
        None
    }

    /// All channels that some request may go through.
    fn channels(&self) -> Vec<Channel> {
        self.channel().into_iter().collect()
    }

    /// The part of a delivery that is to go next: of several that may, the one whose channel lets it go first. `progress` as
    /// in [`Job::progress`]; `wait_ms`: how long a message would wait for a channel now, in ms; only
    /// the order of the answers matters.
    fn next_part(
        &self,
        event: &Event,
        progress: Option<&str>,
        wait_ms: &(dyn Fn(&[u8; 16]) -> i64 + Sync),
    ) -> Part {
        let (_, _, _) = (event, progress, wait_ms);
        Part {
            channel: self.channel().map(|channel| channel.key),
            done: 0,
        }
    }

    /// Whether one message can tell of several events ([`Job::folded`]).
    fn folds(&self) -> bool {
        false
    }

    /// Whether it takes events many at once ([`Job::folded`]), whatever they tell of; all share what comes of it.
    fn batch(&self) -> Option<Batch> {
        None
    }

    /// How values that a text template of the operator's inserts are made harmless.
    fn escape(&self) -> Escape {
        Escape::None
    }

    /// What [`deliver`](Self::deliver) would send, bodies complete, secrets masked; sends nothing. The error says why
    /// nothing would be sent, for a person.
    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let _ = job;
        Err("this kind of target has no preview".to_owned())
    }

    /// Asks the receiver whether it wants events; the error says why not, for a person.
    async fn handshake(&self) -> Result<Handshake, String> {
        Ok(Handshake::default())
    }
}

/// What to deliver.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The same for every attempt; receivers tell repeats by it.
    pub delivery: DeliveryId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The event.
    pub event: &'a Event,
    /// What the transformation made of it; absent: the kind's own form.
    pub body: Option<&'a Rendered>,
    /// The bus it was posted to.
    pub bus: &'a str,
    /// The rule that matched.
    pub rule: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// When the event was accepted, ms since 1970.
    pub accepted_at_ms: i64,
    /// The replay that has put the event back, if one has.
    pub replay: Option<ReplayId>,
    /// The trace context of this attempt, for the HTTP header.
    pub traceparent: Option<String>,
    /// What is known of the alarm that the event belongs to, if it belongs to one.
    pub alarm: Option<&'a AlarmLife>,
    /// Further deliveries that this message is to tell of; only for targets that [fold](Target::folds), or take a
    /// [batch](Target::batch).
    pub folded: &'a [Folded],
    /// Whether they are folded since the channel's limit is reached; else they are a group.
    pub digest: bool,
    /// What the last attempt of this delivery has left behind ([`Attempted::progress`]).
    pub progress: Option<&'a str>,
    /// Where a person sees this delivery.
    pub link: Option<&'a str>,
    /// Somebody tries the target out: messages say so, in their title.
    pub trial: bool,
    /// For people, in the language of the message: what is to be said besides, such as that another channel failed.
    pub note: Option<&'a str>,
    /// The channel ([`Part::channel`]) that a permit was given for: of several parts that may go now, one of it goes.
    pub channel: Option<[u8; 16]>,
}

/// What is known of an alarm when one of its events is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmLife {
    /// How often it has fired since it began, this event included.
    pub count: u64,
    /// When it began, ms since 1970.
    pub first_at_ms: i64,
    /// When this target was told of it first, ms since 1970.
    pub told_at_ms: Option<i64>,
    /// What this target's first message of it left behind ([`Attempted::thread`]).
    pub thread: Option<String>,
}

/// A delivery that is told of in another's message.
#[derive(Debug, Clone)]
pub struct Folded {
    /// Which.
    pub delivery: DeliveryId,
    /// Its event.
    pub event: Event,
    /// What the transformation made of it; only in a [batch](Target::batch).
    pub body: Option<Rendered>,
}

/// How many events a target takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// At most so many.
    pub count: usize,
    /// At most about so many bytes of bodies, all together; a single one may be larger.
    pub bytes: usize,
    /// How long the first of them waits for others.
    pub wait: Duration,
}

/// What a vendor counts its rate limit by: a bot, a hook, an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// Tells channels apart: a hash of the address and the secret in it.
    pub key: [u8; 16],
    /// What is kept below the vendor's limit.
    pub limit: ChannelLimit,
}

impl Channel {
    /// The channel of a kind's account, bot or hook; `counted_by` tells them apart.
    pub(crate) fn of(kind: &str, counted_by: &str, limit: ChannelLimit) -> Self {
        let digest = Sha256::digest(format!("{kind}\n{counted_by}"));
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest) {
            *to = from;
        }
        Self { key, limit }
    }
}

/// What a delivery waits for. Only deliveries that wait for the same may go in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Part {
    /// The [key](Channel::key) of the channel that its request goes through; `None`: through none, or nothing is to be sent.
    pub channel: Option<[u8; 16]>,
    /// Which parts of the delivery have ended already, a bit for each.
    pub done: u32,
}

/// At most `burst` requests at once, and `permits` more in each `per`. Their sum must be within what the vendor allows
/// in `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLimit {
    /// Requests that become possible in each `per`, evenly spread.
    pub permits: u32,
    /// The span.
    pub per: Duration,
    /// The most at once.
    pub burst: u32,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// What it means.
    pub verdict: Verdict,
    /// The HTTP status, if an answer began.
    pub status: Option<u16>,
    /// How long it took.
    pub duration_ms: u32,
    /// What was sent.
    pub request: Option<RequestRecord>,
    /// What was answered.
    pub response: Option<ResponseRecord>,
    /// A line for a log, to be written together with the outcome.
    pub append: Option<LogAppend>,
    /// What the next attempt of the delivery has to know, if there is one: which parts are done. Absent: what the last
    /// attempt left behind stays.
    pub progress: Option<String>,
    /// What later messages of the same alarm refer to; kept with the alarm when the delivery succeeds.
    pub thread: Option<String>,
    /// For people: what there is to say of a success, such as whom it has not reached.
    pub note: Option<String>,
    /// The channel of the request wants to be left alone. A [`Verdict::Retry`] with reason `rate_limited` says it by itself;
    /// this is for what goes on by other channels meanwhile.
    pub throttled: Option<Throttled>,
    /// The run of a function that it was, to be kept together with the outcome.
    pub invocation: Option<Box<Invocation>>,
    /// Events to be stored together with the outcome, on these buses, if the delivery ends with it: not before it is tried
    /// again.
    pub emit: Vec<(BusName, Event)>,
}

impl Attempted {
    /// An attempt that ended before anything was sent.
    pub fn unsent(verdict: Verdict) -> Self {
        Self {
            verdict,
            status: None,
            duration_ms: 0,
            request: None,
            response: None,
            append: None,
            progress: None,
            thread: None,
            note: None,
            throttled: None,
            invocation: None,
            emit: Vec::new(),
        }
    }
}

/// A vendor wants less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// How long it asks to be left alone, if it says so.
    pub retry_after_ms: Option<u64>,
}

impl Verdict {
    /// Whether it says that the vendor wants less.
    pub fn throttled(&self) -> Option<Throttled> {
        match self {
            Self::Retry {
                reason: Reason::RateLimited,
                retry_after_ms,
                ..
            } => Some(Throttled {
                retry_after_ms: *retry_after_ms,
            }),
            _ => None,
        }
    }
}

/// What an attempt means for its delivery. Details are for people and hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Delivered,
    /// A part is done ([`Attempted::progress`] says which); the rest is to follow at once.
    More {
        /// For people: what was done.
        detail: String,
    },
    /// May succeed later.
    Retry {
        /// For programs. `http_4xx` leaves it to the retry policy whether it is worth it.
        reason: Reason,
        /// For people.
        detail: String,
        /// How long the receiver asks to be left alone, at most a day.
        retry_after_ms: Option<u64>,
    },
    /// Not now, for a reason of this delivery alone: a recipient who greylists, a time of the week that has not come. Unlike
    /// [`Retry`](Self::Retry) it says nothing against the receiver, and other deliveries go on.
    Later {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
        /// How long it waits at least, at most a day.
        wait_ms: u64,
    },
    /// There was no room for it: this was no attempt, and the delivery waits as if it had not been tried.
    Busy {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
        /// How long it waits, at most a minute.
        wait_ms: u64,
    },
    /// Will not succeed, however often it is tried.
    Permanent {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// The receiver wants nothing any more: the target is to be disabled.
    Gone {
        /// For people.
        detail: String,
    },
    /// There was nothing to do.
    Skipped {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
}

/// What was sent, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// The method.
    pub method: String,
    /// Where to; secret parts masked.
    pub url: String,
    /// The headers, secret values masked.
    pub headers: Vec<(String, String)>,
    /// How long the body was.
    pub body_bytes: usize,
    /// The beginning of the body, unless it is the event itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether the body was the event as accepted, which is kept anyway.
    pub body_is_event: bool,
}

/// What was answered, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseRecord {
    /// The status.
    pub status: u16,
    /// The first headers.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body; what is not UTF-8 is replaced.
    pub body: String,
    /// Whether the body went on.
    pub truncated: bool,
    /// How many bytes of the body were read.
    pub bytes: usize,
}

/// A line for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogAppend {
    /// Which log.
    pub log: LogName,
    /// The line.
    pub text: String,
}

/// What a receiver agreed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The most requests a minute it accepts; absent: it did not say, or any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_per_minute: Option<u32>,
}
