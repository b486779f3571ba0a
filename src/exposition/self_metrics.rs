//! What the exporter tells about itself, beside the fleet.
//!
//! Owns: counters, gauges and histograms of API calls, polls, pages, configuration, HTTP and the process,
//! under the names, labels and help of the [`catalog`]. Refuses: knowing who calls the API or serves HTTP:
//! values of labels come in as words, and the closed sets are kept by those who own them.

use std::{collections::HashMap, time::Duration};

use prometheus::{
    Error, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, MetricVec, MetricVecBuilder},
    process_collector::ProcessCollector,
    proto::LabelPair,
};

use super::{
    Exposition,
    catalog::{self, FAMILIES, MetricId},
    render::usable_labels,
};
use crate::model::{AccountName, AnomalyKind, Naming, RegionId, UnixMillis};

/// From 5 ms to the longest call that a request timeout of a minute allows.
const CALL_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Polls are due every minute or so: what matters is late by a second, by an interval, by many.
const LATENESS_BUCKETS: [f64; 9] = [0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 1800.0];

/// Answers are copies of memory.
const HTTP_BUCKETS: [f64; 7] = [0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0];

/// The value of the label `reason` for series cut by the limit `metrics.max_series`.
const MAX_SERIES: &str = "max_series";

/// The label values of a metric that has no labels.
const NONE: &[&str] = &[];

/// How the exporter's metrics about itself are written. It may change while they count on.
#[derive(Debug, Clone, Default)]
pub struct SelfMetricsOptions {
    /// Under which names.
    pub naming: Naming,
    /// Labels on every series, as in [`super::RenderOptions::constant_labels`].
    pub constant_labels: Vec<(String, String)>,
    /// Whether accounts are named: then what belongs to one has the label `account`.
    pub accounts_are_named: bool,
}

/// What the exporter was built from.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildInfo {
    /// The version of the package.
    pub version: &'static str,
    /// The revision of the source.
    pub revision: &'static str,
    /// The version of the compiler.
    pub rustversion: &'static str,
}

/// The exporter's metrics about itself. Shared by reference; every method may be called from any thread.
#[derive(Debug)]
pub struct SelfMetrics {
    registry: Registry,
    api_requests: IntCounterVec,
    api_duration: HistogramVec,
    api_retries: IntCounterVec,
    api_budget: GaugeVec,
    api_demand: GaugeVec,
    poll_lateness: HistogramVec,
    series: IntGaugeVec,
    dropped_series: IntCounterVec,
    anomalies: IntCounterVec,
    credentials_expiry: GaugeVec,
    credentials_failures: IntCounterVec,
    clock_skew: GaugeVec,
    reload_successful: IntGaugeVec,
    reload_time: GaugeVec,
    panics: IntCounterVec,
    log_lines_lost: IntCounterVec,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    http_rejected: IntCounterVec,
    http_connections: IntGaugeVec,
}

impl SelfMetrics {
    /// Metrics that have counted nothing yet.
    ///
    /// # Errors
    /// If the catalog contradicts itself, which a test rules out.
    pub fn new(build: BuildInfo) -> Result<Self, Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let make = MetricRegistrar { registry: &registry };
        let BuildInfo { version, revision, rustversion } = build;
        let build = make.vec(MetricId::BuildInfo, IntGaugeVec::new)?;
        build.get_metric_with_label_values(&[version, revision, rustversion])?.set(1);
        let own = Self {
            api_requests: make.vec(MetricId::ApiRequests, IntCounterVec::new)?,
            api_duration: make.histogram(MetricId::ApiDuration, &CALL_BUCKETS)?,
            api_retries: make.vec(MetricId::ApiRetries, IntCounterVec::new)?,
            api_budget: make.vec(MetricId::ApiBudget, GaugeVec::new)?,
            api_demand: make.vec(MetricId::ApiDemand, GaugeVec::new)?,
            poll_lateness: make.histogram(MetricId::PollLateness, &LATENESS_BUCKETS)?,
            series: make.vec(MetricId::Series, IntGaugeVec::new)?,
            dropped_series: make.vec(MetricId::DroppedSeries, IntCounterVec::new)?,
            anomalies: make.vec(MetricId::Anomalies, IntCounterVec::new)?,
            credentials_expiry: make.vec(MetricId::CredentialsExpiry, GaugeVec::new)?,
            credentials_failures: make.vec(MetricId::CredentialsFailures, IntCounterVec::new)?,
            clock_skew: make.vec(MetricId::ClockSkew, GaugeVec::new)?,
            reload_successful: make.vec(MetricId::ReloadSuccessful, IntGaugeVec::new)?,
            reload_time: make.vec(MetricId::ReloadTime, GaugeVec::new)?,
            panics: make.vec(MetricId::Panics, IntCounterVec::new)?,
            log_lines_lost: make.vec(MetricId::LogLinesLost, IntCounterVec::new)?,
            http_requests: make.vec(MetricId::HttpRequests, IntCounterVec::new)?,
            http_duration: make.histogram(MetricId::HttpDuration, &HTTP_BUCKETS)?,
            http_rejected: make.vec(MetricId::HttpRejected, IntCounterVec::new)?,
            http_connections: make.vec(MetricId::HttpConnections, IntGaugeVec::new)?,
            registry,
        };
        // What is 0 is there from the start, so that a first increase is seen as one.
        for kind in AnomalyKind::ALL {
            own.anomalies.with_label_values(&[kind.label()]).inc_by(0);
        }
        own.dropped_series.with_label_values(&[MAX_SERIES]).inc_by(0);
        own.series.with_label_values(NONE).set(0);
        own.panics.with_label_values(NONE).inc_by(0);
        own.log_lines_lost.with_label_values(NONE).inc_by(0);
        own.http_connections.with_label_values(NONE).set(0);
        Ok(own)
    }

    /// Counts an attempt to call the API and how long it took. `result` is `ok` or the kind of failure.
    pub fn observe_api_request(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: &'static str,
        result: &'static str,
        took: Duration,
    ) {
        self.api_requests.with_label_values(&with_region(account, region, &[action, result])).inc();
        self.api_duration.with_label_values(&[action]).observe(took.as_secs_f64());
    }

    /// Counts an attempt that repeats a failed one; it is also counted as an attempt.
    pub fn count_api_retry(&self, account: Option<&AccountName>, region: &RegionId, action: &'static str) {
        self.api_retries.with_label_values(&with_region(account, region, &[action])).inc();
    }

    /// Sets how many calls a second an action may make now. Its retries, 0 so far, are there from then on.
    pub fn set_api_budget(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: &'static str,
        per_second: f64,
    ) {
        let labels = with_region(account, region, &[action]);
        self.api_budget.with_label_values(&labels).set(per_second);
        self.api_retries.with_label_values(&labels).inc_by(0);
    }

    /// Sets how many calls a second of an action the fleet needs.
    pub fn set_api_demand(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: &'static str,
        per_second: f64,
    ) {
        self.api_demand.with_label_values(&with_region(account, region, &[action])).set(per_second);
    }

    /// Notes how long after its due time something was polled.
    pub fn observe_poll_lateness(&self, account: Option<&AccountName>, region: &RegionId, late: Duration) {
        let labels = with_region(account, region, &[]);
        self.poll_lateness.with_label_values(&labels).observe(late.as_secs_f64());
    }

    /// Notes what a page that was rendered holds, and what was left out of it. Once for each page.
    pub fn record_exposition(&self, page: &Exposition) {
        self.series.with_label_values(NONE).set(i64::try_from(page.series_count()).unwrap_or(i64::MAX));
        self.dropped_series.with_label_values(&[MAX_SERIES]).inc_by(page.dropped_series());
    }

    /// Counts an oddity of an answer.
    pub fn count_anomaly(&self, kind: AnomalyKind) {
        self.anomalies.with_label_values(&[kind.label()]).inc();
    }

    /// Sets when the credentials in use expire; `None` for those that do not.
    pub fn set_credentials_expiry(&self, account: Option<&AccountName>, at: Option<UnixMillis>) {
        let labels = with_account(account);
        match at {
            Some(at) => self.credentials_expiry.with_label_values(&labels).set(seconds(at)),
            // There is nothing to remove if there was nothing.
            None => _ = self.credentials_expiry.remove_label_values(&labels),
        }
    }

    /// Counts failed attempts to read or renew an account's credentials; 0 makes the series be there.
    pub fn add_credentials_failures(&self, account: Option<&AccountName>, failures: u64) {
        self.credentials_failures.with_label_values(&with_account(account)).inc_by(failures);
    }

    /// Sets by how many seconds the clock of the cloud is ahead of the clock of this host.
    pub fn set_clock_skew(&self, account: Option<&AccountName>, seconds: f64) {
        self.clock_skew.with_label_values(&with_account(account)).set(seconds);
    }

    /// Notes an attempt to load the configuration: when it succeeded, or `None` if it failed.
    pub fn record_config_load(&self, at: Option<UnixMillis>) {
        self.reload_successful.with_label_values(NONE).set(i64::from(at.is_some()));
        if let Some(at) = at {
            self.reload_time.with_label_values(NONE).set(seconds(at));
        }
    }

    /// Counts panics of any thread.
    pub fn add_panics(&self, times: u64) {
        self.panics.with_label_values(NONE).inc_by(times);
    }

    /// Counts lines of the log that could not be written.
    pub fn add_lost_log_lines(&self, lines: u64) {
        self.log_lines_lost.with_label_values(NONE).inc_by(lines);
    }

    /// Counts an HTTP request and how long it took until the answer was ready. `path` is one of a closed
    /// set, with one word for all paths that are not served.
    pub fn observe_http_request(&self, path: &'static str, code: u16, took: Duration) {
        self.http_requests.with_label_values(&[path, itoa::Buffer::new().format(code)]).inc();
        self.http_duration.with_label_values(&[path]).observe(took.as_secs_f64());
    }

    /// Counts a connection or a request that was turned away.
    pub fn count_http_rejection(&self, reason: &'static str) {
        self.http_rejected.with_label_values(&[reason]).inc();
    }

    /// Sets how many HTTP connections are open.
    pub fn set_http_connections(&self, open: usize) {
        self.http_connections.with_label_values(NONE).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Removes the series of a region that is looked at no more.
    pub fn remove_region(&self, account: Option<&AccountName>, region: &RegionId) {
        let labels = with_region(account, region, &[]);
        let gone: Vec<(&str, &str)> =
            [ACCOUNT, "region"].into_iter().zip(labels.iter().map(String::as_str)).collect();
        remove(&self.api_requests, &gone);
        remove(&self.api_retries, &gone);
        remove(&self.api_budget, &gone);
        remove(&self.api_demand, &gone);
        remove(&self.poll_lateness, &gone);
    }

    /// Removes the series of an account that is looked at no more, but for those of its regions.
    pub fn remove_account(&self, account: Option<&AccountName>) {
        let labels = with_account(account);
        let gone: Vec<(&str, &str)> = [ACCOUNT].into_iter().zip(labels.iter().map(String::as_str)).collect();
        remove(&self.credentials_expiry, &gone);
        remove(&self.credentials_failures, &gone);
        remove(&self.clock_skew, &gone);
    }

    /// The metrics as text 0.0.4: what [`Exposition::with_appended_text`] takes.
    ///
    /// # Errors
    /// If the registry holds what the format cannot say, which a test rules out.
    pub fn encode(&self, look: &SelfMetricsOptions) -> Result<String, Error> {
        let constant: Vec<LabelPair> = usable_labels(look.constant_labels.clone())
            .into_iter()
            .map(|(name, value)| pair(name, value))
            .collect();
        let mut families = self.registry.gather();
        for family in &mut families {
            let row = FAMILIES.iter().find(|row| row.name_in(Naming::Native) == family.name());
            if let Some(row) = row {
                family.set_name(row.name_in(look.naming).to_owned());
            }
            for metric in family.mut_metric() {
                let mut labels = metric.take_label();
                labels.retain(|label| look.accounts_are_named || label.name() != ACCOUNT);
                labels.extend_from_slice(&constant);
                metric.set_label(labels);
            }
        }
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

/// The label of the account. All that belongs to one is counted under it; where accounts have no names, it is
/// left out when the page is written.
const ACCOUNT: &str = "account";

fn with_account(account: Option<&AccountName>) -> Vec<String> {
    vec![account.map_or("", AccountName::as_str).to_owned()]
}

fn with_region(account: Option<&AccountName>, region: &RegionId, rest: &[&str]) -> Vec<String> {
    let mut labels = with_account(account);
    labels.push(region.as_str().to_owned());
    labels.extend(rest.iter().map(|&l| l.to_owned()));
    labels
}

fn pair(name: String, value: String) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name);
    pair.set_value(value);
    pair
}

/// Makes metrics as the catalog says and registers them.
struct MetricRegistrar<'a> {
    registry: &'a Registry,
}

impl MetricRegistrar<'_> {
    fn opts(&self, id: MetricId) -> (Opts, Vec<&'static str>) {
        let row = catalog::family(id);
        let per_account = row.labels.contains(&"region") || PER_ACCOUNT.contains(&id);
        let mut labels = Vec::new();
        if per_account {
            labels.push(ACCOUNT);
        }
        labels.extend(row.labels_in(Naming::Native));
        (Opts::new(row.name_in(Naming::Native), row.help_text()), labels)
    }

    fn vec<T: MetricVecBuilder + 'static>(
        &self,
        id: MetricId,
        new: impl Fn(Opts, &[&str]) -> Result<MetricVec<T>, Error>,
    ) -> Result<MetricVec<T>, Error> {
        let (opts, labels) = self.opts(id);
        let vec = new(opts, &labels)?;
        self.registry.register(Box::new(vec.clone()))?;
        Ok(vec)
    }

    fn histogram(&self, id: MetricId, buckets: &[f64]) -> Result<HistogramVec, Error> {
        self.vec(id, |opts, labels| {
            HistogramVec::new(HistogramOpts { common_opts: opts, buckets: buckets.to_vec() }, labels)
        })
    }
}

/// Families without a region that belong to an account all the same.
const PER_ACCOUNT: [MetricId; 3] =
    [MetricId::CredentialsExpiry, MetricId::CredentialsFailures, MetricId::ClockSkew];

/// Removes the series that have all of these labels.
fn remove<T: MetricVecBuilder>(vec: &MetricVec<T>, gone: &[(&str, &str)]) {
    for family in vec.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
            if gone.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                // Another thread may have removed it meanwhile.
                _ = vec.remove(&labels);
            }
        }
    }
}

/// A time in seconds, as a gauge holds it.
fn seconds(at: UnixMillis) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age fit; a gauge is a float")]
    let millis = at.get() as f64;
    millis / 1000.0
}
