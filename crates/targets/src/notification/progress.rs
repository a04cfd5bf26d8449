//! Which channel is done, waits or has failed, and what follows; pure.

use std::collections::BTreeMap;

use belfry_model::delivery::Reason;
use serde::{Deserialize, Serialize};

use crate::people;
use crate::target::Verdict;

/// How long a channel waits after it failed once, twice, ... in ms; then always the last.
const WAITS_MS: [u64; 5] = [5_000, 30_000, 120_000, 300_000, 600_000];

/// What of a delivery is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    /// Channels by their place; those that are absent were not begun.
    pub(crate) channels: BTreeMap<usize, State>,
    /// What messages of the channels left behind for later ones of the same alarm.
    pub(crate) threads: BTreeMap<usize, String>,
}

/// Where a channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct State {
    pub(crate) end: Option<End>,
    /// Attempts that failed.
    pub(crate) tries: u32,
    /// Not before this, ms since 1970.
    pub(crate) not_before_ms: i64,
    /// Whether it waits for a window; else for another try.
    pub(crate) waits_for_window: bool,
    /// The channel's own progress.
    pub(crate) inner: Option<String>,
    /// For people: why it ended so, why it waits, whom it did not reach.
    pub(crate) why: Option<String>,
    /// Why it failed, for programs.
    pub(crate) reason: Option<String>,
}

/// How a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    /// Somebody was told.
    Done,
    /// Nobody was, and nobody will be.
    Failed,
    /// There was nothing to do.
    Skipped,
}

impl Progress {
    /// What the last attempt left behind; what cannot be read is none.
    pub(crate) fn read(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// For [`Attempted::progress`](crate::Attempted::progress).
    pub(crate) fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    pub(crate) fn state(&mut self, channel: usize) -> &mut State {
        self.channels.entry(channel).or_default()
    }

    /// Whether a channel has failed for good.
    pub(crate) fn has_failed(&self) -> bool {
        let ended = |state: &State| state.end == Some(End::Failed);
        self.channels.values().any(ended)
    }

    /// The first of `channels` that may be used now.
    pub(crate) fn next(&self, channels: usize, now_ms: i64) -> Option<usize> {
        (0..channels).find(|channel| self.may(*channel, now_ms))
    }

    /// Whether a channel may be used now.
    pub(crate) fn may(&self, channel: usize, now_ms: i64) -> bool {
        self.channels
            .get(&channel)
            .is_none_or(|state| state.end.is_none() && state.not_before_ms <= now_ms)
    }

    /// Which channels have ended, a bit for each.
    pub(crate) fn ended(&self) -> u32 {
        let ended = self
            .channels
            .iter()
            .filter(|(_, state)| state.end.is_some());
        ended.fold(0, |bits, (channel, _)| {
            bits | u32::try_from(*channel)
                .ok()
                .and_then(|channel| 1_u32.checked_shl(channel))
                .unwrap_or(0)
        })
    }

    /// Takes in what an attempt of a channel means.
    pub(crate) fn learn(
        &mut self,
        channel: usize,
        verdict: Verdict,
        note: Option<String>,
        tries_max: u32,
        now_ms: i64,
    ) {
        let state = self.state(channel);
        state.waits_for_window = false;
        let mut ends = |end, why, reason: Option<Reason>| {
            state.end = Some(end);
            state.why = why;
            state.reason = reason.map(|reason| reason.as_str().to_owned());
        };
        match verdict {
            Verdict::Delivered => ends(End::Done, note, None),
            Verdict::More { .. } => state.not_before_ms = now_ms,
            Verdict::Permanent { reason, detail } => ends(End::Failed, Some(detail), Some(reason)),
            Verdict::Gone { detail } => ends(End::Failed, Some(detail), Some(Reason::Gone)),
            Verdict::Skipped { reason, detail } => ends(End::Skipped, Some(detail), Some(reason)),
            Verdict::Retry {
                reason,
                detail,
                retry_after_ms,
            } => {
                let wait_ms = retry_after_ms.unwrap_or_default();
                self.postpone(channel, reason, detail, wait_ms, tries_max, now_ms);
            }
            Verdict::Later {
                reason,
                detail,
                wait_ms,
            }
            | Verdict::Busy {
                reason,
                detail,
                wait_ms,
            } => self.postpone(channel, reason, detail, wait_ms, tries_max, now_ms),
        }
    }

    /// A channel failed and may be tried again.
    fn postpone(
        &mut self,
        channel: usize,
        reason: Reason,
        detail: String,
        wait_ms: u64,
        tries_max: u32,
        now_ms: i64,
    ) {
        let state = self.state(channel);
        state.tries += 1;
        state.reason = Some(reason.as_str().to_owned());
        if state.tries >= tries_max {
            // Of several people some may have been told.
            let some = !people::Progress::read(state.inner.as_deref())
                .done
                .is_empty();
            state.end = Some(if some { End::Done } else { End::Failed });
            state.why = Some(format!("{detail}; tried {} times", state.tries));
            return;
        }
        let nth = usize::try_from(state.tries - 1).unwrap_or(usize::MAX);
        let usual = WAITS_MS.get(nth).or(WAITS_MS.last());
        let wait_ms = wait_ms.max(usual.copied().unwrap_or_default());
        state.not_before_ms = now_ms.saturating_add_unsigned(wait_ms);
        state.why = Some(detail);
    }

    /// What follows for the delivery as a whole, and what is to be said of a success. `names` are the channels that are
    /// used, in their order.
    pub(crate) fn conclude(&self, names: &[String], now_ms: i64) -> (Verdict, Option<String>) {
        let summary = self.summary(names);
        if self.next(names.len(), now_ms).is_some() {
            return (Verdict::More { detail: summary }, None);
        }
        let states: Vec<&State> = (0..names.len())
            .filter_map(|channel| self.channels.get(&channel))
            .collect();
        let waiting = states.iter().filter(|state| state.end.is_none());
        if let Some(first) = waiting.clone().min_by_key(|state| state.not_before_ms) {
            let only_window = waiting.clone().all(|state| state.waits_for_window);
            let reason = if only_window {
                Reason::OutsideWindow
            } else {
                reason_of(
                    waiting
                        .clone()
                        .find(|state| !state.waits_for_window)
                        .copied(),
                )
            };
            let wait_ms = u64::try_from(first.not_before_ms.saturating_sub(now_ms)).ok();
            let verdict = Verdict::Later {
                reason,
                detail: summary,
                wait_ms: wait_ms.unwrap_or(0),
            };
            return (verdict, None);
        }
        let ended = |end| states.iter().filter(move |state| state.end == Some(end));
        if ended(End::Done).next().is_some() {
            let all = states
                .iter()
                .all(|state| state.end == Some(End::Done) && state.why.is_none());
            return (Verdict::Delivered, (!all).then_some(summary));
        }
        let verdict = match ended(End::Failed).next() {
            Some(state) => Verdict::Permanent {
                // Settings are wrong only if all channels say so.
                reason: if ended(End::Failed)
                    .all(|one| reason_of(Some(one)) == Reason::Misconfigured)
                {
                    Reason::Misconfigured
                } else {
                    match reason_of(Some(state)) {
                        Reason::Misconfigured => Reason::ProviderRejected,
                        reason => reason,
                    }
                },
                detail: format!("nobody was told: {summary}"),
            },
            None => Verdict::Skipped {
                reason: reason_of(states.first().copied()),
                detail: summary,
            },
        };
        (verdict, None)
    }

    /// "email: delivered; wecom: failed (93000 ...); twilio: waits (...)".
    fn summary(&self, names: &[String]) -> String {
        let parts: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(channel, name)| {
                let state = self.channels.get(&channel);
                let word = match state.map(|state| state.end) {
                    None => "not begun",
                    Some(None) => "waits",
                    Some(Some(End::Done)) => "delivered",
                    Some(Some(End::Failed)) => "failed",
                    Some(Some(End::Skipped)) => "skipped",
                };
                match state.and_then(|state| state.why.as_deref()) {
                    Some(why) => format!("{name}: {word} ({why})"),
                    None => format!("{name}: {word}"),
                }
            })
            .collect();
        parts.join("; ")
    }
}

fn reason_of(state: Option<&State>) -> Reason {
    let reason = state.and_then(|state| state.reason.as_deref());
    reason
        .and_then(|word| word.parse().ok())
        .unwrap_or(Reason::ProviderRejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn names() -> Vec<String> {
        ["email", "wecom"].map(str::to_owned).to_vec()
    }

    fn retry(reason: Reason, retry_after_ms: Option<u64>) -> Verdict {
        Verdict::Retry {
            reason,
            detail: "no".to_owned(),
            retry_after_ms,
        }
    }

    fn permanent(reason: Reason) -> Verdict {
        Verdict::Permanent {
            reason,
            detail: "never".to_owned(),
        }
    }

    fn after(verdicts: [Verdict; 2]) -> Progress {
        let mut progress = Progress::default();
        for (channel, verdict) in verdicts.into_iter().enumerate() {
            progress.learn(channel, verdict, None, 6, NOW_MS);
        }
        Progress::read(progress.write().as_deref())
    }

    #[test]
    fn a_delivery_is_as_good_as_its_channels_together() {
        for (verdicts, expected) in [
            ([Verdict::Delivered, Verdict::Delivered], "delivered"),
            (
                [Verdict::Delivered, permanent(Reason::ProviderRejected)],
                "delivered: email: delivered; wecom: failed (never)",
            ),
            (
                [permanent(Reason::Misconfigured), permanent(Reason::Timeout)],
                "permanent provider_rejected",
            ),
            (
                [
                    permanent(Reason::Misconfigured),
                    permanent(Reason::Misconfigured),
                ],
                "permanent misconfigured",
            ),
            (
                [
                    permanent(Reason::Timeout),
                    retry(Reason::Http5xx, Some(9000)),
                ],
                "later http_5xx 9000",
            ),
            (
                [Verdict::Delivered, retry(Reason::Http5xx, None)],
                "later http_5xx 5000",
            ),
            (
                [
                    Verdict::Skipped {
                        reason: Reason::OutsideWindow,
                        detail: "night".to_owned(),
                    },
                    Verdict::Skipped {
                        reason: Reason::OutsideWindow,
                        detail: "night".to_owned(),
                    },
                ],
                "skipped outside_window",
            ),
        ] {
            let shown = format!("{verdicts:?}");
            let (verdict, note) = after(verdicts).conclude(&names(), NOW_MS);
            let got = match verdict {
                Verdict::Delivered => note.map_or_else(
                    || "delivered".to_owned(),
                    |note| format!("delivered: {note}"),
                ),
                Verdict::Permanent { reason, .. } => format!("permanent {reason}"),
                Verdict::Later {
                    reason, wait_ms, ..
                } => format!("later {reason} {wait_ms}"),
                Verdict::Skipped { reason, .. } => format!("skipped {reason}"),
                other => format!("{other:?}"),
            };
            assert_eq!(got, expected, "{shown}");
        }
    }

    #[test]
    fn a_channel_that_keeps_failing_is_given_up_and_keeps_no_other_waiting() {
        let mut progress = Progress::default();
        let mut now_ms = NOW_MS;
        for n in 0..3 {
            assert_eq!(progress.next(1, now_ms), Some(0), "{n}");
            progress.learn(0, retry(Reason::Timeout, None), None, 3, now_ms);
            assert_eq!(progress.next(1, now_ms), None);
            // The other one is not held up.
            assert_eq!(progress.next(2, now_ms), Some(1));
            now_ms += 600_000;
        }
        assert!(progress.has_failed());
        let (verdict, _) = progress.conclude(&names()[..1], now_ms);
        assert!(matches!(
            verdict,
            Verdict::Permanent {
                reason: Reason::Timeout,
                ..
            }
        ));
    }
}
