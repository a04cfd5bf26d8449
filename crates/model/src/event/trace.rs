//! `traceparent` of W3C Trace Context.

/// A valid `traceparent`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent<'a> {
    /// 32 lower-case hex digits, not all zero.
    pub trace_id: &'a str,
    /// 16 lower-case hex digits, not all zero.
    pub parent_id: &'a str,
    /// The flags as received; only bits 1 (sampled) and 2 (random trace id) have a meaning.
    pub flags: u8,
}

/// Takes a `traceparent` apart; `None` when it is invalid, which must count as absent and is never an error.
pub fn parse_traceparent(text: &str) -> Option<TraceParent<'_>> {
    let (head, rest) = text.split_at_checked(55)?;
    let mut parts = head.split('-');
    let (version, trace_id, parent_id, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let shaped = hex(version, 2) && hex(trace_id, 32) && hex(parent_id, 16) && hex(flags, 2);
    // Later versions may append fields; version 00 may not.
    let ends = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    if !shaped || !ends || version == "ff" || !nonzero(trace_id) || !nonzero(parent_id) {
        return None;
    }
    Some(TraceParent {
        trace_id,
        parent_id,
        flags: u8::from_str_radix(flags, 16).ok()?,
    })
}

/// Whether `text` is a valid `traceparent`.
pub fn valid_traceparent(text: &str) -> bool {
    parse_traceparent(text).is_some()
}
