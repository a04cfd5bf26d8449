//! A compiled `regexp`.

use regex_automata::{Anchored, Input, meta, util::syntax};

use super::regexp_syntax::{RegexpError, translate};

/// A regular expression that a string has to fit as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Regexp(meta::Regex);

impl Regexp {
    /// Compiles an expression whose automaton may take `budget` bytes.
    pub(crate) fn parse(text: &str, budget: usize) -> Result<Self, RegexpError> {
        let translated = translate(text)?;
        // The library stops building when the limit is reached, so that an expression that
        // would explode costs no more than one that just fits.
        let config = meta::Config::new()
            .nfa_size_limit(Some(budget))
            .onepass_size_limit(Some(64 * 1024))
            .hybrid_cache_capacity(512 * 1024)
            .which_captures(regex_automata::nfa::thompson::WhichCaptures::None);
        meta::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().nest_limit(4 * crate::limits::MAX_REGEXP_GROUPS))
            .build(&translated)
            .map(Self)
            .map_err(|e| {
                if e.size_limit().is_some() {
                    RegexpError::too_complex("the automaton of this expression would be too large")
                } else {
                    // The translation is always well-formed; should that ever be wrong, refusing
                    // the pattern is the safe answer.
                    RegexpError::bad(format!("the expression cannot be compiled: {e}"), None)
                }
            })
    }

    pub(crate) fn memory(&self) -> usize {
        self.0.memory_usage()
    }

    pub(crate) fn fits(&self, value: &str) -> bool {
        self.0.is_match(Input::new(value).anchored(Anchored::Yes))
    }
}
