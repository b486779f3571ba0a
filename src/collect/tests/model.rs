//! Random schedules of what can befall lists and objects, against a model that knows nothing of the fleet.

use proptest::{collection::vec, prelude::*};

use super::{
    fleet::{Case, clean},
    *,
};
use crate::collect::fleet::Answer;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// One pass, in seconds: a value outlives three of them.
const PASS: u64 = 60;

/// What a pass brings to the list, and to each group if it is asked for.
type Pass = (List, [Poll; 4]);

#[derive(Debug, Clone)]
enum List {
    Whole([bool; 4]),
    Partial([bool; 4]),
    Empty,
    Failed,
}

#[derive(Debug, Clone, Copy)]
enum Poll {
    Lag(i64),
    Empty,
    Failed,
    Gone,
}

/// The rules of absence once more: at most this much is shown after a pass, and at least this.
#[derive(Default)]
struct Model {
    groups: BTreeMap<&'static str, Shown>,
    list_doubted: bool,
}

#[derive(Default, Clone, Copy)]
struct Shown {
    /// The lag, whether it has topics, and the pass that told it.
    told: Option<(i64, bool, u64)>,
    doubted: bool,
}

impl Model {
    fn list(&mut self, list: &List) {
        let named = |of: &[bool; 4]| (0..4).filter(|n| of[*n]).map(|n| NAMES[n]).collect::<Vec<_>>();
        let (names, whole) = match list {
            List::Whole(of) => (named(of), true),
            List::Partial(of) => (named(of), false),
            List::Empty => (vec![], true),
            List::Failed => return,
        };
        self.list_doubted = whole && names.is_empty() && !self.groups.is_empty() && !self.list_doubted;
        if self.list_doubted {
            return;
        }
        self.groups.retain(|name, _| !whole || names.contains(name));
        names.into_iter().for_each(|name| _ = self.groups.entry(name).or_default());
    }

    fn poll(&mut self, name: &'static str, poll: Poll, pass: u64) {
        let Some(shown) = self.groups.get_mut(name) else { return };
        let had_topics = shown.told.is_some_and(|(_, topics, _)| topics);
        match poll {
            Poll::Lag(lag) => *shown = Shown { told: Some((lag, true, pass)), doubted: false },
            Poll::Empty if had_topics && !shown.doubted => shown.doubted = true,
            Poll::Empty => *shown = Shown { told: Some((0, false, pass)), doubted: false },
            Poll::Failed => {}
            Poll::Gone => _ = self.groups.remove(name),
        }
    }

    fn shown(&mut self, pass: u64) -> String {
        let group = |(name, shown): (&&str, &mut Shown)| {
            shown.told = shown.told.filter(|(.., at)| (pass - at) * PASS <= 180);
            shown.told.map_or((*name).to_owned(), |(lag, ..)| format!("{name}={lag}"))
        };
        format!("i[|{}]", self.groups.iter_mut().map(group).collect::<Vec<_>>().join(","))
    }
}

fn passes() -> impl Strategy<Value = Vec<Pass>> {
    let some = any::<[bool; 4]>();
    let list = prop_oneof![
        4 => some.prop_map(List::Whole),
        1 => some.prop_map(List::Partial),
        2 => Just(List::Empty),
        3 => Just(List::Failed),
    ];
    let poll = prop_oneof![
        4 => (0i64..1000).prop_map(Poll::Lag),
        2 => Just(Poll::Empty),
        5 => Just(Poll::Failed),
        1 => Just(Poll::Gone),
    ];
    vec((list, [poll.clone(), poll.clone(), poll.clone(), poll]), 200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_fleet_shows_what_the_model_says_after_every_pass(passes in passes()) {
        let mut case = Case::with(&[], &[]);
        let mut model = Model::default();
        for (pass, (list, polls)) in (1..).zip(passes) {
            case.after(PASS);
            let items = |of: [bool; 4]| (0..4).filter(|n| of[*n]).map(|n| group(NAMES[n])).collect();
            let listing = match list {
                List::Whole(of) => Ok(whole(items(of))),
                List::Partial(of) => Ok(Listing { items: items(of), complete: false }),
                List::Empty => Ok(whole(vec![])),
                List::Failed => Err(error(Action::GetConsumerList, Kind::Server)),
            };
            case.apply(&Unit::Groups(id("i")), listing.map(|l| Answer::Groups(clean(l))));
            model.list(&list);
            for (name, poll) in NAMES.into_iter().zip(polls) {
                let answer = match poll {
                    Poll::Lag(lag) => Ok(progress(lag)),
                    Poll::Empty => Ok(GroupProgress::default()),
                    Poll::Failed => Err(error(Action::GetConsumerProgress, Kind::Timeout)),
                    Poll::Gone => Err(error(Action::GetConsumerProgress, Kind::Gone { instance: false })),
                };
                let unit = Unit::GroupProgress(id("i"), group(name));
                case.apply(&unit, answer.map(|p| Answer::GroupProgress(clean(p))));
                model.poll(name, poll, pass);
            }
            prop_assert_eq!(case.shown(), model.shown(pass), "after pass {}: {:?}", pass, list);
        }
    }
}
