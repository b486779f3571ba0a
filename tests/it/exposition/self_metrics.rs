//! The exporter's metrics about itself follow the catalog and go with what they are about.

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

fn used(account: Option<&AccountName>) -> SelfMetrics {
    let own = SelfMetrics::new(BUILD).unwrap();
    for name in ["cn-hangzhou", "cn-beijing"] {
        let region = region(name);
        own.observe_api_request(account, &region, "GetTopicList", "ok", Duration::from_millis(20));
        own.count_api_retry(account, &region, "GetTopicList");
        own.set_api_budget(account, &region, "GetTopicList", 20.0);
        own.set_api_demand(account, &region, "GetTopicList", 1.5);
        own.observe_poll_lateness(account, &region, Duration::from_millis(1500));
    }
    own.count_anomaly(AnomalyKind::Clamped);
    own.set_credentials_expiry(account, UnixMillis::new(1_700_000_000_123));
    own.add_credentials_failures(account, 2);
    own.add_panics(1);
    own.add_lost_log_lines(3);
    own.set_clock_skew(account, -0.25);
    own.record_config_load(UnixMillis::new(1_700_000_000_000));
    own.observe_http_request("/metrics", 200, Duration::from_micros(300));
    own.count_http_rejection("too_many_connections");
    own.set_http_connections(3);
    own
}

fn page(own: &SelfMetrics) -> Scrape {
    seen(own, &SelfMetricsOptions::default())
}

fn seen(own: &SelfMetrics, look: &SelfMetricsOptions) -> Scrape {
    Scrape::parse(own.encode(look).unwrap())
}

#[test]
fn families_have_the_names_types_and_labels_of_the_catalog() {
    let account = AccountName::new("prod").unwrap();
    for naming in [Naming::Native, Naming::KafkaExporter] {
        for named in [None, Some(&account)] {
            let look = SelfMetricsOptions {
                naming,
                accounts_are_named: named.is_some(),
                ..SelfMetricsOptions::default()
            };
            let page = seen(&used(named), &look);
            let expected: Vec<_> = FAMILIES.iter().filter(|f| f.id > MetricId::Objects).collect();
            let mut names: Vec<_> = expected.iter().map(|f| f.name_in(naming)).collect();
            names.sort_unstable();
            assert_eq!(page.families.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), names);
            for f in expected {
                let name = f.name_in(naming);
                let (_, kind, help) = page.families.iter().find(|(n, ..)| n == name).unwrap();
                assert_eq!((kind.as_str(), help.as_str()), (f.kind.as_str(), f.help), "{name}");
                let sample = page.samples.iter().find(|s| s.name.starts_with(name)).unwrap();
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
fn retries_are_there_with_zero_before_the_first() {
    let own = SelfMetrics::new(BUILD).unwrap();
    own.set_api_budget(None, &region("cn-hangzhou"), "GetTopicList", 20.0);
    let labels = [("region", "cn-hangzhou"), ("action", "GetTopicList")];
    assert_eq!(page(&own).values("alikafka_exporter_api_retries_total", &labels), ["0"]);
}

#[test]
fn values_are_what_was_noted() {
    let own = used(None);
    let page = page(&own);
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
        assert_eq!(page.values(name, labels), [value], "{name}");
    }
}

#[test]
fn every_anomaly_kind_is_there_before_it_happens() {
    let page = page(&SelfMetrics::new(BuildInfo::default()).unwrap());
    assert_eq!(page.values("alikafka_exporter_anomalies_total", &[]), ["0"; AnomalyKind::ALL.len()]);
    assert_eq!(page.values("alikafka_exporter_dropped_series_total", &[("reason", "max_series")]), ["0"]);
}

#[test]
fn a_region_that_ended_takes_its_series_along() {
    let account = AccountName::new("prod").unwrap();
    for named in [None, Some(&account)] {
        let own = used(named);
        own.remove_region(named, &region("cn-beijing"));
        let page = seen(
            &own,
            &SelfMetricsOptions { accounts_are_named: named.is_some(), ..SelfMetricsOptions::default() },
        );
        let left =
            |r: &str| page.samples.iter().filter(|s| s.labels.get("region").is_some_and(|l| l == r)).count();
        assert_eq!(left("cn-beijing"), 0);
        assert!(left("cn-hangzhou") > 5);
    }
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_last_good_one() {
    let own = used(None);
    own.record_config_load(None);
    let page = page(&own);
    assert_eq!(page.values("alikafka_exporter_config_last_reload_successful", &[]), ["0"]);
    let time = "alikafka_exporter_config_last_reload_success_timestamp_seconds";
    assert_eq!(page.values(time, &[]), ["1700000000"]);
}

#[test]
fn an_account_that_ended_takes_its_series_along() {
    let [kept, gone] = ["kept", "gone"].map(|name| AccountName::new(name).unwrap());
    let own = used(Some(&kept));
    own.set_credentials_expiry(Some(&gone), UnixMillis::new(1));
    own.add_credentials_failures(Some(&gone), 1);
    own.set_clock_skew(Some(&gone), 1.0);
    own.remove_account(Some(&gone));
    let page = seen(&own, &SelfMetricsOptions { accounts_are_named: true, ..SelfMetricsOptions::default() });
    let of = |name: &str| {
        page.samples.iter().filter(|s| s.labels.get("account").is_some_and(|l| l == name)).count()
    };
    assert_eq!(of("gone"), 0);
    assert!(of("kept") > 5);
}

#[test]
fn what_was_counted_stays_when_names_and_labels_change() {
    let own = used(None);
    let labels = vec![("team".to_owned(), "a".to_owned())];
    let other = SelfMetricsOptions {
        naming: Naming::KafkaExporter,
        constant_labels: labels,
        accounts_are_named: false,
    };
    let of_hangzhou = [("region", "cn-hangzhou")];
    let name = "alikafka_exporter_api_requests_total";
    assert_eq!(seen(&own, &other).values(name, &[("team", "a"), of_hangzhou[0]]), ["1"]);
    assert_eq!(seen(&own, &other).values("kafka_exporter_build_info", &[("version", "1.2.3")]), ["1"]);
    assert_eq!(page(&own).values(name, &of_hangzhou), ["1"]);
    assert_eq!(page(&own).values("kafka_exporter_build_info", &[]), [] as [&str; 0]);
}

#[test]
fn credentials_that_do_not_expire_have_no_expiry() {
    let own = used(None);
    own.set_credentials_expiry(None, None);
    own.set_credentials_expiry(None, None);
    assert_eq!(
        page(&own).values("alikafka_exporter_credentials_expiry_timestamp_seconds", &[]),
        [] as [&str; 0]
    );
}

#[test]
fn constant_labels_are_on_every_series() {
    let labels = vec![("team".to_owned(), "a \"b\"".to_owned()), ("region".to_owned(), "x".to_owned())];
    let page =
        seen(&used(None), &SelfMetricsOptions { constant_labels: labels, ..SelfMetricsOptions::default() });
    assert!(page.samples.iter().all(|s| s.labels.get("team").is_some_and(|l| l == "a \"b\"")));
    assert!(page.samples.iter().all(|s| s.labels.get("region").is_none_or(|l| l != "x")));
}

#[test]
fn what_a_page_holds_and_what_it_lost_is_told() {
    let own = SelfMetrics::new(BuildInfo::default()).unwrap();
    let options = super::RenderOptions { max_series: Some(100), ..super::RenderOptions::default() };
    let rendered = Renderer::new(options).render(&fleet::fleet());
    own.record_exposition(&rendered);
    own.record_exposition(&rendered);
    let page = page(&own);
    assert!(rendered.dropped_series() > 0);
    assert_eq!(page.values("alikafka_exporter_series", &[]), [rendered.series_count().to_string()]);
    assert_eq!(
        page.values("alikafka_exporter_dropped_series_total", &[]),
        [(2 * rendered.dropped_series()).to_string()]
    );
}

#[test]
fn the_fleet_and_the_exporter_have_no_family_in_common() {
    let own = used(None);
    let page = Renderer::new(super::everything()).render(&fleet::fleet());
    _ = Scrape::parse(super::text(
        &page.with_appended_text(own.encode(&SelfMetricsOptions::default()).unwrap()),
    ));
}
