//! Compiles, matches and explains event patterns. Pure.
