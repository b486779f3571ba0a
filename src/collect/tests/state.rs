//! The rules of absence, one response at a time.

use super::*;
use crate::collect::{
    explain_router::{ExplainReply, ExplainRequest},
    state::{Effects, Now, PollOutcome, PollResponse, RegionEvent, RegionState},
};

/// A region state and its clock.
pub(super) struct RegionTest {
    state: RegionState,
    now: Now,
}

impl RegionTest {
    fn new() -> Self {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let state = RegionState::new(
            None,
            region,
            Filters::default(),
            timing(),
            Arc::new(DiscoverySequence::default()),
        );
        Self { state, now: Now { mono: Instant::now(), wall: wall(1_000_000) } }
    }

    /// Returns one instance `i` with these topics and groups, not polled yet.
    pub(super) fn with(topics: &[&str], groups: &[&str]) -> Self {
        Self::in_state(Self::new().state, topics, groups)
    }

    /// Adds them to another state.
    pub(super) fn in_state(state: RegionState, topics: &[&str], groups: &[&str]) -> Self {
        let mut case = Self { state, ..Self::new() };
        case.apply_response(&PollTarget::Instances, instances(&[instance("i", InstanceState::Running)]));
        case.topics(topics);
        case.groups(groups);
        case
    }

    pub(super) fn advance(&mut self, seconds: u64) {
        self.now.mono += Duration::from_secs(seconds);
        self.now.wall = wall(self.now.wall.get() + i64::try_from(seconds).unwrap() * 1000);
    }

    pub(super) fn apply_response(&mut self, target: &PollTarget, response: PollResponse) -> Effects {
        self.apply(target, Ok(response))
    }

    pub(super) fn apply(&mut self, target: &PollTarget, outcome: PollOutcome) -> Effects {
        self.state.apply(target, outcome, self.now)
    }

    fn topics(&mut self, names: &[&str]) -> Effects {
        let items = names.iter().map(|n| topic(n)).collect();
        self.apply_response(&PollTarget::Topics(id("i")), PollResponse::Topics(observed(complete(items))))
    }

    fn groups(&mut self, names: &[&str]) -> Effects {
        let items = names.iter().map(|n| group(n)).collect();
        self.apply_response(&PollTarget::Groups(id("i")), PollResponse::Groups(observed(complete(items))))
    }

    fn progress(&mut self, name: &str, progress: GroupProgress) -> Effects {
        self.apply_response(
            &PollTarget::GroupProgress(id("i"), group(name)),
            PollResponse::GroupProgress(observed(progress), origin()),
        )
    }

    pub(super) fn wall(&self) -> UnixMillis {
        self.now.wall
    }

    pub(super) fn times(&self, target: &PollTarget) -> MessageTimestamps {
        self.state.wanted_timestamps(target)
    }

    pub(super) fn explain(&self, request: &ExplainRequest) -> ExplainReply {
        self.state.explain(request, self.now)
    }

    pub(super) fn view(&mut self) -> RegionView {
        self.state.view(self.now)
    }

    pub(super) fn now(&self) -> Instant {
        self.now.mono
    }

    /// Returns the lag in the view of a group of instance `i`.
    pub(super) fn lag(&mut self, name: &str) -> Option<u64> {
        let view = self.view();
        view.instances[0].groups.iter().find(|g| g.id.as_str() == name)?.lag.as_ref()?.messages
    }

    /// Returns the view as text: instances, topics, groups with their lag.
    pub(super) fn summary(&mut self) -> String {
        let view = self.state.view(self.now);
        let instance = |i: &Arc<InstanceView>| {
            let topics: Vec<_> = i.topics.iter().map(|t| t.name.as_str()).collect();
            let lag = |g: &crate::snapshot::GroupView| g.lag.as_ref().and_then(|l| l.messages);
            let groups: Vec<_> = i
                .groups
                .iter()
                .map(|g| lag(g).map_or(g.id.to_string(), |lag| format!("{}={lag}", g.id)))
                .collect();
            format!("{}[{}|{}]", i.id, topics.join(","), groups.join(","))
        };
        view.instances.iter().map(instance).collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn observed<T>(value: T) -> Observed<T> {
    Observed { value, anomalies: Vec::new() }
}

fn instances(items: &[Instance]) -> PollResponse {
    PollResponse::Instances(observed(complete(items.to_vec())))
}

fn kinds(effects: &Effects) -> Vec<AnomalyKind> {
    effects.anomalies.iter().map(|a| a.kind).collect()
}

#[test]
fn a_complete_list_removes_objects_and_an_incomplete_one_does_not() {
    let mut case = RegionTest::with(&["a", "b"], &["g", "h"]);
    assert_eq!(case.summary(), "i[a,b|g,h]");
    let partial = Listing { items: vec![topic("c")], complete: false };
    let effects = case.apply_response(&PollTarget::Topics(id("i")), PollResponse::Topics(observed(partial)));
    assert_eq!(effects.added, [PollTarget::TopicStatus(id("i"), TopicName::new("c").unwrap())]);
    assert!(effects.removed.is_empty());
    assert_eq!(case.summary(), "i[a,b,c|g,h]");
    let effects = case.topics(&["b"]);
    assert_eq!(effects.removed.len(), 2);
    let effects = case.groups(&["h", "k"]);
    assert_eq!(effects.removed, [PollTarget::GroupProgress(id("i"), group("g"))]);
    assert_eq!(case.summary(), "i[b|h,k]");
}

#[test]
fn an_empty_list_is_accepted_the_second_time() {
    let mut case = RegionTest::with(&["a"], &["g"]);
    assert_eq!(kinds(&case.topics(&[])), [AnomalyKind::EmptyList]);
    assert_eq!(kinds(&case.groups(&[])), [AnomalyKind::EmptyList]);
    assert_eq!(case.summary(), "i[a|g]");
    assert!(case.topics(&[]).anomalies.is_empty());
    assert_eq!(case.summary(), "i[|g]");
    case.groups(&["g"]);
    assert_eq!(kinds(&case.groups(&[])), [AnomalyKind::EmptyList], "a list with items resets the doubt");
    assert_eq!(kinds(&case.apply_response(&PollTarget::Instances, instances(&[]))), [AnomalyKind::EmptyList]);
    assert_eq!(case.summary(), "i[|g]");
    let effects = case.apply_response(&PollTarget::Instances, instances(&[]));
    assert_eq!(effects.events, [RegionEvent::InstanceGone(id("i"))]);
    assert_eq!(case.summary(), "");
}

#[test]
fn an_empty_progress_is_accepted_the_second_time() {
    let mut case = RegionTest::with(&[], &["g"]);
    case.progress("g", progress(5));
    assert_eq!(kinds(&case.progress("g", GroupProgress::default())), [AnomalyKind::EmptyList]);
    assert_eq!(case.summary(), "i[|g=5]");
    case.progress("g", GroupProgress::default());
    assert_eq!(case.summary(), "i[|g=0]", "a group without topics has no lag");
}

#[test]
fn a_doubted_value_expires_as_usual() {
    let mut case = RegionTest::with(&[], &["g"]);
    case.progress("g", progress(5));
    case.advance(170);
    case.progress("g", GroupProgress::default());
    case.advance(11);
    assert_eq!(case.summary(), "i[|g]");
}

#[test]
fn values_stay_fresh_while_discovery_fails() {
    let mut case = RegionTest::with(&["a"], &["g"]);
    case.progress("g", progress(5));
    for _ in 0..15 {
        case.advance(60);
        case.apply(&PollTarget::Instances, Err(error(Action::GetInstanceList, ErrorKind::Connect)));
        case.progress("g", progress(6));
    }
    let view = case.state.view(case.now);
    assert_eq!(view.up, Some(false));
    assert_eq!(view.last_success.discovery, Some(wall(1_000_000)), "the time is kept");
    assert_eq!(case.summary(), "i[a|g=6]", "900 s: three discoveries failed");
    case.advance(1);
    let view = case.state.view(case.now);
    let instance = view.instances.first().unwrap();
    assert!(instance.info.is_none(), "the instance is known, its list item has expired");
    assert!(!instance.groups.first().unwrap().listed);
    assert!(instance.groups.first().unwrap().lag.is_some());
}

#[test]
fn a_response_for_a_removed_object_is_ignored() {
    let mut case = RegionTest::with(&[], &["g"]);
    case.groups(&["h"]);
    case.progress("g", progress(5));
    case.apply(
        &PollTarget::GroupProgress(id("i"), group("g")),
        Err(error(Action::GetConsumerProgress, ErrorKind::Server)),
    );
    assert_eq!(case.summary(), "i[|h]");
    case.apply_response(&PollTarget::Instances, instances(&[instance("j", InstanceState::Running)]));
    case.groups(&["g"]);
    assert_eq!(case.summary(), "j[|]");
}

#[test]
fn a_new_name_and_a_new_state_are_reported_once() {
    let mut case = RegionTest::with(&[], &["g"]);
    let mut renamed = instance("i", InstanceState::Upgrading);
    renamed.name = Some("新名字".to_owned());
    let effects = case.apply_response(&PollTarget::Instances, instances(&[renamed.clone()]));
    let state = RegionEvent::InstanceStateChanged(id("i"), Some(InstanceState::Upgrading));
    assert_eq!(effects.events, [RegionEvent::InstanceRenamed(id("i")), state]);
    assert!(effects.removed.is_empty(), "an instance is in service during an upgrade");
    assert!(case.apply_response(&PollTarget::Instances, instances(&[renamed])).events.is_empty());
}

#[test]
fn offsets_that_go_backwards_are_accepted_and_counted() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    let at = |committed| {
        let mut progress = progress(100);
        progress.topics[0].partitions[0].committed = Offset::new(committed);
        progress
    };
    case.progress("g", at(90));
    assert_eq!(kinds(&case.progress("g", at(40))), [AnomalyKind::Rewind]);
    assert_eq!(case.summary(), "i[t|g=60]");
    let target = PollTarget::TopicStatus(id("i"), TopicName::new("t").unwrap());
    assert!(
        case.apply_response(&target, PollResponse::TopicStatus(observed(status(100)), origin()))
            .anomalies
            .is_empty()
    );
    assert_eq!(
        kinds(&case.apply_response(&target, PollResponse::TopicStatus(observed(status(3)), origin()))),
        [AnomalyKind::Rewind]
    );
}

#[test]
fn unchanged_views_are_shared_between_generations() {
    let mut case = RegionTest::with(&["t"], &["g", "h"]);
    case.apply_response(
        &PollTarget::Instances,
        instances(&[instance("i", InstanceState::Running), instance("j", InstanceState::Running)]),
    );
    let before = case.state.view(case.now);
    case.progress("g", progress(5));
    let after = case.state.view(case.now);
    let same = |n: usize| Arc::ptr_eq(&before.instances[n], &after.instances[n]);
    assert!(!same(0) && same(1), "only the changed instance is rebuilt");
    let group = |view: &RegionView, n: usize| Arc::clone(&view.instances[0].groups[n]);
    assert!(!Arc::ptr_eq(&group(&before, 0), &group(&after, 0)));
    assert!(Arc::ptr_eq(&group(&before, 1), &group(&after, 1)));
}

#[test]
fn an_instance_is_polled_without_a_state_but_not_in_an_unknown_one() {
    let mut case = RegionTest::new();
    let mut silent = instance("silent", InstanceState::Running);
    silent.state = None;
    let effects = case.apply_response(
        &PollTarget::Instances,
        instances(&[silent, instance("unknown", InstanceState::Unknown)]),
    );
    assert_eq!(effects.added, [PollTarget::Topics(id("silent")), PollTarget::Groups(id("silent"))]);
}

#[test]
fn an_instance_discovered_later_is_up_after_its_first_pass() {
    let mut case = RegionTest::with(&[], &[]);
    let up =
        |case: &mut RegionTest| case.state.view(case.now).instances.iter().map(|i| i.up).collect::<Vec<_>>();
    assert_eq!(up(&mut case), [Some(true)]);
    let both = [instance("i", InstanceState::Running), instance("j", InstanceState::Running)];
    case.apply_response(&PollTarget::Instances, instances(&both));
    assert_eq!(up(&mut case), [Some(true), None], "not polled yet");
    case.apply_response(&PollTarget::Topics(id("j")), PollResponse::Topics(observed(complete(vec![]))));
    case.apply_response(&PollTarget::Groups(id("j")), PollResponse::Groups(observed(complete(vec![]))));
    assert_eq!(up(&mut case), [Some(true), Some(true)]);
}

#[test]
fn the_cost_of_a_pass_is_known_after_a_pass_that_listed_objects() {
    let mut case = RegionTest::new();
    let ended = |case: &mut RegionTest| (case.state.update_first_pass(), case.state.is_explored());
    case.apply(&PollTarget::Instances, Err(error(Action::GetInstanceList, ErrorKind::Auth { key: true })));
    assert_eq!(ended(&mut case), (true, false), "a first pass that failed has ended without objects");
    case.apply_response(&PollTarget::Instances, instances(&[instance("i", InstanceState::Running)]));
    case.topics(&[]);
    case.groups(&["g"]);
    assert_eq!(ended(&mut case), (true, false));
    case.progress("g", progress(5));
    assert_eq!(ended(&mut case), (true, true));
    assert_eq!(case.state.planned_calls(), (0, 1));
}

#[test]
fn an_error_about_the_instance_fails_one_group_until_the_next_list() {
    let mut case = RegionTest::with(&[], &["g", "h"]);
    case.progress("g", progress(5));
    case.progress("h", progress(5));
    let not_found = error(Action::GetConsumerProgress, ErrorKind::Gone { instance: true });
    let fail = |case: &mut RegionTest| {
        case.apply(&PollTarget::GroupProgress(id("i"), group("h")), Err(not_found.clone()))
    };
    let effects = fail(&mut case);
    assert!(effects.rediscover && effects.removed.is_empty());
    case.apply_response(&PollTarget::Instances, instances(&[instance("i", InstanceState::Running)]));
    assert_eq!(case.state.view(case.now).instances[0].up, Some(false));
    for lag in 6..10 {
        case.advance(60);
        case.progress("g", progress(lag));
        fail(&mut case);
    }
    assert_eq!(case.summary(), "i[|g=9,h]", "one has expired, the other is fresh");
    case.apply_response(&PollTarget::Instances, instances(&[instance("j", InstanceState::Running)]));
    assert_eq!(case.summary(), "j[|]", "the list decides");
}
