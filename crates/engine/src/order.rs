//! Order by key: where an event's key stands.
//!
//! Deliveries in order never take the way through memory. They are pending from the start; the store blocks all but the
//! first of a key ([`belfry_store::BLOCKED_MS`]) and the commit that ends one sets the next free. The loader claims the first
//! of a key with those behind it, and a worker of the lane makes them one after the other: one that does not end gives the
//! rest back. So the receiver, not the claims, says how fast a key can go, and a failing delivery holds up its own key alone.
//! Why: `docs/decisions/0009-order.md`.

use belfry_model::config::{Order, OrderBy};
use belfry_model::{Event, OrderKey};
use belfry_store::Claimed;
use belfry_transform::Path;
use sha2::{Digest as _, Sha256};

/// Where an event's key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyAt {
    Subject,
    Path(Path),
}

impl KeyAt {
    /// Reads what a target says; the error is for people.
    pub(crate) fn compile(order: &Order) -> Result<Self, String> {
        let path = match (&order.path, order.by.unwrap_or_default()) {
            (Some(path), _) => path,
            (None, OrderBy::Subject) => return Ok(Self::Subject),
            (None, OrderBy::PartitionKey) => "$.partitionkey",
        };
        Path::parse(path)
            .map(Self::Path)
            .map_err(|error| format!("order: {error}"))
    }

    /// The event's key; `None`: it has none, and no order.
    pub(crate) fn key(&self, event: &Event) -> Option<OrderKey> {
        match self {
            Self::Subject => event.subject().and_then(hash),
            Self::Path(path) => hash(&path.find_text(event.doc())?),
        }
    }
}

/// The same in every process and version, for it is stored.
fn hash(key: &str) -> Option<OrderKey> {
    if key.is_empty() {
        return None;
    }
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let first = digest.first_chunk::<8>()?;
    Some(OrderKey(i64::from_le_bytes(*first)))
}

/// Claimed work as runs: what has the same key follows each other; what has none is a run of its own.
pub(crate) fn runs(claimed: Vec<Claimed>) -> Vec<Vec<Claimed>> {
    let mut runs: Vec<Vec<Claimed>> = Vec::new();
    for item in claimed {
        let key = item.pending.order;
        match runs.last_mut() {
            Some(run)
                if key.is_some() && run.first().is_some_and(|first| first.pending.order == key) =>
            {
                run.push(item);
            }
            _ => runs.push(vec![item]),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(order: &str, event: &str) -> Option<OrderKey> {
        let order: Order = serde_json::from_str(order).unwrap();
        let event = Event::from_stored(event.to_owned().into()).unwrap();
        KeyAt::compile(&order).unwrap().key(&event)
    }

    #[test]
    fn the_key_is_where_the_target_says() {
        let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"a","partitionkey":"b","data":{"n":7,"no":null,"c":"a"}}"#;
        assert_eq!(key("{}", event), key(r#"{"by":"partitionkey"}"#, event));
        assert_ne!(key("{}", event), key(r#"{"by":"subject"}"#, event));
        assert_eq!(
            key(r#"{"path":"$.data.c"}"#, event),
            key(r#"{"by":"subject"}"#, event)
        );
        assert!(key(r#"{"path":"$.data.n"}"#, event).is_some());
        for none in ["$.data.no", "$.data.other"] {
            assert_eq!(key(&format!(r#"{{"path":"{none}"}}"#), event), None);
        }
    }

    #[test]
    fn a_key_never_changes_its_number() {
        assert_eq!(
            hash("customer-7"),
            Some(OrderKey(-6_289_892_223_900_865_108))
        );
        assert_eq!(hash(""), None);
    }
}
