//! A compiled `regexp`.

use regex_automata::{Anchored, Input, meta, util::syntax};
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use super::regexp_syntax::{RegexpError, translate};

/// A regular expression that a string has to fit as a whole.
#[derive(Debug)]
pub(crate) struct Regexp {
    regex: meta::Regex,
    literals: Literals,
}

/// Strings of which one has to be at the beginning, or at the end, of whatever fits.
#[derive(Debug)]
pub(crate) enum Literals {
    None,
    Prefixes(Box<[Box<[u8]>]>),
    Suffixes(Box<[Box<[u8]>]>),
}

/// Most strings in [`Literals`].
const MAX_LITERALS: usize = 8;

impl Literals {
    fn of(translated: &str, syntax: &syntax::Config) -> Self {
        let Ok(hir) = syntax::parse_with(translated, syntax) else {
            return Self::None;
        };
        let extract = |kind| {
            let seq = Extractor::new()
                .kind(kind)
                .limit_total(MAX_LITERALS * 4)
                .extract(&hir);
            let literals = seq.literals()?;
            let useful = !literals.is_empty()
                && literals.len() <= MAX_LITERALS
                && literals.iter().all(|literal| !literal.is_empty());
            useful.then(|| {
                literals
                    .iter()
                    .map(|literal| literal.as_bytes().into())
                    .collect()
            })
        };
        if let Some(prefixes) = extract(ExtractKind::Prefix) {
            Self::Prefixes(prefixes)
        } else if let Some(suffixes) = extract(ExtractKind::Suffix) {
            Self::Suffixes(suffixes)
        } else {
            Self::None
        }
    }
}

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
        // Room for the group around the whole, and for what repetitions add.
        let syntax = syntax::Config::new().nest_limit(4 * (crate::limits::MAX_REGEXP_GROUPS + 2));
        meta::Builder::new()
            .configure(config)
            .syntax(syntax)
            .build(&translated)
            .map(|regex| Self {
                regex,
                literals: Literals::of(&translated, &syntax),
            })
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

    pub(crate) const fn literals(&self) -> &Literals {
        &self.literals
    }

    pub(crate) fn memory(&self) -> usize {
        self.regex.memory_usage()
    }

    pub(crate) fn fits(&self, value: &str) -> bool {
        self.regex
            .is_match(Input::new(value).anchored(Anchored::Yes))
    }
}
