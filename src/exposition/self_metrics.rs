//! Metrics of the exporter about itself.
//!
//! Owns: counters, gauges and histograms of API calls, polls, expositions, configuration, HTTP and the process, with
//! the names, labels and HELP texts of the [`catalog`]. Out of scope: the code that calls the API or serves HTTP. It
//! passes label values as strings and owns their closed sets.

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
    render::allowed_labels,
};
use crate::model::{AccountName, AnomalyKind, Naming, RegionId, UnixMillis};

/// Buckets of API calls in seconds, up to a request timeout of one minute.
const CALL_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Buckets of poll delays in seconds: around a second, around a poll interval, and many intervals.
const LATENESS_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 1800.0];

/// Buckets of HTTP requests in seconds. Most responses are copies of memory.
const HTTP_BUCKETS: &[f64] = &[0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0];

/// Value of the label `reason` for series that the limit `metrics.max_series` left out.
const MAX_SERIES: &str = "max_series";

/// Label values of a metric without labels.
const NONE: &[&str] = &[];

/// Label of the account. Series of an account always have it internally; it is removed from the text unless accounts
/// are named.
const ACCOUNT: &str = "account";

/// Metrics of an account that have no `region` label.
const PER_ACCOUNT: [MetricId; 3] =
    [MetricId::CredentialsExpiry, MetricId::CredentialsFailures, MetricId::ClockSkew];

/// Options of the text form, which a reload may change.
#[derive(Debug, Clone, Default)]
pub struct SelfMetricsOptions {
    /// Naming scheme.
    pub naming: Naming,
    /// Labels of every series, as in [`crate::model::RenderOptions::constant_labels`].
    pub constant_labels: Vec<(String, String)>,
    /// Whether accounts are named, so that their series have the label `account`.
    pub accounts_are_named: bool,
}

/// Build information.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: &'static str,
    /// Revision of the source.
    pub revision: &'static str,
    /// Version of the compiler.
    pub rustversion: &'static str,
}

/// Metrics of the exporter about itself. All methods may be called from any thread.
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
    /// Creates the metrics. Those without variable labels start at 0, so that `rate()` sees their first increase.
    ///
    /// # Errors
    /// If the catalog is inconsistent, which a test rules out.
    pub fn new(build: BuildInfo) -> Result<Self, Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let counter = |id| register(&registry, id, IntCounterVec::new);
        let gauge = |id| register(&registry, id, GaugeVec::new);
        let int_gauge = |id| register(&registry, id, IntGaugeVec::new);
        let histogram = |id, buckets: &[f64]| {
            register(&registry, id, |opts, labels| {
                HistogramVec::new(HistogramOpts { common_opts: opts, buckets: buckets.to_vec() }, labels)
            })
        };
        let build_labels = [build.version, build.revision, build.rustversion];
        int_gauge(MetricId::BuildInfo)?.get_metric_with_label_values(&build_labels)?.set(1);
        let metrics = Self {
            api_requests: counter(MetricId::ApiRequests)?,
            api_duration: histogram(MetricId::ApiDuration, CALL_BUCKETS)?,
            api_retries: counter(MetricId::ApiRetries)?,
            api_budget: gauge(MetricId::ApiBudget)?,
            api_demand: gauge(MetricId::ApiDemand)?,
            poll_lateness: histogram(MetricId::PollLateness, LATENESS_BUCKETS)?,
            series: int_gauge(MetricId::Series)?,
            dropped_series: counter(MetricId::DroppedSeries)?,
            anomalies: counter(MetricId::Anomalies)?,
            credentials_expiry: gauge(MetricId::CredentialsExpiry)?,
            credentials_failures: counter(MetricId::CredentialsFailures)?,
            clock_skew: gauge(MetricId::ClockSkew)?,
            reload_successful: int_gauge(MetricId::ReloadSuccessful)?,
            reload_time: gauge(MetricId::ReloadTime)?,
            panics: counter(MetricId::Panics)?,
            log_lines_lost: counter(MetricId::LogLinesLost)?,
            http_requests: counter(MetricId::HttpRequests)?,
            http_duration: histogram(MetricId::HttpDuration, HTTP_BUCKETS)?,
            http_rejected: counter(MetricId::HttpRejected)?,
            http_connections: int_gauge(MetricId::HttpConnections)?,
            registry: registry.clone(),
        };
        for kind in AnomalyKind::ALL {
            metrics.anomalies.with_label_values(&[kind.label()]).inc_by(0);
        }
        metrics.dropped_series.with_label_values(&[MAX_SERIES]).inc_by(0);
        metrics.series.with_label_values(NONE).set(0);
        metrics.panics.with_label_values(NONE).inc_by(0);
        metrics.log_lines_lost.with_label_values(NONE).inc_by(0);
        metrics.http_connections.with_label_values(NONE).set(0);
        Ok(metrics)
    }

    /// Counts an attempted API call. `result` is `ok` or the kind of failure.
    pub fn observe_api_request(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: &'static str,
        result: &'static str,
        duration: Duration,
    ) {
        let labels = [account_label(account), region.as_str(), action, result];
        self.api_requests.with_label_values(&labels).inc();
        self.api_duration.with_label_values(&[action]).observe(duration.as_secs_f64());
    }

    /// Counts a retry, in addition to [`Self::observe_api_request`].
    pub fn count_api_retry(&self, account: Option<&AccountName>, region: &RegionId, action: &'static str) {
        self.api_retries.with_label_values(&[account_label(account), region.as_str(), action]).inc();
    }

    /// Sets the API calls per second of an action: those that keep every poll on time, and those that the exporter may
    /// make now. Starts the retry counter of the action at 0.
    pub fn set_api_rates(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: &'static str,
        demand: f64,
        budget: f64,
    ) {
        let labels = [account_label(account), region.as_str(), action];
        self.api_demand.with_label_values(&labels).set(demand);
        self.api_budget.with_label_values(&labels).set(budget);
        self.api_retries.with_label_values(&labels).inc_by(0);
    }

    /// Observes the delay of a poll after its due time.
    pub fn observe_poll_lateness(&self, account: Option<&AccountName>, region: &RegionId, delay: Duration) {
        let labels = [account_label(account), region.as_str()];
        self.poll_lateness.with_label_values(&labels).observe(delay.as_secs_f64());
    }

    /// Records the series of an exposition. Must be called once for each.
    pub fn record_exposition(&self, exposition: &Exposition) {
        self.series.with_label_values(NONE).set(saturating_i64(exposition.series_count()));
        self.dropped_series.with_label_values(&[MAX_SERIES]).inc_by(exposition.dropped_series());
    }

    /// Counts an anomaly of an API response.
    pub fn count_anomaly(&self, kind: AnomalyKind) {
        self.anomalies.with_label_values(&[kind.label()]).inc();
    }

    /// Sets the expiry time of the credentials in use; `None` for credentials that do not expire.
    pub fn set_credentials_expiry(&self, account: Option<&AccountName>, at: Option<UnixMillis>) {
        let labels = [account_label(account)];
        match at {
            Some(at) => self.credentials_expiry.with_label_values(&labels).set(seconds(at)),
            // Fails only if there is no such series.
            None => _ = self.credentials_expiry.remove_label_values(&labels),
        }
    }

    /// Counts failed attempts to read or refresh credentials. 0 creates the series.
    pub fn add_credentials_failures(&self, account: Option<&AccountName>, failures: u64) {
        self.credentials_failures.with_label_values(&[account_label(account)]).inc_by(failures);
    }

    /// Sets the clock of the service minus the clock of this host, in seconds.
    pub fn set_clock_skew(&self, account: Option<&AccountName>, seconds: f64) {
        self.clock_skew.with_label_values(&[account_label(account)]).set(seconds);
    }

    /// Records an attempt to load the configuration: the time of success, or `None` for a failure.
    pub fn record_config_load(&self, success_at: Option<UnixMillis>) {
        self.reload_successful.with_label_values(NONE).set(i64::from(success_at.is_some()));
        if let Some(at) = success_at {
            self.reload_time.with_label_values(NONE).set(seconds(at));
        }
    }

    /// Counts panics of any thread.
    pub fn add_panics(&self, panics: u64) {
        self.panics.with_label_values(NONE).inc_by(panics);
    }

    /// Counts log lines that could not be written.
    pub fn add_lost_log_lines(&self, lines: u64) {
        self.log_lines_lost.with_label_values(NONE).inc_by(lines);
    }

    /// Counts an HTTP request. `path` is one of a closed set.
    pub fn observe_http_request(&self, path: &'static str, code: u16, duration: Duration) {
        self.http_requests.with_label_values(&[path, itoa::Buffer::new().format(code)]).inc();
        self.http_duration.with_label_values(&[path]).observe(duration.as_secs_f64());
    }

    /// Counts a rejected HTTP connection or request.
    pub fn count_http_rejection(&self, reason: &'static str) {
        self.http_rejected.with_label_values(&[reason]).inc();
    }

    /// Sets the number of open HTTP connections.
    pub fn set_http_connections(&self, open: usize) {
        self.http_connections.with_label_values(NONE).set(saturating_i64(open));
    }

    /// Removes the series of a region that is no longer polled.
    pub fn remove_region(&self, account: Option<&AccountName>, region: &RegionId) {
        let labels = [(ACCOUNT, account_label(account)), ("region", region.as_str())];
        remove_series(&self.api_requests, &labels);
        remove_series(&self.api_retries, &labels);
        remove_series(&self.api_budget, &labels);
        remove_series(&self.api_demand, &labels);
        remove_series(&self.poll_lateness, &labels);
    }

    /// Removes the series of an account that is no longer polled, except those of its regions.
    pub fn remove_account(&self, account: Option<&AccountName>) {
        let labels = [(ACCOUNT, account_label(account))];
        remove_series(&self.credentials_expiry, &labels);
        remove_series(&self.credentials_failures, &labels);
        remove_series(&self.clock_skew, &labels);
    }

    /// Encodes the metrics in the text format 0.0.4, for [`Exposition::with_appended_text`].
    ///
    /// # Errors
    /// If the format cannot represent a metric, which a test rules out.
    pub fn encode(&self, options: &SelfMetricsOptions) -> Result<String, Error> {
        let constant_labels = allowed_labels(options.constant_labels.clone());
        let constant_labels: Vec<LabelPair> = constant_labels.into_iter().map(label_pair).collect();
        let mut families = self.registry.gather();
        for family in &mut families {
            if let Some(declared) = FAMILIES.iter().find(|f| f.name == family.name()) {
                family.set_name(declared.name_in(options.naming).to_owned());
            }
            for metric in family.mut_metric() {
                let mut labels = metric.take_label();
                labels.retain(|label| options.accounts_are_named || label.name() != ACCOUNT);
                labels.extend_from_slice(&constant_labels);
                metric.set_label(labels);
            }
        }
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

/// Creates and registers a metric as the catalog declares it.
fn register<T: MetricVecBuilder + 'static>(
    registry: &Registry,
    id: MetricId,
    create: impl Fn(Opts, &[&str]) -> Result<MetricVec<T>, Error>,
) -> Result<MetricVec<T>, Error> {
    let family = catalog::family(id);
    let mut labels = Vec::new();
    if family.labels.contains(&"region") || PER_ACCOUNT.contains(&id) {
        labels.push(ACCOUNT);
    }
    labels.extend(family.labels);
    let metric = create(Opts::new(family.name, family.help), &labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Removes the series that have all of these labels.
fn remove_series<T: MetricVecBuilder>(metric: &MetricVec<T>, removed: &[(&str, &str)]) {
    for family in metric.collect() {
        for series in family.get_metric() {
            let labels: HashMap<&str, &str> =
                series.get_label().iter().map(|l| (l.name(), l.value())).collect();
            if removed.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                // Fails only if another thread has removed it.
                _ = metric.remove(&labels);
            }
        }
    }
}

fn account_label(account: Option<&AccountName>) -> &str {
    account.map_or("", AccountName::as_str)
}

fn label_pair((name, value): (String, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name);
    pair.set_value(value);
    pair
}

fn saturating_i64(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// Returns a time in seconds since 1970-01-01 UTC.
fn seconds(at: UnixMillis) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age fit; a gauge is a float")]
    let millis = at.get() as f64;
    millis / 1000.0
}
