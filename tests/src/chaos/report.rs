//! What a run found, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::check::Verdict;
use super::scenario::Scenario;

/// Lines shown of each kind of finding.
const LINES: usize = 5;

/// What a run found.
#[derive(Debug)]
pub struct Report {
    pub(super) scenario: &'static Scenario,
    pub(super) seed: u64,
    pub(super) verdict: Verdict,
    /// How often each fault struck.
    pub(super) faults: BTreeMap<String, usize>,
    /// The longest time until everything worked again after a fault, and which that was.
    pub(super) slowest: Option<(Duration, String)>,
    /// How often nodes have ended by themselves, by exit code.
    pub(super) ended: BTreeMap<String, usize>,
    /// How the run ended before its time, if it did: something did not work again.
    pub(super) stuck: Option<String>,
    /// Time under load.
    pub(super) load: Duration,
    /// From the end of the load to the end of the last delivery.
    pub(super) drain: Duration,
    /// What the servers printed.
    pub(super) said: String,
}

impl Report {
    /// What the servers printed; worth reading when something was violated.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// What everything random came from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Everything that was promised and is not so.
    pub fn violations(&self) -> Vec<String> {
        let mut found: Vec<String> = self.stuck.iter().cloned().collect();
        let verdict = &self.verdict;
        for (what, lines) in [
            ("lost", &verdict.lost),
            ("unaccounted", &verdict.unaccounted),
            ("order broken", &verdict.order_broken),
        ] {
            found.extend(
                lines
                    .iter()
                    .take(LINES)
                    .map(|line| format!("{what}: {line}")),
            );
            if lines.len() > LINES {
                found.push(format!("{what}: {} more", lines.len() - LINES));
            }
        }
        if verdict.accepted == 0 {
            found.push("nothing was accepted: the run shows nothing".to_owned());
        }
        if verdict.garbled > 0 {
            found.push(format!("{} requests were no events", verdict.garbled));
        }
        // What it cannot do at the moment a server says with 503; anything else is a mistake of its own.
        for (status, times) in verdict.answers.iter().filter(|(status, _)| **status > 503) {
            found.push(format!("{times} requests were answered with {status}"));
        }
        if let Some(times) = verdict.answers.get(&500) {
            found.push(format!("{times} requests were answered with 500"));
        }
        let struck: usize = self.faults.values().sum();
        if verdict.duplicates > self.scenario.repeats_max * struck {
            found.push(format!("{} duplicates are too many", verdict.duplicates));
        }
        // The memory of earlier events is each node's own, and rebuilt when a node starts.
        if self.scenario.nodes == 1 && verdict.stored_again > 0 {
            found.push(format!(
                "{} repeats were not recognised",
                verdict.stored_again
            ));
        }
        found
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let list = |counts: &BTreeMap<String, usize>| {
            let parts: Vec<_> = counts
                .iter()
                .map(|(what, n)| format!("{what} {n}"))
                .collect();
            parts.join(", ")
        };
        let answers: Vec<_> = verdict
            .answers
            .iter()
            .map(|(status, n)| match status {
                0 => format!("none {n}"),
                status => format!("{status} {n}"),
            })
            .collect();
        writeln!(
            f,
            "{}  (seed {}; {:.1} s under load, {:.1} s until all was done)",
            self.scenario.name,
            self.seed,
            self.load.as_secs_f64(),
            self.drain.as_secs_f64()
        )?;
        writeln!(f, "  that {}", self.scenario.proves)?;
        writeln!(
            f,
            "  events      accepted {}, in doubt {}, stored {}, stored again {}; answers: {}",
            verdict.accepted,
            verdict.in_doubt,
            verdict.stored,
            verdict.stored_again,
            answers.join(", ")
        )?;
        writeln!(f, "  deliveries  {}", list(&verdict.deliveries))?;
        writeln!(
            f,
            "  promises    lost {}, order broken {}, unaccounted {}; duplicates at the steady target {}",
            verdict.lost.len(),
            verdict.order_broken.len(),
            verdict.unaccounted.len(),
            verdict.duplicates
        )?;
        writeln!(f, "  faults      {}", list(&self.faults))?;
        if !self.ended.is_empty() {
            writeln!(
                f,
                "  nodes       ended by themselves and started again: {}",
                list(&self.ended)
            )?;
        }
        if let Some((took, fault)) = &self.slowest {
            writeln!(
                f,
                "  recovery    at most {:.2} s (after: {fault})",
                took.as_secs_f64()
            )?;
        }
        let violations = self.violations();
        for violation in &violations {
            writeln!(f, "  VIOLATED    {violation}")?;
        }
        write!(
            f,
            "  {}",
            if violations.is_empty() {
                "passed"
            } else {
                "FAILED"
            }
        )
    }
}
