//! Names of targets and buses of one answer, deleted ones included.

use std::collections::{HashMap, HashSet};

use belfry_model::{BusId, BusName, TargetId};
use belfry_store::TargetPath;

use crate::App;
use crate::error::Result;

/// Names of targets and buses.
pub(super) struct Names {
    targets: HashMap<TargetId, TargetPath>,
    buses: HashMap<BusId, BusName>,
}

impl Names {
    pub(super) fn target(&self, id: TargetId) -> Option<&TargetPath> {
        self.targets.get(&id)
    }

    /// The bus's name; a bus that nobody knows has none.
    pub(super) fn bus(&self, id: BusId) -> String {
        self.buses
            .get(&id)
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

impl App {
    /// Looks up names, each once.
    pub(super) async fn names(
        &self,
        targets: impl IntoIterator<Item = TargetId>,
        buses: impl IntoIterator<Item = BusId>,
    ) -> Result<Names> {
        let targets: Vec<_> = targets
            .into_iter()
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        let paths = if targets.is_empty() {
            Vec::new()
        } else {
            self.store.target_names(&targets).await?
        };
        let index = self.index().await?;
        let mut known = HashMap::new();
        let mut deleted = Vec::new();
        for bus in buses.into_iter().collect::<HashSet<_>>() {
            match index.bus_name(bus) {
                Some(name) => {
                    known.insert(bus, name.clone());
                }
                None => deleted.push(bus),
            }
        }
        if !deleted.is_empty() {
            known.extend(self.store.bus_names(&deleted).await?);
        }
        Ok(Names {
            targets: paths.into_iter().map(|path| (path.id, path)).collect(),
            buses: known,
        })
    }
}
