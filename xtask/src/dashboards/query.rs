//! Queries in PromQL, made of the rows of the catalog.
//!
//! Owns: which labels a series is filtered by, how one series is made of what several replicas say, and the names of
//! kafka_exporter beside ours. Refuses: names of metrics that are not in the catalog; there is no way to write one.

use alikafka_exporter::exposition::catalog::{MetricFamily, MetricId, family};

/// What one line of a graph, or one row of a table, stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Region,
    Instance,
    Topic,
    TopicPartition,
    Group,
    GroupTopic,
    GroupPartition,
    /// What Prometheus scrapes.
    Exporter,
}

impl Level {
    /// The labels that tell one from another. `account` is on a series only where accounts are named; to group by a
    /// label that is not there does no harm.
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

    /// The labels as they stand in parentheses.
    pub(super) fn list(self) -> String {
        self.labels().join(", ")
    }
}

/// Series of one family, all that a board looks at or fewer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    id: MetricId,
    only: Option<(&'static str, &'static str, &'static str)>,
}

impl From<MetricId> for Series {
    fn from(id: MetricId) -> Self {
        Self { id, only: None }
    }
}

/// Of a family, those series whose label is as told: label, operator, value.
pub(super) fn only(id: MetricId, label: &'static str, operator: &'static str, value: &'static str) -> Series {
    Series { id, only: Some((label, operator, value)) }
}

/// What a board filters by: labels, each with the variable that it is matched with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters(pub(super) &'static [(&'static str, &'static str)]);

/// Families that belong to an account although they belong to no region.
const OF_ACCOUNTS: [MetricId; 3] =
    [MetricId::CredentialsExpiry, MetricId::CredentialsFailures, MetricId::ClockSkew];

/// Labels that Prometheus gives to what it scrapes.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

impl Filters {
    fn applies(row: &MetricFamily, label: &str, labels: &[&str]) -> bool {
        match label {
            "account" => row.labels.contains(&"region") || OF_ACCOUNTS.contains(&row.id),
            _ => OF_TARGETS.contains(&label) || labels.contains(&label),
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
        if let Some((label, operator, value)) = series.only {
            matchers.push(format!("{label}{operator}\"{value}\""));
        }
        match matchers.is_empty() {
            true => name.to_owned(),
            false => format!("{name}{{{}}}", matchers.join(", ")),
        }
    }

    /// The series of a family, each selector put into a shape. Where kafka_exporter has a name for the family, what is
    /// there under either name: a page shows one of them. Use it within an aggregation: another label is left over.
    pub(super) fn each(self, series: impl Into<Series>, shape: impl Fn(&str) -> String) -> String {
        let series = series.into();
        let row = family(series.id);
        let ours = shape(&self.selector(row, row.name, row.labels, series));
        let Some(theirs) = row.kafka_exporter else { return ours };
        let other = shape(&self.selector(row, theirs.name, theirs.labels, series));
        // A name may hold a line break, which a dot alone does not match.
        match theirs.labels.contains(&"consumergroup") {
            true => {
                format!(
                    "{ours} or label_replace({other}, \"group\", \"$1\", \"consumergroup\", \"(?s:(.+))\")"
                )
            }
            false => format!("{ours} or {other}"),
        }
    }

    /// The selector of a family, within a shape, for a series of a rate or of a query that is no aggregation.
    pub(super) fn plain(self, series: impl Into<Series>) -> String {
        self.each(series, str::to_owned)
    }

    /// One series for each of a level, the largest of what is below and of what replicas say.
    pub(super) fn max(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, str::to_owned)
    }

    /// The same of a function of the series.
    pub(super) fn max_of(
        self,
        level: Level,
        series: impl Into<Series>,
        shape: impl Fn(&str) -> String,
    ) -> String {
        format!("max by ({}) ({})", level.list(), self.each(series, shape))
    }

    /// One series for each of a level, the least.
    pub(super) fn min(self, level: Level, series: impl Into<Series>) -> String {
        self.min_of(level, series, str::to_owned)
    }

    /// The same of a function of the series.
    pub(super) fn min_of(
        self,
        level: Level,
        series: impl Into<Series>,
        shape: impl Fn(&str) -> String,
    ) -> String {
        format!("min by ({}) ({})", level.list(), self.each(series, shape))
    }

    /// One series for each combination of a level's labels and more.
    pub(super) fn max_with(self, level: Level, more: &str, series: impl Into<Series>) -> String {
        format!("max by ({}, {more}) ({})", level.list(), self.plain(series))
    }

    /// The largest of all.
    pub(super) fn most(self, series: impl Into<Series>) -> String {
        format!("max({})", self.plain(series))
    }

    /// The least of all.
    pub(super) fn least(self, series: impl Into<Series>) -> String {
        format!("min({})", self.plain(series))
    }

    /// The largest of the ceilings of all of a level, where each that lags has one: else it would be no ceiling.
    pub(super) fn ceiling(self, level: Level, lag: MetricId, ceiling: MetricId) -> String {
        format!(
            "{}\nunless on ()\n({} > 0 unless on ({}) {})",
            self.most(ceiling),
            self.max(level, lag),
            level.list(),
            self.plain(ceiling)
        )
    }

    /// How many of a level there are.
    pub(super) fn count(self, level: Level, series: impl Into<Series>) -> String {
        format!("count({})", self.max(level, series))
    }

    /// The sum of all of a level.
    pub(super) fn total(self, level: Level, series: impl Into<Series>) -> String {
        format!("sum({})", self.max(level, series))
    }

    /// Whether Prometheus gets pages, which is its own series and in no catalog.
    pub(super) fn up(self) -> String {
        let matchers: Vec<String> = self
            .0
            .iter()
            .filter(|(label, _)| OF_TARGETS.contains(label))
            .map(|(label, variable)| format!("{label}=~\"${variable}\""))
            .collect();
        format!("max by ({}) (up{{{}}})", Level::Exporter.list(), matchers.join(", "))
    }

    /// The sum at a level over what is at a lower one, of which replicas say the same.
    pub(super) fn sum(self, level: Level, inner: Level, series: impl Into<Series>) -> String {
        format!("sum by ({}) ({})", level.list(), self.max(inner, series))
    }

    /// Messages a second from the slope of an offset. An offset that falls, as when a topic is created anew, is none.
    pub(super) fn slope(self, level: Level, id: MetricId) -> String {
        self.max_of(level, id, |s| format!("clamp_min(deriv({s}[$__rate_interval]), 0)"))
    }

    /// The same over all of the time range, to choose by.
    pub(super) fn slope_of_range(self, level: Level, id: MetricId) -> String {
        self.max_of(level, id, |s| format!("clamp_min(deriv({s}[$__range] @ end()), 0)"))
    }

    /// The largest in the time range, to choose by.
    pub(super) fn peak(self, level: Level, series: impl Into<Series>) -> String {
        self.max_of(level, series, |s| format!("max_over_time({s}[$__range] @ end())"))
    }

    /// The least in the time range, to choose by.
    pub(super) fn trough(self, level: Level, series: impl Into<Series>) -> String {
        self.min_of(level, series, |s| format!("min_over_time({s}[$__range] @ end())"))
    }

    /// The lines of a level whose largest value in the time range is among the first.
    pub(super) fn top(self, level: Level, id: MetricId) -> String {
        first(&self.max(level, id), &self.peak(level, id))
    }

    /// The lines of a level whose least value in the time range is among the first.
    pub(super) fn bottom(self, level: Level, id: MetricId) -> String {
        format!("{}\nand\nbottomk($limit, {})", self.min(level, id), self.trough(level, id))
    }

    /// The same, of what is below a bound: forecasts beyond it say little, and would flatten the graph.
    pub(super) fn top_below(self, level: Level, id: MetricId, bound: &str) -> String {
        let rank = format!("{} and {} < {bound}", self.peak(level, id), self.trough(level, id));
        first(&format!("{} < {bound}", self.max(level, id)), &rank)
    }

    /// The lines whose least value is among the first, of what is below a bound.
    pub(super) fn bottom_below(self, level: Level, id: MetricId, bound: &str) -> String {
        format!("{} < {bound}\nand\nbottomk($limit, {})", self.min(level, id), self.trough(level, id))
    }

    /// With the instance's name as a label, where it is known, and without it elsewhere.
    pub(super) fn named(self, expr: &str) -> String {
        let on = Level::Instance.list();
        let info = self.plain(MetricId::InstanceInfo);
        format!(
            "({expr}) * on ({on}) group_left (name) topk by ({on}) (1, max by ({on}, name) ({info}))\n\
             or\n({expr}) unless on ({on}) {info}"
        )
    }

    /// Increases, or rates, of a counter of the exporter, summed by labels: replicas make calls of their own.
    pub(super) fn rate(self, labels: &str, series: impl Into<Series>) -> String {
        let rate = self.each(series, |s| format!("rate({s}[$__rate_interval])"));
        match labels.is_empty() {
            true => format!("sum({rate})"),
            false => format!("sum by ({labels}) ({rate})"),
        }
    }

    /// How much a counter of the exporter grew in the time range, summed by labels.
    pub(super) fn growth(self, labels: &str, series: impl Into<Series>) -> String {
        let growth = self.each(series, |s| format!("increase({s}[$__range])"));
        match labels.is_empty() {
            true => format!("sum({growth})"),
            false => format!("sum by ({labels}) ({growth})"),
        }
    }

    /// The rates of those that grew within the time range at all.
    pub(super) fn rate_if_any(self, labels: &str, series: impl Into<Series> + Copy) -> String {
        let growth = self.each(series, |s| format!("increase({s}[$__range] @ end())"));
        format!("{}\nand\nsum by ({labels}) ({growth}) > 0", self.rate(labels, series))
    }

    /// A quantile of a histogram by labels. Where nothing was observed it is not a number, and left out.
    pub(super) fn quantile(self, quantile: &str, labels: &str, id: MetricId) -> String {
        let row = family(id);
        let buckets = self.selector(row, &format!("{}_bucket", row.name), row.labels, id.into());
        let by = if labels.is_empty() { "le".to_owned() } else { format!("{labels}, le") };
        format!("histogram_quantile({quantile}, sum by ({by}) (rate({buckets}[$__rate_interval]))) >= 0")
    }

    /// Observations a second of a histogram by labels.
    pub(super) fn observations(self, labels: &str, id: MetricId) -> String {
        let row = family(id);
        let count = self.selector(row, &format!("{}_count", row.name), row.labels, id.into());
        format!("sum by ({labels}) (rate({count}[$__rate_interval]))")
    }
}

/// The lines that are among the first by a rank, over all of the time range, so that a graph does not change its mind.
pub(super) fn first(expr: &str, rank: &str) -> String {
    format!("{expr}\nand\ntopk($limit, {rank})")
}

/// The rows of a table that are in a choice of the same level.
pub(super) fn among(expr: &str, choice: &str) -> String {
    format!("{expr}\nand\n{choice}")
}
