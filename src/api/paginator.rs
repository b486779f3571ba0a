//! Pagination of a list, as a pure state machine: takes a list page, returns the next page number or the list.
//!
//! Owns: the end of a list, and whether the list is known to be complete. Only a complete list may delete objects,
//! so any doubt (lost items, repeated names, inconsistent totals) makes it incomplete. Neither `Total` nor
//! `CurrentPage` of the server can make the pagination endless.

use std::collections::BTreeSet;

use super::wire::{Anomalies, ListPage};
use crate::model::{AnomalyKind, Listing};

/// Number of items requested per list page.
pub(super) const PAGE_SIZE: usize = 100;

/// Maximum number of list pages.
const MAX_PAGES: u32 = 200;

/// Pagination of one list.
pub(super) struct Paginator<T> {
    name_of: fn(&T) -> &str,
    /// Whether a response without `Total` and `CurrentPage` is the complete list.
    may_be_unpaged: bool,
    page_number: u32,
    names: BTreeSet<String>,
    items: Vec<T>,
    entries: usize,
    total: Option<usize>,
    is_complete: bool,
}

/// Next step of a pagination.
pub(super) enum NextStep<T> {
    /// Fetch the list page with this number.
    Fetch(u32),
    /// The list has ended.
    Done(Listing<T>),
}

impl<T> Paginator<T> {
    /// Returns a paginator that expects list page 1.
    pub(super) fn new(name_of: fn(&T) -> &str, may_be_unpaged: bool) -> Self {
        Self {
            name_of,
            may_be_unpaged,
            page_number: 1,
            names: BTreeSet::new(),
            items: Vec::new(),
            entries: 0,
            total: None,
            is_complete: true,
        }
    }

    /// Adds the list page that was fetched.
    pub(super) fn add_page(&mut self, list_page: ListPage<T>, anomalies: &mut Anomalies) -> NextStep<T> {
        let is_unpaged = self.may_be_unpaged
            && self.page_number == 1
            && list_page.total.is_none()
            && list_page.current_page.is_none();
        self.is_complete &= list_page.is_complete;
        if list_page.current_page.is_some_and(|number| number != i64::from(self.page_number)) {
            let detail = format_args!("list page {} has another CurrentPage", self.page_number);
            anomalies.record(AnomalyKind::Paging, detail);
            self.is_complete = false;
        }
        self.update_total(list_page.total, anomalies);
        self.entries += list_page.entries;
        let new_names = self.add_items(list_page.items, anomalies);

        // A server that returns smaller list pages than requested reports their size.
        let size = list_page.page_size.filter(|size| (1..=PAGE_SIZE).contains(size)).unwrap_or(PAGE_SIZE);
        let is_short = list_page.entries < size;
        let is_last = match self.total {
            Some(total) => self.entries == total || (self.entries > total && is_short),
            None => is_short,
        };
        let has_nothing_new = list_page.entries == 0 || (new_names == 0 && self.page_number > 1);
        if is_unpaged || is_last || has_nothing_new {
            return self.finish(anomalies);
        }
        if self.page_number == MAX_PAGES {
            anomalies
                .record(AnomalyKind::Paging, format_args!("the list has more than {MAX_PAGES} list pages"));
            self.is_complete = false;
            return self.finish(anomalies);
        }
        self.page_number += 1;
        NextStep::Fetch(self.page_number)
    }

    fn update_total(&mut self, total: Option<usize>, anomalies: &mut Anomalies) {
        if self.total.zip(total).is_some_and(|(before, now)| before != now) {
            // Items have moved between list pages, so a name may have been skipped.
            anomalies.record(AnomalyKind::Paging, "Total changed between two list pages");
            self.is_complete = false;
        }
        self.total = total.or(self.total);
    }

    /// Adds the items with new names and returns their number.
    fn add_items(&mut self, items: Vec<T>, anomalies: &mut Anomalies) -> usize {
        let mut names_of_page = BTreeSet::new();
        let mut has_repeats = false;
        let before = self.items.len();
        for item in items {
            let name = (self.name_of)(&item).to_owned();
            if !names_of_page.insert(name.clone()) {
                anomalies.record(AnomalyKind::Duplicate, "a name twice on one list page");
            } else if self.names.insert(name) {
                self.items.push(item);
            } else {
                has_repeats = true;
            }
        }
        if has_repeats {
            let detail = format_args!("list page {} repeats names of earlier ones", self.page_number);
            anomalies.record(AnomalyKind::Paging, detail);
            self.is_complete = false;
        }
        self.items.len() - before
    }

    fn finish(&mut self, anomalies: &mut Anomalies) -> NextStep<T> {
        if self.total.is_some_and(|total| total != self.entries) {
            anomalies.record(AnomalyKind::Paging, "Total is not the number of items");
        }
        let items = std::mem::take(&mut self.items);
        NextStep::Done(Listing {
            complete: self.is_complete && items.len() >= self.total.unwrap_or(0),
            items,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fetches list pages of a server, a function of the page number, until the list ends.
    fn paginate(
        may_be_unpaged: bool,
        server: impl Fn(u32) -> ListPage<String>,
    ) -> (Vec<String>, bool, u32, Vec<AnomalyKind>) {
        let mut anomalies = Anomalies::default();
        let mut paginator = Paginator::new(String::as_str, may_be_unpaged);
        let mut page_number = 1;
        let list = loop {
            match paginator.add_page(server(page_number), &mut anomalies) {
                NextStep::Fetch(next) => page_number = next,
                NextStep::Done(list) => break list,
            }
        };
        let kinds = anomalies.into_vec().into_iter().map(|a| a.kind).collect();
        (list.items, list.complete, page_number, kinds)
    }

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|n| format!("n{n:05}")).collect()
    }

    fn list_page(
        items: Vec<String>,
        total: impl Into<Option<usize>>,
        current: impl Into<Option<i64>>,
    ) -> ListPage<String> {
        ListPage {
            entries: items.len(),
            items,
            is_complete: true,
            total: total.into(),
            current_page: current.into(),
            page_size: None,
        }
    }

    /// Returns a server that serves `have` names correctly, on list pages of `size`.
    fn correct_server(have: usize, size: usize, total: Option<usize>) -> impl Fn(u32) -> ListPage<String> {
        move |n| {
            let from = ((n as usize - 1) * size).min(have);
            let mut list_page = list_page(names(from..(from + size).min(have)), total, i64::from(n));
            list_page.page_size = Some(size);
            list_page
        }
    }

    proptest! {
        #[test]
        fn a_correct_list_is_complete_with_the_minimum_of_calls(have in 0usize..700, size in 5usize..=100) {
            let (items, complete, calls, anomalies) = paginate(false, correct_server(have, size, Some(have)));
            prop_assert_eq!(items, names(0..have));
            prop_assert!(complete);
            prop_assert_eq!(calls as usize, have.div_ceil(size).max(1));
            prop_assert_eq!(anomalies, vec![]);
        }

        #[test]
        fn no_server_causes_endless_pagination_or_repeated_names(
            list_pages in prop::collection::vec(
                (prop::collection::vec(0usize..150, 0..120), prop::option::of(0usize..300), prop::option::of(-1i64..5)),
                1..6,
            )
        ) {
            let (items, _, calls, _) = paginate(true, |n| {
                let (numbers, total, current) = &list_pages[n as usize % list_pages.len()];
                list_page(numbers.iter().map(|n| format!("n{n}")).collect(), *total, *current)
            });
            prop_assert!(calls <= MAX_PAGES);
            let distinct: BTreeSet<_> = items.iter().collect();
            prop_assert_eq!(distinct.len(), items.len());
        }
    }

    #[test]
    fn without_a_total_a_short_page_ends_the_list() {
        let (items, complete, calls, anomalies) = paginate(false, correct_server(250, 100, None));
        assert_eq!((items.len(), complete, calls, anomalies), (250, true, 3, vec![]));
        let (items, complete, calls, _) = paginate(false, correct_server(200, 100, None));
        assert_eq!((items.len(), complete, calls), (200, true, 3));
    }

    #[test]
    fn a_response_without_page_numbers_may_be_the_complete_list() {
        let all = |_| list_page(names(0..250), None, None);
        assert_eq!(paginate(true, all), (names(0..250), true, 1, vec![]));
        assert_eq!(paginate(true, |_| list_page(names(0..100), None, None)).2, 1);
    }

    #[test]
    fn a_server_that_ignores_the_page_number_is_detected() {
        let (items, complete, calls, anomalies) = paginate(false, |_| list_page(names(0..100), 250, 1));
        assert_eq!((items.len(), complete, calls), (100, false, 2));
        assert!(anomalies.iter().all(|kind| *kind == AnomalyKind::Paging) && !anomalies.is_empty());
        let (items, complete, calls, _) = paginate(false, |_| list_page(names(0..250), 250, 1));
        assert_eq!((items.len(), complete, calls), (250, true, 1));
    }

    #[test]
    fn with_a_total_that_is_too_large_the_list_ends_incomplete() {
        let (items, complete, calls, anomalies) =
            paginate(false, correct_server(150, 100, Some(1_000_000_000)));
        assert_eq!((items.len(), complete, calls, anomalies), (150, false, 3, vec![AnomalyKind::Paging]));
    }

    #[test]
    fn a_total_that_is_too_small_does_not_truncate_the_list() {
        let (items, complete, calls, anomalies) = paginate(false, correct_server(150, 100, Some(5)));
        assert_eq!((items.len(), complete, calls, anomalies), (150, true, 2, vec![AnomalyKind::Paging]));
    }

    #[test]
    fn a_list_that_changes_between_its_pages_is_incomplete() {
        // One name was deleted in between: the first name of list page 2 moved to list page 1.
        let (items, complete, _, anomalies) = paginate(false, |n| match n {
            1 => list_page(names(0..100), 150, 1),
            _ => list_page(names(101..150), 149, 2),
        });
        assert_eq!((items.len(), complete, anomalies), (149, false, vec![AnomalyKind::Paging]));
        // One name was created: the last name of list page 1 repeats.
        let (items, complete, _, anomalies) = paginate(false, |n| match n {
            1 => list_page(names(0..100), 150, 1),
            _ => list_page(names(99..149), 150, 2),
        });
        assert_eq!((items.len(), complete), (149, false));
        assert!(anomalies.contains(&AnomalyKind::Paging));
    }

    #[test]
    fn a_lost_item_makes_the_list_incomplete() {
        let (_, complete, ..) =
            paginate(false, |_| ListPage { is_complete: false, ..list_page(names(0..3), 3, 1) });
        assert!(!complete);
    }

    #[test]
    fn a_name_twice_on_one_page_is_one_item() {
        let mut twice = names(0..3);
        twice.push("n00001".to_owned());
        let (items, complete, calls, anomalies) = paginate(false, |_| list_page(twice.clone(), 3, 1));
        assert_eq!((items, complete, calls), (names(0..3), true, 1));
        assert_eq!(anomalies, [AnomalyKind::Duplicate, AnomalyKind::Paging]);
    }

    #[test]
    fn the_number_of_pages_is_limited() {
        let (items, complete, calls, anomalies) = paginate(false, |n| {
            list_page(names(n as usize * 100..(n as usize + 1) * 100), None, i64::from(n))
        });
        assert_eq!((items.len(), complete, calls), (20_000, false, 200));
        assert_eq!(anomalies, [AnomalyKind::Paging]);
    }

    #[test]
    fn an_empty_list_is_complete_unless_its_total_contradicts() {
        assert_eq!(paginate(false, |_| list_page(vec![], 0, 1)), (vec![], true, 1, vec![]));
        assert_eq!(
            paginate(false, |_| list_page(vec![], 7, 1)),
            (vec![], false, 1, vec![AnomalyKind::Paging])
        );
    }
}
