//! Walking the pages of a list, as a pure machine: a page in, the next page number or the list out.
//!
//! Owns: when a list ends and whether it is known to be whole. Only a whole list may delete what it lacks,
//! so whatever is doubtful (entries lost, names that come twice, totals that disagree) makes it incomplete.
//! Refuses: trust: neither `Total` nor `CurrentPage` of the server can make the walk endless.

use std::collections::BTreeSet;

use super::wire::{Anomalies, ListPage};
use crate::model::{AnomalyKind, Listing};

/// How many entries are asked for per page.
pub(super) const PAGE_SIZE: usize = 100;

/// Most pages of one list.
const MAX_PAGES: u32 = 200;

/// A walk over the pages of one list.
pub(super) struct Paginator<T> {
    identity: fn(&T) -> &str,
    /// An answer that tells neither `Total` nor `CurrentPage` is the full list.
    may_be_unpaged: bool,
    page: u32,
    names: BTreeSet<String>,
    items: Vec<T>,
    entries: usize,
    total: Option<usize>,
    /// Nothing doubtful was seen.
    is_complete: bool,
}

/// What comes after a page.
pub(super) enum NextStep<T> {
    /// Ask for this page.
    Fetch(u32),
    /// The walk has ended.
    Done(Listing<T>),
}

impl<T> Paginator<T> {
    /// Begins a walk; the first page to ask for is 1.
    pub(super) fn new(identity: fn(&T) -> &str, may_be_unpaged: bool) -> Self {
        Self {
            identity,
            may_be_unpaged,
            page: 1,
            names: BTreeSet::new(),
            items: Vec::new(),
            entries: 0,
            total: None,
            is_complete: true,
        }
    }

    /// Takes the page that was asked for.
    pub(super) fn take(&mut self, page: ListPage<T>, anomalies: &mut Anomalies) -> NextStep<T> {
        let is_unpaged =
            self.may_be_unpaged && self.page == 1 && page.total.is_none() && page.current_page.is_none();
        self.is_complete &= page.is_complete;
        if page.current_page.is_some_and(|told| told != i64::from(self.page)) {
            anomalies.note(AnomalyKind::Paging, format_args!("page {} calls itself another", self.page));
            self.is_complete = false;
        }
        self.note_total(page.total, anomalies);
        self.entries += page.entries;
        let fresh = self.add(page.items, anomalies);

        if is_unpaged {
            return self.end(anomalies);
        }
        // A server may hand out smaller pages than asked for, and then says so.
        let size = page.page_size.filter(|size| (1..=PAGE_SIZE).contains(size)).unwrap_or(PAGE_SIZE);
        let is_short = page.entries < size;
        let more_told = self.total.map(|total| self.entries < total);
        if page.entries == 0 || (fresh == 0 && self.page > 1) {
            return self.end(anomalies);
        }
        if more_told == Some(false) && (is_short || self.total == Some(self.entries)) {
            return self.end(anomalies);
        }
        if more_told.is_none() && is_short {
            return self.end(anomalies);
        }
        if self.page == MAX_PAGES {
            anomalies.note(AnomalyKind::Paging, format_args!("the list has more than {MAX_PAGES} pages"));
            self.is_complete = false;
            return self.end(anomalies);
        }
        self.page += 1;
        NextStep::Fetch(self.page)
    }

    fn note_total(&mut self, told: Option<usize>, anomalies: &mut Anomalies) {
        match (self.total, told) {
            (Some(before), Some(now)) if before != now => {
                // Pages have moved against each other, so a name may have slipped between two.
                anomalies.note(AnomalyKind::Paging, "Total changed between two pages");
                self.is_complete = false;
                self.total = told;
            }
            (None, Some(_)) => self.total = told,
            _ => {}
        }
    }

    /// Adds the names that are new, and tells how many that were.
    fn add(&mut self, items: Vec<T>, anomalies: &mut Anomalies) -> usize {
        let mut of_page = BTreeSet::new();
        let mut repeats = false;
        let before = self.items.len();
        for item in items {
            let name = (self.identity)(&item).to_owned();
            if !of_page.insert(name.clone()) {
                anomalies.note(AnomalyKind::Duplicate, "a name twice on one page");
            } else if self.names.insert(name) {
                self.items.push(item);
            } else {
                repeats = true;
            }
        }
        if repeats {
            anomalies
                .note(AnomalyKind::Paging, format_args!("page {} repeats names of earlier ones", self.page));
            self.is_complete = false;
        }
        self.items.len() - before
    }

    fn end(&mut self, anomalies: &mut Anomalies) -> NextStep<T> {
        let told = self.total.unwrap_or(self.entries);
        if told != self.entries {
            anomalies.note(AnomalyKind::Paging, "Total is not the number of entries");
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

    /// Asks a server, given as a function from page number to page, until the walk ends.
    fn walk(
        may_be_unpaged: bool,
        server: impl Fn(u32) -> ListPage<String>,
    ) -> (Vec<String>, bool, u32, Vec<AnomalyKind>) {
        let mut anomalies = Anomalies::default();
        let mut walk = Paginator::new(String::as_str, may_be_unpaged);
        let mut asked = 1;
        let list = loop {
            match walk.take(server(asked), &mut anomalies) {
                NextStep::Fetch(page) => asked = page,
                NextStep::Done(list) => break list,
            }
        };
        let kinds = anomalies.into_vec().into_iter().map(|a| a.kind).collect();
        (list.items, list.complete, asked, kinds)
    }

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|n| format!("n{n:05}")).collect()
    }

    fn page(
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

    /// What an honest server of `have` names says of page `n` of `size`.
    fn honest(have: usize, size: usize, total: Option<usize>) -> impl Fn(u32) -> ListPage<String> {
        move |n| {
            let from = ((n as usize - 1) * size).min(have);
            let mut page = page(names(from..(from + size).min(have)), total, i64::from(n));
            page.page_size = Some(size);
            page
        }
    }

    proptest! {
        #[test]
        fn an_honest_list_is_whole_in_as_few_calls_as_can_be(have in 0usize..700, size in 5usize..=100) {
            let (items, complete, calls, anomalies) = walk(false, honest(have, size, Some(have)));
            prop_assert_eq!(items, names(0..have));
            prop_assert!(complete);
            prop_assert_eq!(calls as usize, have.div_ceil(size).max(1));
            prop_assert_eq!(anomalies, vec![]);
        }

        #[test]
        fn no_server_makes_the_walk_endless_or_lets_a_name_come_twice(
            pages in prop::collection::vec(
                (prop::collection::vec(0usize..150, 0..120), prop::option::of(0usize..300), prop::option::of(-1i64..5)),
                1..6,
            )
        ) {
            let (items, _, calls, _) = walk(true, |n| {
                let (numbers, total, current) = &pages[n as usize % pages.len()];
                page(numbers.iter().map(|n| format!("n{n}")).collect(), *total, *current)
            });
            prop_assert!(calls <= MAX_PAGES);
            let distinct: BTreeSet<_> = items.iter().collect();
            prop_assert_eq!(distinct.len(), items.len());
        }
    }

    #[test]
    fn without_a_total_a_short_page_ends_the_list() {
        let (items, complete, calls, anomalies) = walk(false, honest(250, 100, None));
        assert_eq!((items.len(), complete, calls, anomalies), (250, true, 3, vec![]));
        let (items, complete, calls, _) = walk(false, honest(200, 100, None));
        assert_eq!((items.len(), complete, calls), (200, true, 3));
    }

    #[test]
    fn an_answer_without_paging_is_the_full_list_where_that_may_be() {
        let all = |_| page(names(0..250), None, None);
        assert_eq!(walk(true, all), (names(0..250), true, 1, vec![]));
        assert_eq!(walk(true, |_| page(names(0..100), None, None)).2, 1);
    }

    #[test]
    fn a_server_that_ignores_the_page_number_is_found_out() {
        let (items, complete, calls, anomalies) = walk(false, |_| page(names(0..100), 250, 1));
        assert_eq!((items.len(), complete, calls), (100, false, 2));
        assert!(anomalies.iter().all(|kind| *kind == AnomalyKind::Paging) && !anomalies.is_empty());
        let (items, complete, calls, _) = walk(false, |_| page(names(0..250), 250, 1));
        assert_eq!((items.len(), complete, calls), (250, true, 1));
    }

    #[test]
    fn a_total_that_lies_upwards_ends_at_the_empty_page_and_deletes_nothing() {
        let (items, complete, calls, anomalies) = walk(false, honest(150, 100, Some(1_000_000_000)));
        assert_eq!((items.len(), complete, calls, anomalies), (150, false, 3, vec![AnomalyKind::Paging]));
    }

    #[test]
    fn a_total_that_lies_downwards_does_not_cut_the_list() {
        let (items, complete, calls, anomalies) = walk(false, honest(150, 100, Some(5)));
        assert_eq!((items.len(), complete, calls, anomalies), (150, true, 2, vec![AnomalyKind::Paging]));
    }

    #[test]
    fn pages_that_move_under_the_walk_delete_nothing() {
        // One name was deleted between the pages: the last name of page 2 slipped onto page 1.
        let (items, complete, _, anomalies) = walk(false, |n| match n {
            1 => page(names(0..100), 150, 1),
            _ => page(names(101..150), 149, 2),
        });
        assert_eq!((items.len(), complete, anomalies), (149, false, vec![AnomalyKind::Paging]));
        // One name was created: the last name of page 1 comes again.
        let (items, complete, _, anomalies) = walk(false, |n| match n {
            1 => page(names(0..100), 150, 1),
            _ => page(names(99..149), 150, 2),
        });
        assert_eq!((items.len(), complete), (149, false));
        assert!(anomalies.contains(&AnomalyKind::Paging));
    }

    #[test]
    fn a_lost_entry_makes_the_list_incomplete() {
        let (_, complete, ..) = walk(false, |_| ListPage { is_complete: false, ..page(names(0..3), 3, 1) });
        assert!(!complete);
    }

    #[test]
    fn a_name_twice_on_one_page_is_one_item() {
        let mut twice = names(0..3);
        twice.push("n00001".to_owned());
        let (items, complete, calls, anomalies) = walk(false, |_| page(twice.clone(), 3, 1));
        assert_eq!((items, complete, calls), (names(0..3), true, 1));
        assert_eq!(anomalies, [AnomalyKind::Duplicate, AnomalyKind::Paging]);
    }

    #[test]
    fn pages_without_end_are_cut_at_the_cap() {
        let (items, complete, calls, anomalies) =
            walk(false, |n| page(names(n as usize * 100..(n as usize + 1) * 100), None, i64::from(n)));
        assert_eq!((items.len(), complete, calls), (20_000, false, 200));
        assert_eq!(anomalies, [AnomalyKind::Paging]);
    }

    #[test]
    fn an_empty_list_is_whole_unless_its_total_says_otherwise() {
        assert_eq!(walk(false, |_| page(vec![], 0, 1)), (vec![], true, 1, vec![]));
        assert_eq!(walk(false, |_| page(vec![], 7, 1)), (vec![], false, 1, vec![AnomalyKind::Paging]));
    }
}
