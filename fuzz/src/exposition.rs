//! Exposition. The bytes select a snapshot, and a simple parser reads the text that is rendered from it. Each known value
//! must appear exactly once with its exact number, and nothing else may appear.

use std::{collections::BTreeMap, sync::Arc};

use alikafka_exporter::{
    exposition::Renderer,
    lag::{
        GroupLag, PartitionLag, RetentionMargin, TopicLag,
        assess::{GroupAssessment, PartitionAssessment, TopicAssessment},
        bounds::TimeBounds,
        status::{Status, StatusRule},
    },
    model::{
        AccountName, GroupId, GroupState, Instance, InstanceId, InstanceState, Offset, Partition, RegionId,
        RenderOptions, Topic, TopicName, TopicPartition, TopicStatus, UnixMillis,
    },
    snapshot::{
        GroupView, InstanceView, LastSuccess, ObjectCounts, Rebalances, RegionView, Snapshot, TopicView,
    },
};

/// Name, labels and value of each series.
type Series = BTreeMap<(String, BTreeMap<String, String>), String>;

/// Maximum number of objects of a kind, so that no input takes long.
const MOST: u8 = 5;

pub fn exposition(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut renderer = Renderer::new(RenderOptions::default());
    // The second exposition uses the remaining bytes, and reuses the renderer.
    for _ in 0..2 {
        let snapshot = snapshot(&mut bytes);
        let exposition = renderer.render_uncompressed(&snapshot);
        let text: Vec<u8> = exposition.plain_chunks().flatten().collect();
        let rendered = parse(std::str::from_utf8(&text).expect("an exposition is UTF-8"));
        assert_eq!(rendered.len() as u64, exposition.series_count(), "number of series");
        let expected = expected(&snapshot);
        for (series, value) in &expected {
            let rendered = rendered
                .get(series)
                .map(|text| if is_float(series) { canonical_float(text) } else { text.clone() });
            assert_eq!(rendered.as_ref(), Some(value), "{series:?}");
        }

        for (series, value) in &rendered {
            let name = series.0.as_str();
            let is_checked = FAMILIES.contains(&name) || name.starts_with("alikafka_group_");
            assert!(!is_checked || expected.contains_key(series), "unexpected {series:?} {value}");
        }
    }
}

/// Suffixes of families with float values.
const FLOATS: [&str; 3] = ["_per_second", "_catch_up_seconds", "_eta_seconds"];

/// Families that [`expected`] covers completely, in addition to all families of groups.
const FAMILIES: [&str; 10] = [
    "alikafka_region_up",
    "alikafka_instance_up",
    "alikafka_instance_info",
    "alikafka_instance_topics",
    "alikafka_topic_info",
    "alikafka_topic_messages",
    "alikafka_topic_groups",
    "alikafka_topic_partition_start_offset",
    "alikafka_topic_partition_end_offset",
    "alikafka_topic_partition_last_write_timestamp_seconds",
];

/// Choices from bytes; zeros when they are used up.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn maybe<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| some(self))
    }

    /// Returns a small number or any number.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=0xef => u64::from(small),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn signed(&mut self) -> i64 {
        i64::from_ne_bytes(self.number().to_ne_bytes())
    }

    fn text(&mut self) -> String {
        let long = usize::from(self.byte() % 24);
        let (text, rest) = self.0.split_at(long.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// Returns values by unique name, sorted.
    fn named<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> BTreeMap<String, T> {
        let count = self.byte() % MOST;
        let mut all = BTreeMap::new();
        for _ in 0..count {
            let name = self.text();
            all.insert(if name.is_empty() { "x".to_owned() } else { name }, one(self));
        }
        all
    }
}

fn snapshot(bytes: &mut Bytes<'_>) -> Snapshot {
    let account = bytes.maybe(|b| AccountName::new(&b.text()).ok()).flatten();
    let region = RegionId::new("cn-hangzhou").expect("a name");
    let instances = bytes.named(|b| instance(b, account.clone(), region.clone()));
    let named = |(name, view): (String, InstanceView)| {
        let id = InstanceId::new(&name).expect("a name");
        let info = view.info.map(|info| Arc::new(Instance { id: id.clone(), ..(*info).clone() }));
        Arc::new(InstanceView { id, info, ..view })
    };
    let view = RegionView {
        account,
        region,
        up: bytes.maybe(Bytes::flag),
        first_pass_ended: bytes.flag(),
        last_success: LastSuccess::default(),
        objects: ObjectCounts::default(),
        instances: instances.into_iter().map(named).collect(),
    };
    Snapshot { regions: vec![Arc::new(view)] }
}

fn instance(bytes: &mut Bytes<'_>, account: Option<AccountName>, region: RegionId) -> InstanceView {
    let id = InstanceId::new("-").expect("a name");
    let info = bytes.maybe(|b| {
        Arc::new(Instance {
            id: id.clone(),
            name: b.maybe(Bytes::text),
            state: b.maybe(|b| InstanceState::from_view_code(i64::from(b.byte()))),
            series: b.maybe(Bytes::text),
            spec_type: None,
            version: b.maybe(Bytes::text),
            deploy_type: None,
            paid_type: None,
            disk_type: None,
            created_at: b.maybe(|b| UnixMillis::new(b.signed())).flatten(),
            expires_at: None,
            topics: b.maybe(Bytes::number),
            topic_limit: None,
            partitions: None,
            groups: None,
            disk_size_bytes: None,
            message_retention_seconds: None,
            tags: Vec::new(),
        })
    });
    let topics = bytes.named(topic);
    let groups = bytes.named(group);
    InstanceView {
        account,
        region,
        id,
        discovery_order: bytes.number(),
        info,
        up: bytes.maybe(Bytes::flag),
        last_success: LastSuccess::default(),
        topics: topics
            .into_iter()
            .map(|(name, view)| {
                let name = TopicName::new(&name).expect("a name");
                let info = view.info.map(|info| Arc::new(Topic { name: name.clone(), ..(*info).clone() }));
                Arc::new(TopicView { name, info, ..view })
            })
            .collect(),
        groups: groups
            .into_iter()
            .map(|(id, view)| Arc::new(GroupView { id: GroupId::new(&id).expect("a name"), ..view }))
            .collect(),
    }
}

fn topic(bytes: &mut Bytes<'_>) -> TopicView {
    let name = TopicName::new("-").expect("a name");
    let info = bytes.maybe(|_| {
        Arc::new(Topic {
            name: name.clone(),
            partitions: None,
            storage: None,
            cleanup: None,
            created_at: None,
        })
    });
    let status = bytes.maybe(|b| {
        let messages = b.maybe(Bytes::number);
        let rows = rows(b, |b, partition| TopicPartition {
            partition,
            start: Offset::new(b.signed()),
            end: Offset::new(b.signed()),
            last_write: UnixMillis::new(b.signed()),
        });
        Arc::new(TopicStatus { messages, partitions: rows })
    });
    TopicView { name, discovery_order: bytes.number(), info, status, groups: bytes.maybe(Bytes::number) }
}

fn age(bytes: &mut Bytes<'_>) -> TimeBounds {
    TimeBounds { lower: bytes.maybe(Bytes::number), upper: bytes.maybe(Bytes::number) }
}

fn status(bytes: &mut Bytes<'_>) -> Status {
    use Status::{DataLoss, Lagging, Ok, Rewound, Stalled, Stopped};
    [Ok, Lagging, Stalled, Stopped, Rewound, DataLoss][usize::from(bytes.byte() % 6)]
}

/// Returns a small multiple of 1/16 or any float, including NaN and infinity.
fn float(bytes: &mut Bytes<'_>) -> f64 {
    match bytes.byte() {
        small @ 0..=0xef => f64::from(small) / 16.0,
        _ => f64::from_le_bytes(std::array::from_fn(|_| bytes.byte())),
    }
}

/// Returns an assessment for a topic with this number of partitions.
fn topic_assessment(bytes: &mut Bytes<'_>, partitions: usize) -> TopicAssessment {
    TopicAssessment {
        bounds: age(bytes),
        status: bytes.maybe(status),
        consumable: bytes.maybe(Bytes::number),
        consumed: bytes.maybe(float),
        produced: bytes.maybe(float),
        catch_up: bytes.maybe(float),
        data_loss_eta: bytes.maybe(float),
        partitions: (0..partitions)
            .map(|_| PartitionAssessment {
                bounds: age(bytes),
                rule: StatusRule::TooFewPolls,
                retention: bytes
                    .maybe(|b| RetentionMargin { margin: b.maybe(Bytes::number), lost: b.number() }),
            })
            .collect(),
    }
}

fn group_assessment(bytes: &mut Bytes<'_>, lag: &GroupLag) -> GroupAssessment {
    GroupAssessment {
        bounds: age(bytes),
        status: bytes.maybe(status),
        consumable: bytes.maybe(Bytes::number),
        catch_up: bytes.maybe(float),
        topics: lag.topics.iter().map(|t| topic_assessment(bytes, t.partitions.len())).collect(),
    }
}

fn group(bytes: &mut Bytes<'_>) -> GroupView {
    let lag = bytes.maybe(|b| {
        let messages = b.maybe(Bytes::number);
        let topics = b.named(|b| {
            let messages = b.maybe(Bytes::number);
            let rows = rows(b, |b, partition| PartitionLag {
                partition,
                end: None,
                committed: Offset::new(b.signed()),
                messages: b.maybe(Bytes::number),
                last_consumed: UnixMillis::new(b.signed()),
            });
            (messages, rows)
        });
        let topics = topics.into_iter().map(|(name, (messages, partitions))| TopicLag {
            topic: TopicName::new(&name).expect("a name"),
            messages,
            partitions,
        });
        Arc::new(GroupLag { messages, topics: topics.collect() })
    });
    let id = GroupId::new("-").expect("a name");
    let (discovery_order, listed) = (bytes.number(), bytes.flag());
    let assessment = lag.as_deref().and_then(|lag| bytes.maybe(|b| Arc::new(group_assessment(b, lag))));
    let state = bytes.maybe(|b| GroupState::ALL[usize::from(b.byte()) % GroupState::ALL.len()]);
    let rebalances =
        bytes.maybe(|b| Some(Rebalances { seen: b.number(), last: UnixMillis::new(b.signed())? }));
    GroupView { id, discovery_order, listed, lag, assessment, state, rebalances: rebalances.flatten() }
}

/// Returns partitions in ascending order.
fn rows<T>(bytes: &mut Bytes<'_>, mut one: impl FnMut(&mut Bytes<'_>, Partition) -> T) -> Vec<T> {
    let (count, step) = (bytes.byte() % MOST, 1 + u32::from(bytes.byte() % 3));
    (0..u32::from(count)).map(|n| one(bytes, Partition(n * step))).collect()
}

fn expected(snapshot: &Snapshot) -> Series {
    let mut series = Series::new();
    for region in &snapshot.regions {
        let own = |labels: &[(&str, &str)]| {
            let mut all: BTreeMap<String, String> =
                labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            all.insert("region".to_owned(), region.region.to_string());
            all.extend(region.account.iter().map(|a| ("account".to_owned(), a.to_string())));
            all
        };
        let mut put = |name: &str, labels: &[(&str, &str)], value: Option<String>| {
            let Some(value) = value else { return };
            series.insert((format!("alikafka_{name}"), own(labels)), value);
        };
        let bit = |flag: bool| u8::from(flag).to_string();
        put("region_up", &[], region.up.map(bit));
        for i in &region.instances {
            let id = ("instance_id", i.id.as_str());
            put("instance_up", &[id], i.up.map(bit));
            if let Some(info) = &i.info {
                let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
                let (name, edition, version) =
                    (or_empty(&info.name), or_empty(&info.series), or_empty(&info.version));
                let labels = [
                    id,
                    ("name", &name),
                    ("series", &edition),
                    ("version", &version),
                    ("spec_type", ""),
                    ("deploy_type", ""),
                ];
                let labels: Vec<_> =
                    labels.into_iter().chain([("paid_type", ""), ("disk_type", "")]).collect();
                put("instance_info", &labels, Some("1".to_owned()));
                put("instance_topics", &[id], info.topics.map(|n| n.to_string()));
            }
            for t in &i.topics {
                let topic = ("topic", t.name.as_str());
                let info = t.info.as_ref().map(|_| "1".to_owned());
                put("topic_info", &[id, topic, ("storage", ""), ("cleanup", "")], info);
                put("topic_groups", &[id, topic], t.groups.map(|n| n.to_string()));
                let Some(status) = &t.status else { continue };
                put("topic_messages", &[id, topic], status.messages.map(|n| n.to_string()));
                for p in &status.partitions {
                    let number = p.partition.0.to_string();
                    let labels = [id, topic, ("partition", &number)];
                    put("topic_partition_start_offset", &labels, p.start.map(|o| o.get().to_string()));
                    put("topic_partition_end_offset", &labels, p.end.map(|o| o.get().to_string()));
                    let at = p.last_write.map(seconds);
                    put("topic_partition_last_write_timestamp_seconds", &labels, at);
                }
            }
            for g in &i.groups {
                let group = ("group", g.id.as_str());
                put("group_info", &[id, group], g.listed.then(|| "1".to_owned()));
                for state in g.state.iter().flat_map(|_| GroupState::ALL) {
                    let labels = [id, group, ("state", state.label())];
                    put("group_state", &labels, Some(bit(g.state == Some(state))));
                }
                put("group_rebalances_total", &[id, group], g.rebalances.map(|r| r.seen.to_string()));
                let last = g.rebalances.map(|r| seconds(r.last));
                put("group_last_rebalance_timestamp_seconds", &[id, group], last);
                let Some(lag) = &g.lag else { continue };
                put("group_lag_messages", &[id, group], lag.messages.map(|n| n.to_string()));
                let assessment = g.assessment.clone().unwrap_or_default();
                put("group_lag_seconds", &[id, group], assessment.bounds.upper.map(span));
                put("group_lag_floor_seconds", &[id, group], assessment.bounds.lower.map(span));
                put("group_status", &[id, group], assessment.status.map(|s| s.number().to_string()));
                let consumable = assessment.consumable.map(|n| n.to_string());
                put("group_consumable_lag_messages", &[id, group], consumable);
                put("group_catch_up_seconds", &[id, group], assessment.catch_up.and_then(finite));
                for (at, t) in lag.topics.iter().enumerate() {
                    let topic = ("topic", t.topic.as_str());
                    let labels = [id, group, topic];
                    put("group_topic_lag_messages", &labels, t.messages.map(|n| n.to_string()));
                    let assessment = assessment.topics.get(at).cloned().unwrap_or_default();
                    put("group_topic_lag_seconds", &labels, assessment.bounds.upper.map(span));
                    put("group_topic_lag_floor_seconds", &labels, assessment.bounds.lower.map(span));
                    put("group_topic_status", &labels, assessment.status.map(|s| s.number().to_string()));
                    let consumable = assessment.consumable.map(|n| n.to_string());
                    put("group_topic_consumable_lag_messages", &labels, consumable);
                    for (name, value) in [
                        ("consumed_messages_per_second", assessment.consumed),
                        ("produced_messages_per_second", assessment.produced),
                        ("catch_up_seconds", assessment.catch_up),
                        ("data_loss_eta_seconds", assessment.data_loss_eta),
                    ] {
                        put(&format!("group_topic_{name}"), &labels, value.and_then(finite));
                    }
                    for (at, p) in t.partitions.iter().enumerate() {
                        let number = p.partition.0.to_string();
                        let labels = [id, group, topic, ("partition", &number)];
                        put("group_partition_offset", &labels, p.committed.map(|o| o.get().to_string()));
                        put("group_partition_lag_messages", &labels, p.messages.map(|n| n.to_string()));
                        let read_at = p.last_consumed.map(seconds);
                        put("group_partition_last_consumed_timestamp_seconds", &labels, read_at);
                        let assessment = assessment.partitions.get(at).copied().unwrap_or_default();
                        put("group_partition_lag_seconds", &labels, assessment.bounds.upper.map(span));
                        put("group_partition_lag_floor_seconds", &labels, assessment.bounds.lower.map(span));
                        let margin = assessment.retention.and_then(|r| r.margin).map(|n| n.to_string());
                        put("group_partition_retention_margin_messages", &labels, margin);
                        let lost = assessment.retention.map(|r| r.lost.to_string());
                        put("group_partition_lost_messages", &labels, lost);
                    }
                }
            }
        }
    }
    series
}

fn seconds(at: UnixMillis) -> String {
    span(at.get().unsigned_abs())
}

/// Formats milliseconds as seconds, exactly.
fn span(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn is_float((name, _): &(String, BTreeMap<String, String>)) -> bool {
    FLOATS.iter().any(|end| name.ends_with(end))
}

/// Returns a canonical form of a rendered float, so that values are compared instead of texts.
fn canonical_float(text: &str) -> String {
    finite(text.parse().expect("a number")).expect("no number is infinite or NaN")
}

/// Returns the canonical form of a float; `None` if it is not finite. Zero has no sign.
fn finite(value: f64) -> Option<String> {
    value.is_finite().then(|| format!("{:?}", value + 0.0))
}

/// Parses an exposition without histograms: every line is a comment or a series, and every series is unique.
fn parse(text: &str) -> Series {
    let mut all = Series::new();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line ends");
    for line in text.split_terminator('\n').filter(|l| !l.starts_with("# ")) {
        let at = line.find(['{', ' ']).expect("a name ends");
        let (name, mut rest) = line.split_at(at);
        let mut labels = BTreeMap::new();
        while let Some(inner) = rest.strip_prefix(['{', ',']) {
            let (label, inner) = inner.split_once("=\"").expect("a label has a value");
            let (value, after) = quoted(inner);
            assert!(labels.insert(label.to_owned(), value).is_none(), "duplicate label: {line}");
            rest = after.strip_prefix('}').unwrap_or(after);
        }
        let value = rest.strip_prefix(' ').expect("a blank before the value");
        assert!(value.parse::<f64>().is_ok(), "a value is a number: {line}");
        assert!(
            all.insert((name.to_owned(), labels), value.to_owned()).is_none(),
            "duplicate series: {line}"
        );
    }
    all
}

fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match (is_escaped, c) {
            (false, '"') => return (value, &text[at + 1..]),
            (false, '\\') => {
                is_escaped = true;
                continue;
            }
            (true, 'n') => value.push('\n'),
            (true, '\\' | '"') | (false, _) => value.push(c),
            (true, _) => panic!("unknown escape: {text:?}"),
        }
        is_escaped = false;
    }
    panic!("unterminated value: {text:?}")
}
