//! Attribute values as HTTP header text (CloudEvents HTTP binding, section 3.1.3.2).

/// A header's bytes are no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected UTF-8, percent-encoded such as %E7%A3%81; byte {at} of the decoded value is not")]
pub struct InvalidHeaderText {
    at: usize,
}

/// Encodes an attribute's value: everything but printable ASCII, and space, `"` and `%`, becomes `%XX`.
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        // Characters beyond ASCII are encoded byte by byte, so that bytes are enough to look at.
        if matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 15));
        }
    }
    out
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |c| c.to_ascii_uppercase())
}

/// Decodes a header's value: a quoted string loses its quotes, then exactly one round of percent-decoding. A `%`
/// without two hex digits stays, for senders that do not encode.
pub fn percent_decode_header(bytes: &[u8]) -> Result<String, InvalidHeaderText> {
    let bytes = bytes.trim_ascii();
    let unquoted = unquote(bytes);
    let bytes = unquoted.as_deref().unwrap_or(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let decoded =
            (byte == b'%').then(|| Some(nibble(ahead.next()?)? << 4 | nibble(ahead.next()?)?));
        if let Some(decoded) = decoded.flatten() {
            out.push(decoded);
            rest = ahead;
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|error| InvalidHeaderText {
        at: error.utf8_error().valid_up_to(),
    })
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
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
