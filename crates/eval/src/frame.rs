//! What the two processes say to each other: a length in four bytes, most significant first, then JSON.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::script::{Ran, Script};
use crate::template::Piece;

/// Longest frame: an event of the largest kind with its escapes, and a template or script.
pub(crate) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// To the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question<'a> {
    /// What is to be evaluated.
    pub(crate) task: Task,
    /// An object: the names that a template may use, or the members of a script's message. Absent: the task is only checked.
    #[serde(borrow, default)]
    pub(crate) context: Option<&'a RawValue>,
}

/// What a helper can evaluate.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// A Jinja template.
    Template(String),
    /// A Starlark script.
    Script(Script),
}

/// From the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// What came out of a template; nothing when it was only checked.
    Pieces(Vec<Piece>),
    /// What came out of a script.
    Ran(Ran),
    /// The template or script is at fault.
    Fault(Wrong),
}

/// What is wrong with a template or script.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wrong {
    /// Where, from 1; 0 when that is not known.
    pub(crate) line: usize,
    /// Where in the line, in characters from 1; 0 when that is not known.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What the author may have meant.
    pub(crate) hint: Option<String>,
    /// The variable whose script it is.
    pub(crate) variable: Option<String>,
    /// What the script printed before.
    pub(crate) printed: String,
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
