//! Where the next page starts, as text that clients pass back and do not read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Code, Error, Fault, Result};

/// Rows of a page unless the client says otherwise.
pub const PAGE_DEFAULT: u32 = 50;
/// Most rows of a page.
pub const PAGE_MAX: u32 = 200;
/// Longest cursor.
const CURSOR_CHARS_MAX: usize = 256;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listing<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub next: Option<String>,
    /// Whether the search stopped at the server's scan limit before the page was full; `next` goes on from there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub partial: bool,
}

impl<T> Listing<T> {
    /// A page of a search: one that has a successor and yet is not full ended at the scan limit.
    pub(crate) fn scanned(items: Vec<T>, next: Option<String>, limit: u32) -> Self {
        let partial = next.is_some() && u32::try_from(items.len()).is_ok_and(|len| len < limit);
        Self {
            items,
            next,
            partial,
        }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows, 1 to [`PAGE_MAX`].
    pub limit: Option<u32>,
    /// What the page before said.
    pub cursor: Option<String>,
}

impl PageRequest {
    pub(crate) fn limit(&self) -> Result<u32> {
        match self.limit.unwrap_or(PAGE_DEFAULT) {
            limit @ 1..=PAGE_MAX => Ok(limit),
            other => Err(Error::field(
                "query:limit",
                format!("expected 1 to {PAGE_MAX}, got {other}"),
            )),
        }
    }

    /// What the cursor says; `tag` tells lists apart, so that one list's cursor is refused by another.
    pub(crate) fn after<T: std::str::FromStr>(&self, tag: char) -> Result<Option<T>> {
        read(tag, self.cursor.as_deref())
    }
}

/// Reads a cursor.
pub(crate) fn read<T: std::str::FromStr>(tag: char, cursor: Option<&str>) -> Result<Option<T>> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let parse = || {
        let bytes = URL_SAFE_NO_PAD
            .decode(cursor.get(..cursor.len().min(CURSOR_CHARS_MAX))?)
            .ok()?;
        String::from_utf8(bytes)
            .ok()?
            .strip_prefix(tag)?
            .parse()
            .ok()
    };
    parse().map(Some).ok_or_else(|| {
        Error::invalid(
            Code::InvalidCursor,
            vec![Fault::new(
                "query:cursor",
                "expected what an earlier page of this list gave as next",
            )],
        )
    })
}

/// Writes a cursor.
pub(crate) fn write(tag: char, at: &dyn std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{tag}{at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = write('k', &"rule-1");
        assert_eq!(
            read::<String>('k', Some(&cursor)).unwrap().unwrap(),
            "rule-1"
        );
        assert!(read::<String>('e', Some(&cursor)).is_err());
        for bad in ["", "ü", "%%%", "AAAA"] {
            assert!(read::<i64>('k', Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_bounded() {
        let of = |limit| {
            PageRequest {
                limit,
                cursor: None,
            }
            .limit()
        };
        assert_eq!(of(None).unwrap(), PAGE_DEFAULT);
        assert_eq!(of(Some(200)).unwrap(), 200);
        assert!(of(Some(0)).is_err() && of(Some(201)).is_err());
    }
}
