//! Receivers without a network: a kind of target whose answers the world decides.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_egress::EgressClient;
use belfry_model::FieldError;
use belfry_model::config::Schedule;
use belfry_model::delivery::Reason;
use belfry_targets::{
    Attempted, ConnectContext, GeneratedSecret, Job, LabelPair, LogAppend, Target, TargetKind,
    Verdict,
};
use serde_json::{Value, json};

use super::chance::Chance;
use super::world::World;

pub(crate) const KIND: &str = "simulated";
/// The log that a target with `"log": true` writes to.
pub(crate) const LOG: &str = "lines";

thread_local! {
    /// The world of the simulation that runs on this thread.
    static HERE: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// Says in which world targets connect on this thread from now on.
pub(crate) fn enter(world: Option<Arc<World>>) {
    HERE.set(world);
}

/// The kinds of a simulation: one.
pub(crate) fn find_kind(name: &str) -> Result<&'static dyn TargetKind, FieldError> {
    static SIMULATED: Simulated = Simulated;
    if name == KIND {
        return Ok(&SIMULATED);
    }
    Err(FieldError::new("/type", "no such kind"))
}

struct Simulated;

impl TargetKind for Simulated {
    fn name(&self) -> &'static str {
        KIND
    }
    fn title(&self) -> LabelPair {
        (KIND, KIND)
    }
    fn about(&self) -> LabelPair {
        (KIND, KIND)
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn example(&self) -> Value {
        json!({})
    }
    fn secret_pointers(&self, _settings: &Value) -> Vec<String> {
        Vec::new()
    }
    fn shown_to(&self, _settings: &Value, _pointer: &str) -> Option<String> {
        None
    }
    fn default_schedule(&self) -> Schedule {
        Schedule::Alarm
    }
    fn default_retry_on_4xx(&self) -> bool {
        false
    }
    fn prepare(&self, _settings: &mut Value, _existing: Option<&Value>) -> Vec<GeneratedSecret> {
        Vec::new()
    }
    fn validate(&self, _settings: &Value, _egress: &EgressClient) -> Vec<FieldError> {
        Vec::new()
    }
    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        let world = HERE.with_borrow(Clone::clone).unwrap();
        Ok(Arc::new(Receiver {
            world,
            life: context.user_agent.parse().unwrap(),
            name: settings["name"].as_str().unwrap().to_owned(),
            timeout: Duration::from_millis(settings["timeoutMs"].as_u64().unwrap()),
            log: settings["log"] == true,
        }))
    }
}

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Takes,
    Fails,
    NotFound,
    Busy,
    Gone,
    /// No answer within the target's limit.
    Hangs,
    /// The target's code never returns.
    Never,
    /// The target's code fails.
    Panics,
}

/// How a receiver behaves for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Of sixteen requests, so many are taken.
    good: u64,
    late_max_ms: u64,
    /// Whether it may also say that it wants nothing any more.
    leaves: bool,
}

impl Manner {
    pub(crate) const WELL: Self = Self {
        good: 16,
        late_max_ms: 5,
        leaves: false,
    };

    pub(crate) fn any(chance: &mut Chance) -> Self {
        Self {
            good: *chance.of_all(&[0, 4, 10, 15, 16]),
            late_max_ms: *chance.of_all(&[0, 2, 80, 3000]),
            leaves: chance.one_in(8),
        }
    }

    pub(crate) fn answer(self, chance: &mut Chance) -> (Answer, Duration) {
        let time = chance.millis(0, self.late_max_ms);
        if chance.below(16) < self.good {
            return (Answer::Takes, time);
        }
        let answer = match chance.below(16) {
            9 | 10 => Answer::NotFound,
            11 => Answer::Busy,
            12 => Answer::Hangs,
            13 => Answer::Panics,
            14 if chance.one_in(4) => Answer::Never,
            15 if self.leaves => Answer::Gone,
            _ => Answer::Fails,
        };
        (answer, time)
    }
}

struct Receiver {
    world: Arc<World>,
    life: u64,
    name: String,
    timeout: Duration,
    log: bool,
}

/// A request on the wire; off it when dropped.
struct OnWire<'a>(&'a Receiver, belfry_model::DeliveryId);

impl Drop for OnWire<'_> {
    fn drop(&mut self) {
        self.0.world.off_wire(self.0.life, self.1);
    }
}

fn retry(reason: Reason, retry_after_ms: Option<u64>) -> Verdict {
    Verdict::Retry {
        reason,
        detail: "as asked".to_owned(),
        retry_after_ms,
    }
}

#[async_trait]
impl Target for Receiver {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let Some((answer, time)) = self.world.request(self.life, &self.name, job) else {
            // The process that asks is no more.
            return std::future::pending().await;
        };
        let wire = OnWire(self, job.delivery);
        let time = match answer {
            Answer::Hangs => self.timeout,
            Answer::Never => Duration::MAX / 4,
            _ => time.min(self.timeout),
        };
        tokio::time::sleep(time).await;
        if answer == Answer::Takes && !self.world.took(self.life, job.delivery) {
            return std::future::pending().await;
        }
        drop(wire);
        let (verdict, status) = match answer {
            Answer::Takes => (Verdict::Delivered, Some(200)),
            Answer::Fails => (retry(Reason::Http5xx, None), Some(500)),
            Answer::NotFound => (retry(Reason::Http4xx, None), Some(404)),
            Answer::Busy => (retry(Reason::RateLimited, Some(1500)), Some(429)),
            Answer::Hangs | Answer::Never => (retry(Reason::Timeout, None), None),
            Answer::Panics => std::panic::resume_unwind(Box::new("as asked")),
            Answer::Gone => {
                let detail = "as asked".to_owned();
                (Verdict::Gone { detail }, Some(410))
            }
        };
        let append = (self.log && answer == Answer::Takes).then(|| LogAppend {
            log: LOG.parse().unwrap(),
            text: job.delivery.to_string(),
        });
        Attempted {
            status,
            append,
            ..Attempted::unsent(verdict)
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}
