//! The archives of a bus, compiled: which of them take a copy of an event.

use belfry_model::ArchiveId;
use belfry_model::config::Archive;
use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};

/// The archives of a bus.
#[derive(Debug, Default)]
pub struct Archives {
    /// All of them, disabled ones included, by name.
    pub list: Vec<Archive>,
    /// Those that take every event.
    all: Vec<ArchiveId>,
    /// The patterns of the others, by their places in `list`.
    set: RuleSet,
    /// Whether there is anything in the set.
    has_patterns: bool,
}

impl Archives {
    /// What a change leads to; `None` when it changes nothing.
    pub(crate) fn changed(&self, gone: &[Archive], made: Vec<Archive>) -> Option<Self> {
        let stays = |archive: &&Archive| gone.iter().chain(&made).all(|one| one.id != archive.id);
        let mut list: Vec<Archive> = self.list.iter().filter(stays).cloned().collect();
        list.extend(made);
        list.sort_by(|a, b| a.name.cmp(&b.name));
        (list != self.list).then(|| Self::compile(list))
    }

    /// Of these, by name.
    fn compile(list: Vec<Archive>) -> Self {
        let mut archives = Self::default();
        for (place, archive) in (0..).zip(&list) {
            if !archive.spec.enabled {
                continue;
            }
            let Some(text) = &archive.spec.pattern else {
                archives.all.push(archive.id);
                continue;
            };
            match Pattern::parse(text.as_str().as_bytes()) {
                Ok(pattern) => {
                    archives.set.add(place, &pattern);
                    archives.has_patterns = true;
                }
                Err(error) => {
                    tracing::error!(archive.name = %archive.name, %error, "a stored pattern cannot be read; its archive takes every event");
                    archives.all.push(archive.id);
                }
            }
        }
        archives.list = list;
        archives
    }

    /// Whether no event is copied.
    pub(crate) fn take_nothing(&self) -> bool {
        self.all.is_empty() && !self.has_patterns
    }

    /// Those that take a copy of the event.
    pub(crate) fn of(&self, text: EventText<'_>, scratch: &mut Scratch) -> Vec<ArchiveId> {
        let mut archives = self.all.clone();
        if self.has_patterns {
            let places = self.set.matches_text(text, scratch);
            let matching = places
                .iter()
                .filter_map(|place| self.list.get(*place as usize));
            archives.extend(matching.map(|archive| archive.id));
        }
        archives
    }
}
