//! Attribute values as HTTP header text (CloudEvents HTTP binding, section 3.1.3.2).

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// A header's bytes are no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected UTF-8, percent-encoded such as %E7%A3%81; byte {at} of the decoded value is not")]
pub struct InvalidHeaderText {
    at: usize,
}

/// Everything but printable ASCII, and space, `"` and `%`.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Encodes an attribute's value: everything but printable ASCII, and space, `"` and `%`, becomes `%XX`.
pub fn percent_encode(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Decodes a header's value: a quoted string loses its quotes, then exactly one round of percent-decoding. A `%`
/// without two hex digits stays, for senders that do not encode.
pub fn percent_decode_header(bytes: &[u8]) -> Result<String, InvalidHeaderText> {
    let bytes = bytes.trim_ascii();
    let unquoted = unquote(bytes);
    let bytes = unquoted.as_deref().unwrap_or(bytes);
    String::from_utf8(percent_decode(bytes).collect()).map_err(|error| InvalidHeaderText {
        at: error.utf8_error().valid_up_to(),
    })
}

/// The inside of a well-formed quoted string. Anything else, such as `"a" or "b"` from a sender that quotes
/// nothing, is no quoted string.
fn unquote(bytes: &[u8]) -> Option<Vec<u8>> {
    let inner = bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return None,
            b'\\' => out.push(rest.next()?),
            other => out.push(other),
        }
    }
    Some(out)
}
