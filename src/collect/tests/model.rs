//! Random sequences of responses and failures, applied to the region state and to an independent reference model: both
//! show the same objects with the same values after every pass.

use proptest::{collection::vec, prelude::*};

use super::{state::observed, *};
use crate::collect::state::{Now, PollOutcome, PollResponse, RegionState};

const INSTANCES: [&str; 2] = ["i", "j"];
const TOPICS: [&str; 2] = ["a", "b"];
const GROUPS: [&str; 2] = ["c", "d"];
/// Duration of a pass in seconds: values expire after three passes, list items after fifteen.
const PASS: u64 = 60;
/// End offset of every consumed topic.
const END: i64 = 1_000_000;

// The model: at most 60 lines of code.
/// The rules of absence. Paths are `i`, `i/t/a` and `i/g/c`; lists are ``, `i/t` and `i/g`.
#[derive(Default)]
struct ReferenceModel {
    known: BTreeMap<String, KnownObject>,
    failing: BTreeSet<String>,
    doubted: BTreeSet<String>,
    rewinds: usize,
}

/// List item and offset of an object, each with its pass. The offset is `None` if the response was empty.
#[derive(Default)]
struct KnownObject {
    listed: Option<(String, u64)>,
    polled: Option<(Option<i64>, u64)>,
}

impl ReferenceModel {
    fn list(&mut self, at: &str, response: Option<(BTreeMap<String, String>, bool)>, pass: u64) {
        let true = (at.is_empty() || self.known.contains_key(&at[..1])) else { return };
        self.failing.insert(at.to_owned());
        let Some((items, complete)) = response else { return };
        self.failing.retain(|path| !complete || path != at);
        let below: Vec<String> = self.known.keys().filter(|path| list_of(path) == at).cloned().collect();
        if items.is_empty() && complete && !below.is_empty() && self.doubted.insert(at.to_owned()) {
            return;
        }
        self.doubted.remove(at);
        below.iter().filter(|path| complete && !items.contains_key(*path)).for_each(|path| self.remove(path));
        for (path, item) in items {
            self.known.entry(path).or_default().listed = Some((item, pass));
        }
    }

    fn poll(&mut self, at: &str, response: ModelResponse, pass: u64) {
        let Some(known) = self.known.get_mut(at) else { return };
        let before = known.polled.and_then(|(offset, _)| offset);
        self.failing.remove(at);
        match response {
            ModelResponse::Empty if before.is_some() && self.doubted.insert(at.to_owned()) => return,
            ModelResponse::Empty => known.polled = Some((None, pass)),
            ModelResponse::Offset(offset) => {
                self.rewinds += usize::from(before.is_some_and(|before| offset < before));
                known.polled = Some((Some(offset), pass));
            }
            ModelResponse::Failure => return self.failing.extend([at.to_owned()]),
            ModelResponse::Gone => return self.remove(at),
        }
        self.doubted.remove(at);
    }

    fn remove(&mut self, at: &str) {
        let is_kept = |path: &str| path != at && !path.starts_with(&format!("{at}/"));
        self.known.retain(|path, _| is_kept(path));
        self.failing.retain(|path| is_kept(path));
        self.doubted.retain(|path| is_kept(path));
    }

    fn expire(&mut self, pass: u64) {
        for known in self.known.values_mut() {
            known.listed.take_if(|(_, at)| (pass - *at) * PASS > 900);
            known.polled.take_if(|(_, at)| (pass - *at) * PASS > 180);
        }
    }

    fn is_up(&self, instance: &str) -> bool {
        !self.failing.iter().any(|path| path.starts_with(&format!("{instance}/")))
    }
}
// The end of the model.

/// Returns the list that contains an object.
fn list_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(list, _)| list)
}

/// Response to the poll of an object.
#[derive(Debug, Clone, Copy)]
enum ModelResponse {
    Offset(i64),
    Empty,
    Failure,
    Gone,
}

impl ReferenceModel {
    /// Returns the expected lines, in the format of [`shown`].
    fn shown(&self) -> BTreeSet<String> {
        let mut shown: BTreeSet<String> = self
            .known
            .iter()
            .map(|(path, known)| {
                let listed = known.listed.as_ref().map(|(item, _)| item.as_str());
                let offset = known.polled.map(|(offset, _)| offset);
                let up = INSTANCES.contains(&path.as_str()).then(|| self.is_up(path));
                line(path, listed, offset, up)
            })
            .collect();
        let mut instances = INSTANCES.iter().filter(|i| self.known.contains_key(**i)).peekable();
        let all_down = instances.peek().is_some() && instances.all(|i| !self.is_up(i));
        shown.insert(format!("region up {}", !self.failing.contains("") && !all_down));
        shown
    }
}

fn line(path: &str, listed: Option<&str>, offset: Option<Option<i64>>, up: Option<bool>) -> String {
    format!("{path} listed {listed:?} offset {offset:?} up {up:?}")
}

/// Returns one line per object of a view.
fn shown(view: &RegionView) -> BTreeSet<String> {
    let listed = || Some("listed");
    let mut shown = BTreeSet::from([format!("region up {}", view.up.unwrap())]);
    for instance in &view.instances {
        let id = &instance.id;
        let name = instance.info.as_ref().map(|info| info.name.as_deref().unwrap());
        assert!(instance.up.is_some(), "each was polled");
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

/// Response to a list in a pass.
#[derive(Debug, Clone, Copy)]
enum ListEvent {
    Complete([bool; 2]),
    Partial([bool; 2]),
    Empty,
    Fail(ErrorKind),
}

impl ListEvent {
    /// Returns the items and whether the list is complete, or the error.
    fn items(self, names: [&str; 2]) -> Result<(Vec<&str>, bool), ErrorKind> {
        let named =
            |of: [bool; 2]| names.into_iter().zip(of).filter(|(_, is)| *is).map(|(name, _)| name).collect();
        match self {
            Self::Complete(of) => Ok((named(of), true)),
            Self::Partial(of) => Ok((named(of), false)),
            Self::Empty => Ok((vec![], true)),
            Self::Fail(kind) => Err(kind),
        }
    }
}

/// Response to the poll of an object in a pass.
#[derive(Debug, Clone, Copy)]
enum PollEvent {
    Ok(i64),
    Reset(i64),
    Empty,
    Fail(ErrorKind),
    Gone,
}

/// Responses about one instance in a pass.
#[derive(Debug, Clone)]
struct InstanceEvents {
    is_renamed: bool,
    topics: ListEvent,
    groups: ListEvent,
    polls: [PollEvent; 4],
}

/// Responses of one pass.
#[derive(Debug, Clone)]
struct PassEvents {
    /// Action that RAM denies.
    denied: Option<Action>,
    instances: ListEvent,
    of_instances: [InstanceEvents; 2],
}

/// The region state, the model, and the responses that both get.
struct ModelTest {
    state: RegionState,
    now: Now,
    model: ReferenceModel,
    pass: u64,
    denied: Option<Action>,
    names: [u32; 2],
    offsets: BTreeMap<String, i64>,
    rewinds: usize,
}

impl ModelTest {
    fn new() -> Self {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let sequence = Arc::new(DiscoverySequence::default());
        Self {
            state: RegionState::new(None, region, Filters::default(), timing(), sequence),
            now: Now { mono: Instant::now(), wall: wall(1_000_000) },
            model: ReferenceModel::default(),
            pass: 0,
            denied: None,
            names: [0; 2],
            offsets: BTreeMap::new(),
            rewinds: 0,
        }
    }

    fn apply(&mut self, target: &PollTarget, outcome: PollOutcome) {
        let effects = self.state.apply(target, outcome, self.now);
        self.rewinds += effects.anomalies.iter().filter(|a| a.kind == AnomalyKind::Rewind).count();
    }

    /// Returns the error that a call gets, if any.
    fn error(&self, target: &PollTarget, fails: Option<ErrorKind>) -> Option<ApiError> {
        let denied = (self.denied == Some(target.action())).then_some(ErrorKind::Auth { key: false });
        denied.or(fails).map(|kind| error(target.action(), kind))
    }

    fn list(
        &mut self,
        at: &str,
        target: &PollTarget,
        list: ListEvent,
        names: [&str; 2],
        listed: [String; 2],
    ) {
        let items = list.items(names);
        if let Some(error) = self.error(target, items.clone().err()) {
            self.model.list(at, None, self.pass);
            return self.apply(target, Err(error));
        }
        let (items, complete) = items.unwrap();
        let listed = BTreeMap::from_iter(names.into_iter().zip(listed));
        let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        let listed_items = items.iter().map(|name| (path(name), listed[name].clone())).collect();
        self.model.list(at, Some((listed_items, complete)), self.pass);
        let response = match target {
            PollTarget::Instances => {
                let named = |name: &&str| Instance {
                    name: Some(listed[name].clone()),
                    ..instance(name, InstanceState::Running)
                };
                PollResponse::Instances(observed(Listing {
                    items: items.iter().map(named).collect(),
                    complete,
                }))
            }
            PollTarget::Topics(_) => PollResponse::Topics(observed(Listing {
                items: items.iter().map(|n| topic(n)).collect(),
                complete,
            })),
            _ => PollResponse::Groups(observed(Listing {
                items: items.iter().map(|n| group(n)).collect(),
                complete,
            })),
        };
        self.apply(target, Ok(response));
    }

    fn poll(&mut self, at: &str, target: &PollTarget, poll: PollEvent) {
        let offset = self.offsets.entry(at.to_owned()).or_insert(500);
        let expected = match poll {
            PollEvent::Ok(more) => {
                *offset += more;
                ModelResponse::Offset(*offset)
            }
            PollEvent::Reset(to) => {
                *offset = to;
                ModelResponse::Offset(*offset)
            }
            PollEvent::Empty => ModelResponse::Empty,
            PollEvent::Fail(_) => ModelResponse::Failure,
            PollEvent::Gone => ModelResponse::Gone,
        };
        let offset = *offset;
        let fails = match poll {
            PollEvent::Fail(kind) => Some(kind),
            PollEvent::Gone => Some(ErrorKind::Gone { instance: false }),
            _ => None,
        };
        if let Some(error) = self.error(target, fails) {
            let is_gone = error.kind == ErrorKind::Gone { instance: false };
            self.model.poll(at, if is_gone { expected } else { ModelResponse::Failure }, self.pass);
            return self.apply(target, Err(error));
        }
        self.model.poll(at, expected, self.pass);
        let is_empty = matches!(poll, PollEvent::Empty);
        let response = match target {
            PollTarget::TopicStatus(..) if is_empty => {
                PollResponse::TopicStatus(observed(TopicStatus::default()), origin())
            }
            PollTarget::TopicStatus(..) => PollResponse::TopicStatus(observed(status(offset)), origin()),
            _ if is_empty => PollResponse::GroupProgress(observed(GroupProgress::default()), origin()),
            _ => {
                let mut consumed = progress(END);
                consumed.topics[0].partitions[0].committed = Offset::new(offset);
                PollResponse::GroupProgress(observed(consumed), origin())
            }
        };
        self.apply(target, Ok(response));
    }

    /// Polls each target once.
    fn pass(&mut self, pass: &PassEvents) {
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
        self.model.expire(self.pass);
    }
}

fn passes() -> impl Strategy<Value = Vec<PassEvents>> {
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
        5 => Just(ListEvent::Complete([true; 2])),
        4 => some.prop_map(ListEvent::Complete),
        1 => some.prop_map(ListEvent::Partial),
        2 => Just(ListEvent::Empty),
        4 => kind.clone().prop_map(ListEvent::Fail),
    ];
    let poll = prop_oneof![
        4 => (0i64..100).prop_map(PollEvent::Ok),
        1 => (0i64..500).prop_map(PollEvent::Reset),
        2 => Just(PollEvent::Empty),
        5 => kind.prop_map(PollEvent::Fail),
        1 => Just(PollEvent::Gone),
    ];
    let polls = [poll.clone(), poll.clone(), poll.clone(), poll];
    let of_instance = (prop::bool::weighted(0.1), list.clone(), list.clone(), polls)
        .prop_map(|(is_renamed, topics, groups, polls)| InstanceEvents { is_renamed, topics, groups, polls });
    // Some passes repeat, so that values expire.
    let denied = prop::option::weighted(0.2, prop::sample::select(Action::ALL.to_vec()));
    let pass = (denied, list, [of_instance.clone(), of_instance])
        .prop_map(|(denied, instances, of_instances)| PassEvents { denied, instances, of_instances });
    let repeated = (pass, prop_oneof![3 => Just(1usize), 1 => 2..20usize]);
    vec(repeated, 200).prop_map(|repeated| {
        let passes = repeated.into_iter().flat_map(|(pass, times)| std::iter::repeat_n(pass, times));
        passes.take(200).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_state_equals_the_reference_model_after_every_pass(passes in passes()) {
        let mut case = ModelTest::new();
        for pass in passes {
            case.pass(&pass);
            let view = case.state.view(case.now);
            prop_assert_eq!(shown(&view), case.model.shown(), "after pass {}: {:?}", case.pass, pass);
            prop_assert_eq!(case.rewinds, case.model.rewinds, "after pass {}: {:?}", case.pass, pass);
        }
    }
}

#[test]
fn the_reference_model_is_short() {
    let source = include_str!("model.rs");
    let (_, rest) = source.split_once("\n// The model: at most 60 lines of code.\n").unwrap();
    let (model, _) = rest.split_once("\n// The end of the model.\n").unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = model.lines().filter(is_code).count();
    assert!(lines <= 60, "{lines} lines");
}
