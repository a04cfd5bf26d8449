//! The limits, in one place. Each stops work before it is done, not after.

/// Longest pattern text, in bytes.
pub const MAX_PATTERN_BYTES: usize = 64 * 1024;
/// Deepest nesting of objects and lists in a pattern, and in the argument of `array`.
pub const MAX_PATTERN_DEPTH: usize = 64;
/// Most fields in one branch of a pattern.
pub const MAX_FIELDS: usize = 256;
/// Most alternatives in a pattern; members of an operator's list count as well.
pub const MAX_ALTERNATIVES: usize = 4096;
/// Most branches after every `$or` is multiplied out.
pub const MAX_BRANCHES: usize = 256;
/// Most `*` in one wildcard.
pub const MAX_STARS: usize = 64;
/// Longest regular expression, in characters.
pub const MAX_REGEXP_CHARS: usize = 1024;
/// Deepest nesting of groups in a regular expression.
pub const MAX_REGEXP_GROUPS: u32 = 100;
/// Memory that the automata of all regular expressions of one pattern may take together.
pub const MAX_REGEXP_BYTES: usize = 10 * 1024 * 1024;
/// Deepest nesting of objects and arrays in an event.
pub const MAX_EVENT_DEPTH: usize = 128;
/// Longest event, in bytes. Callers will want a far lower limit of their own.
pub const MAX_EVENT_BYTES: usize = 1 << 30;
/// How many ways of spreading fields over arrays are tried for one pattern and event.
///
/// More than one way exists only where one path is reached through several arrays side by side
/// (names repeated in the event, or `{"a":{"b":[]},"a.b":[]}`) or both inside and outside of a
/// nested array. Trying all of them is exponential in the fields, so that a hostile event could
/// stall the bus; when the limit is reached the pattern does not match, and
/// [`Pattern::explain`](crate::Pattern::explain) says why.
pub const MAX_COMBINATIONS: usize = 4096;
/// Most errors reported for one pattern.
pub const MAX_ERRORS: usize = 20;
/// Most leaves listed in one [`Explanation`](crate::Explanation).
pub const MAX_EXPLAINED_LEAVES: usize = 512;
/// Most values listed in [`LeafVerdict::found`](crate::LeafVerdict::found).
pub const MAX_FOUND_VALUES: usize = 5;
/// Most characters of one value in [`LeafVerdict::found`](crate::LeafVerdict::found).
pub const MAX_FOUND_CHARS: usize = 120;
/// Most characters of [`LeafVerdict::expected`](crate::LeafVerdict::expected).
pub const MAX_EXPECTED_CHARS: usize = 512;
