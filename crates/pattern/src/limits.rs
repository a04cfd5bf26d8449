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
/// Most bytes that the alternatives of all branches take together, as they are written, after every
/// `$or` is multiplied out.
pub const MAX_EXPANDED_BYTES: usize = 1024 * 1024;
/// Most `*` in one wildcard.
pub const MAX_STARS: usize = 64;
/// Longest regular expression, in characters.
pub const MAX_REGEXP_CHARS: usize = 1024;
/// Deepest nesting of groups in a regular expression. The regex library compiles them by
/// recursion; so deep it needs less than 1 MiB of stack, also without optimization.
pub const MAX_REGEXP_GROUPS: u32 = 32;
/// Most characters and classes of a regular expression once its counts are written out. Matching
/// takes at most that many steps for each character of a value.
pub const MAX_REGEXP_SIZE: usize = 1024;
/// Memory that the automata of all regular expressions of one pattern may take together.
pub const MAX_REGEXP_BYTES: usize = 10 * 1024 * 1024;
/// Deepest nesting of objects and arrays in an event.
pub const MAX_EVENT_DEPTH: usize = 128;
/// Longest event, in bytes. Callers will want a far lower limit of their own.
pub const MAX_EVENT_BYTES: usize = 1 << 30;
/// How many ways of spreading fields over arrays are tried for one branch of a pattern and one
/// event.
///
/// More than one way exists only where one path is reached through several arrays side by side
/// (names repeated in the event, or `{"a":{"b":[]},"a.b":[]}`) or both inside and outside of a
/// nested array. Trying all of them is exponential in the fields, so that a hostile event could
/// stall the bus. A try over very many values counts as several. When the limit is reached the
/// branch does not match, and
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
