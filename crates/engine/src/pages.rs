//! A map from the database's ids to shared values, copied on write: a clone costs next to nothing, a change copies a page.
//!
//! Ids are given out in order, so that pages are full but for what was deleted.

use std::sync::Arc;

/// Ids of one page.
const PAGE: usize = 256;

#[derive(Debug)]
pub(crate) struct Pages<T>(Vec<Option<Arc<Page<T>>>>);

type Page<T> = Vec<Option<Arc<T>>>;

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The page of an id and its place there. Ids are positive.
fn place(id: i32) -> (usize, usize) {
    let id = usize::try_from(id).unwrap_or_default();
    (id / PAGE, id % PAGE)
}

impl<T> Pages<T> {
    pub(crate) fn get(&self, id: i32) -> Option<&Arc<T>> {
        let (page, place) = place(id);
        self.0.get(page)?.as_ref()?.get(place)?.as_ref()
    }

    pub(crate) fn insert(&mut self, id: i32, value: Arc<T>) {
        let (page, place) = place(id);
        if self.0.len() <= page {
            self.0.resize(page + 1, None);
        }
        if let Some(page) = self.0.get_mut(page) {
            let page = Arc::make_mut(page.get_or_insert_with(|| Arc::new(vec![None; PAGE])));
            if let Some(known) = page.get_mut(place) {
                *known = Some(value);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: i32) {
        let (number, place) = place(id);
        let Some(Some(page)) = self.0.get_mut(number) else {
            return;
        };
        let page = Arc::make_mut(page);
        if let Some(known) = page.get_mut(place) {
            *known = None;
        }
        if page.iter().all(Option::is_none)
            && let Some(page) = self.0.get_mut(number)
        {
            *page = None;
        }
    }

    /// In the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        let pages = self.0.iter().flatten();
        pages.flat_map(|page| page.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_stays_as_it_was() {
        let mut pages = Pages::default();
        for id in [1, 2, 700] {
            pages.insert(id, Arc::new(id));
        }
        let before = pages.clone();
        pages.remove(700);
        pages.remove(9000);
        pages.insert(2, Arc::new(22));
        pages.insert(3, Arc::new(3));
        let all = |pages: &Pages<i32>| pages.iter().map(|value| **value).collect::<Vec<_>>();
        assert_eq!(all(&before), [1, 2, 700]);
        assert_eq!(all(&pages), [1, 22, 3]);
        assert_eq!(pages.get(700), None);
        assert_eq!(before.get(700).map(|value| **value), Some(700));
    }
}
