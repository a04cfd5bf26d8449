//! What is measured side by side: ours in its ways of reading, the naive matcher, quamina, a mere reader.

use anyhow::{Context as _, Result};
use belfry_pattern::{EventText, RuleList, RuleSet, Scratch};
use quamina::{Quamina, QuaminaBuilder, QuaminaError};
use serde::de::IgnoredAny;

/// Something that is shown events.
pub(crate) trait Engine {
    fn name(&self) -> &'static str;

    /// Takes all events, and gives the number of matches of them all.
    fn pass(&mut self, events: &[String]) -> Result<u64>;

    /// Which rules one event matches.
    fn answer(&mut self, event: &str) -> Result<Answer>;

    /// Whether it matches at all.
    fn counts(&self) -> bool {
        true
    }
}

/// What an engine says of one event.
pub(crate) enum Answer {
    /// The numbers of the rules, ascending.
    Rules(Vec<u32>),
    /// The engine only reads.
    None,
}

/// How our engine reads an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// Known to be JSON, read to its end.
    ToTheEnd,
    /// Known to be JSON with unique paths: left as soon as nothing wanted can follow.
    EarlyStop,
    /// Bytes of which nothing is known.
    Checked,
}

/// Our engine.
pub(crate) struct Belfry<'r> {
    rules: &'r RuleSet,
    reading: Reading,
    scratch: Scratch,
}

impl<'r> Belfry<'r> {
    pub(crate) fn new(rules: &'r RuleSet, reading: Reading) -> Self {
        Self {
            rules,
            reading,
            scratch: Scratch::default(),
        }
    }
}

impl Engine for Belfry<'_> {
    fn name(&self) -> &'static str {
        match self.reading {
            Reading::ToTheEnd => "belfry, to the end",
            Reading::EarlyStop => "belfry, early stop",
            Reading::Checked => "belfry, check and match",
        }
    }

    fn pass(&mut self, events: &[String]) -> Result<u64> {
        let Self { rules, scratch, .. } = self;
        let mut matches = 0;
        match self.reading {
            Reading::ToTheEnd => {
                for event in events {
                    matches += rules.matches_text(EventText::trusted(event), scratch).len();
                }
            }
            Reading::EarlyStop => {
                for event in events {
                    let event = EventText::trusted(event).with_unique_paths();
                    matches += rules.matches_text(event, scratch).len();
                }
            }
            Reading::Checked => {
                for event in events {
                    matches += rules.matches(event.as_bytes(), scratch)?.len();
                }
            }
        }
        Ok(matches as u64)
    }

    fn answer(&mut self, event: &str) -> Result<Answer> {
        let text = EventText::trusted(event);
        let rules = match self.reading {
            Reading::ToTheEnd => self.rules.matches_text(text, &mut self.scratch),
            Reading::EarlyStop => self
                .rules
                .matches_text(text.with_unique_paths(), &mut self.scratch),
            Reading::Checked => self.rules.matches(event.as_bytes(), &mut self.scratch)?,
        };
        Ok(Answer::Rules(rules.to_vec()))
    }
}

/// The readable statement of the language: tries every rule.
pub(crate) struct Naive<'r>(pub(crate) &'r RuleList);

impl Engine for Naive<'_> {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn pass(&mut self, events: &[String]) -> Result<u64> {
        let mut matches = 0;
        for event in events {
            matches += self.0.matches(event.as_bytes())?.len();
        }
        Ok(matches as u64)
    }

    fn answer(&mut self, event: &str) -> Result<Answer> {
        Ok(Answer::Rules(self.0.matches(event.as_bytes())?))
    }
}

/// The quamina crate, in its default mode.
pub(crate) struct Peer(Quamina<u32>);

impl Peer {
    /// None when quamina does not know an operator of the rules.
    pub(crate) fn new(rules: &[String]) -> Result<Option<Self>> {
        // As it comes, but without a limit to its memory, which 1,000 mixed rules exceed.
        let builder = QuaminaBuilder::new().with_arena_byte_budget(usize::MAX);
        let mut quamina = builder.build()?;
        for (id, rule) in (0..).zip(rules) {
            match quamina.add_pattern(id, rule) {
                Ok(()) => {}
                Err(QuaminaError::InvalidPattern(_)) => return Ok(None),
                Err(error) => return Err(error).context("quamina"),
            }
        }
        Ok(Some(Self(quamina)))
    }
}

impl Engine for Peer {
    fn name(&self) -> &'static str {
        "quamina"
    }

    fn pass(&mut self, events: &[String]) -> Result<u64> {
        let mut matches = 0;
        for event in events {
            matches += self.0.matches_for_event(event.as_bytes())?.len();
        }
        Ok(matches as u64)
    }

    fn answer(&mut self, event: &str) -> Result<Answer> {
        let mut rules = self.0.matches_for_event(event.as_bytes())?;
        rules.sort_unstable();
        Ok(Answer::Rules(rules))
    }
}

/// A tokenizer that only skips: what reading costs without any matching.
pub(crate) struct Ceiling;

impl Engine for Ceiling {
    fn name(&self) -> &'static str {
        "reading only"
    }

    fn pass(&mut self, events: &[String]) -> Result<u64> {
        for event in events {
            serde_json::from_str::<IgnoredAny>(event)?;
        }
        Ok(0)
    }

    fn answer(&mut self, _: &str) -> Result<Answer> {
        Ok(Answer::None)
    }

    fn counts(&self) -> bool {
        false
    }
}
