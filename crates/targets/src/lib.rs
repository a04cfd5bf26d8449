//! Target kinds: one folder a kind, one registry.
