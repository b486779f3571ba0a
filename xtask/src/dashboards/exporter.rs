//! Dashboard of the exporter itself: API calls and failures, poll timeliness, age of the data, and the process.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{Annotation, Dashboard, DashboardId},
    exporter_rows,
    panel::{Panel, Row},
    query::{EXPORTER, Level, Series, matching},
    shared_panels::instance_polling_health,
    style::{AGE_SECONDS, BAD_FROM_ONE, SHARE, ThresholdSteps, label, value},
    value_texts::RELOAD,
};

/// Seconds until credentials expire. Temporary credentials are refreshed long before.
const EXPIRY: ThresholdSteps = &[(None, "red"), (Some(300.0), "yellow"), (Some(900.0), "green")];
/// Delay of polls in seconds.
const DELAY: ThresholdSteps = &[(None, "green"), (Some(30.0), "yellow"), (Some(60.0), "red")];

const REGION_LEGEND: &str = "{{account}} {{region}}";
const ACCOUNT_LEGEND: &str = "{{instance}} {{account}}";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        id: DashboardId::Exporter,
        description: "Operation of alikafka-exporter: API calls and their results, request budget and \
                      demand, poll timeliness, age of the data, and the process. Exporter is the scrape \
                      target of Prometheus; Instance is the Kafka instance.",
        filters: EXPORTER,
        annotations: vec![
            exporter_changes(
                "Exporter started",
                "blue",
                MetricId::ProcessStart,
                "{{instance}} started",
                "Counters restart at 0.",
            ),
            exporter_changes(
                "Configuration loaded",
                "purple",
                MetricId::ReloadTime,
                "{{instance}} loaded its configuration",
                "The set of monitored objects may have changed.",
            ),
        ],
        rows: vec![
            Row::new("Overview", overview()),
            Row::new("API calls", calls()).panel_size(8, 9),
            Row::new("Poll timeliness", timeliness()),
            Row::new("Age of the data", age()),
            Row::new("Exposition", exposition()).panel_size(8, 9),
            Row::new("Credentials, clock and configuration", credentials()).panel_size(6, 9),
            Row::new("HTTP server", exporter_rows::http()).panel_size(6, 9).collapsed(),
            Row::new("Process", exporter_rows::process()).panel_size(6, 9).collapsed(),
        ],
    }
}

fn exporter_changes(
    name: &'static str,
    color: &'static str,
    id: MetricId,
    title: &'static str,
    text: &'static str,
) -> Annotation {
    let expr = format!("{} > 0", EXPORTER.changes(Level::Exporter, id));
    Annotation { name, color, expr, title, text, tags: "instance" }
}

/// Failed calls. `gone` is not a failure, because the object was deleted in the meantime.
fn failed() -> Series {
    matching(MetricId::ApiRequests, "result", "!~", "ok|gone")
}

/// Timestamps of the last polls of topics and groups.
fn last_polls() -> Series {
    matching(MetricId::InstanceLastSuccess, "scope", "=~", "topics|groups")
}

/// Graph of the median and the upper percentiles of a histogram.
fn percentiles(panel: Panel, id: MetricId) -> Panel {
    [("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99")]
        .into_iter()
        .fold(panel, |panel, (quantile, legend)| panel.query(EXPORTER.quantile(quantile, "", id), legend))
}

fn overview() -> Vec<Panel> {
    let oldest = format!(
        "max(time() - {} and on ({}) {})",
        EXPORTER.max_with(Level::Instance, "scope", last_polls()),
        Level::Instance.list(),
        EXPORTER.plain(MetricId::InstanceUp)
    );
    // Demand and budget of the same exporter, because each exporter has its own budget.
    let budget =
        format!("max({} / {})", EXPORTER.plain(MetricId::ApiDemand), EXPORTER.plain(MetricId::ApiBudget));
    let all_calls = EXPORTER.rate("", MetricId::ApiRequests);
    let failed_share = format!("({} or {all_calls} * 0) / {all_calls}", EXPORTER.rate("", failed()));
    vec![
        Panel::count("Exporters", "No exporter in this job")
            .description("Exporters that Prometheus scrapes, and how many of them failed to respond.")
            .query(format!("count({})", EXPORTER.up()), "all")
            .bad_query(format!("sum(1 - {})", EXPORTER.up()), "down"),
        Panel::count("Incomplete polls", "Nothing polled yet")
            .description(
                "Regions and instances whose last poll was incomplete, because of at least one failed topic \
                 or group. Stopped and released instances are not polled.",
            )
            .thresholds(BAD_FROM_ONE)
            .query(format!("sum(1 - {})", EXPORTER.max(Level::Region, MetricId::RegionUp)), "regions")
            .query(format!("sum(1 - {})", EXPORTER.max(Level::Instance, MetricId::InstanceUp)), "instances"),
        Panel::stat("Oldest data", "No instance polled yet")
            .description(
                "Time since the oldest successful poll of a topic or a group, over all instances in \
                 service.",
            )
            .unit("s")
            .thresholds(AGE_SECONDS)
            .query(oldest, "oldest"),
        Panel::stat("Failed API calls", "No API call yet")
            .description(
                "Share of API calls that failed, except those for a topic or group deleted in the meantime.",
            )
            .unit("percentunit")
            .decimals(1)
            .thresholds(&[(None, "green"), (Some(0.01), "yellow"), (Some(0.1), "red")])
            .query(failed_share, "failed"),
        Panel::stat("Budget used", "No demand known yet")
            .description(
                "Demand for API calls as a share of the request budget, maximum over actions and regions. \
                 Above 100 % polls are delayed.",
            )
            .unit("percentunit")
            .decimals(0)
            .thresholds(SHARE)
            .query(budget, "used"),
        Panel::stat("Internal errors", "No exporter")
            .description(
                "Panics and lost log lines of the selected exporters in the time range. Each one indicates \
                 a fault.",
            )
            .decimals(0)
            .thresholds(BAD_FROM_ONE)
            .without_graph()
            .instant(EXPORTER.growth("", MetricId::Panics), "panics")
            .instant(EXPORTER.growth("", MetricId::LogLinesLost), "log lines lost"),
    ]
}

fn calls() -> Vec<Panel> {
    let results =
        [("ok", "green"), ("gone", "blue"), ("throttled", "orange"), ("timeout", "yellow"), ("auth", "red")];
    let by_result = results.iter().fold(
        Panel::rates("API calls by result", "No API call yet")
            .description(
                "API calls per second, including retries, of all selected exporters. gone: the topic or \
                 group was deleted in the meantime. throttled: the API quota, which all clients of the \
                 account share, is used up.",
            )
            .axis("reqps", "calls/s")
            .stacked()
            .query(EXPORTER.rate("result", MetricId::ApiRequests), "{{result}}"),
        |panel, (result, color)| panel.colored(result, color),
    );
    vec![
        by_result,
        Panel::rates("API calls by action", "No API call yet")
            .description("API calls per second of all selected exporters, by action of the management API.")
            .axis("reqps", "calls/s")
            .stacked()
            .query(EXPORTER.rate("action", MetricId::ApiRequests), "{{action}}"),
        Panel::rates("Failed API calls by action and result", "No API call failed")
            .description(
                "Failed API calls per second, except those for an object deleted in the meantime. auth: \
                 access key or its permissions; clock: clock of the host; dns, connect, timeout: network; \
                 throttled: API quota.",
            )
            .axis("reqps", "calls/s")
            .query(EXPORTER.rate("action, result", failed()), "{{action}}: {{result}}"),
        Panel::table("Failed API calls in the time range", "No API call failed, or each kind once")
            .description(
                "Failed API calls by account, region, action and result. The first failure of each kind \
                 after a start of the exporter creates its series and is not counted.",
            )
            .column(label("action", "Action"))
            .column(label("result", "Result"))
            .value(
                EXPORTER.growth("account, region, action, result", failed()) + " > 0",
                value("Failed", "short").decimals(0).thresholds(BAD_FROM_ONE),
            )
            .column(label("region", "Region"))
            .column(label("account", "Account"))
            .sorted_by("Failed"),
        percentiles(
            Panel::graph("API call duration", "No API call yet")
                .description(
                    "Duration of API calls including the response body, over all actions: median, 90th and \
                     99th percentile.",
                )
                .axis("s", "duration"),
            MetricId::ApiDuration,
        ),
        Panel::graph("API call duration by action, p99", "No API call yet")
            .description("99th percentile of the duration of API calls, by action.")
            .axis("s", "duration")
            .query(EXPORTER.quantile("0.99", "action", MetricId::ApiDuration), "{{action}}"),
        Panel::rates("Retries", "No retries")
            .description(
                "Retries of failed API calls per second, by action: actions with a retry in the time range.",
            )
            .axis("reqps", "retries/s")
            .mostly_zero()
            .query(EXPORTER.rate_if_any("action", MetricId::ApiRetries), "{{action}}"),
        Panel::rates("Response anomalies", "No anomalies")
            .description(
                "Anomalies in API responses per second, by kind: kinds that occurred in the time range. \
                 Malformed items are skipped, the remaining response is used.",
            )
            .axis("cps", "anomalies/s")
            .mostly_zero()
            .query(EXPORTER.rate_if_any("kind", MetricId::Anomalies), "{{kind}}"),
        Panel::table("Response anomalies in the time range", "No anomalies")
            .description(
                "Anomalies in API responses, by kind. docs/lag.md explains the effect of clamped and \
                 contradiction on lag.",
            )
            .column(label("kind", "Kind"))
            .value(EXPORTER.growth("kind", MetricId::Anomalies) + " > 0", value("Count", "short").decimals(0))
            .sorted_by("Count"),
    ]
}

fn timeliness() -> Vec<Panel> {
    let (demand, budget) = (EXPORTER.plain(MetricId::ApiDemand), EXPORTER.plain(MetricId::ApiBudget));
    vec![
        Panel::graph("Demand as a share of the budget", "No demand known yet")
            .description(
                "API calls required to poll every value in its interval, as a share of the request budget, \
                 by region and action: the $limit largest now. Above 100 % polls are delayed: raise \
                 requests_per_second, lengthen the intervals, or exclude objects that nobody needs.",
            )
            .size(8, 9)
            .unit("percentunit")
            .thresholds(SHARE)
            .query(
                format!("topk($limit, max by ({}, action) ({demand} / {budget}))", Level::Region.list()),
                "{{action}} {{region}} {{account}}",
            ),
        Panel::graph("Demand and budget", "No demand known yet")
            .description(
                "API calls per second that the selected exporters require, by action, over the selected \
                 regions. Dashed, and not in the legend: the request budget of each action, which shrinks \
                 while the API throttles.",
            )
            .size(8, 9)
            .axis("reqps", "calls/s")
            .query(format!("sum by (action) ({demand})"), "{{action}}: demand")
            .query(format!("sum by (action) ({budget})"), "{{action}}: budget")
            .dashed('B')
            .without_legend('B'),
        percentiles(
            Panel::graph("Poll delay", "Nothing polled yet")
                .description(
                    "Delay of polls of topics, groups and lists after their due time: median, 90th and 99th \
                     percentile.",
                )
                .size(8, 9)
                .axis("s", "delay")
                .thresholds(DELAY),
            MetricId::PollLateness,
        ),
        Panel::graph("Poll delay by region, p99", "Nothing polled yet")
            .description("99th percentile of the delay of polls after their due time, by region.")
            .axis("s", "delay")
            .thresholds(DELAY)
            .query(EXPORTER.quantile("0.99", "account, region", MetricId::PollLateness), REGION_LEGEND),
        Panel::rates("Polls by region", "Nothing polled yet")
            .description("Polls of topics, groups and lists per second, by region.")
            .axis("ops", "polls/s")
            .query(EXPORTER.observations("account, region", MetricId::PollLateness), REGION_LEGEND),
    ]
}

fn age() -> Vec<Panel> {
    let on = Level::Instance.list();
    let last = EXPORTER.max_with(Level::Instance, "scope", last_polls());
    let last_at_end = format!(
        "max by ({on}, scope) ({})",
        EXPORTER.each(last_polls(), |s| format!("last_over_time({s}[$__range] @ end())"))
    );
    let oldest = format!("bottomk($limit, min by ({on}) ({last_at_end}))");
    vec![
        Panel::graph("Age of data by instance", "No instance polled yet")
            .description(
                "Time since the oldest successful poll of a topic or a group of the instance: the $limit \
                 oldest. Each is polled every poll_interval. Values older than stale_after are no longer \
                 exported, while their age continues to grow here.",
            )
            .axis("s", "age")
            .thresholds(AGE_SECONDS)
            .query(format!("time() - min by ({on}) ({last})\nand\n{oldest}"), "{{instance_id}}"),
        Panel::graph("Age of data by region and scope", "No region polled yet")
            .description(
                "Time since the last complete poll of each scope of a region. discovery: the lists of \
                 instances, topics and groups, every discovery_interval; topics and groups: every \
                 poll_interval.",
            )
            .axis("s", "age")
            .thresholds(AGE_SECONDS)
            .query(
                format!(
                    "time() - {}",
                    EXPORTER.max_with(Level::Region, "scope", MetricId::RegionLastSuccess)
                ),
                "{{account}} {{region}} {{scope}}",
            ),
        instance_polling_health(EXPORTER),
        Panel::timeline("Exporters and regions", "No exporter in this job")
            .description(
                "Whether Prometheus can scrape each exporter, and whether the last poll of each region was \
                 complete. A gap: not scraped, or not polled.",
            )
            .mapped(&[(0, "down or incomplete", "red"), (1, "up or complete", "green")])
            .query(EXPORTER.up(), "exporter {{instance}}")
            .query(EXPORTER.max(Level::Region, MetricId::RegionUp), REGION_LEGEND),
    ]
}

fn exposition() -> Vec<Panel> {
    vec![
        Panel::graph("Monitored objects", "Nothing discovered yet")
            .description(
                "Instances, topics and groups after filters, over the selected regions. For each region: \
                 the exporter with the most.",
            )
            .axis("short", "objects")
            .query(
                format!("sum by (kind) ({})", EXPORTER.max_with(Level::Region, "kind", MetricId::Objects)),
                "{{kind}}",
            ),
        Panel::graph("Series", "No exposition yet")
            .description(
                "Series about the cloud in the metrics response of each exporter, without its self-metrics.",
            )
            .axis("short", "series")
            .query(EXPORTER.max(Level::Exporter, MetricId::Series), "{{instance}}"),
        Panel::rates("Dropped series", "No series dropped")
            .description(
                "Series omitted from metrics responses per second, by reason. Omitted objects are not \
                 monitored: choose a coarser metrics.granularity, filter objects, or raise \
                 metrics.max_series.",
            )
            .axis("cps", "series/s")
            .mostly_zero()
            .query(EXPORTER.rate("instance, reason", MetricId::DroppedSeries), "{{instance}}: {{reason}}"),
    ]
}

fn credentials() -> Vec<Panel> {
    vec![
        Panel::graph("Time to credential expiry", "The credentials do not expire")
            .description(
                "Time until the credentials in use expire. Temporary credentials are refreshed earlier. \
                 Absent for credentials that do not expire.",
            )
            .axis("s", "time left")
            .thresholds(EXPIRY)
            .signed()
            .legend(&["min", "lastNotNull"])
            .query(
                format!(
                    "min by (instance, account) ({}) - time()",
                    EXPORTER.plain(MetricId::CredentialsExpiry)
                ),
                ACCOUNT_LEGEND,
            ),
        Panel::rates("Failed credential refreshes", "No refresh known")
            .description("Failed attempts per second to read or refresh the credentials.")
            .axis("cps", "failures/s")
            .mostly_zero()
            .query(EXPORTER.rate("instance, account", MetricId::CredentialsFailures), ACCOUNT_LEGEND),
        Panel::graph("Clock skew", "No API response yet")
            .description(
                "Time by which the clock of the API is ahead of the exporter's host, as a mean over a few \
                 scrapes. Lag uses the clock of the API, so skew does not affect it, but the API rejects \
                 signatures if it reaches 15 minutes. Fractions of a second are not significant, because the API \
                 reports full seconds.",
            )
            .axis("s", "ahead")
            .signed()
            .query(
                format!(
                    "max by (instance, account) ({})",
                    EXPORTER.each(MetricId::ClockSkew, |s| format!("avg_over_time({s}[$__rate_interval])"))
                ),
                ACCOUNT_LEGEND,
            ),
        Panel::timeline("Configuration reloads", "No exporter")
            .description(
                "Whether the last reload of the configuration succeeded. After a failure the exporter keeps \
                 the previous configuration, and a restart would fail.",
            )
            .mapped(&RELOAD)
            .query(EXPORTER.max(Level::Exporter, MetricId::ReloadSuccessful), "{{instance}}"),
    ]
}
