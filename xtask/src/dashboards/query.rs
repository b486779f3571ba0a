//! PromQL queries over the families of the metric catalog.
//!
//! Owns: the label filters of each dashboard, the aggregation over replicas of the exporter, and the names of
//! kafka_exporter besides the native ones. Metric names come from the catalog only.

use alikafka_exporter::exposition::catalog::{MetricFamily, MetricId, family};

/// Object that one line of a graph, or one row of a table, represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Region,
    Instance,
    Topic,
    TopicPartition,
    Group,
    GroupTopic,
    GroupPartition,
    /// A scrape target of Prometheus.
    Exporter,
}

impl Level {
    /// Labels that identify an object. `account` exists only on series of named accounts; grouping by a missing
    /// label has no effect.
    pub(super) fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Region => &["account", "region"],
            Self::Instance => &["account", "region", "instance_id"],
            Self::Topic => &["account", "region", "instance_id", "topic"],
            Self::TopicPartition => &["account", "region", "instance_id", "topic", "partition"],
            Self::Group => &["account", "region", "instance_id", "group"],
            Self::GroupTopic => &["account", "region", "instance_id", "group", "topic"],
            Self::GroupPartition => &["account", "region", "instance_id", "group", "topic", "partition"],
            Self::Exporter => &["job", "instance"],
        }
    }

    /// The labels, separated by commas.
    pub(super) fn list(self) -> String {
        self.labels().join(", ")
    }
}

/// Series of one family, optionally restricted by one matcher: label, operator, value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    id: MetricId,
    matcher: Option<(&'static str, &'static str, &'static str)>,
}

impl From<MetricId> for Series {
    fn from(id: MetricId) -> Self {
        Self { id, matcher: None }
    }
}

/// Series of a family that match a label matcher.
pub(super) fn matching(
    id: MetricId,
    label: &'static str,
    operator: &'static str,
    value: &'static str,
) -> Series {
    Series { id, matcher: Some((label, operator, value)) }
}

/// Label filters of a dashboard: each label with the variable that it is matched with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters(pub(super) &'static [(&'static str, &'static str)]);

pub(super) const FLEET: Filters =
    Filters(&[("account", "account"), ("region", "region"), ("instance_id", "instance")]);
pub(super) const TOPIC: Filters =
    Filters(&[("account", "account"), ("region", "region"), ("instance_id", "instance"), ("topic", "topic")]);
/// Filters of the group dashboard. Only the row of partitions uses `partition`.
pub(super) const PARTITION: Filters = Filters(&[
    ("account", "account"),
    ("region", "region"),
    ("instance_id", "instance"),
    ("group", "group"),
    ("topic", "topic"),
    ("partition", "partition"),
]);
pub(super) const GROUP: Filters = Filters(PARTITION.0.split_at(5).0);
pub(super) const EXPORTER: Filters = Filters(&[
    ("job", "job"),
    ("instance", "exporter"),
    ("account", "account"),
    ("region", "region"),
    ("instance_id", "instance"),
]);

/// Families that belong to an account but not to a region.
const ACCOUNT_FAMILIES: [MetricId; 3] =
    [MetricId::CredentialsExpiry, MetricId::CredentialsFailures, MetricId::ClockSkew];

/// Labels that Prometheus adds to scraped series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

impl Filters {
    /// Returns whether series of the family have the label.
    fn applies(row: &MetricFamily, label: &str, labels: &[&str]) -> bool {
        match label {
            "account" => row.labels.contains(&"region") || ACCOUNT_FAMILIES.contains(&row.id),
            _ => TARGET_LABELS.contains(&label) || labels.contains(&label),
        }
    }

    fn selector(self, row: &MetricFamily, name: &str, labels: &[&str], series: Series) -> String {
        let mut matchers: Vec<String> = Vec::new();
        for (label, variable) in self.0 {
            if *label == "group" && labels.contains(&"consumergroup") {
                matchers.push(format!("consumergroup=~\"${variable}\""));
            } else if Self::applies(row, label, labels) {
                matchers.push(format!("{label}=~\"${variable}\""));
            }
        }
        if let Some((label, operator, value)) = series.matcher {
            matchers.push(format!("{label}{operator}\"{value}\""));
        }
        match matchers.is_empty() {
            true => name.to_owned(),
            false => format!("{name}{{{}}}", matchers.join(", ")),
        }
    }

    /// Applies `function` to the selector of a family. If kafka_exporter has a name for the family, the result covers
    /// both names, because an exporter serves only one of them. Use it within an aggregation, because it leaves the
    /// label `consumergroup` in place.
    pub(super) fn each(self, series: impl Into<Series>, function: impl Fn(&str) -> String) -> String {
        let series = series.into();
        let row = family(series.id);
        let native = function(&self.selector(row, row.name, row.labels, series));
        let Some(theirs) = row.kafka_exporter else { return native };
        let other = function(&self.selector(row, theirs.name, theirs.labels, series));
        // A group name may contain a line break, which a plain dot does not match.
        match theirs.labels.contains(&"consumergroup") {
            true => format!(
                "{native} or label_replace({other}, \"group\", \"$1\", \"consumergroup\", \"(?s:(.+))\")"
            ),
            false => format!("{native} or {other}"),
        }
    }

    /// Selector of a family, without an aggregation.
    pub(super) fn plain(self, series: impl Into<Series>) -> String {
        self.each(series, str::to_owned)
    }

    /// Maximum per object of a level, over the objects below it and over replicas.
    pub(super) fn max(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, str::to_owned)
    }

    /// Maximum of a function of the series, per object of a level.
    pub(super) fn max_of(
        self,
        level: Level,
        series: impl Into<Series>,
        function: impl Fn(&str) -> String,
    ) -> String {
        format!("max by ({}) ({})", level.list(), self.each(series, function))
    }

    /// Minimum per object of a level.
    pub(super) fn min(self, level: Level, series: impl Into<Series>) -> String {
        format!("min by ({}) ({})", level.list(), self.plain(series))
    }

    /// Maximum per object of a level and combination of further labels.
    pub(super) fn max_with(self, level: Level, labels: &str, series: impl Into<Series>) -> String {
        format!("max by ({}, {labels}) ({})", level.list(), self.plain(series))
    }

    /// Maximum over all series.
    pub(super) fn maximum(self, series: impl Into<Series>) -> String {
        format!("max({})", self.plain(series))
    }

    /// Minimum over all series.
    pub(super) fn minimum(self, series: impl Into<Series>) -> String {
        format!("min({})", self.plain(series))
    }

    /// Maximum of the upper bounds of a level. Absent if an object with lag has no upper bound, because the others
    /// do not bound it.
    pub(super) fn upper_bound(self, level: Level, lag: MetricId, upper: MetricId) -> String {
        format!(
            "{}\nunless on ()\n({} > 0 unless on ({}) {})",
            self.maximum(upper),
            self.max(level, lag),
            level.list(),
            self.plain(upper)
        )
    }

    /// Number of objects of a level.
    pub(super) fn count(self, level: Level, series: impl Into<Series>) -> String {
        format!("count({})", self.max(level, series))
    }

    /// Sum over all objects of a level.
    pub(super) fn total(self, level: Level, series: impl Into<Series>) -> String {
        format!("sum({})", self.max(level, series))
    }

    /// Prometheus' own series `up`, which is not in the catalog.
    pub(super) fn up(self) -> String {
        let matchers: Vec<String> = self
            .0
            .iter()
            .filter(|(label, _)| TARGET_LABELS.contains(label))
            .map(|(label, variable)| format!("{label}=~\"${variable}\""))
            .collect();
        format!("max by ({}) (up{{{}}})", Level::Exporter.list(), matchers.join(", "))
    }

    /// Sum per object of a level, over the objects of a lower level.
    pub(super) fn sum(self, level: Level, inner: Level, series: impl Into<Series>) -> String {
        format!("sum by ({}) ({})", level.list(), self.max(inner, series))
    }

    /// Messages per second, from the slope of an offset. A falling offset, e.g. of a recreated topic, counts as 0.
    pub(super) fn slope(self, level: Level, id: MetricId) -> String {
        self.max_of(level, id, |s| format!("clamp_min(deriv({s}[$__rate_interval]), 0)"))
    }

    /// Slope over the time range, for ranking.
    pub(super) fn slope_in_range(self, level: Level, id: MetricId) -> String {
        self.max_of(level, id, |s| format!("clamp_min(deriv({s}[$__range] @ end()), 0)"))
    }

    /// Lines of a level with the largest slopes over the time range.
    pub(super) fn top_slope(self, level: Level, id: MetricId) -> String {
        top_by(&self.slope(level, id), &self.slope_in_range(level, id))
    }

    /// Messages written per second, including those to topics without consumers.
    pub(super) fn written(self, level: Level) -> String {
        format!(
            "sum by ({}) ({})",
            level.list(),
            self.slope(Level::TopicPartition, MetricId::TopicPartitionEnd)
        )
    }

    /// Maximum in the time range, for ranking.
    pub(super) fn peak(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("max_over_time({s}[$__range] @ end())"))
    }

    /// Mean over the time range, for ranking.
    pub(super) fn mean(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("avg_over_time({s}[$__range] @ end())"))
    }

    /// Value at the end of the time range, for ranking.
    pub(super) fn at_end(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("{s} @ end()"))
    }

    /// Increase of a counter of the cloud over the time range.
    pub(super) fn increase(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("increase({s}[$__range])"))
    }

    /// Increase of a counter of the cloud over the time range, for ranking.
    pub(super) fn increase_at_end(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("increase({s}[$__range] @ end())"))
    }

    /// Number of changes of a value between two points of a graph.
    pub(super) fn changes(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("changes({s}[$__rate_interval])"))
    }

    /// Minimum in the time range, for ranking.
    fn trough(self, level: Level, id: MetricId) -> String {
        let lowest = self.each(id, |s| format!("min_over_time({s}[$__range] @ end())"));
        format!("min by ({}) ({lowest})", level.list())
    }

    /// Lines of a level with the largest maxima in the time range.
    pub(super) fn top(self, level: Level, id: MetricId) -> String {
        top_by(&self.max(level, id), &self.peak(level, id))
    }

    /// Lines of a level with the smallest minima in the time range.
    pub(super) fn bottom(self, level: Level, id: MetricId) -> String {
        format!("{}\nand\nbottomk($limit, {})", self.min(level, id), self.trough(level, id))
    }

    /// Like [`Self::top`], but without values at or above a limit, which would flatten the graph.
    pub(super) fn top_below(self, level: Level, id: MetricId, limit: &str) -> String {
        let rank = format!("{} and {} < {limit}", self.peak(level, id), self.trough(level, id));
        top_by(&format!("{} < {limit}", self.max(level, id)), &rank)
    }

    /// Like [`Self::bottom`], but without values at or above a limit.
    pub(super) fn bottom_below(self, level: Level, id: MetricId, limit: &str) -> String {
        format!("{} < {limit}\nand\nbottomk($limit, {})", self.min(level, id), self.trough(level, id))
    }

    /// Seconds since the timestamps of a family, for the objects of a level with the oldest ones.
    pub(super) fn longest_ago(self, level: Level, id: MetricId) -> String {
        format!("time() - {}\nand\nbottomk($limit, {})", self.max(level, id), self.peak(level, id))
    }

    /// Adds the name of the instance as a label where it is known.
    pub(super) fn named(self, expr: &str) -> String {
        let on = Level::Instance.list();
        let info = self.plain(MetricId::InstanceInfo);
        format!(
            "({expr}) * on ({on}) group_left (name) topk by ({on}) (1, max by ({on}, name) ({info}))\n\
             or\n({expr}) unless on ({on}) {info}"
        )
    }

    /// Rate of a counter of the exporter, summed by labels over replicas, because each makes API calls of its own.
    pub(super) fn rate(self, labels: &str, series: impl Into<Series>) -> String {
        sum_by(labels, &self.each(series, |s| format!("rate({s}[$__rate_interval])")))
    }

    /// Increase of a counter of the exporter over the time range, summed by labels.
    pub(super) fn growth(self, labels: &str, series: impl Into<Series>) -> String {
        sum_by(labels, &self.each(series, |s| format!("increase({s}[$__range])")))
    }

    /// Rates of the counters that increased within the time range.
    pub(super) fn rate_if_any(self, labels: &str, id: MetricId) -> String {
        let growth = sum_by(labels, &self.each(id, |s| format!("increase({s}[$__range] @ end())")));
        format!("{}\nand\n{growth} > 0", self.rate(labels, id))
    }

    /// Rate of one of the series of a histogram, summed by labels.
    fn histogram_rate(self, labels: &str, id: MetricId, suffix: &str) -> String {
        let row = family(id);
        let selector = self.selector(row, &format!("{}{suffix}", row.name), row.labels, id.into());
        sum_by(labels, &format!("rate({selector}[$__rate_interval])"))
    }

    /// Quantile of a histogram by labels. Absent without observations, because NaN fails the comparison.
    pub(super) fn quantile(self, quantile: &str, labels: &str, id: MetricId) -> String {
        let by = if labels.is_empty() { "le".to_owned() } else { format!("{labels}, le") };
        format!("histogram_quantile({quantile}, {}) >= 0", self.histogram_rate(&by, id, "_bucket"))
    }

    /// Observations per second of a histogram by labels.
    pub(super) fn observations(self, labels: &str, id: MetricId) -> String {
        self.histogram_rate(labels, id, "_count")
    }
}

fn sum_by(labels: &str, expr: &str) -> String {
    match labels.is_empty() {
        true => format!("sum({expr})"),
        false => format!("sum by ({labels}) ({expr})"),
    }
}

/// Lines with the largest ranks. The rank covers the complete time range, so a graph shows the same lines throughout.
pub(super) fn top_by(expr: &str, rank: &str) -> String {
    format!("{expr}\nand\ntopk($limit, {rank})")
}

/// Rows of a table that are in a selection of the same level.
pub(super) fn among(expr: &str, selection: &str) -> String {
    format!("{expr}\nand\n{selection}")
}
