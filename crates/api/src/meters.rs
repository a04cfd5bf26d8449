//! Handles of metrics that every request counts. Looking one up by its labels takes longer than counting, and a third of
//! a busy server's metrics are these. Each thread keeps its own; there are as many as routes, buses and outcomes.

use std::collections::HashMap;

/// Handles by a text (a route, a bus) and something else (method and status, way in and outcome).
pub(crate) struct Meters<K, M>(HashMap<String, Vec<(K, M)>>);

impl<K, M> Default for Meters<K, M> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: PartialEq, M: Clone> Meters<K, M> {
    /// The handle of these labels, made on its first use.
    pub(crate) fn get(&mut self, text: &str, rest: K, make: impl FnOnce() -> M) -> M {
        if let Some(list) = self.0.get(text)
            && let Some((_, found)) = list.iter().find(|(known, _)| *known == rest)
        {
            return found.clone();
        }
        let handle = make();
        let list = self.0.entry(text.to_owned()).or_default();
        list.push((rest, handle.clone()));
        handle
    }
}
