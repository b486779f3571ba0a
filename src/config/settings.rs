//! Reads the settings: accounts, timing and metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use config::{Map, Value};

use super::{
    Account, Config,
    account::AccountKeys,
    problem::{Problem, quoted},
    read::{ConfigField, LevelReader, expects, format_duration},
    value::{items, source, table, text},
};
use crate::model::{AccountName, Granularity, LastTimestamps, Naming, PollTiming, RenderOptions};

const MIN_INTERVAL: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(24 * 3600);
const INTERVAL: (Duration, Duration) = (MIN_INTERVAL, DAY);
const STALE: (Duration, Duration) = (MIN_INTERVAL, DAY.saturating_mul(7));
const TIMEOUT: (Duration, Duration) = (MIN_INTERVAL, Duration::from_secs(300));

/// Maximum default of `idle_poll_interval`: two polls in the five minutes over which alerts compute differences.
const MAX_DEFAULT_IDLE_POLL: Duration = Duration::from_secs(150);

/// Default of `status_window` if it contains five polls.
const DEFAULT_STATUS_WINDOW: Duration = Duration::from_secs(600);

/// Labels of the metric catalog, which constant labels must not use. A test compares them with the catalog.
const CONTRACT_LABELS: [&str; 28] = [
    "account",
    "action",
    "cleanup",
    "code",
    "consumergroup",
    "deploy_type",
    "disk_type",
    "group",
    "instance_id",
    "kind",
    "le",
    "name",
    "paid_type",
    "partition",
    "path",
    "quantile",
    "reason",
    "region",
    "result",
    "revision",
    "rustversion",
    "scope",
    "series",
    "spec_type",
    "state",
    "storage",
    "topic",
    "version",
];

/// Reads the settings from the layered configuration, whose shape has been checked. Returns nothing if a required
/// key is missing.
pub(super) fn read(root: &Value, problems: &mut Vec<Problem>) -> Option<Config> {
    let reader = LevelReader::new(root, "");
    let accounts = read_accounts(root, &reader, problems);
    let timing = read_timing(&reader, problems);
    let metrics = read_metrics(&reader, problems);
    Some(Config { accounts: accounts?, timing, metrics })
}

fn read_accounts(
    root: &Value,
    reader: &LevelReader<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Account>> {
    let defaults = AccountKeys::read(reader, problems);
    let Some(field) = reader.field("accounts") else {
        let nothing = Value::from(Map::<String, Value>::new());
        let keys = AccountKeys::read(&LevelReader::new(&nothing, ""), problems);
        return Some(vec![keys.inherit(&defaults, None, reader, root, problems)?]);
    };
    let items = items(field.value)?;
    if items.is_empty() {
        let instead = "list at least one account, or remove the key";
        problems.push(field.problem("is an empty list", instead));
    }
    let mut names = BTreeMap::new();
    let mut accounts = Vec::new();
    for (index, level) in items.iter().enumerate() {
        if table(level).is_none() {
            continue;
        }
        let reader = LevelReader::new(level, &format!("accounts[{index}]"));
        let name = account_name(&reader, level, problems);
        if let (Some(name), Some(field)) = (&name, reader.field("name"))
            && let Some(first) = names.insert(name.clone(), index)
        {
            let what = format!("{} is also the name of accounts[{first}]", quoted(name.as_str()));
            problems.push(field.problem(what, "give each account a different name"));
        }
        let keys = AccountKeys::read(&reader, problems);
        // Check the other keys of an account without a name, too.
        let name = name.or_else(|| AccountName::new("?").ok());
        accounts.extend(keys.inherit(&defaults, name, &reader, level, problems));
    }
    Some(accounts)
}

fn account_name(reader: &LevelReader<'_>, level: &Value, problems: &mut Vec<Problem>) -> Option<AccountName> {
    const INSTEAD: &str = "write a name such as production; it becomes the label account";
    let Some(field) = reader.field("name") else {
        problems.push(Problem::new(&source(level), reader.path("name"), "is missing", INSTEAD));
        return None;
    };
    match AccountName::new(text(field.value)?) {
        Ok(name) if !name.as_str().chars().any(char::is_control) => return Some(name),
        Ok(_) => problems.push(field.problem("has control characters", INSTEAD)),
        Err(error) => problems.push(field.problem(error.2, INSTEAD)),
    }
    None
}

fn read_timing(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> PollTiming {
    let discovery = reader.duration("discovery_interval", INTERVAL, problems);
    let before = problems.len();
    let poll = reader.duration("poll_interval", INTERVAL, problems).unwrap_or(Duration::from_secs(60));
    let is_poll_valid = problems.len() == before;
    let topic_poll = reader.duration("topic_poll_interval", INTERVAL, problems).unwrap_or(poll);
    let idle_poll = reader.duration("idle_poll_interval", INTERVAL, problems);
    let stale_after = reader.duration("stale_after", STALE, problems);
    let discovery = discovery.unwrap_or(Duration::from_secs(300));
    // Check the relations between values only if each value is valid.
    if problems.len() == before {
        check_min(reader, "topic_poll_interval", topic_poll, ("poll_interval", poll), 1, problems);
        let slowest =
            if topic_poll > poll { ("topic_poll_interval", topic_poll) } else { ("poll_interval", poll) };
        let stale = stale_after.unwrap_or(Duration::MAX);
        check_min(reader, "stale_after", stale, slowest, 2, problems);
    }
    let group_stale_after = stale_after.unwrap_or(poll * 3);
    let topic_stale_after = stale_after.unwrap_or(topic_poll * 3);
    if let Some(idle) = idle_poll.filter(|_| problems.len() == before) {
        check_min(reader, "idle_poll_interval", idle, ("poll_interval", poll), 1, problems);
        // After one failed poll, the next one must still be in time.
        let max = group_stale_after.saturating_sub(poll);
        if let Some(field) = reader.field("idle_poll_interval").filter(|_| idle >= poll && idle > max) {
            let what = format!(
                "{} and poll_interval ({}) are together longer than stale_after ({})",
                format_duration(idle),
                format_duration(poll),
                format_duration(group_stale_after)
            );
            let instead = format!("write at most {}, or remove the key", format_duration(max));
            problems.push(field.problem(what, &instead));
        }
    }
    let idle_poll = idle_poll.unwrap_or((group_stale_after / 2).min(MAX_DEFAULT_IDLE_POLL).max(poll));
    let request_timeout = reader.duration("request_timeout", TIMEOUT, problems);
    let last_timestamps = [
        ("lagging", LastTimestamps::Lagging),
        ("always", LastTimestamps::Always),
        ("never", LastTimestamps::Never),
    ];
    PollTiming {
        discovery,
        poll,
        topic_poll,
        idle_poll,
        idle_topic_poll: idle_poll.min(topic_stale_after.saturating_sub(poll)).max(topic_poll),
        stale_after: group_stale_after,
        topic_stale_after,
        discovery_stale_after: group_stale_after.max(discovery * 3),
        request_timeout: request_timeout.unwrap_or(Duration::from_secs(15)),
        status_window: status_window(reader, is_poll_valid.then_some(poll), problems),
        last_timestamps: reader.choice("last_timestamps", &last_timestamps, problems).unwrap_or_default(),
    }
}

/// Reports a value that is less than `factor` times another one.
fn check_min(
    reader: &LevelReader<'_>,
    key: &str,
    value: Duration,
    (other_key, other): (&str, Duration),
    factor: u32,
    problems: &mut Vec<Problem>,
) {
    let Some(field) = reader.field(key).filter(|_| value < other * factor) else { return };
    let multiple = if factor == 2 { "twice " } else { "" };
    let (value, min) = (format_duration(value), format_duration(other * factor));
    let what = format!("{value} is shorter than {multiple}{other_key} ({})", format_duration(other));
    problems.push(field.problem(what, &format!("write at least {min}, or remove the key")));
}

/// Reads `status_window`; by default long enough for five polls. `poll` is `None` if `poll_interval` is invalid.
fn status_window(reader: &LevelReader<'_>, poll: Option<Duration>, problems: &mut Vec<Problem>) -> Duration {
    let min = poll.unwrap_or_default() * 4;
    let Some(window) = reader.duration("status_window", INTERVAL, problems) else {
        return if DEFAULT_STATUS_WINDOW < min {
            poll.unwrap_or_default() * 5
        } else {
            DEFAULT_STATUS_WINDOW
        };
    };
    if let (Some(field), Some(poll)) = (reader.field("status_window"), poll)
        && window < min
    {
        let (window, poll) = (format_duration(window), format_duration(poll));
        let what = format!("{window} is shorter than four times poll_interval ({poll})");
        // A window must not be longer than a day.
        let instead = if min > DAY {
            "remove the key: the default is five times poll_interval".to_owned()
        } else {
            format!("write at least {}, or remove the key", format_duration(min))
        };
        problems.push(field.problem(what, &instead));
    }
    window
}

fn read_metrics(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> RenderOptions {
    let levels =
        [("partition", Granularity::Partition), ("topic", Granularity::Topic), ("group", Granularity::Group)];
    let names = [("native", Naming::Native), ("kafka_exporter", Naming::KafkaExporter)];
    let granularity = reader.choice("metrics.granularity", &levels, problems);
    let naming = reader.choice("metrics.naming", &names, problems);
    let max_series = reader.text("metrics.max_series").and_then(|(field, text)| match text.parse::<u64>() {
        Ok(limit) if limit > 0 => Some(limit),
        _ => {
            let what = format!("{} is not an integer above 0", quoted(text));
            problems.push(field.problem(what, &expects("metrics.max_series")));
            None
        }
    });
    RenderOptions {
        granularity: granularity.unwrap_or_default(),
        naming: naming.unwrap_or_default(),
        max_series,
        constant_labels: labels(reader, problems),
        instance_tags: instance_tags(reader, problems),
    }
}

fn labels(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut labels = BTreeMap::new();
    for (field, name, value) in reader.field("metrics.labels").iter().flat_map(ConfigField::entries) {
        if let Err((what, instead)) = check_label(name, value) {
            problems.push(field.problem(what, instead));
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    labels.into_iter().collect()
}

fn check_label(name: &str, value: &str) -> Result<(), (&'static str, &'static str)> {
    const NAME: &str = "write a name of letters, digits and _ that does not begin with a digit or __";
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_word || name.is_empty() || name.starts_with("__") || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(("is not a label name", NAME));
    }
    if CONTRACT_LABELS.contains(&name) || name.starts_with("tag_") {
        return Err(("is a reserved label", "write another name"));
    }
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(("has an empty value or one with control characters", "write a plain value"));
    }
    Ok(())
}

fn instance_tags(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut labels = BTreeSet::new();
    let mut tags = Vec::new();
    for (field, tag) in reader.field("metrics.instance_tags").iter().flat_map(ConfigField::items) {
        // Characters that a label name must not have become "_", so two tags may map to one label.
        let label: String = tag.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if tag.is_empty() {
            problems.push(field.problem("is empty", "write a tag key such as env"));
        } else if labels.insert(label.clone()) {
            tags.push(tag.to_owned());
        } else {
            let what = format!("the label tag_{label} is already used by another tag of the list");
            problems.push(field.problem(what, "keep one of them"));
        }
    }
    tags
}
