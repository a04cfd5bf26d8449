//! What the two processes say to each other: a length in four bytes, most significant first, then JSON.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::template::Piece;

/// Longest frame: an event of the largest kind with its escapes, and a template.
pub(crate) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// To the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question<'a> {
    /// The template.
    pub(crate) template: String,
    /// An object: the names that the template may use. Absent: it is only checked.
    #[serde(borrow, default)]
    pub(crate) context: Option<&'a RawValue>,
}

/// From the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// What came out.
    Pieces(Vec<Piece>),
    /// The template is at fault.
    Fault {
        /// Where, from 1; 0 when that is not known.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// The bytes of a frame.
pub(crate) fn write<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = frame.len() - 4;
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "the frame is too long");
    if length > FRAME_BYTES_MAX {
        return Err(too_long());
    }
    let head = u32::try_from(length).map_err(|_| too_long())?.to_be_bytes();
    for (place, byte) in frame.iter_mut().zip(head) {
        *place = byte;
    }
    Ok(frame)
}

/// The length that a frame's first four bytes say.
pub(crate) fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the frame is too long",
        ));
    }
    Ok(length)
}
