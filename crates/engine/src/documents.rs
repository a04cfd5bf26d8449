//! The named documents of one moment, read for use: silences, contacts, sources ...
//!
//! What kinds there are and how they are read is passed in ([`ReadDocument`]); here a document is something that somebody
//! asks for by kind, bus and type. A document that cannot be read is told in the log, and is not there for those who ask.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use belfry_model::config::Document;
use belfry_model::{BusId, DocumentName};

/// A document's spec as the type that its kind reads it into.
pub type Parsed = Arc<dyn Any + Send + Sync>;

/// Reads stored documents.
pub trait ReadDocument: Send + Sync {
    /// The spec of `document`, its secrets in clear. The error is for the operator and holds no secret.
    fn read(&self, document: &Document) -> Result<Parsed, String>;
}

/// Reads nothing, for whoever has no documents.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDocuments;

impl ReadDocument for NoDocuments {
    fn read(&self, document: &Document) -> Result<Parsed, String> {
        Err(format!("nothing is known of {}", document.kind))
    }
}

/// A document with what was read of it.
struct Entry {
    document: Document,
    parsed: Option<Parsed>,
}

/// The documents of one kind on one bus (or of the whole server), by name.
type Named = BTreeMap<DocumentName, Entry>;

/// The named documents of one moment.
#[derive(Default, Clone)]
pub(crate) struct Documents(HashMap<String, HashMap<Option<BusId>, Arc<Named>>>);

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.all();
        f.debug_list()
            .entries(all.map(|one| (&one.kind, one.bus, &one.name, one.revision)))
            .finish()
    }
}

impl Documents {
    /// All of them, as they are stored.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Document> {
        let named = self.0.values().flat_map(HashMap::values);
        named.flat_map(|named| named.values().map(|entry| &entry.document))
    }

    /// What a change leads to. What has not changed is not read again.
    pub(crate) fn changed(
        &self,
        gone: &[Document],
        made: Vec<Document>,
        read: &dyn ReadDocument,
    ) -> Self {
        let mut new = self.clone();
        for document in gone {
            let named = new.named(document);
            if named
                .get(&document.name)
                .is_some_and(|known| known.document.id == document.id)
            {
                named.remove(&document.name);
            }
        }
        for document in made {
            let named = new.named(&document);
            if named
                .get(&document.name)
                .is_some_and(|known| known.document == document)
            {
                continue;
            }
            let parsed = read.read(&document).map_err(|problem| {
                tracing::error!(document.kind = %document.kind, document.name = %document.name, %problem, "a stored document cannot be read; it is left out");
            });
            let entry = Entry {
                parsed: parsed.ok(),
                document,
            };
            named.insert(entry.document.name.clone(), entry);
        }
        new
    }

    fn named(&mut self, document: &Document) -> &mut Named {
        let kind = self.0.entry(document.kind.clone()).or_default();
        Arc::make_mut(kind.entry(document.bus).or_default())
    }

    /// Those of a kind, by name.
    pub(crate) fn list<T: Any + Send + Sync>(
        &self,
        kind: &str,
        bus: Option<BusId>,
    ) -> impl Iterator<Item = (&DocumentName, Arc<T>)> {
        let named = self.0.get(kind).and_then(|kind| kind.get(&bus));
        named
            .into_iter()
            .flat_map(|named| named.iter())
            .filter_map(|(name, entry)| Some((name, entry.typed()?)))
    }

    /// One of them, as it is stored.
    pub(crate) fn stored(
        &self,
        kind: &str,
        bus: Option<BusId>,
        name: &DocumentName,
    ) -> Option<&Document> {
        Some(&self.0.get(kind)?.get(&bus)?.get(name)?.document)
    }

    /// One of them.
    pub(crate) fn get<T: Any + Send + Sync>(
        &self,
        kind: &str,
        bus: Option<BusId>,
        name: &DocumentName,
    ) -> Option<Arc<T>> {
        self.0.get(kind)?.get(&bus)?.get(name)?.typed()
    }
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        Self {
            document: self.document.clone(),
            parsed: self.parsed.clone(),
        }
    }
}

impl Entry {
    fn typed<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.parsed.as_ref()?).downcast().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use belfry_model::DocumentId;
    use serde_json::{Value, json};

    use super::*;

    /// Reads texts, and counts how often.
    #[derive(Default)]
    struct Texts(AtomicUsize);

    impl ReadDocument for Texts {
        fn read(&self, document: &Document) -> Result<Parsed, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let text = document.spec.as_str().ok_or("no text")?;
            Ok(Arc::new(text.to_owned()))
        }
    }

    fn document(id: i32, bus: Option<i32>, name: &str, spec: Value) -> Document {
        Document {
            id: DocumentId(id),
            kind: "notes".to_owned(),
            bus: bus.map(BusId),
            name: name.parse().unwrap_or_else(|_| unreachable!()),
            spec,
            revision: 1,
            created_at_ms: 0,
            updated_at_ms: 0,
        }
    }

    fn texts(documents: &Documents, bus: Option<i32>) -> Vec<String> {
        let found = documents.list::<String>("notes", bus.map(BusId));
        found.map(|(name, text)| format!("{name}={text}")).collect()
    }

    #[test]
    fn only_what_has_changed_is_read_again() {
        let read = Texts::default();
        let (a, b) = (
            document(1, Some(1), "a", json!("x")),
            document(2, Some(1), "b", json!("y")),
        );
        let first = Documents::default().changed(&[], vec![b.clone(), a.clone()], &read);
        assert_eq!(texts(&first, Some(1)), ["a=x", "b=y"]);
        assert_eq!(texts(&first, None), Vec::<String>::new());
        let other = document(2, Some(1), "b", json!("z"));
        let second = first.changed(&[], vec![a, other, document(3, None, "c", json!(7))], &read);
        assert_eq!(texts(&second, Some(1)), ["a=x", "b=z"]);
        assert_eq!(read.0.load(Ordering::Relaxed), 4, "a was read once");
        assert_eq!(
            texts(&first, Some(1)),
            ["a=x", "b=y"],
            "who holds it sees no change"
        );
        // What cannot be read is not there, but known.
        assert_eq!(texts(&second, None), Vec::<String>::new());
        assert_eq!(second.all().count(), 3);
        // One of that name that was deleted before the present one was made.
        let third = second.changed(&[document(9, Some(1), "a", json!("old")), b], vec![], &read);
        assert_eq!(texts(&third, Some(1)), ["a=x"]);
        let name = "a".parse().unwrap_or_else(|_| unreachable!());
        let found = third.get::<String>("notes", Some(BusId(1)), &name);
        assert_eq!(found.as_deref().map(String::as_str), Some("x"));
        assert!(third.get::<i32>("notes", Some(BusId(1)), &name).is_none());
    }
}
