//! Self-metrics follow the catalog and disappear with the region or account they belong to.

use std::time::Duration;

use alikafka_exporter::exposition::catalog::{FAMILIES, MetricId};
use alikafka_exporter::exposition::self_metrics::{BuildInfo, SelfMetricsOptions};
use alikafka_exporter::exposition::{Renderer, SelfMetrics};
use alikafka_exporter::model::{AccountName, AnomalyKind, Naming, RegionId, UnixMillis};

use test_support::scrape::Scrape;

use super::fleet;

const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "abc", rustversion: "1.95.0" };

fn region(name: &str) -> RegionId {
    RegionId::new(name).unwrap()
}

fn filled(account: Option<&AccountName>) -> SelfMetrics {
    let metrics = SelfMetrics::new(BUILD).unwrap();
    for name in ["cn-hangzhou", "cn-beijing"] {
        let region = region(name);
        metrics.observe_api_request(account, &region, "GetTopicList", "ok", Duration::from_millis(20));
        metrics.count_api_retry(account, &region, "GetTopicList");
        metrics.set_api_rates(account, &region, "GetTopicList", 1.5, 20.0);
        metrics.observe_poll_lateness(account, &region, Duration::from_millis(1500));
    }
    metrics.count_anomaly(AnomalyKind::Clamped);
    metrics.set_credentials_expiry(account, UnixMillis::new(1_700_000_000_123));
    metrics.add_credentials_failures(account, 2);
    metrics.add_panics(1);
    metrics.add_lost_log_lines(3);
    metrics.set_clock_skew(account, -0.25);
    metrics.record_config_load(UnixMillis::new(1_700_000_000_000));
    metrics.observe_http_request("/metrics", 200, Duration::from_micros(300));
    metrics.count_http_rejection("too_many_connections");
    metrics.set_http_connections(3);
    metrics
}

fn scrape(metrics: &SelfMetrics) -> Scrape {
    scrape_with(metrics, &SelfMetricsOptions::default())
}

fn scrape_with(metrics: &SelfMetrics, options: &SelfMetricsOptions) -> Scrape {
    Scrape::parse(metrics.encode(options).unwrap())
}

#[test]
fn families_have_the_names_types_and_labels_of_the_catalog() {
    let account = AccountName::new("prod").unwrap();
    for naming in [Naming::Native, Naming::KafkaExporter] {
        for named in [None, Some(&account)] {
            let options = SelfMetricsOptions {
                naming,
                accounts_are_named: named.is_some(),
                ..SelfMetricsOptions::default()
            };
            let scraped = scrape_with(&filled(named), &options);
            let expected: Vec<_> = FAMILIES.iter().filter(|f| f.id > MetricId::Objects).collect();
            let mut names: Vec<_> = expected.iter().map(|f| f.name_in(naming)).collect();
            names.sort_unstable();
            assert_eq!(scraped.families.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), names);
            for f in expected {
                let name = f.name_in(naming);
                let (_, kind, help) = scraped.families.iter().find(|(n, ..)| n == name).unwrap();
                assert_eq!((kind.as_str(), help.as_str()), (f.kind.as_str(), f.help), "{name}");
                let sample = scraped.samples.iter().find(|s| s.name.starts_with(name)).unwrap();
                let mut labels: Vec<_> = f.labels.to_vec();
                if named.is_some()
                    && (f.labels.contains(&"region")
                        || name.contains("_credentials_")
                        || name.contains("_skew_"))
                {
                    labels.push("account");
                }
                labels.sort_unstable();
                let found: Vec<_> = sample.labels.keys().map(String::as_str).filter(|l| *l != "le").collect();
                assert_eq!(found, labels, "{name}");
            }
        }
    }
}

#[test]
fn retry_counters_start_at_zero() {
    let metrics = SelfMetrics::new(BUILD).unwrap();
    metrics.set_api_rates(None, &region("cn-hangzhou"), "GetTopicList", 1.5, 20.0);
    let labels = [("region", "cn-hangzhou"), ("action", "GetTopicList")];
    assert_eq!(scrape(&metrics).values("alikafka_exporter_api_retries_total", &labels), ["0"]);
}

#[test]
fn values_are_as_recorded() {
    let metrics = filled(None);
    let scraped = scrape(&metrics);
    let hangzhou = [("region", "cn-hangzhou"), ("action", "GetTopicList")];
    for (name, labels, value) in [
        ("alikafka_exporter_api_requests_total", &hangzhou[..], "1"),
        ("alikafka_exporter_api_request_duration_seconds_count", &[], "2"),
        ("alikafka_exporter_api_retries_total", &hangzhou, "1"),
        ("alikafka_exporter_api_budget_requests_per_second", &hangzhou, "20"),
        ("alikafka_exporter_api_demand_requests_per_second", &hangzhou, "1.5"),
        ("alikafka_exporter_poll_lateness_seconds_sum", &hangzhou[..1], "1.5"),
        ("alikafka_exporter_anomalies_total", &[("kind", "clamped")], "1"),
        ("alikafka_exporter_anomalies_total", &[("kind", "paging")], "0"),
        ("alikafka_exporter_credentials_expiry_timestamp_seconds", &[], "1700000000.123"),
        ("alikafka_exporter_credentials_refresh_failures_total", &[], "2"),
        ("alikafka_exporter_panics_total", &[], "1"),
        ("alikafka_exporter_log_lines_lost_total", &[], "3"),
        ("alikafka_exporter_clock_skew_seconds", &[], "-0.25"),
        ("alikafka_exporter_config_last_reload_successful", &[], "1"),
        ("alikafka_exporter_config_last_reload_success_timestamp_seconds", &[], "1700000000"),
        (
            "alikafka_exporter_build_info",
            &[("version", "1.2.3"), ("revision", "abc"), ("rustversion", "1.95.0")],
            "1",
        ),
        ("alikafka_exporter_http_requests_total", &[("path", "/metrics"), ("code", "200")], "1"),
        ("alikafka_exporter_http_rejected_total", &[("reason", "too_many_connections")], "1"),
        ("alikafka_exporter_http_connections", &[], "3"),
    ] {
        assert_eq!(scraped.values(name, labels), [value], "{name}");
    }
}

#[test]
fn counters_with_known_labels_start_at_zero() {
    let scraped = scrape(&SelfMetrics::new(BuildInfo::default()).unwrap());
    assert_eq!(scraped.values("alikafka_exporter_anomalies_total", &[]), ["0"; AnomalyKind::ALL.len()]);
    assert_eq!(scraped.values("alikafka_exporter_dropped_series_total", &[("reason", "max_series")]), ["0"]);
}

#[test]
fn a_removed_region_loses_its_series() {
    let account = AccountName::new("prod").unwrap();
    for named in [None, Some(&account)] {
        let metrics = filled(named);
        metrics.remove_region(named, &region("cn-beijing"));
        let scraped = scrape_with(
            &metrics,
            &SelfMetricsOptions { accounts_are_named: named.is_some(), ..SelfMetricsOptions::default() },
        );
        let left = |r: &str| {
            scraped.samples.iter().filter(|s| s.labels.get("region").is_some_and(|l| l == r)).count()
        };
        assert_eq!(left("cn-beijing"), 0);
        assert!(left("cn-hangzhou") > 5);
    }
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_last_success() {
    let metrics = filled(None);
    metrics.record_config_load(None);
    let scraped = scrape(&metrics);
    assert_eq!(scraped.values("alikafka_exporter_config_last_reload_successful", &[]), ["0"]);
    let time = "alikafka_exporter_config_last_reload_success_timestamp_seconds";
    assert_eq!(scraped.values(time, &[]), ["1700000000"]);
}

#[test]
fn a_removed_account_loses_its_series() {
    let [kept, gone] = ["kept", "gone"].map(|name| AccountName::new(name).unwrap());
    let metrics = filled(Some(&kept));
    metrics.set_credentials_expiry(Some(&gone), UnixMillis::new(1));
    metrics.add_credentials_failures(Some(&gone), 1);
    metrics.set_clock_skew(Some(&gone), 1.0);
    metrics.remove_account(Some(&gone));
    let scraped = scrape_with(
        &metrics,
        &SelfMetricsOptions { accounts_are_named: true, ..SelfMetricsOptions::default() },
    );
    let of = |name: &str| {
        scraped.samples.iter().filter(|s| s.labels.get("account").is_some_and(|l| l == name)).count()
    };
    assert_eq!(of("gone"), 0);
    assert!(of("kept") > 5);
}

#[test]
fn values_survive_a_change_of_names_and_labels() {
    let metrics = filled(None);
    let labels = vec![("team".to_owned(), "a".to_owned())];
    let other = SelfMetricsOptions {
        naming: Naming::KafkaExporter,
        constant_labels: labels,
        accounts_are_named: false,
    };
    let of_hangzhou = [("region", "cn-hangzhou")];
    let name = "alikafka_exporter_api_requests_total";
    assert_eq!(scrape_with(&metrics, &other).values(name, &[("team", "a"), of_hangzhou[0]]), ["1"]);
    assert_eq!(
        scrape_with(&metrics, &other).values("kafka_exporter_build_info", &[("version", "1.2.3")]),
        ["1"]
    );
    assert_eq!(scrape(&metrics).values(name, &of_hangzhou), ["1"]);
    assert_eq!(scrape(&metrics).values("kafka_exporter_build_info", &[]), [] as [&str; 0]);
}

#[test]
fn credentials_that_do_not_expire_have_no_expiry() {
    let metrics = filled(None);
    metrics.set_credentials_expiry(None, None);
    metrics.set_credentials_expiry(None, None);
    assert_eq!(
        scrape(&metrics).values("alikafka_exporter_credentials_expiry_timestamp_seconds", &[]),
        [] as [&str; 0]
    );
}

#[test]
fn constant_labels_are_on_every_series() {
    let labels = vec![("team".to_owned(), "a \"b\"".to_owned()), ("region".to_owned(), "x".to_owned())];
    let scraped = scrape_with(
        &filled(None),
        &SelfMetricsOptions { constant_labels: labels, ..SelfMetricsOptions::default() },
    );
    assert!(scraped.samples.iter().all(|s| s.labels.get("team").is_some_and(|l| l == "a \"b\"")));
    assert!(scraped.samples.iter().all(|s| s.labels.get("region").is_none_or(|l| l != "x")));
}

#[test]
fn series_and_dropped_series_of_expositions_are_counted() {
    let metrics = SelfMetrics::new(BuildInfo::default()).unwrap();
    let options = super::RenderOptions { max_series: Some(100), ..super::RenderOptions::default() };
    let rendered = Renderer::new(options).render(&fleet::fleet());
    metrics.record_exposition(&rendered);
    metrics.record_exposition(&rendered);
    let scraped = scrape(&metrics);
    assert!(rendered.dropped_series() > 0);
    assert_eq!(scraped.values("alikafka_exporter_series", &[]), [rendered.series_count().to_string()]);
    assert_eq!(
        scraped.values("alikafka_exporter_dropped_series_total", &[]),
        [(2 * rendered.dropped_series()).to_string()]
    );
}

#[test]
fn the_fleet_and_the_exporter_have_no_metric_in_common() {
    let metrics = filled(None);
    let exposition = Renderer::new(super::everything()).render(&fleet::fleet());
    _ = Scrape::parse(super::text(
        &exposition.with_appended_text(metrics.encode(&SelfMetricsOptions::default()).unwrap()),
    ));
}
