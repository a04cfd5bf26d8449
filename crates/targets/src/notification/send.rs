//! One attempt: choosing a channel and the people who may be told now.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_alarm::{Alarm, Language, Severity, Week};
use belfry_model::delivery::Reason;
use belfry_model::{Clock, Event, FieldError};

use super::config::{Checked, NotificationSettings, Outside, Window};
use super::progress::{End, Progress};
use crate::directory::Directory;
use crate::kind::ConnectContext;
use crate::message::settings::Common;
use crate::people::{self, Person, Reach};
use crate::target::{AlarmLife, Attempted, Channel, Job, Part, RequestRecord, Target, Verdict};

/// A policy that is ready to tell.
pub(crate) struct Notification {
    /// The fallback last, if there is one.
    channels: Vec<Way>,
    has_fallback: bool,
    settings: NotificationSettings,
    common: Common,
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
}

/// A channel that is ready.
struct Way {
    name: String,
    target: Arc<dyn Target>,
    /// By what it reaches people, if it does.
    reach: Option<Reach>,
    /// It tells programs, which do not sleep.
    is_program: bool,
}

/// Who may be told now.
enum Now {
    /// The channel as it is.
    All,
    /// These; others wait until then, or are passed over for a reason.
    People(Vec<Person>, Option<i64>, Vec<String>),
    /// Nobody until then.
    Wait(i64),
    /// Nobody, for a reason; and whether that is a failure.
    Nobody(End, Reason, String),
}

/// Whom a channel tells now.
#[derive(Default)]
struct Choice {
    /// `None`: the channel as it is.
    people: Option<Vec<Person>>,
    /// Until when others wait.
    waits_until: Option<i64>,
    /// Who is passed over, and why.
    passed: Vec<String>,
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl Notification {
    /// A policy of checked settings.
    pub(crate) fn new(
        checked: Checked,
        settings: NotificationSettings,
        common: Common,
        context: &ConnectContext,
    ) -> Result<Self, Vec<FieldError>> {
        let mut channels: Vec<Way> = Vec::new();
        for channel in checked.0 {
            let target = channel
                .kind
                .connect(channel.settings, context)
                .map_err(|errors| {
                    let under = |error: FieldError| error.under(&channel.at);
                    errors.into_iter().map(under).collect::<Vec<_>>()
                })?;
            let kind = channel.kind.name();
            let same = channels
                .iter()
                .filter(|way| way.name.starts_with(kind))
                .count();
            channels.push(Way {
                name: if same == 0 {
                    kind.to_owned()
                } else {
                    format!("{kind} {}", same + 1)
                },
                target,
                reach: channel.kind.reaches(),
                is_program: kind == "webhook",
            });
        }
        Ok(Self {
            channels,
            has_fallback: settings.fallback.is_some(),
            settings,
            common,
            clock: Arc::clone(&context.clock),
            directory: Arc::clone(&context.directory),
        })
    }

    /// How many of the channels are used: the fallback only after another one has failed.
    fn used(&self, progress: &Progress) -> usize {
        let all = self.channels.len();
        if self.has_fallback && !progress.has_failed() {
            all - 1
        } else {
            all
        }
    }

    /// Who may be told by a channel now.
    fn now(&self, way: &Way, inner: Option<&str>, alarm: &Alarm, now_ms: i64) -> Now {
        let window = self.settings.window.as_ref().filter(|window| {
            let always = window.criticals_always && alarm.severity == Severity::Critical;
            !way.is_program && !always
        });
        let Some(reach) = way.reach else {
            return match window.map(|window| (window, self.week(window, None))) {
                None | Some((_, None)) => Now::All,
                Some((window, Some(week))) => closed(window, &week, now_ms).unwrap_or(Now::All),
            };
        };
        let found = self.settings.people.find(reach, &*self.directory);
        if found.people.is_empty() {
            let detail = format!("nobody to be told: {}", found.missing.join(", "));
            return Now::Nobody(End::Failed, Reason::InvalidTarget, detail);
        }
        let Some(window) = window else {
            return Now::People(found.people, None, found.missing);
        };
        let (mut told, mut passed, mut waits_until) = (Vec::new(), found.missing, None);
        let done = people::Progress::read(inner);
        let mut open = false;
        for person in found.people {
            if done.has(&person.address) {
                told.push(person);
                continue;
            }
            let week = self.week(window, person.time_zone.as_deref());
            match week.and_then(|week| closed(window, &week, now_ms)) {
                None => {
                    open = true;
                    told.push(person);
                }
                Some(Now::Wait(until)) => {
                    waits_until = Some(waits_until.map_or(until, |other: i64| other.min(until)));
                }
                Some(_) => {
                    let name = person.contact.unwrap_or(person.address);
                    passed.push(format!("contact {name}: outside the window"));
                }
            }
        }
        match (open || !told.is_empty(), waits_until) {
            (_, Some(until)) if !open => Now::Wait(until),
            (false, _) => Now::Nobody(
                End::Skipped,
                Reason::OutsideWindow,
                "nobody is told at this time of the week".to_owned(),
            ),
            (true, _) => Now::People(told, waits_until, passed),
        }
    }

    /// Of the channels that have something to send now the first with the least `cost`. Those that have nothing to send now
    /// are passed by.
    fn choose(
        &self,
        progress: &mut Progress,
        alarm: &Alarm,
        now_ms: i64,
        cost: impl Fn(&Way, Option<&str>) -> i64,
    ) -> Option<(usize, &Way, Choice)> {
        let mut best: Option<(i64, (usize, &Way, Choice))> = None;
        let mut channel = 0;
        // One more is used as soon as another has failed.
        while channel < self.used(progress) {
            let at = channel;
            channel += 1;
            if !progress.may(at, now_ms) {
                continue;
            }
            let way = self.channels.get(at)?;
            let inner = progress.channels.get(&at);
            let inner = inner.and_then(|state| state.inner.as_deref());
            let choice = match self.now(way, inner, alarm, now_ms) {
                Now::All => Choice::default(),
                Now::People(people, waits_until, passed) => Choice {
                    people: Some(people),
                    waits_until,
                    passed,
                },
                Now::Wait(until) => {
                    let state = progress.state(at);
                    state.not_before_ms = until.max(now_ms + 1);
                    state.waits_for_window = true;
                    state.why = Some("outside the window".to_owned());
                    continue;
                }
                Now::Nobody(end, reason, detail) => {
                    let state = progress.state(at);
                    state.end = Some(end);
                    state.reason = Some(reason.as_str().to_owned());
                    state.why = Some(detail);
                    continue;
                }
            };
            let cost = cost(way, inner);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, (at, way, choice)));
            }
        }
        best.map(|(_, chosen)| chosen)
    }

    /// The windows in the zone of whoever is told.
    fn week(&self, window: &Window, zone: Option<&str>) -> Option<Week> {
        let zone = zone.unwrap_or_else(|| self.common.time_zone.name());
        window.weekly(Some(zone)).compile().ok()
    }

    /// What a message of the fallback says of the channels that failed.
    fn excuse(&self, progress: &Progress) -> String {
        let failed: Vec<&str> = self
            .channels
            .iter()
            .enumerate()
            .filter(|(n, _)| {
                let state = progress.channels.get(n);
                state.is_some_and(|state| state.end == Some(End::Failed))
            })
            .map(|(_, way)| way.name.as_str())
            .collect();
        let failed = failed.join(", ");
        match self.common.language {
            Language::En => format!("sent here because this did not get through: {failed}"),
            Language::Zh => format!("因 {failed} 发送失败，改由本渠道通知"),
        }
    }

    /// Lets one channel make one attempt.
    async fn attempt(
        &self,
        job: &Job<'_>,
        channel: usize,
        way: &Way,
        people: Option<&[Person]>,
        progress: &Progress,
    ) -> Attempted {
        let threads: BTreeMap<usize, String> = job
            .alarm
            .and_then(|life| serde_json::from_str(life.thread.as_deref()?).ok())
            .unwrap_or_default();
        let life = job.alarm.map(|life| AlarmLife {
            thread: threads.get(&channel).cloned(),
            ..life.clone()
        });
        let state = progress.channels.get(&channel);
        let is_fallback = self.has_fallback && channel + 1 == self.channels.len();
        let excuse = is_fallback.then(|| self.excuse(progress));
        let job = Job {
            alarm: life.as_ref(),
            progress: state.and_then(|state| state.inner.as_deref()),
            note: excuse.as_deref().or(job.note),
            ..job.clone()
        };
        match people {
            Some(people) => way.target.deliver_to(&job, people).await,
            None => way.target.deliver(&job).await,
        }
    }
}

/// What a closed window means; nothing when it is open.
fn closed(window: &Window, week: &Week, now_ms: i64) -> Option<Now> {
    if week.holds(now_ms) {
        return None;
    }
    let opens = week.next_ms(now_ms);
    Some(match (window.outside, opens) {
        (Outside::Wait, Some(opens)) => Now::Wait(opens),
        (Outside::Wait | Outside::Skip, _) => Now::Nobody(
            End::Skipped,
            Reason::OutsideWindow,
            "nobody is told at this time of the week".to_owned(),
        ),
    })
}

#[async_trait]
impl Target for Notification {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let now_ms = self.clock.now_ms();
        let alarm = Alarm::read(job.event);
        let mut progress = Progress::read(job.progress);
        let mut attempted = Attempted::unsent(Verdict::Delivered);
        let permitted = |way: &Way, inner: Option<&str>| {
            let part = way.target.next_part(job.event, inner, &|_| 0);
            i64::from(part.channel != job.channel)
        };
        if let Some((channel, way, choice)) = self.choose(&mut progress, &alarm, now_ms, permitted)
        {
            let Choice {
                people,
                waits_until,
                passed,
            } = choice;
            let made = self
                .attempt(job, channel, way, people.as_deref(), &progress)
                .await;
            if let Some(thread) = made.thread {
                progress.threads.insert(channel, thread);
            }
            let delivered = made.verdict == Verdict::Delivered;
            let throttled = made.verdict.throttled();
            let mut note = made.note;
            if !passed.is_empty() {
                let told = note.map(|note| format!("{note}; ")).unwrap_or_default();
                note = Some(format!("{told}not reached: {}", passed.join(", ")));
            }
            let now_ms = self.clock.now_ms();
            if made.progress.is_some() {
                progress.state(channel).inner = made.progress;
            }
            progress.learn(channel, made.verdict, note, self.settings.tries_max, now_ms);
            let state = progress.state(channel);
            if let (true, Some(until)) = (delivered, waits_until) {
                // The others are told when their windows open.
                state.end = None;
                state.not_before_ms = until;
                state.waits_for_window = true;
            }
            attempted = Attempted {
                status: made.status,
                duration_ms: made.duration_ms,
                request: made.request,
                response: made.response,
                throttled,
                ..attempted
            };
        }
        let names: Vec<String> = self
            .channels
            .iter()
            .take(self.used(&progress))
            .map(|way| way.name.clone())
            .collect();
        let (verdict, note) = progress.conclude(&names, self.clock.now_ms());
        if verdict == Verdict::Delivered && !progress.threads.is_empty() {
            attempted.thread = serde_json::to_string(&progress.threads).ok();
        }
        Attempted {
            verdict,
            note,
            progress: progress.write(),
            ..attempted
        }
    }

    fn timeout(&self) -> Duration {
        let timeouts = self.channels.iter().map(|way| way.target.timeout());
        timeouts.max().unwrap_or_default()
    }

    fn channels(&self) -> Vec<Channel> {
        let channels = self.channels.iter();
        channels.flat_map(|way| way.target.channels()).collect()
    }

    fn next_part(
        &self,
        event: &Event,
        progress: Option<&str>,
        wait_ms: &(dyn Fn(&[u8; 16]) -> i64 + Sync),
    ) -> Part {
        let mut progress = Progress::read(progress);
        let (alarm, now_ms) = (Alarm::read(event), self.clock.now_ms());
        let part = |way: &Way, inner: Option<&str>| way.target.next_part(event, inner, wait_ms);
        let wait = |way: &Way, inner: Option<&str>| {
            part(way, inner).channel.map_or(0, |key| wait_ms(&key))
        };
        let chosen = self.choose(&mut progress, &alarm, now_ms, wait);
        let channel = chosen.and_then(|(channel, way, _)| {
            let state = progress.channels.get(&channel);
            part(way, state.and_then(|state| state.inner.as_deref())).channel
        });
        Part {
            channel,
            done: progress.ended(),
        }
    }

    fn folds(&self) -> bool {
        self.channels.iter().all(|way| way.target.folds())
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let mut records = Vec::new();
        for (n, way) in self.channels.iter().enumerate() {
            if self.has_fallback && n + 1 == self.channels.len() {
                break;
            }
            let shown = way.target.preview(job);
            records.extend(shown.map_err(|why| format!("{}: {why}", way.name))?);
        }
        Ok(records)
    }
}
