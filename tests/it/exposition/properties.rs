//! What holds for every snapshot: what goes in comes out, and what was rendered before does not matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use alikafka_exporter::exposition::{Granularity, Naming, Options, Renderer};
use alikafka_exporter::lag::{GroupLag, TopicLag};
use alikafka_exporter::snapshot::{GroupView, InstanceView, LastSuccess, Snapshot, TopicView};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::parse::{Parsed, Sample};
use super::{fleet, gunzip, limit, text};

/// Names with everything in them that a format could stumble over.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        // Few enough that a group's topic is often one of the instance's.
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

fn topic_lag() -> impl Strategy<Value = TopicLag> {
    let row = (offset(), option::of(any::<u64>()), millis());
    (option::of(any::<u64>()), btree_map(0..6_u32, row, 0..5)).prop_map(|(messages, rows)| {
        let rows = rows.into_iter().map(|(p, (c, m, t))| fleet::partition_lag(p, c, m, t));
        fleet::topic_lag("x", messages, rows.collect())
    })
}

fn group() -> impl Strategy<Value = GroupView> {
    (any::<bool>(), option::of((option::of(any::<u64>()), btree_map(name(), topic_lag(), 0..3)))).prop_map(
        |(listed, lag)| {
            let mut view = fleet::group_view("x", 0, None, Vec::new());
            view.listed = listed;
            view.lag = lag.map(|(messages, topics)| {
                let topics = topics.into_iter().map(|(n, t)| TopicLag { topic: n.parse_topic(), ..t });
                Arc::new(GroupLag { messages, topics: topics.collect() })
            });
            view
        },
    )
}

trait ParseTopic {
    fn parse_topic(&self) -> alikafka_exporter::model::TopicName;
}

impl ParseTopic for String {
    fn parse_topic(&self) -> alikafka_exporter::model::TopicName {
        alikafka_exporter::model::TopicName::new(self).unwrap()
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

/// What the families of numbers must say, written down once more and differently.
fn expected(snapshot: &Snapshot) -> Vec<Sample> {
    let mut samples = Vec::new();
    for i in snapshot.regions.iter().flat_map(|r| &r.instances) {
        let mut add = |name: &str, labels: &[(&str, &str)], value: Option<String>| {
            let mut all: BTreeMap<String, String> =
                labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            all.insert("region".to_owned(), i.region.to_string());
            all.insert("instance_id".to_owned(), i.id.to_string());
            all.extend(i.account.iter().map(|a| ("account".to_owned(), a.to_string())));
            samples.extend(value.map(|value| Sample {
                name: format!("alikafka_{name}"),
                labels: all,
                value,
            }));
        };
        for t in &i.topics {
            let topic = t.name.as_str();
            add("topic_groups", &[("topic", topic)], t.groups.map(|g| g.to_string()));
            for p in t.status.iter().flat_map(|s| &s.partitions) {
                let partition = p.partition.0.to_string();
                let labels = [("topic", topic), ("partition", partition.as_str())];
                add("topic_partition_start_offset", &labels, p.start.map(|o| o.get().to_string()));
                add("topic_partition_end_offset", &labels, p.end.map(|o| o.get().to_string()));
            }
        }
        for g in &i.groups {
            let group = g.id.as_str();
            let Some(lag) = &g.lag else { continue };
            add("group_lag_messages", &[("group", group)], lag.messages.map(|m| m.to_string()));
            for t in &lag.topics {
                let topic = t.topic.as_str();
                let labels = [("group", group), ("topic", topic)];
                add("group_topic_lag_messages", &labels, t.messages.map(|m| m.to_string()));
                let held = i.topics.iter().find(|v| v.name == t.topic).and_then(|v| v.status.clone());
                for p in &t.partitions {
                    let partition = p.partition.0.to_string();
                    let labels = [("group", group), ("topic", topic), ("partition", partition.as_str())];
                    add("group_partition_offset", &labels, p.committed.map(|o| o.get().to_string()));
                    add("group_partition_lag_messages", &labels, p.messages.map(|m| m.to_string()));
                    let start = held.iter().flat_map(|s| &s.partitions).find(|h| h.partition == p.partition);
                    let past = p.committed.zip(start.and_then(|s| s.start));
                    let past = past.map(|(c, s)| i128::from(c.get()) - i128::from(s.get()));
                    let margin = past.filter(|m| *m >= 0).map(|m| m.to_string());
                    add("group_partition_retention_margin_messages", &labels, margin);
                    add("group_partition_lost_messages", &labels, past.map(|m| (-m).max(0).to_string()));
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
    fn a_page_read_back_says_what_the_snapshot_says(
        instances in btree_map(name(), instance(), 0..3),
        account in option::of(name()),
    ) {
        let snapshot = snapshot(instances, account.as_deref());
        let page = Renderer::new(Options::default()).render(&snapshot);
        let expected = expected(&snapshot);
        let mut found = Parsed::of(&text(&page)).samples;
        found.retain(|s| expected.iter().any(|e| e.name == s.name));
        found.sort();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(gunzip(&page), text(&page));
    }

    #[test]
    fn what_was_rendered_before_does_not_matter(
        pool in vec(instance(), 4),
        steps in vec(vec((0..4_usize, any::<bool>(), any::<u8>()), 3), 1..6),
        granularity in prop_oneof![
            Just(Granularity::Partition), Just(Granularity::Topic), Just(Granularity::Group)
        ],
        naming in prop_oneof![Just(Naming::Native), Just(Naming::KafkaExporter)],
        max_series in option::of(0..80_u64),
    ) {
        let options = || Options { granularity, naming, max_series, ..Options::default() };
        let mut renderer = Renderer::new(options());
        // Parts that are picked again are the same allocation, as in the collector.
        let shared: Vec<Arc<InstanceView>> = (0..3)
            .flat_map(|slot| pool.iter().map(move |view| (slot, view)))
            .map(|(slot, view)| Arc::new(aged(InstanceView {
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
            let page = renderer.render(&snapshot);
            let fresh = Renderer::new(options()).render(&snapshot);
            prop_assert_eq!(text(&page), text(&fresh));
            prop_assert_eq!((page.series(), page.cut()), (fresh.series(), fresh.cut()));
            prop_assert_eq!(gunzip(&page), text(&page));
            if let (Some(max), Granularity::Partition, Naming::Native) = (max_series, granularity, naming) {
                limit::check(&snapshot, max, &page);
            }
        }
    }
}

/// Gives each object its place in the order of first sight.
fn aged(mut view: InstanceView, slot: usize) -> InstanceView {
    let mut since = slot as u64;
    let mut next = || {
        since += 3;
        since
    };
    view.groups =
        view.groups.iter().map(|g| Arc::new(GroupView { since: next(), ..(**g).clone() })).collect();
    view.topics =
        view.topics.iter().map(|t| Arc::new(TopicView { since: next(), ..(**t).clone() })).collect();
    view
}

/// The same instance, or one that differs in a part.
fn edited(view: &Arc<InstanceView>, edit: u8) -> Arc<InstanceView> {
    let mut new = (**view).clone();
    match edit % 10 {
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
        _ => return Arc::clone(view),
    }
    Arc::new(new)
}
