//! One attempt: choosing a channel and the people who may be told now.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_alarm::{Alarm, Language, Severity, Week};
use belfry_model::delivery::Reason;
use belfry_model::{Clock, FieldError};

use super::config::{Checked, NotificationSettings, Outside, Window};
use super::progress::{End, Progress};
use crate::directory::Directory;
use crate::kind::ConnectContext;
use crate::limits::VendorLimits;
use crate::message::settings::Common;
use crate::people::{self, Person, Reach};
use crate::target::{
    AlarmLife, Attempted, Channel, ChannelLimit, Job, RequestRecord, Target, Verdict,
};

/// A policy that is ready to tell.
pub(crate) struct Notification {
    /// The fallback last, if there is one.
    channels: Vec<Way>,
    has_fallback: bool,
    settings: NotificationSettings,
    common: Common,
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
    limits: Arc<dyn VendorLimits>,
}

/// How long an attempt waits for what a vendor lets pass, before another channel is used or the message waits.
const PERMIT_WAIT: Duration = Duration::from_secs(2);
/// When a channel is asked again that let nothing pass.
const BUSY_MS: i64 = 5_000;

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
            limits: Arc::clone(&context.limits),
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

    /// Whether the vendor behind a channel lets a message pass. `taken` is the permit that was taken for the attempt.
    async fn may_pass(
        &self,
        channel: Option<&Channel>,
        taken: &mut Option<[u8; 16]>,
        job: &Job<'_>,
        alarm: &Alarm,
    ) -> bool {
        let Some(channel) = channel.filter(|_| !job.trial) else {
            return true;
        };
        if taken.take_if(|key| *key == channel.key).is_some() {
            return true;
        }
        let urgent = alarm.severity == Severity::Critical;
        self.limits
            .permit(channel, urgent, job.delivery, PERMIT_WAIT)
            .await
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
        let mut taken = self
            .channel()
            .filter(|_| job.has_permit)
            .map(|channel| channel.key);
        // Channels that have nothing to send now are passed by; the first that has makes the attempt.
        while let Some(channel) = progress.next(self.used(&progress), now_ms) {
            let Some(way) = self.channels.get(channel) else {
                break;
            };
            let inner = progress.channels.get(&channel);
            let inner = inner.and_then(|state| state.inner.as_deref());
            let (people, waits_until, passed) = match self.now(way, inner, &alarm, now_ms) {
                Now::All => (None, None, Vec::new()),
                Now::People(people, waits_until, passed) => (Some(people), waits_until, passed),
                Now::Wait(until) => {
                    let state = progress.state(channel);
                    state.not_before_ms = until.max(now_ms + 1);
                    state.waits_for_window = true;
                    state.why = Some("outside the window".to_owned());
                    continue;
                }
                Now::Nobody(end, reason, detail) => {
                    let state = progress.state(channel);
                    state.end = Some(end);
                    state.reason = Some(reason.as_str().to_owned());
                    state.why = Some(detail);
                    continue;
                }
            };
            let limited = way.target.channel();
            if !self
                .may_pass(limited.as_ref(), &mut taken, job, &alarm)
                .await
            {
                let state = progress.state(channel);
                state.not_before_ms = self.clock.now_ms() + BUSY_MS;
                state.reason = Some(Reason::ChannelLimit.as_str().to_owned());
                state.why = Some("waits for the vendor's rate limit".to_owned());
                continue;
            }
            let made = self
                .attempt(job, channel, way, people.as_deref(), &progress)
                .await;
            if let Some(thread) = made.thread {
                progress.threads.insert(channel, thread);
            }
            let delivered = made.verdict == Verdict::Delivered;
            let mut note = made.note;
            if !passed.is_empty() {
                let told = note.map(|note| format!("{note}; ")).unwrap_or_default();
                note = Some(format!("{told}not reached: {}", passed.join(", ")));
            }
            let now_ms = self.clock.now_ms();
            if let (
                Some(limited),
                Verdict::Retry {
                    reason: Reason::RateLimited,
                    retry_after_ms,
                    ..
                },
            ) = (&limited, &made.verdict)
            {
                self.limits.pause(limited, *retry_after_ms);
            }
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
                ..attempted
            };
            break;
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
        // Each channel may have to be waited for before one lets the message pass.
        let waits = PERMIT_WAIT * u32::try_from(self.channels.len()).unwrap_or(u32::MAX);
        timeouts.max().unwrap_or_default() + waits
    }

    fn channel(&self) -> Option<Channel> {
        // The slowest of them: what it cannot let pass is gathered into digests.
        let per_hour = |limit: &ChannelLimit| {
            u128::from(limit.permits) * 3_600_000 / limit.per.as_millis().max(1)
        };
        let channels = self.channels.iter().filter_map(|way| way.target.channel());
        channels.min_by_key(|channel| per_hour(&channel.limit))
    }

    fn channel_of_next(&self, progress: Option<&str>) -> Option<Channel> {
        let progress = Progress::read(progress);
        let next = progress.next(self.used(&progress), self.clock.now_ms())?;
        let next = self.channels.get(next)?.target.channel()?;
        self.channel().filter(|channel| channel.key == next.key)
    }

    fn further_channels(&self) -> Vec<Channel> {
        let own = self.channel();
        let channels = self.channels.iter().filter_map(|way| way.target.channel());
        channels
            .filter(|channel| own.is_none_or(|own| own.key != channel.key))
            .collect()
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
