//! Properties of every snapshot: all values are exported, independent of earlier expositions.

use std::collections::BTreeMap;
use std::sync::Arc;

use alikafka_exporter::exposition::Renderer;
use alikafka_exporter::lag::assess::{GroupAssessment, TopicAssessment};
use alikafka_exporter::lag::bounds::TimeBounds;
use alikafka_exporter::lag::status::Status;
use alikafka_exporter::lag::{GroupLag, TopicLag};
use alikafka_exporter::model::{Granularity, GroupState, Naming, RenderOptions, TopicName};
use alikafka_exporter::snapshot::{GroupView, InstanceView, LastSuccess, Rebalances, Snapshot, TopicView};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{fleet, gunzip, limit, text};
use test_support::scrape::{Sample, Scrape};

/// Names with characters that are special in the text format.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        // Few names, so that a topic of a group is often a topic of the instance.
        4 => "[ab]",
        1 => "[ -~]{1,8}",
        1 => "[\"\\\\\n\r\t\0,={}#]{1,6}",
        1 => any::<String>().prop_map(|s| s.chars().take(60).collect::<String>() + "x"),
    ]
}

fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-1), 0..100_i64, (1_i64 << 53) - 2..(1 << 53) + 3, Just(i64::MAX), 0..i64::MAX]
}

fn millis() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 1..5_000_i64, 1_700_000_000_000..1_800_000_000_000_i64, Just(i64::MAX)]
}

fn topic() -> impl Strategy<Value = TopicView> {
    (btree_map(0..6_u32, (offset(), offset(), millis()), 0..5), option::of(0..9_u64), any::<bool>()).prop_map(
        |(partitions, groups, known)| {
            let rows = partitions.into_iter().map(|(p, (s, e, w))| fleet::topic_partition(p, s, e, w));
            let mut view = fleet::topic_view("x", 0, rows.collect());
            view.groups = groups;
            view.status = view.status.filter(|_| known);
            view
        },
    )
}

fn age() -> impl Strategy<Value = TimeBounds> {
    let bound = || option::of(prop_oneof![Just(0), 1..5_000_000_u64, any::<u64>()]);
    (bound(), bound()).prop_map(|(lower, upper)| TimeBounds { lower, upper })
}

fn status() -> impl Strategy<Value = Option<Status>> {
    use Status::{DataLoss, Lagging, Ok, Rewound, Stalled, Stopped};
    option::of(select(vec![Ok, Lagging, Stalled, Stopped, Rewound, DataLoss]))
}

/// Floats as divisions produce them, including infinity and NaN.
fn float() -> impl Strategy<Value = Option<f64>> {
    option::of(prop_oneof![Just(0.0), Just(1.5), Just(f64::NAN), Just(f64::INFINITY), any::<f64>()])
}

/// A topic of a group with its assessment.
fn topic_lag() -> impl Strategy<Value = (TopicLag, TopicAssessment)> {
    let margin = option::of(-1000..1000_i64);
    let row = (offset(), option::of(any::<u64>()), millis(), age(), margin);
    let floats = (float(), float(), float(), float());
    (option::of(any::<u64>()), btree_map(0..6_u32, row, 0..5), age(), status(), floats).prop_map(
        |(messages, rows, age, status, (consumed, produced, catch_up, data_loss_eta))| {
            let partitions = rows
                .values()
                .map(|(_, _, _, age, m)| fleet::partition_assessment(age.lower, age.upper, *m))
                .collect();
            let rows = rows.into_iter().map(|(p, (c, m, t, ..))| fleet::partition_lag(p, c, m, t));
            let lag = fleet::topic_lag("x", messages, rows.collect());
            let consumable = messages.map(|m| m / 2);
            let assessment = TopicAssessment {
                bounds: age,
                status,
                consumable,
                consumed,
                produced,
                catch_up,
                data_loss_eta,
                partitions,
            };
            (lag, assessment)
        },
    )
}

fn group() -> impl Strategy<Value = GroupView> {
    let lag = (option::of(any::<u64>()), btree_map(name(), topic_lag(), 0..3));
    let assessment = (any::<bool>(), age(), status(), float());
    let state = option::of(select(GroupState::ALL.to_vec()));
    (any::<bool>(), option::of(lag), assessment, state, option::of((any::<u64>(), millis()))).prop_map(
        |(listed, lag, (is_assessed, age, status, catch_up), state, rebalances)| {
            let mut view = fleet::group_view("x", 0, None, Vec::new());
            view.listed = listed;
            view.state = state;
            view.rebalances =
                rebalances.and_then(|(seen, last)| Some(Rebalances { seen, last: fleet::at(last)? }));
            view.lag = None;
            if let Some((messages, topics)) = lag {
                let (lags, assessments): (Vec<_>, Vec<_>) = topics
                    .into_iter()
                    .map(|(name, (lag, assessment))| {
                        (TopicLag { topic: name.parse_topic(), ..lag }, assessment)
                    })
                    .unzip();
                let consumable = messages.map(|m| m / 2);
                let assessment =
                    GroupAssessment { bounds: age, status, consumable, catch_up, topics: assessments };
                view.assessment = is_assessed.then(|| Arc::new(assessment));
                view.lag = Some(Arc::new(GroupLag { messages, topics: lags }));
            }
            view
        },
    )
}

trait ParseTopic {
    fn parse_topic(&self) -> TopicName;
}

impl ParseTopic for String {
    fn parse_topic(&self) -> TopicName {
        TopicName::new(self).unwrap()
    }
}

fn instance() -> impl Strategy<Value = InstanceView> {
    (btree_map(name(), topic(), 0..4), btree_map(name(), group(), 0..4), option::of(any::<bool>()), millis())
        .prop_map(|(topics, groups, up, at)| {
            let mut view = fleet::instance_view("x", 0);
            view.up = up;
            view.last_success = LastSuccess { groups: fleet::at(at), ..LastSuccess::default() };
            view.info = up.map(|_| Arc::new(fleet::bare_info("x")));
            let named = |(n, t): (String, TopicView)| Arc::new(TopicView { name: n.parse_topic(), ..t });
            view.topics = topics.into_iter().map(named).collect();
            view.groups = groups
                .into_iter()
                .map(|(n, g)| Arc::new(GroupView { id: fleet::group_view(&n, 0, None, Vec::new()).id, ..g }))
                .collect();
            view
        })
}

fn snapshot(instances: impl IntoIterator<Item = (String, InstanceView)>, account: Option<&str>) -> Snapshot {
    let instances =
        instances.into_iter().map(|(n, i)| InstanceView { id: fleet::instance_view(&n, 0).id, ..i });
    let region = fleet::region_view(account, "cn-hangzhou", instances.collect());
    Snapshot { regions: vec![Arc::new(region)] }
}

/// Whether [`expected`] contains all series of a metric.
fn is_expected(name: &str) -> bool {
    let of_objects = name.starts_with("alikafka_group_") || name.starts_with("alikafka_topic_");
    of_objects && !["alikafka_topic_info", "alikafka_topic_partitions"].contains(&name)
}

/// Returns milliseconds in seconds.
fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns a canonical form of a float; `None` for infinity and NaN, which are not exported.
fn number(value: f64) -> Option<String> {
    // Zero is exported without a sign.
    value.is_finite().then(|| format!("{:?}", value + 0.0))
}

/// Returns the expected series of topics and groups, from an independent implementation.
fn expected(snapshot: &Snapshot) -> Vec<Sample> {
    let mut samples = Vec::new();
    for i in snapshot.regions.iter().flat_map(|r| &r.instances) {
        let mut add = |name: &str, labels: &[(&str, &str)], value: Option<String>| {
            let mut all: BTreeMap<String, String> =
                labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            all.insert("region".to_owned(), i.region.to_string());
            all.insert("instance_id".to_owned(), i.id.to_string());
            all.extend(i.account.iter().map(|a| ("account".to_owned(), a.to_string())));
            let name = format!("alikafka_{name}");
            samples.extend(value.map(|value| Sample { name, labels: all, value }));
        };
        for t in &i.topics {
            let topic = t.name.as_str();
            add("topic_groups", &[("topic", topic)], t.groups.map(|g| g.to_string()));
            let messages = t.status.as_ref().and_then(|s| s.messages);
            add("topic_messages", &[("topic", topic)], messages.map(|m| m.to_string()));
            for p in t.status.iter().flat_map(|s| &s.partitions) {
                let partition = p.partition.0.to_string();
                let labels = [("topic", topic), ("partition", partition.as_str())];
                add("topic_partition_start_offset", &labels, p.start.map(|o| o.get().to_string()));
                add("topic_partition_end_offset", &labels, p.end.map(|o| o.get().to_string()));
                let at = p.last_write.map(|t| seconds(t.get().unsigned_abs()));
                add("topic_partition_last_write_timestamp_seconds", &labels, at);
            }
        }
        for g in &i.groups {
            let group = ("group", g.id.as_str());
            add("group_info", &[group], g.listed.then(|| "1".to_owned()));
            for state in g.state.iter().flat_map(|_| GroupState::ALL) {
                let is_current = Some(u8::from(g.state == Some(state)).to_string());
                add("group_state", &[group, ("state", state.label())], is_current);
            }
            add("group_rebalances_total", &[group], g.rebalances.map(|r| r.seen.to_string()));
            let last = g.rebalances.map(|r| seconds(r.last.get().unsigned_abs()));
            add("group_last_rebalance_timestamp_seconds", &[group], last);
            let Some(lag) = &g.lag else { continue };
            add("group_lag_messages", &[group], lag.messages.map(|m| m.to_string()));
            let assessment = g.assessment.clone().unwrap_or_default();
            add("group_lag_seconds", &[group], assessment.bounds.upper.map(seconds));
            add("group_lag_floor_seconds", &[group], assessment.bounds.lower.map(seconds));
            add("group_status", &[group], assessment.status.map(|s| s.number().to_string()));
            add("group_consumable_lag_messages", &[group], assessment.consumable.map(|m| m.to_string()));
            add("group_catch_up_seconds", &[group], assessment.catch_up.and_then(number));
            for (n, t) in lag.topics.iter().enumerate() {
                let topic = ("topic", t.topic.as_str());
                let labels = [group, topic];
                add("group_topic_lag_messages", &labels, t.messages.map(|m| m.to_string()));
                let assessment = assessment.topics.get(n).cloned().unwrap_or_default();
                add("group_topic_lag_seconds", &labels, assessment.bounds.upper.map(seconds));
                add("group_topic_lag_floor_seconds", &labels, assessment.bounds.lower.map(seconds));
                add("group_topic_status", &labels, assessment.status.map(|s| s.number().to_string()));
                add(
                    "group_topic_consumable_lag_messages",
                    &labels,
                    assessment.consumable.map(|m| m.to_string()),
                );
                add(
                    "group_topic_consumed_messages_per_second",
                    &labels,
                    assessment.consumed.and_then(number),
                );
                add(
                    "group_topic_produced_messages_per_second",
                    &labels,
                    assessment.produced.and_then(number),
                );
                add("group_topic_catch_up_seconds", &labels, assessment.catch_up.and_then(number));
                add("group_topic_data_loss_eta_seconds", &labels, assessment.data_loss_eta.and_then(number));
                for (n, p) in t.partitions.iter().enumerate() {
                    let partition = p.partition.0.to_string();
                    let labels = [group, topic, ("partition", partition.as_str())];
                    add("group_partition_offset", &labels, p.committed.map(|o| o.get().to_string()));
                    add("group_partition_lag_messages", &labels, p.messages.map(|m| m.to_string()));
                    let at = p.last_consumed.map(|t| seconds(t.get().unsigned_abs()));
                    add("group_partition_last_consumed_timestamp_seconds", &labels, at);
                    let assessment = assessment.partitions.get(n).copied().unwrap_or_default();
                    add("group_partition_lag_seconds", &labels, assessment.bounds.upper.map(seconds));
                    add("group_partition_lag_floor_seconds", &labels, assessment.bounds.lower.map(seconds));
                    let margin = assessment.retention.and_then(|r| r.margin).map(|m| m.to_string());
                    add("group_partition_retention_margin_messages", &labels, margin);
                    let lost = assessment.retention.map(|r| r.lost.to_string());
                    add("group_partition_lost_messages", &labels, lost);
                }
            }
        }
    }
    samples.sort();
    samples
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_parsed_exposition_has_the_values_of_the_snapshot(
        instances in btree_map(name(), instance(), 0..3),
        account in option::of(name()),
    ) {
        let snapshot = snapshot(instances, account.as_deref());
        let exposition = Renderer::new(RenderOptions::default()).render(&snapshot);
        let expected = expected(&snapshot);
        let mut found = Scrape::parse(text(&exposition)).samples;
        found.retain(|s| is_expected(&s.name));
        for sample in &mut found {
            let is_float = ["_per_second", "_catch_up_seconds", "_eta_seconds"].map(|n| sample.name.ends_with(n));
            if is_float.contains(&true) {
                sample.value = number(sample.value.parse().unwrap()).unwrap();
            }
        }
        found.sort();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(gunzip(&exposition), text(&exposition));
    }

    #[test]
    fn a_coarser_granularity_has_the_same_values_without_the_finer_metrics(
        instances in btree_map(name(), instance(), 0..3),
        naming in prop_oneof![Just(Naming::Native), Just(Naming::KafkaExporter)],
    ) {
        let snapshot = snapshot(instances, None);
        let samples = |granularity| {
            let options = RenderOptions { granularity, naming, ..RenderOptions::default() };
            Scrape::parse(text(&Renderer::new(options).render(&snapshot))).samples
        };
        let finest = samples(Granularity::Partition);
        for (granularity, label) in [(Granularity::Topic, "partition"), (Granularity::Group, "topic")] {
            let coarse: Vec<_> = finest.iter().filter(|s| !s.labels.contains_key(label)).cloned().collect();
            prop_assert_eq!(samples(granularity), coarse);
        }
    }

    #[test]
    fn earlier_expositions_have_no_influence(
        pool in vec(instance(), 4),
        steps in vec(vec((0..4_usize, any::<bool>(), any::<u8>()), 3), 1..6),
        granularity in prop_oneof![
            Just(Granularity::Partition), Just(Granularity::Topic), Just(Granularity::Group)
        ],
        naming in prop_oneof![Just(Naming::Native), Just(Naming::KafkaExporter)],
        max_series in option::of(0..80_u64),
    ) {
        let options = || RenderOptions { granularity, naming, max_series, ..RenderOptions::default() };
        let mut renderer = Renderer::new(options());
        // Repeated parts are the same allocation, as in the real state.
        let shared: Vec<Arc<InstanceView>> = (0..3)
            .flat_map(|slot| pool.iter().map(move |view| (slot, view)))
            .map(|(slot, view)| Arc::new(in_discovery_order(InstanceView {
                id: fleet::instance_view(&format!("i-{slot}"), 0).id, ..view.clone()
            }, slot)))
            .collect();
        for step in steps {
            let mut region = fleet::region_view(None, "cn-hangzhou", Vec::new());
            for (slot, (pick, present, edit)) in step.into_iter().enumerate() {
                let picked = &shared[slot * pool.len() + pick];
                if present {
                    region.instances.push(edited(picked, edit));
                }
            }
            let snapshot = Snapshot { regions: vec![Arc::new(region)] };
            let exposition = renderer.render(&snapshot);
            let fresh = Renderer::new(options()).render(&snapshot);
            prop_assert!(exposition.dropped_series() >= fresh.dropped_series(), "the reserve only drops more series");
            if exposition.dropped_series() == fresh.dropped_series() {
                prop_assert_eq!(text(&exposition), text(&fresh));
                prop_assert_eq!(exposition.series_count(), fresh.series_count());
            }
            prop_assert_eq!(gunzip(&exposition), text(&exposition));
            if max_series.is_some() {
                limit::check(&snapshot, &options(), &exposition);
            }
        }
    }
}

/// Sets the discovery order of each object.
fn in_discovery_order(mut view: InstanceView, slot: usize) -> InstanceView {
    let mut order = slot as u64;
    let mut next = || {
        order += 3;
        order
    };
    view.groups = view
        .groups
        .iter()
        .map(|g| Arc::new(GroupView { discovery_order: next(), ..(**g).clone() }))
        .collect();
    view.topics = view
        .topics
        .iter()
        .map(|t| Arc::new(TopicView { discovery_order: next(), ..(**t).clone() }))
        .collect();
    view
}

/// Returns the same instance or a changed copy.
fn edited(view: &Arc<InstanceView>, edit: u8) -> Arc<InstanceView> {
    let mut new = (**view).clone();
    match edit % 12 {
        0 => _ = new.groups.pop(),
        1 => _ = new.topics.pop(),
        2 => new.up = new.up.map(|up| !up),
        3 => {
            for topic in &mut new.topics {
                *topic = Arc::new(TopicView { status: None, ..(**topic).clone() });
            }
        }
        4 => {
            for group in &mut new.groups {
                *group = Arc::new(GroupView { listed: !group.listed, ..(**group).clone() });
            }
        }
        5 => {
            for group in &mut new.groups {
                *group = Arc::new(GroupView { assessment: None, ..(**group).clone() });
            }
        }
        6 => {
            for group in &mut new.groups {
                *group = Arc::new(GroupView { state: Some(GroupState::Dead), ..(**group).clone() });
            }
        }
        _ => return Arc::clone(view),
    }
    Arc::new(new)
}
