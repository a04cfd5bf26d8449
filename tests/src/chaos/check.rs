//! The checker: from what senders were told, what the receiver got and what the history says, to what is wrong.
//!
//! | finding | what it means |
//! |---|---|
//! | lost | an accepted event never came where it had to, or the history calls delivered what never came |
//! | unaccounted | an accepted event, or one of its deliveries, is not in the history, not at an end, or at one without a reason |
//! | order broken | an event came before the one before it, of the same key, was taken |
//! | duplicate | an event came again after it had been taken: allowed, counted |
//!
//! Nothing here waits or asks: the same evidence always gives the same verdict.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{Arrived, Entries};
use super::world::{TARGETS, Target};

/// What the API says, in short.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The sender's id of each stored event, by the server's id.
    pub(super) events: HashMap<String, String>,
    /// The deliveries of each stored event, by the server's id.
    pub(super) deliveries: HashMap<String, Vec<Ending>>,
}

/// How the history says a delivery stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) target: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Events that got a 202.
    pub accepted: usize,
    /// Events that were posted and never got one.
    pub in_doubt: usize,
    /// Events in the history.
    pub stored: usize,
    /// Events that are in the history more than once, because a repeat of their sender was not recognised.
    pub stored_again: usize,
    /// Deliveries in the history, by status.
    pub deliveries: BTreeMap<String, usize>,
    /// Arrivals of an event at the steady target after the first.
    pub duplicates: usize,
    /// Accepted and never arrived, one line each.
    pub lost: Vec<String>,
    /// Not in the history as it must be, one line each.
    pub unaccounted: Vec<String>,
    /// Arrivals before their time where order is promised, one line each.
    pub order_broken: Vec<String>,
    /// Requests to the receiver that were no events.
    pub garbled: usize,
    /// Requests of senders by status of the answer; 0: no answer.
    pub answers: BTreeMap<u16, usize>,
}

/// Judges the evidence.
pub(super) fn check(told: &Entries, arrived: &Arrived, history: &History) -> Verdict {
    let mut verdict = Verdict {
        accepted: told.accepted.len(),
        in_doubt: told.posted.saturating_sub(told.accepted.len()),
        stored: history.events.len(),
        garbled: arrived.garbled,
        answers: told.answers.clone(),
        ..Verdict::default()
    };
    for ending in history.deliveries.values().flatten() {
        *verdict.deliveries.entry(ending.status.clone()).or_default() += 1;
    }
    let mut times: HashMap<&str, usize> = HashMap::new();
    for (uid, id) in &history.events {
        *times.entry(id).or_default() += 1;
        verdict.stored_event(uid, id, arrived, history);
    }
    verdict.stored_again = times.values().map(|times| times - 1).sum();
    for (id, uids) in &told.accepted {
        for uid in uids {
            if !history.events.contains_key(uid) {
                let line = format!("{id} ({uid}) is not in the history");
                verdict.unaccounted.push(line);
            }
        }
        for target in Target::of(id) {
            if !target.may_give_up && times_taken(arrived, target, id) == 0 {
                let line = format!("{id} ({}) never came to {}", uids.join(", "), target.name);
                verdict.lost.push(line);
            }
        }
    }
    for target in TARGETS {
        let path = target.path();
        if target.counts_duplicates {
            let taken = arrived.taken.get(&path);
            let again = taken.map(|taken| taken.values().map(|times| times - 1).sum::<usize>());
            verdict.duplicates += again.unwrap_or_default();
        }
        if target.ordered {
            let broken = arrived.out_of_order.get(&path).into_iter().flatten();
            let lines = broken.map(|line| format!("{}: {line}", target.name));
            verdict.order_broken.extend(lines);
        }
    }
    verdict
}

impl Verdict {
    /// What the history says of one stored event must be complete and true, also when its sender never got a 202.
    fn stored_event(&mut self, uid: &str, id: &str, arrived: &Arrived, history: &History) {
        let endings = history.deliveries.get(uid).map_or(&[][..], Vec::as_slice);
        for target in Target::of(id) {
            let mut of_target = endings.iter().filter(|one| one.target == target.name);
            let what = format!("{id} ({uid}) for {}", target.name);
            let Some(ending) = of_target.next() else {
                self.unaccounted.push(format!("{what} has no delivery"));
                continue;
            };
            if of_target.next().is_some() {
                self.unaccounted.push(format!("{what} has two deliveries"));
            }
            let came = times_taken(arrived, target, id) > 0;
            match (ending.status.as_str(), &ending.reason) {
                ("delivered", _) if came => {}
                ("delivered", _) => self
                    .lost
                    .push(format!("{what} is delivered, but never came")),
                ("dead" | "skipped" | "expired", Some(_)) if target.may_give_up => {}
                (status, reason) => {
                    let reason = reason.as_deref().unwrap_or("no reason");
                    self.unaccounted
                        .push(format!("{what} is {status} ({reason})"));
                }
            }
        }
        let known = |one: &&Ending| Target::of(id).all(|target| target.name != one.target);
        for ending in endings.iter().filter(known) {
            let line = format!("{id} ({uid}) has a delivery for {}", ending.target);
            self.unaccounted.push(line);
        }
    }
}

fn times_taken(arrived: &Arrived, target: &Target, id: &str) -> usize {
    let taken = arrived.taken.get(&target.path());
    taken
        .and_then(|taken| taken.get(id))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One plain event that got a 202, came everywhere once and is well accounted for.
    fn evidence() -> (Entries, Arrived, History) {
        let mut told = Entries {
            posted: 1,
            ..Entries::default()
        };
        told.accepted.insert("plain-1".into(), vec!["evt_1".into()]);
        let (mut arrived, mut history) = (Arrived::default(), History::default());
        history.events.insert("evt_1".into(), "plain-1".into());
        for target in Target::of("plain-1") {
            let taken = arrived.taken.entry(target.path()).or_default();
            taken.insert("plain-1".into(), 1);
            let endings = history.deliveries.entry("evt_1".into()).or_default();
            endings.push(Ending {
                target: target.name.into(),
                status: "delivered".into(),
                reason: None,
            });
        }
        (told, arrived, history)
    }

    /// How many are lost, unaccounted, duplicates.
    fn found(change: impl FnOnce(&mut Entries, &mut Arrived, &mut History)) -> [usize; 3] {
        let (mut told, mut arrived, mut history) = evidence();
        change(&mut told, &mut arrived, &mut history);
        let verdict = check(&told, &arrived, &history);
        [
            verdict.lost.len(),
            verdict.unaccounted.len(),
            verdict.duplicates,
        ]
    }

    fn ending<'a>(history: &'a mut History, target: &str) -> &'a mut Ending {
        let endings = history.deliveries.get_mut("evt_1").unwrap();
        endings.iter_mut().find(|one| one.target == target).unwrap()
    }

    #[test]
    fn a_good_run_has_no_findings() {
        assert_eq!(found(|_, _, _| ()), [0, 0, 0]);
    }

    #[test]
    fn what_was_accepted_and_never_came_is_lost() {
        // Twice: it was promised, and the history says it was delivered.
        let never = found(|_, arrived, _| drop(arrived.taken.remove("/steady")));
        assert_eq!(never, [2, 0, 0]);
        let nowhere = found(|_, arrived, history| {
            arrived.taken.clear();
            *history = History::default();
        });
        assert_eq!(nowhere, [3, 1, 0]);
        let given_up = found(|_, arrived, history| {
            arrived.taken.remove("/flaky");
            ending(history, "flaky").status = "dead".into();
            ending(history, "flaky").reason = Some("http_5xx".into());
        });
        assert_eq!(given_up, [1, 1, 0]);
    }

    #[test]
    fn what_is_called_delivered_and_never_came_is_lost_though_nobody_was_promised_it() {
        let unpromised = found(|told, arrived, _| {
            told.accepted.clear();
            arrived.taken.remove("/steady");
        });
        assert_eq!(unpromised, [1, 0, 0]);
    }

    #[test]
    fn what_is_not_at_an_end_with_a_reason_is_unaccounted() {
        let open = found(|_, _, history| ending(history, "steady").status = "retrying".into());
        assert_eq!(open, [0, 1, 0]);
        let none = found(|_, _, history| {
            history.deliveries.get_mut("evt_1").unwrap().pop();
        });
        assert_eq!(none, [0, 1, 0]);
        let twice = found(|_, _, history| {
            let again = ending(history, "steady").clone();
            history.deliveries.get_mut("evt_1").unwrap().push(again);
        });
        assert_eq!(twice, [0, 1, 0]);
        let skipped = |reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            found(|_, arrived, history| {
                arrived.taken.remove("/gone");
                let gone = ending(history, "gone");
                gone.status = "skipped".into();
                gone.reason = reason;
            })
        };
        assert_eq!(skipped(None), [0, 1, 0]);
        assert_eq!(skipped(Some("target_disabled")), [0, 0, 0]);
    }

    #[test]
    fn arrivals_after_the_first_are_duplicates() {
        let again = found(|_, arrived, _| {
            arrived
                .taken
                .get_mut("/steady")
                .unwrap()
                .insert("plain-1".into(), 3);
        });
        assert_eq!(again, [0, 0, 2]);
    }

    #[test]
    fn a_repeat_that_was_not_recognised_is_counted() {
        let (told, arrived, mut history) = evidence();
        let endings = history.deliveries["evt_1"].clone();
        history.events.insert("evt_2".into(), "plain-1".into());
        history.deliveries.insert("evt_2".into(), endings);
        assert_eq!(check(&told, &arrived, &history).stored_again, 1);
    }
}
