//! Trying things out: patterns and rules with the real matcher, targets (`targets`) with the real way out.
//!
//! Pattern and event go to the matcher as the text that was sent: rewriting a number, an escape or a repeated name
//! would test something else than what happens to a posted event.

mod targets;

use belfry_model::access::Scope;
use belfry_model::{BusName, Event, RuleName, TargetName};
use belfry_pattern::{EventError, Explanation, Pattern};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::config::pattern_faults;
use crate::error::{Code, Error, Fault, Result};
use crate::input;

pub(crate) use targets::one_event;
pub use targets::{
    TargetPreviewView, TargetTestView, TransformFaultView, TransformTestView, TrialView,
};

/// Rules that are explained unless the request says otherwise.
const EXPLAIN_DEFAULT: u32 = 20;
/// Most rules that are explained.
const EXPLAIN_MAX: u32 = 200;

/// Whether an event matches a pattern, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PatternTest)]
pub struct PatternTestView {
    /// The verdict.
    pub matched: bool,
    /// One verdict for each field of the pattern: what was expected, what was found.
    #[schema(value_type = Object)]
    pub explanation: Explanation,
}

/// What the rules of a bus make of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RulesTest)]
pub struct RulesTestView {
    /// Rules whose pattern matches, disabled ones included.
    pub matched: usize,
    /// Every rule, those that match first.
    pub rules: Vec<RuleTestView>,
}

/// What one rule makes of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleTest)]
pub struct RuleTestView {
    /// The rule.
    #[schema(value_type = String)]
    pub rule: RuleName,
    /// A disabled rule matches nothing of what is posted, whatever its pattern says.
    pub enabled: bool,
    /// Whether its pattern matches.
    pub matched: bool,
    /// Its targets.
    #[schema(value_type = Vec<String>)]
    pub targets: Vec<TargetName>,
    /// Why; for as many rules as `explain` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub explanation: Option<Explanation>,
    /// Why the rule could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub problem: Option<String>,
}

impl App {
    /// Matches the `event` of the body against its `pattern`.
    pub fn test_pattern(&self, actor: &Actor, body: &[u8]) -> Result<PatternTestView> {
        actor.require(&Scope::ConfigRead)?;
        let invalid = |faults| Error::invalid(Code::InvalidRequest, faults);
        let members = input::read_members(body, &["pattern", "event"])?;
        let mut faults = Vec::new();
        for (name, _) in members
            .iter()
            .filter(|(name, _)| !matches!(*name, "pattern" | "event"))
        {
            faults.push(Fault::new(
                belfry_model::json::pointer_to(name),
                "unknown member; expected one of pattern, event",
            ));
        }
        let missing =
            |name: &str| Fault::new(format!("/{name}"), "this member is required and missing");
        let (pattern, event) = (members.get("pattern"), members.get("event"));
        faults.extend(pattern.is_none().then(|| missing("pattern")));
        faults.extend(event.is_none().then(|| missing("event")));
        let (Some(pattern), Some(event), true) = (pattern, event, faults.is_empty()) else {
            return Err(invalid(faults));
        };
        let pattern = Pattern::parse(pattern.as_str().as_bytes()).map_err(|errors| {
            Error::invalid(Code::InvalidPattern, pattern_faults("/pattern", errors))
        })?;
        let explanation = pattern
            .explain(event.as_str().as_bytes())
            .map_err(|error| invalid(vec![event_fault("/event", error)]))?;
        Ok(PatternTestView {
            matched: explanation.matched,
            explanation,
        })
    }

    /// Matches an event against every rule of a bus, without posting it.
    pub async fn test_rules(
        &self,
        actor: &Actor,
        bus: &BusName,
        event: &Event,
        explain: Option<u32>,
    ) -> Result<RulesTestView> {
        actor.require(&Scope::ConfigRead)?;
        let explain = explain.unwrap_or(EXPLAIN_DEFAULT);
        if explain > EXPLAIN_MAX {
            return Err(Error::field(
                "query:explain",
                format!("expected 0 to {EXPLAIN_MAX}, got {explain}"),
            ));
        }
        let index = self.index().await?;
        let mut rules = Vec::new();
        for (name, stored) in &index.bus(bus)?.rules {
            let parsed = Pattern::parse(stored.rule.spec.pattern.as_str().as_bytes());
            let verdict = parsed
                .as_ref()
                .map_err(ToString::to_string)
                .and_then(|pattern| {
                    pattern
                        .matches(event.doc())
                        .map_err(|error| error.to_string())
                });
            let view = RuleTestView {
                rule: name.clone(),
                enabled: stored.rule.spec.enabled,
                matched: verdict.as_ref().is_ok_and(|matched| *matched),
                targets: stored.targets.keys().cloned().collect(),
                explanation: None,
                problem: verdict.err(),
            };
            rules.push((view, parsed.ok()));
        }
        // Those that match first, so that they are the ones explained. The sort keeps names in order.
        rules.sort_by_key(|(view, _)| !view.matched);
        for (view, pattern) in rules.iter_mut().take(explain as usize) {
            view.explanation = pattern
                .as_ref()
                .and_then(|pattern| pattern.explain(event.doc()).ok());
        }
        let rules: Vec<_> = rules.into_iter().map(|(view, _)| view).collect();
        Ok(RulesTestView {
            matched: rules.iter().filter(|rule| rule.matched).count(),
            rules,
        })
    }
}

fn event_fault(pointer: &str, error: EventError) -> Fault {
    Fault {
        line: Some(error.line),
        column: Some(error.column),
        ..Fault::new(pointer, error.message)
    }
}
