//! The fleet's rules of absence, one answer at a time.

use super::*;
use crate::collect::{
    explain_router::{ExplainReply, ExplainRequest},
    state::{Effects, Now, PollOutcome, PollResponse, RegionEvent, RegionState},
};

/// A fleet and its clock.
pub(super) struct Case {
    fleet: RegionState,
    now: Now,
}

impl Case {
    fn new() -> Self {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let fleet = RegionState::new(
            None,
            region,
            Filters::default(),
            timing(),
            Arc::new(DiscoverySequence::default()),
        );
        Self { fleet, now: Now { mono: Instant::now(), wall: wall(1_000_000) } }
    }

    /// One instance `i`, topics and groups as named, nothing polled.
    pub(super) fn with(topics: &[&str], groups: &[&str]) -> Self {
        Self::over(Self::new().fleet, topics, groups)
    }

    /// The same in another fleet.
    pub(super) fn over(fleet: RegionState, topics: &[&str], groups: &[&str]) -> Self {
        let mut case = Self { fleet, ..Self::new() };
        case.answer(&PollTarget::Instances, instances(&[instance("i", InstanceState::Running)]));
        case.topics(topics);
        case.groups(groups);
        case
    }

    pub(super) fn after(&mut self, seconds: u64) {
        self.now.mono += Duration::from_secs(seconds);
        self.now.wall = wall(self.now.wall.get() + i64::try_from(seconds).unwrap() * 1000);
    }

    pub(super) fn answer(&mut self, target: &PollTarget, answer: PollResponse) -> Effects {
        self.apply(target, Ok(answer))
    }

    pub(super) fn apply(&mut self, target: &PollTarget, outcome: PollOutcome) -> Effects {
        self.fleet.apply(target, outcome, self.now)
    }

    fn topics(&mut self, names: &[&str]) -> Effects {
        let items = names.iter().map(|n| topic(n)).collect();
        self.answer(&PollTarget::Topics(id("i")), PollResponse::Topics(clean(whole(items))))
    }

    fn groups(&mut self, names: &[&str]) -> Effects {
        let items = names.iter().map(|n| group(n)).collect();
        self.answer(&PollTarget::Groups(id("i")), PollResponse::Groups(clean(whole(items))))
    }

    fn progress(&mut self, name: &str, progress: GroupProgress) -> Effects {
        self.answer(
            &PollTarget::GroupProgress(id("i"), group(name)),
            PollResponse::GroupProgress(clean(progress), origin()),
        )
    }

    pub(super) fn wall(&self) -> UnixMillis {
        self.now.wall
    }

    pub(super) fn times(&self, target: &PollTarget) -> MessageTimestamps {
        self.fleet.message_timestamps(target)
    }

    pub(super) fn explain(&self, request: &ExplainRequest) -> ExplainReply {
        self.fleet.explain(request, self.now)
    }

    pub(super) fn view(&mut self) -> RegionView {
        self.fleet.view(self.now)
    }

    pub(super) fn now(&self) -> Instant {
        self.now.mono
    }

    /// The lag of a group of instance `i` that is shown.
    pub(super) fn lag(&mut self, name: &str) -> Option<u64> {
        let view = self.view();
        view.instances[0].groups.iter().find(|g| g.id.as_str() == name)?.lag.as_ref()?.messages
    }

    /// What is shown: instances, topics, groups with their lag.
    pub(super) fn shown(&mut self) -> String {
        let view = self.fleet.view(self.now);
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

pub(super) fn clean<T>(value: T) -> Observed<T> {
    Observed { value, anomalies: Vec::new() }
}

fn instances(of: &[Instance]) -> PollResponse {
    PollResponse::Instances(clean(whole(of.to_vec())))
}

fn kinds(effects: &Effects) -> Vec<AnomalyKind> {
    effects.anomalies.iter().map(|a| a.kind).collect()
}

#[test]
fn a_whole_list_deletes_what_it_lacks_and_one_that_is_not_whole_does_not() {
    let mut case = Case::with(&["a", "b"], &["g", "h"]);
    assert_eq!(case.shown(), "i[a,b|g,h]");
    let partial = Listing { items: vec![topic("c")], complete: false };
    let effects = case.answer(&PollTarget::Topics(id("i")), PollResponse::Topics(clean(partial)));
    assert_eq!(effects.added, [PollTarget::TopicStatus(id("i"), TopicName::new("c").unwrap())]);
    assert!(effects.removed.is_empty());
    assert_eq!(case.shown(), "i[a,b,c|g,h]");
    let effects = case.topics(&["b"]);
    assert_eq!(effects.removed.len(), 2);
    let effects = case.groups(&["h", "k"]);
    assert_eq!(effects.removed, [PollTarget::GroupProgress(id("i"), group("g"))]);
    assert_eq!(case.shown(), "i[b|h,k]");
}

#[test]
fn an_empty_list_after_a_full_one_is_believed_the_second_time() {
    let mut case = Case::with(&["a"], &["g"]);
    assert_eq!(kinds(&case.topics(&[])), [AnomalyKind::EmptyList]);
    assert_eq!(kinds(&case.groups(&[])), [AnomalyKind::EmptyList]);
    assert_eq!(case.shown(), "i[a|g]");
    assert!(case.topics(&[]).anomalies.is_empty());
    assert_eq!(case.shown(), "i[|g]");
    case.groups(&["g"]);
    assert_eq!(
        kinds(&case.groups(&[])),
        [AnomalyKind::EmptyList],
        "a full list in between takes the doubt away"
    );
    assert_eq!(kinds(&case.answer(&PollTarget::Instances, instances(&[]))), [AnomalyKind::EmptyList]);
    assert_eq!(case.shown(), "i[|g]");
    let effects = case.answer(&PollTarget::Instances, instances(&[]));
    assert_eq!(effects.events, [RegionEvent::InstanceGone(id("i"))]);
    assert_eq!(case.shown(), "");
}

#[test]
fn an_empty_progress_after_a_full_one_is_believed_the_second_time() {
    let mut case = Case::with(&[], &["g"]);
    case.progress("g", progress(5));
    assert_eq!(kinds(&case.progress("g", GroupProgress::default())), [AnomalyKind::EmptyList]);
    assert_eq!(case.shown(), "i[|g=5]");
    case.progress("g", GroupProgress::default());
    assert_eq!(case.shown(), "i[|g=0]", "a group without topics has nothing left to read");
}

#[test]
fn a_doubted_value_grows_old_like_any_other() {
    let mut case = Case::with(&[], &["g"]);
    case.progress("g", progress(5));
    case.after(170);
    case.progress("g", GroupProgress::default());
    case.after(11);
    assert_eq!(case.shown(), "i[|g]");
}

#[test]
fn details_of_a_region_that_cannot_be_discovered_grow_old_on_their_own_clock() {
    let mut case = Case::with(&["a"], &["g"]);
    case.progress("g", progress(5));
    for _ in 0..15 {
        case.after(60);
        case.apply(&PollTarget::Instances, Err(error(Action::GetInstanceList, ErrorKind::Connect)));
        case.progress("g", progress(6));
    }
    let view = case.fleet.view(case.now);
    assert_eq!(view.up, Some(false));
    assert_eq!(view.last_success.discovery, Some(wall(1_000_000)), "the time stays");
    assert_eq!(case.shown(), "i[a|g=6]", "900 s: three discoveries missed, not more");
    case.after(1);
    let view = case.fleet.view(case.now);
    let instance = view.instances.first().unwrap();
    assert!(instance.info.is_none(), "the instance is known, what the list said of it is too old");
    assert!(!instance.groups.first().unwrap().listed);
    assert!(instance.groups.first().unwrap().lag.is_some());
}

#[test]
fn an_answer_for_what_is_known_no_more_changes_nothing() {
    let mut case = Case::with(&[], &["g"]);
    case.groups(&["h"]);
    case.progress("g", progress(5));
    case.apply(
        &PollTarget::GroupProgress(id("i"), group("g")),
        Err(error(Action::GetConsumerProgress, ErrorKind::Server)),
    );
    assert_eq!(case.shown(), "i[|h]");
    case.answer(&PollTarget::Instances, instances(&[instance("j", InstanceState::Running)]));
    case.groups(&["g"]);
    assert_eq!(case.shown(), "j[|]");
}

#[test]
fn a_rename_and_a_change_of_state_are_told_once() {
    let mut case = Case::with(&[], &["g"]);
    let mut renamed = instance("i", InstanceState::Upgrading);
    renamed.name = Some("新名字".to_owned());
    let effects = case.answer(&PollTarget::Instances, instances(&[renamed.clone()]));
    let state = RegionEvent::InstanceStateChanged(id("i"), Some(InstanceState::Upgrading));
    assert_eq!(effects.events, [RegionEvent::InstanceRenamed(id("i")), state]);
    assert!(effects.removed.is_empty(), "an instance that is being upgraded is in service");
    assert!(case.answer(&PollTarget::Instances, instances(&[renamed])).events.is_empty());
}

#[test]
fn offsets_that_go_backwards_are_taken_at_once_and_counted() {
    let mut case = Case::with(&["t"], &["g"]);
    let at = |committed| {
        let mut progress = progress(100);
        progress.topics[0].partitions[0].committed = Offset::new(committed);
        progress
    };
    case.progress("g", at(90));
    assert_eq!(kinds(&case.progress("g", at(40))), [AnomalyKind::Rewind]);
    assert_eq!(case.shown(), "i[t|g=60]");
    let target = PollTarget::TopicStatus(id("i"), TopicName::new("t").unwrap());
    assert!(
        case.answer(&target, PollResponse::TopicStatus(clean(status(100)), origin())).anomalies.is_empty()
    );
    assert_eq!(
        kinds(&case.answer(&target, PollResponse::TopicStatus(clean(status(3)), origin()))),
        [AnomalyKind::Rewind]
    );
}

#[test]
fn parts_that_did_not_change_are_shared_between_generations() {
    let mut case = Case::with(&["t"], &["g", "h"]);
    case.answer(
        &PollTarget::Instances,
        instances(&[instance("i", InstanceState::Running), instance("j", InstanceState::Running)]),
    );
    let before = case.fleet.view(case.now);
    case.progress("g", progress(5));
    let after = case.fleet.view(case.now);
    let same = |n: usize| Arc::ptr_eq(&before.instances[n], &after.instances[n]);
    assert!(!same(0) && same(1), "only the instance that changed is built anew");
    let group = |view: &RegionView, n: usize| Arc::clone(&view.instances[0].groups[n]);
    assert!(!Arc::ptr_eq(&group(&before, 0), &group(&after, 0)));
    assert!(Arc::ptr_eq(&group(&before, 1), &group(&after, 1)));
}

#[test]
fn a_state_that_was_not_told_is_no_reason_to_go_blind_but_an_unknown_one_is() {
    let mut case = Case::new();
    let mut silent = instance("silent", InstanceState::Running);
    silent.state = None;
    let effects =
        case.answer(&PollTarget::Instances, instances(&[silent, instance("odd", InstanceState::Unknown)]));
    assert_eq!(effects.added, [PollTarget::Topics(id("silent")), PollTarget::Groups(id("silent"))]);
}

#[test]
fn an_instance_that_is_found_later_is_up_once_it_has_been_polled() {
    let mut case = Case::with(&[], &[]);
    let up = |case: &mut Case| case.fleet.view(case.now).instances.iter().map(|i| i.up).collect::<Vec<_>>();
    assert_eq!(up(&mut case), [Some(true)]);
    let both = [instance("i", InstanceState::Running), instance("j", InstanceState::Running)];
    case.answer(&PollTarget::Instances, instances(&both));
    assert_eq!(up(&mut case), [Some(true), None], "nothing is known of it yet");
    case.answer(&PollTarget::Topics(id("j")), PollResponse::Topics(clean(whole(vec![]))));
    case.answer(&PollTarget::Groups(id("j")), PollResponse::Groups(clean(whole(vec![]))));
    assert_eq!(up(&mut case), [Some(true), Some(true)]);
}

#[test]
fn what_a_pass_takes_is_known_only_once_one_has_listed_and_asked() {
    let mut case = Case::new();
    let ended = |case: &mut Case| (case.fleet.first_pass_ended(), case.fleet.is_explored());
    case.apply(&PollTarget::Instances, Err(error(Action::GetInstanceList, ErrorKind::Auth { key: true })));
    assert_eq!(ended(&mut case), (true, false), "a first pass that failed has ended, and has found nothing");
    case.answer(&PollTarget::Instances, instances(&[instance("i", InstanceState::Running)]));
    case.topics(&[]);
    case.groups(&["g"]);
    assert_eq!(ended(&mut case), (true, false));
    case.progress("g", progress(5));
    assert_eq!(ended(&mut case), (true, true));
    assert_eq!(case.fleet.planned_calls(), (0, 1));
}

#[test]
fn a_word_about_the_whole_instance_costs_one_group_until_the_list_has_been_heard() {
    let mut case = Case::with(&[], &["g", "h"]);
    case.progress("g", progress(5));
    case.progress("h", progress(5));
    let refusal = error(Action::GetConsumerProgress, ErrorKind::Gone { instance: true });
    let refuse =
        |case: &mut Case| case.apply(&PollTarget::GroupProgress(id("i"), group("h")), Err(refusal.clone()));
    let effects = refuse(&mut case);
    assert!(effects.rediscover && effects.removed.is_empty());
    case.answer(&PollTarget::Instances, instances(&[instance("i", InstanceState::Running)]));
    assert_eq!(case.fleet.view(case.now).instances[0].up, Some(false));
    for lag in 6..10 {
        case.after(60);
        case.progress("g", progress(lag));
        refuse(&mut case);
    }
    assert_eq!(case.shown(), "i[|g=9,h]", "the one grew old, the other is as it was told");
    case.answer(&PollTarget::Instances, instances(&[instance("j", InstanceState::Running)]));
    assert_eq!(case.shown(), "j[|]", "the list decides");
}
