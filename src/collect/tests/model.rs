//! Random schedules of what can befall lists and objects (ok, fail, gone, empty, deny, rename, reset), against
//! a model that knows nothing of the fleet: the same series with the same values after every pass.

use proptest::{collection::vec, prelude::*};

use super::{state::clean, *};
use crate::collect::state::{Now, PollOutcome, PollResponse, RegionState};

const INSTANCES: [&str; 2] = ["i", "j"];
const TOPICS: [&str; 2] = ["a", "b"];
const GROUPS: [&str; 2] = ["c", "d"];
/// One pass, in seconds: a value outlives three of them, what a list said fifteen.
const PASS: u64 = 60;
/// The end of every topic that a group reads.
const END: i64 = 1_000_000;

// The model: at most 60 lines of code.
/// The rules of absence once more. Paths are `i`, `i/t/a` and `i/g/c`; lists are ``, `i/t` and `i/g`.
#[derive(Default)]
struct Model {
    known: BTreeMap<String, Known>,
    failing: BTreeSet<String>,
    doubted: BTreeSet<String>,
    rewinds: usize,
}

/// What is known of an object, and of which pass: what its list said, and its offset, `None` if it has none.
#[derive(Default)]
struct Known {
    listed: Option<(String, u64)>,
    told: Option<(Option<i64>, u64)>,
}

impl Model {
    fn list(&mut self, at: &str, told: Option<(BTreeMap<String, String>, bool)>, pass: u64) {
        let true = (at.is_empty() || self.known.contains_key(&at[..1])) else { return };
        self.failing.insert(at.to_owned());
        let Some((items, whole)) = told else { return };
        self.failing.retain(|path| !whole || path != at);
        let below: Vec<String> = self.known.keys().filter(|path| list_of(path) == at).cloned().collect();
        if items.is_empty() && whole && !below.is_empty() && self.doubted.insert(at.to_owned()) {
            return;
        }
        self.doubted.remove(at);
        below.iter().filter(|path| whole && !items.contains_key(*path)).for_each(|path| self.remove(path));
        for (path, said) in items {
            self.known.entry(path).or_default().listed = Some((said, pass));
        }
    }

    fn poll(&mut self, at: &str, told: Told, pass: u64) {
        let Some(known) = self.known.get_mut(at) else { return };
        let before = known.told.and_then(|(offset, _)| offset);
        self.failing.remove(at);
        match told {
            Told::Empty if before.is_some() && self.doubted.insert(at.to_owned()) => return,
            Told::Empty => known.told = Some((None, pass)),
            Told::Offset(offset) => {
                self.rewinds += usize::from(before.is_some_and(|before| offset < before));
                known.told = Some((Some(offset), pass));
            }
            Told::Nothing => return self.failing.extend([at.to_owned()]),
            Told::Gone => return self.remove(at),
        }
        self.doubted.remove(at);
    }

    fn remove(&mut self, at: &str) {
        let stays = |path: &str| path != at && !path.starts_with(&format!("{at}/"));
        self.known.retain(|path, _| stays(path));
        self.failing.retain(|path| stays(path));
        self.doubted.retain(|path| stays(path));
    }

    fn grow_old(&mut self, pass: u64) {
        for known in self.known.values_mut() {
            known.listed.take_if(|(_, at)| (pass - *at) * PASS > 900);
            known.told.take_if(|(_, at)| (pass - *at) * PASS > 180);
        }
    }

    fn is_up(&self, instance: &str) -> bool {
        !self.failing.iter().any(|path| path.starts_with(&format!("{instance}/")))
    }
}
// The end of the model.

/// The list that names an object.
fn list_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(list, _)| list)
}

/// What an object's poll tells.
#[derive(Debug, Clone, Copy)]
enum Told {
    Offset(i64),
    Empty,
    Nothing,
    Gone,
}

impl Model {
    /// What is to be shown, in the words of [`shown`].
    fn shown(&self) -> BTreeSet<String> {
        let mut shown: BTreeSet<String> = self
            .known
            .iter()
            .map(|(path, known)| {
                let said = known.listed.as_ref().map(|(said, _)| said.as_str());
                let offset = known.told.map(|(offset, _)| offset);
                let up = INSTANCES.contains(&path.as_str()).then(|| self.is_up(path));
                line(path, said, offset, up)
            })
            .collect();
        let mut instances = INSTANCES.iter().filter(|i| self.known.contains_key(**i)).peekable();
        let all_down = instances.peek().is_some() && instances.all(|i| !self.is_up(i));
        shown.insert(format!("region up {}", !self.failing.contains("") && !all_down));
        shown
    }
}

fn line(path: &str, said: Option<&str>, offset: Option<Option<i64>>, up: Option<bool>) -> String {
    format!("{path} listed {said:?} offset {offset:?} up {up:?}")
}

/// What the fleet shows.
fn shown(view: &RegionView) -> BTreeSet<String> {
    let listed = || Some("listed");
    let mut shown = BTreeSet::from([format!("region up {}", view.up.unwrap())]);
    for instance in &view.instances {
        let id = &instance.id;
        let name = instance.info.as_ref().map(|info| info.name.as_deref().unwrap());
        assert!(instance.up.is_some(), "each was asked");
        shown.insert(line(id.as_str(), name, None, instance.up));
        for topic in &instance.topics {
            let end = topic.status.as_ref().map(|s| s.partitions.first().map(|p| p.end.unwrap().get()));
            let path = format!("{id}/t/{}", topic.name);
            shown.insert(line(&path, topic.info.as_ref().and_then(|_| listed()), end, None));
        }
        for group in &instance.groups {
            let lag = |lag: &crate::lag::GroupLag| i64::try_from(lag.messages.unwrap()).unwrap();
            let committed = group.lag.as_ref().map(|l| (!l.topics.is_empty()).then(|| END - lag(l)));
            let path = format!("{id}/g/{}", group.id);
            shown.insert(line(&path, group.listed.then(listed).flatten(), committed, None));
        }
    }
    shown
}

/// What befalls a list in a pass.
#[derive(Debug, Clone, Copy)]
enum List {
    Whole([bool; 2]),
    Partial([bool; 2]),
    Empty,
    Fail(ErrorKind),
}

impl List {
    /// The items that come, and whether that is all; or why nothing comes.
    fn items(self, names: [&str; 2]) -> Result<(Vec<&str>, bool), ErrorKind> {
        let named =
            |of: [bool; 2]| names.into_iter().zip(of).filter(|(_, is)| *is).map(|(name, _)| name).collect();
        match self {
            Self::Whole(of) => Ok((named(of), true)),
            Self::Partial(of) => Ok((named(of), false)),
            Self::Empty => Ok((vec![], true)),
            Self::Fail(kind) => Err(kind),
        }
    }
}

/// What befalls an object in a pass.
#[derive(Debug, Clone, Copy)]
enum Poll {
    Ok(i64),
    Reset(i64),
    Empty,
    Fail(ErrorKind),
    Gone,
}

/// What befalls an instance in a pass: its lists, and the objects on them.
#[derive(Debug, Clone)]
struct Below {
    is_renamed: bool,
    topics: List,
    groups: List,
    polls: [Poll; 4],
}

/// What a pass brings.
#[derive(Debug, Clone)]
struct Pass {
    /// An action that RAM denies to all.
    denied: Option<Action>,
    instances: List,
    of_instances: [Below; 2],
}

/// The fleet, the model, and the cloud that both hear of.
struct Case {
    fleet: RegionState,
    now: Now,
    model: Model,
    pass: u64,
    denied: Option<Action>,
    names: [u32; 2],
    offsets: BTreeMap<String, i64>,
    rewinds: usize,
}

impl Case {
    fn new() -> Self {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let sequence = Arc::new(DiscoverySequence::default());
        Self {
            fleet: RegionState::new(None, region, Filters::default(), timing(), sequence),
            now: Now { mono: Instant::now(), wall: wall(1_000_000) },
            model: Model::default(),
            pass: 0,
            denied: None,
            names: [0; 2],
            offsets: BTreeMap::new(),
            rewinds: 0,
        }
    }

    fn apply(&mut self, target: &PollTarget, outcome: PollOutcome) {
        let effects = self.fleet.apply(target, outcome, self.now);
        self.rewinds += effects.anomalies.iter().filter(|a| a.kind == AnomalyKind::Rewind).count();
    }

    /// Why a target is not answered, if it is not.
    fn refusal(&self, target: &PollTarget, fails: Option<ErrorKind>) -> Option<ApiError> {
        let denied = (self.denied == Some(target.action())).then_some(ErrorKind::Auth { key: false });
        denied.or(fails).map(|kind| error(target.action(), kind))
    }

    fn list(&mut self, at: &str, target: &PollTarget, list: List, names: [&str; 2], said: [String; 2]) {
        let items = list.items(names);
        if let Some(refusal) = self.refusal(target, items.clone().err()) {
            self.model.list(at, None, self.pass);
            return self.apply(target, Err(refusal));
        }
        let (items, complete) = items.unwrap();
        let said = BTreeMap::from_iter(names.into_iter().zip(said));
        let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        let told = items.iter().map(|name| (path(name), said[name].clone())).collect();
        self.model.list(at, Some((told, complete)), self.pass);
        let answer = match target {
            PollTarget::Instances => {
                let named = |name: &&str| Instance {
                    name: Some(said[name].clone()),
                    ..instance(name, InstanceState::Running)
                };
                PollResponse::Instances(clean(Listing { items: items.iter().map(named).collect(), complete }))
            }
            PollTarget::Topics(_) => PollResponse::Topics(clean(Listing {
                items: items.iter().map(|n| topic(n)).collect(),
                complete,
            })),
            _ => PollResponse::Groups(clean(Listing {
                items: items.iter().map(|n| group(n)).collect(),
                complete,
            })),
        };
        self.apply(target, Ok(answer));
    }

    fn poll(&mut self, at: &str, target: &PollTarget, poll: Poll) {
        let offset = self.offsets.entry(at.to_owned()).or_insert(500);
        let told = match poll {
            Poll::Ok(more) => {
                *offset += more;
                Told::Offset(*offset)
            }
            Poll::Reset(to) => {
                *offset = to;
                Told::Offset(*offset)
            }
            Poll::Empty => Told::Empty,
            Poll::Fail(_) => Told::Nothing,
            Poll::Gone => Told::Gone,
        };
        let offset = *offset;
        let fails = match poll {
            Poll::Fail(kind) => Some(kind),
            Poll::Gone => Some(ErrorKind::Gone { instance: false }),
            _ => None,
        };
        if let Some(refusal) = self.refusal(target, fails) {
            let is_gone = refusal.kind == ErrorKind::Gone { instance: false };
            self.model.poll(at, if is_gone { told } else { Told::Nothing }, self.pass);
            return self.apply(target, Err(refusal));
        }
        self.model.poll(at, told, self.pass);
        let is_empty = matches!(poll, Poll::Empty);
        let answer = match target {
            PollTarget::TopicStatus(..) if is_empty => {
                PollResponse::TopicStatus(clean(TopicStatus::default()), origin())
            }
            PollTarget::TopicStatus(..) => PollResponse::TopicStatus(clean(status(offset)), origin()),
            _ if is_empty => PollResponse::GroupProgress(clean(GroupProgress::default()), origin()),
            _ => {
                let mut read = progress(END);
                read.topics[0].partitions[0].committed = Offset::new(offset);
                PollResponse::GroupProgress(clean(read), origin())
            }
        };
        self.apply(target, Ok(answer));
    }

    /// Each target is asked once, as in the loop when all are due.
    fn pass(&mut self, pass: &Pass) {
        self.pass += 1;
        self.now.mono += Duration::from_secs(PASS);
        self.denied = pass.denied;
        for (name, of) in self.names.iter_mut().zip(&pass.of_instances) {
            *name += u32::from(of.is_renamed);
        }
        let names = self.names.map(|n| format!("name {n}"));
        self.list("", &PollTarget::Instances, pass.instances, INSTANCES, names);
        let listed = || ["listed".to_owned(), "listed".to_owned()];
        for (i, of) in INSTANCES.into_iter().zip(&pass.of_instances) {
            self.list(&format!("{i}/t"), &PollTarget::Topics(id(i)), of.topics, TOPICS, listed());
            self.list(&format!("{i}/g"), &PollTarget::Groups(id(i)), of.groups, GROUPS, listed());
            for (name, poll) in TOPICS.into_iter().zip(&of.polls[..2]) {
                self.poll(&format!("{i}/t/{name}"), &PollTarget::TopicStatus(id(i), topic(name).name), *poll);
            }
            for (name, poll) in GROUPS.into_iter().zip(&of.polls[2..]) {
                self.poll(&format!("{i}/g/{name}"), &PollTarget::GroupProgress(id(i), group(name)), *poll);
            }
        }
        self.model.grow_old(self.pass);
    }
}

fn passes() -> impl Strategy<Value = Vec<Pass>> {
    let kinds = [
        ErrorKind::Timeout,
        ErrorKind::Server,
        ErrorKind::Connect,
        ErrorKind::Auth { key: true },
        ErrorKind::Gone { instance: true },
    ];
    let kind = prop::sample::select(kinds.to_vec());
    let some = any::<[bool; 2]>();
    let list = prop_oneof![
        5 => Just(List::Whole([true; 2])),
        4 => some.prop_map(List::Whole),
        1 => some.prop_map(List::Partial),
        2 => Just(List::Empty),
        4 => kind.clone().prop_map(List::Fail),
    ];
    let poll = prop_oneof![
        4 => (0i64..100).prop_map(Poll::Ok),
        1 => (0i64..500).prop_map(Poll::Reset),
        2 => Just(Poll::Empty),
        5 => kind.prop_map(Poll::Fail),
        1 => Just(Poll::Gone),
    ];
    let polls = [poll.clone(), poll.clone(), poll.clone(), poll];
    let of_instance = (prop::bool::weighted(0.1), list.clone(), list.clone(), polls)
        .prop_map(|(is_renamed, topics, groups, polls)| Below { is_renamed, topics, groups, polls });
    // A denial or an outage of a list is worth more than a pass, or nothing grows old.
    let denied = prop::option::weighted(0.2, prop::sample::select(Action::ALL.to_vec()));
    let pass = (denied, list, [of_instance.clone(), of_instance])
        .prop_map(|(denied, instances, of_instances)| Pass { denied, instances, of_instances });
    let stretch = (pass, prop_oneof![3 => Just(1usize), 1 => 2..20usize]);
    vec(stretch, 200).prop_map(|stretches| {
        let passes = stretches.into_iter().flat_map(|(pass, times)| std::iter::repeat_n(pass, times));
        passes.take(200).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_fleet_shows_what_the_model_says_after_every_pass(passes in passes()) {
        let mut case = Case::new();
        for pass in passes {
            case.pass(&pass);
            let view = case.fleet.view(case.now);
            prop_assert_eq!(shown(&view), case.model.shown(), "after pass {}: {:?}", case.pass, pass);
            prop_assert_eq!(case.rewinds, case.model.rewinds, "after pass {}: {:?}", case.pass, pass);
        }
    }
}

#[test]
fn the_model_is_small_enough_to_be_read_as_the_rules() {
    let source = include_str!("model.rs");
    let (_, rest) = source.split_once("\n// The model: at most 60 lines of code.\n").unwrap();
    let (model, _) = rest.split_once("\n// The end of the model.\n").unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = model.lines().filter(is_code).count();
    assert!(lines <= 60, "{lines} lines");
}
