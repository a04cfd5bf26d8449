//! The only crate that opens outgoing HTTP connections: SSRF policy, pinned resolution, caps on size and time.
