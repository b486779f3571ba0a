//! The board of the exporter itself: what it calls, what fails, how old its data is, and the process.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{self, Annotation, Dashboard, Name},
    panel::{Panel, Row},
    process,
    query::{Filters, Level, among, only},
    shared::{COMPLETE, LOADED},
    style::{AGE_SECONDS, BAD_FROM_ONE, SHARE, Steps, label, value},
};

pub(super) const F: Filters = Filters(&[
    ("job", "job"),
    ("instance", "exporter"),
    ("account", "account"),
    ("region", "region"),
    ("instance_id", "instance"),
]);

/// Seconds until credentials expire. Those of a role are renewed long before.
const EXPIRY: Steps = &[(None, "red"), (Some(300.0), "yellow"), (Some(900.0), "green")];
/// How late polls are.
const LATE: Steps = &[(None, "green"), (Some(30.0), "yellow"), (Some(60.0), "red")];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: Name::Exporter,
        description: "alikafka-exporter about its own work: calls to the cloud and how they end, the budget and what the fleet \
                      needs of it, how late and how old values are, and the process. Exporter is what Prometheus scrapes; \
                      Instance is the Kafka instance.",
        variables: vec![
            dashboard::source(),
            dashboard::job(Filters(&[])),
            dashboard::exporter(Filters(&F.0[..1])),
            dashboard::account(),
            dashboard::region(Filters(&F.0[..3])),
            dashboard::instance(Filters(&F.0[..4])),
            dashboard::limit(),
        ],
        annotations: vec![
            changes(
                "Exporter started",
                "blue",
                MetricId::ProcessStart,
                "{{instance}} started",
                "Counters begin at 0.",
            ),
            changes(
                "Configuration loaded",
                "purple",
                MetricId::ReloadTime,
                "{{instance}} loaded its configuration",
                "What it watches may be another set.",
            ),
        ],
        rows: vec![
            Row::open("Now", numbers()),
            Row::open("Calls to the cloud", calls()),
            Row::open("In time", in_time()),
            Row::open("Age of the data", age()),
            Row::open("Page", page()),
            Row::open("Credentials, clock and configuration", keys()),
            Row::closed("HTTP", process::http()),
            Row::closed("Process", process::process()),
        ],
    }
}

fn changes(
    name: &'static str,
    color: &'static str,
    id: MetricId,
    title: &'static str,
    text: &'static str,
) -> Annotation {
    let changed = F.max_of(Level::Exporter, id, |s| format!("changes({s}[$__rate_interval])"));
    Annotation { name, color, expr: format!("{changed} > 0"), title, text, tags: "instance" }
}

/// Attempts that failed. What is gone was deleted meanwhile, and is no failure.
fn failed() -> super::query::Series {
    only(MetricId::ApiRequests, "result", "!~", "ok|gone")
}

fn numbers() -> Vec<Panel> {
    let oldest = format!(
        "max(time() - {} and on ({}) {})",
        F.max_with(
            Level::Instance,
            "scope",
            only(MetricId::InstanceLastSuccess, "scope", "=~", "topics|groups")
        ),
        Level::Instance.list(),
        F.plain(MetricId::InstanceUp)
    );
    // Both of one exporter: each has a budget of its own.
    let budget = format!("max({} / {})", F.plain(MetricId::ApiDemand), F.plain(MetricId::ApiBudget));
    vec![
        Panel::stat(
            "Exporters",
            "Exporters that Prometheus scrapes, and how many of them gave no page.",
            "No exporter is scraped under this job",
        )
        .unit("none")
        .without_graph()
        .query(format!("count({})", F.up()), "all")
        .query(format!("sum(1 - {})", F.up()), "down")
        .of_name("down", &[("thresholds", super::style::thresholds_of_known(BAD_FROM_ONE))]),
        Panel::stat(
            "Incomplete",
            "Regions and instances whose last attempt was not complete: one topic or group that could not be read is \
             enough. An instance that is stopped or released is not tried.",
            "None was tried yet",
        )
        .unit("none")
        .judged(BAD_FROM_ONE)
        .without_graph()
        .query(format!("sum(1 - {})", F.max(Level::Region, MetricId::RegionUp)), "regions")
        .query(format!("sum(1 - {})", F.max(Level::Instance, MetricId::InstanceUp)), "instances"),
        Panel::stat(
            "Oldest data",
            "Time since the oldest answer about a topic or a group of any instance in service.",
            "No instance was read yet",
        )
        .unit("s")
        .judged(AGE_SECONDS)
        .query(oldest, "oldest"),
        Panel::stat(
            "Failed calls",
            "Share of attempts that failed, other than because the topic or group was deleted meanwhile.",
            "No call was made yet",
        )
        .unit("percentunit")
        .decimals(1)
        .judged(&[(None, "green"), (Some(0.01), "yellow"), (Some(0.1), "red")])
        .query(
            format!(
                "({} or {} * 0) / {}",
                F.rate("", failed()),
                F.rate("", MetricId::ApiRequests),
                F.rate("", MetricId::ApiRequests)
            ),
            "failed",
        ),
        Panel::stat(
            "Budget used",
            "Calls that the fleet needs as a share of those allowed, for the action and region where it is largest. Above 100 % \
             polls are late.",
            "No demand is known yet",
        )
        .unit("percentunit")
        .decimals(0)
        .judged(SHARE)
        .query(budget, "used"),
        Panel::stat(
            "Faults",
            "Panics and lost log lines of the selected exporters within the time range. Any is a fault.",
            "No exporter is scraped",
        )
        .decimals(0)
        .judged(BAD_FROM_ONE)
        .without_graph()
        .instant(F.growth("", MetricId::Panics), "panics")
        .instant(F.growth("", MetricId::LogLinesLost), "log lines lost"),
    ]
}

fn calls() -> Vec<Panel> {
    let results =
        [("ok", "green"), ("gone", "blue"), ("throttled", "orange"), ("timeout", "yellow"), ("auth", "red")];
    let by_result = results.iter().fold(
        Panel::graph(
            "Calls by result",
            "Attempts a second of all selected exporters, by how they ended. gone: the topic or group was deleted meanwhile. \
             throttled: the quota, which everything on the account shares, is used up.",
            "No call was made yet",
        )
        .size(8, 9)
        .unit("reqps")
        .stacked()
        .legend(&["mean", "max"])
        .axis("calls/s")
        .query(F.rate("result", MetricId::ApiRequests), "{{result}}"),
        |panel, (result, color)| panel.colored(result, color),
    );
    vec![
        by_result,
        Panel::graph(
            "Calls by action",
            "Attempts a second of all selected exporters, by action of the management API.",
            "No call was made yet",
        )
        .size(8, 9)
        .unit("reqps")
        .stacked()
        .legend(&["mean", "max"])
        .axis("calls/s")
        .query(F.rate("action", MetricId::ApiRequests), "{{action}}"),
        Panel::graph(
            "Failed calls by action and result",
            "Attempts a second that failed, other than because the object was deleted meanwhile. auth: the key, or what it may do; \
             clock: the host's clock; dns, connect, timeout: the network; throttled: the quota.",
            "No call failed",
        )
        .size(8, 9)
        .unit("reqps")
        .legend(&["mean", "max"])
        .axis("calls/s")
        .query(F.rate("action, result", failed()), "{{action}}: {{result}}"),
        Panel::table(
            "Failures within the time range",
            "Failed attempts by account, region, action and result. The first of each since the exporter started begins its series \
             and is not counted here.",
            "No call failed, or each kind once",
        )
        .size(8, 9)
        .rows(F.growth("account, region, action, result", failed()) + " > 0")
        .columns(
            &[
                label("action", "Action"),
                label("result", "Result"),
                value('A', "Failed", "short").decimals(0).judged(BAD_FROM_ONE),
                label("region", "Region"),
                label("account", "Account"),
            ],
            "Failed",
        ),
        Panel::graph(
            "Duration of calls",
            "How long attempts took, body included, over all actions: the middle one, and those of which one in ten and one in a \
             hundred took longer.",
            "No call was made yet",
        )
        .size(8, 9)
        .unit("s")
        .axis("duration")
        .query(F.quantile("0.5", "", MetricId::ApiDuration), "p50")
        .query(F.quantile("0.9", "", MetricId::ApiDuration), "p90")
        .query(F.quantile("0.99", "", MetricId::ApiDuration), "p99"),
        Panel::graph(
            "Duration by action, p99",
            "The duration that one attempt in a hundred took longer than, by action.",
            "No call was made yet",
        )
        .size(8, 9)
        .unit("s")
        .axis("duration")
        .query(F.quantile("0.99", "action", MetricId::ApiDuration), "{{action}}"),
        Panel::graph(
            "Retries",
            "Attempts a second that repeated a failed one, by action: those of which one was repeated within the time range.",
            "Nothing was retried",
        )
        .size(8, 9)
        .unit("reqps")
        .mostly_zero()
        .legend(&["mean", "max"])
        .axis("retries/s")
        .query(F.rate_if_any("action", MetricId::ApiRetries), "{{action}}"),
        Panel::graph(
            "Oddities in answers",
            "What was odd in answers of the cloud, by kind, a second: the kinds seen within the time range. What is odd is left out, the rest of the answer is kept.",
            "No oddity was seen",
        )
        .size(8, 9)
        .unit("cps")
        .mostly_zero()
        .legend(&["mean", "max"])
        .axis("oddities/s")
        .query(F.rate_if_any("kind", MetricId::Anomalies), "{{kind}}"),
        Panel::table(
            "Oddities within the time range",
            "What was odd in answers of the cloud, by kind. docs/lag.md says what clamped and contradiction mean for lag.",
            "No oddity was seen",
        )
        .size(8, 9)
        .rows(F.growth("kind", MetricId::Anomalies) + " > 0")
        .columns(&[label("kind", "Kind"), value('A', "Seen", "short").decimals(0)], "Seen"),
    ]
}

fn in_time() -> Vec<Panel> {
    let (demand, budget) = (F.plain(MetricId::ApiDemand), F.plain(MetricId::ApiBudget));
    vec![
        Panel::graph(
            "Demand as a share of the budget",
            "Calls a second that the fleet needs for every value to be polled in its interval, as a share of those that the exporter \
             may make, for each region and action: the $limit largest now. Above 100 % polls are late: raise requests_per_second, \
             lengthen intervals, or exclude what nobody looks at.",
            "No demand is known yet",
        )
        .size(8, 9)
        .unit("percentunit")
        .judged(SHARE)
        .legend(&["lastNotNull", "max"])
        .query(
            format!("topk($limit, max by ({}, action) ({demand} / {budget}))", Level::Region.list()),
            "{{action}} {{region}} {{account}}",
        ),
        Panel::graph(
            "Demand and budget",
            "Calls a second that the selected exporters need, by action, over the selected regions; dashed, and not in the legend, those allowed for \
             each. The budget falls while the cloud throttles.",
            "No demand is known yet",
        )
        .size(8, 9)
        .unit("reqps")
        .axis("calls/s")
        .query(format!("sum by (action) ({demand})"), "{{action}}: needed")
        .query(format!("sum by (action) ({budget})"), "{{action}}: allowed")
        .of_query('B', &[("custom.lineStyle", serde_json::json!({ "fill": "dash", "dash": [6, 6] }))])
        .without_legend('B'),
        Panel::graph(
            "Lateness of polls",
            "How long after their due time topics, groups and lists were polled: the middle one, and those of which one in ten and \
             one in a hundred were later.",
            "Nothing was polled yet",
        )
        .size(8, 9)
        .unit("s")
        .judged(LATE)
        .axis("late by")
        .query(F.quantile("0.5", "", MetricId::PollLateness), "p50")
        .query(F.quantile("0.9", "", MetricId::PollLateness), "p90")
        .query(F.quantile("0.99", "", MetricId::PollLateness), "p99"),
        Panel::graph(
            "Lateness by region, p99",
            "The lateness that one poll in a hundred exceeded, by region.",
            "Nothing was polled yet",
        )
        .size(12, 9)
        .unit("s")
        .judged(LATE)
        .axis("late by")
        .query(F.quantile("0.99", "account, region", MetricId::PollLateness), "{{account}} {{region}}"),
        Panel::graph(
            "Polls by region",
            "Topics, groups and lists polled a second, by region.",
            "Nothing was polled yet",
        )
        .size(12, 9)
        .unit("ops")
        .legend(&["mean", "max"])
        .axis("polls/s")
        .query(F.observations("account, region", MetricId::PollLateness), "{{account}} {{region}}"),
    ]
}

fn age() -> Vec<Panel> {
    let on = Level::Instance.list();
    let polled = only(MetricId::InstanceLastSuccess, "scope", "=~", "topics|groups");
    let last = F.max_with(Level::Instance, "scope", polled);
    let last_at_end = format!(
        "max by ({on}, scope) ({})",
        F.each(polled, |s| format!("last_over_time({s}[$__range] @ end())"))
    );
    let oldest = format!("bottomk($limit, min by ({on}) ({last_at_end}))");
    let worst = format!(
        "bottomk($limit, {})",
        F.max_of(Level::Instance, MetricId::InstanceUp, |s| format!("avg_over_time({s}[$__range] @ end())"))
    );
    vec![
        Panel::graph(
            "Age of data by instance",
            "Time since the oldest answer about a topic or a group of the instance, each of which is asked for every poll_interval: the \
             $limit oldest. What could not be refreshed within stale_after leaves the page, and its age goes on growing here.",
            "No instance was read yet",
        )
        .unit("s")
        .judged(AGE_SECONDS)
        .axis("age")
        .query(format!("time() - min by ({on}) ({last})\nand\n{oldest}"), "{{instance_id}}"),
        Panel::graph(
            "Age of data by region and scope",
            "Time since the last complete answer of each scope of a region. discovery: the lists of instances, topics and groups, every \
             discovery_interval; topics and groups: every poll_interval.",
            "No region was read yet",
        )
        .unit("s")
        .judged(AGE_SECONDS)
        .axis("age")
        .query(
            format!("time() - {}", F.max_with(Level::Region, "scope", MetricId::RegionLastSuccess)),
            "{{account}} {{region}} {{scope}}",
        ),
        Panel::timeline(
            "Instances: complete passes",
            "Whether the last pass over an instance was complete, on any selected exporter: the $limit that failed most within the \
             time range.",
            "No instance was tried yet",
        )
        .words(&COMPLETE)
        .query(F.named(&among(&F.max(Level::Instance, MetricId::InstanceUp), &worst)), "{{name}} ({{instance_id}})"),
        Panel::timeline(
            "Exporters and regions",
            "Whether Prometheus gets the page of each exporter, and whether the last attempt to read each region was complete. A gap: \
             not scraped, or not tried.",
            "No exporter is scraped under this job",
        )
        .words(&[(0, "down or incomplete", "red"), (1, "up or complete", "green")])
        .query(F.up(), "exporter {{instance}}")
        .query(F.max(Level::Region, MetricId::RegionUp), "{{account}} {{region}}"),
    ]
}

fn page() -> Vec<Panel> {
    vec![
        Panel::graph(
            "Objects known",
            "Instances, topics and groups that an exporter knows after filters, over the selected regions: in each, of the exporter \
             that knows most.",
            "Nothing is known yet",
        )
        .size(8, 9)
        .axis("objects")
        .query(
            format!("sum by (kind) ({})", F.max_with(Level::Region, "kind", MetricId::Objects)),
            "{{kind}}",
        ),
        Panel::graph(
            "Series",
            "Series of the fleet on the page of each exporter, without those of its own process.",
            "No page was made yet",
        )
        .size(8, 9)
        .axis("series")
        .query(F.max(Level::Exporter, MetricId::Series), "{{instance}}"),
        Panel::graph(
            "Series left out",
            "Series a second that were left out of pages, by reason, summed over all pages. What is cut is not watched: choose a \
             coarser metrics.granularity, filter, or raise metrics.max_series.",
            "No series was left out",
        )
        .size(8, 9)
        .unit("cps")
        .mostly_zero()
        .axis("series/s")
        .legend(&["mean", "max"])
        .query(F.rate("instance, reason", MetricId::DroppedSeries), "{{instance}}: {{reason}}"),
    ]
}

fn keys() -> Vec<Panel> {
    vec![
        Panel::graph(
            "Credentials expire in",
            "Time until the credentials in use expire. Those of a role are renewed before. Absent for credentials that do not expire.",
            "The credentials do not expire",
        )
        .size(6, 9)
        .unit("s")
        .judged(EXPIRY)
        .signed()
        .axis("left")
        .legend(&["min", "lastNotNull"])
        .query(
            format!("min by (instance, account) ({}) - time()", F.plain(MetricId::CredentialsExpiry)),
            "{{instance}} {{account}}",
        ),
        Panel::graph(
            "Failed renewals",
            "Attempts a second to read or renew the credentials that failed.",
            "No renewal is known",
        )
        .size(6, 9)
        .unit("cps")
        .mostly_zero()
        .axis("failures/s")
        .legend(&["mean", "max"])
        .query(F.rate("instance, account", MetricId::CredentialsFailures), "{{instance}} {{account}}"),
        Panel::graph(
            "Clock of the cloud ahead by",
            "How far the clock of the cloud is ahead of the exporter's host. Lag is told by the cloud's clock, so a skew shifts \
             nothing; but from 15 minutes on signatures are refused. A mean over a few scrapes: the cloud tells its time in whole \
             seconds, so that parts of a second say nothing.",
            "No answer was had yet",
        )
        .size(6, 9)
        .unit("s")
        .signed()
        .axis("ahead")
        .query(
            format!(
                "max by (instance, account) ({})",
                F.each(MetricId::ClockSkew, |s| format!("avg_over_time({s}[$__rate_interval])"))
            ),
            "{{instance}} {{account}}",
        ),
        Panel::timeline(
            "Configuration",
            "Whether the last attempt to load the configuration was successful. After one that failed the configuration before it is in \
             force, and a restart would fail.",
            "No exporter is scraped",
        )
        .size(6, 9)
        .words(&LOADED)
        .query(F.max(Level::Exporter, MetricId::ReloadSuccessful), "{{instance}}"),
    ]
}
