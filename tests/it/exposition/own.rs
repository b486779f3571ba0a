//! The exporter's metrics about itself follow the catalog and go with what they are about.

use std::time::Duration;

use alikafka_exporter::exposition::catalog::{FAMILIES, Id, Naming};
use alikafka_exporter::exposition::own::{Build, Look};
use alikafka_exporter::exposition::{Own, Renderer};
use alikafka_exporter::model::{AccountName, AnomalyKind, RegionId, UnixMillis};

use super::{fleet, parse::Parsed};

const BUILD: Build = Build { version: "1.2.3", revision: "abc", rustversion: "1.95.0" };

fn region(name: &str) -> RegionId {
    RegionId::new(name).unwrap()
}

fn used(account: Option<&AccountName>) -> Own {
    let own = Own::new(BUILD).unwrap();
    for name in ["cn-hangzhou", "cn-beijing"] {
        let region = region(name);
        own.api_request(account, &region, "GetTopicList", "ok", Duration::from_millis(20));
        own.api_retry(account, &region, "GetTopicList");
        own.api_budget(account, &region, "GetTopicList", 20.0);
        own.api_demand(account, &region, "GetTopicList", 1.5);
        own.poll_lateness(account, &region, Duration::from_millis(1500));
    }
    own.anomaly(AnomalyKind::Clamped);
    own.credentials_expiry(account, UnixMillis::new(1_700_000_000_123));
    own.credentials_failures(account, 2);
    own.panicked(1);
    own.log_lines_lost(3);
    own.clock_skew(account, -0.25);
    own.config_loaded(UnixMillis::new(1_700_000_000_000));
    own.http_request("/metrics", 200, Duration::from_micros(300));
    own.http_rejected("too_many_connections");
    own.http_connections(3);
    own
}

fn page(own: &Own) -> Parsed {
    seen(own, &Look::default())
}

fn seen(own: &Own, look: &Look) -> Parsed {
    Parsed::of(&own.encode(look).unwrap())
}

#[test]
fn families_have_the_names_types_and_labels_of_the_catalog() {
    let account = AccountName::new("prod").unwrap();
    for naming in [Naming::Native, Naming::KafkaExporter] {
        for named in [None, Some(&account)] {
            let look = Look { naming, accounts_are_named: named.is_some(), ..Look::default() };
            let page = seen(&used(named), &look);
            let expected: Vec<_> = FAMILIES.iter().filter(|f| f.id > Id::Objects).collect();
            let mut names: Vec<_> = expected.iter().map(|f| f.name_in(naming)).collect();
            names.sort_unstable();
            assert_eq!(page.families.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), names);
            for f in expected {
                let name = f.name_in(naming);
                let (_, kind, help) = page.families.iter().find(|(n, ..)| n == name).unwrap();
                assert_eq!((kind.as_str(), help), (f.kind.word(), &f.help_text()), "{name}");
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
    let own = Own::new(BUILD).unwrap();
    own.api_budget(None, &region("cn-hangzhou"), "GetTopicList", 20.0);
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
    let page = page(&Own::new(Build::default()).unwrap());
    assert_eq!(page.values("alikafka_exporter_anomalies_total", &[]), ["0"; AnomalyKind::ALL.len()]);
    assert_eq!(page.values("alikafka_exporter_dropped_series_total", &[("reason", "max_series")]), ["0"]);
}

#[test]
fn a_region_that_ended_takes_its_series_along() {
    let account = AccountName::new("prod").unwrap();
    for named in [None, Some(&account)] {
        let own = used(named);
        own.forget_region(named, &region("cn-beijing"));
        let page = seen(&own, &Look { accounts_are_named: named.is_some(), ..Look::default() });
        let left =
            |r: &str| page.samples.iter().filter(|s| s.labels.get("region").is_some_and(|l| l == r)).count();
        assert_eq!(left("cn-beijing"), 0);
        assert!(left("cn-hangzhou") > 5);
    }
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_last_good_one() {
    let own = used(None);
    own.config_loaded(None);
    let page = page(&own);
    assert_eq!(page.values("alikafka_exporter_config_last_reload_successful", &[]), ["0"]);
    let time = "alikafka_exporter_config_last_reload_success_timestamp_seconds";
    assert_eq!(page.values(time, &[]), ["1700000000"]);
}

#[test]
fn an_account_that_ended_takes_its_series_along() {
    let [kept, gone] = ["kept", "gone"].map(|name| AccountName::new(name).unwrap());
    let own = used(Some(&kept));
    own.credentials_expiry(Some(&gone), UnixMillis::new(1));
    own.credentials_failures(Some(&gone), 1);
    own.clock_skew(Some(&gone), 1.0);
    own.forget_account(Some(&gone));
    let page = seen(&own, &Look { accounts_are_named: true, ..Look::default() });
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
    let other = Look { naming: Naming::KafkaExporter, constant_labels: labels, accounts_are_named: false };
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
    own.credentials_expiry(None, None);
    own.credentials_expiry(None, None);
    assert_eq!(
        page(&own).values("alikafka_exporter_credentials_expiry_timestamp_seconds", &[]),
        [] as [&str; 0]
    );
}

#[test]
fn constant_labels_are_on_every_series() {
    let labels = vec![("team".to_owned(), "a \"b\"".to_owned()), ("region".to_owned(), "x".to_owned())];
    let page = seen(&used(None), &Look { constant_labels: labels, ..Look::default() });
    assert!(page.samples.iter().all(|s| s.labels.get("team").is_some_and(|l| l == "a \"b\"")));
    assert!(page.samples.iter().all(|s| s.labels.get("region").is_none_or(|l| l != "x")));
}

#[test]
fn what_a_page_holds_and_what_it_lost_is_told() {
    let own = Own::new(Build::default()).unwrap();
    let options = super::Options { max_series: Some(100), ..super::Options::default() };
    let rendered = Renderer::new(options).render(&fleet::fleet());
    own.rendered(&rendered);
    own.rendered(&rendered);
    let page = page(&own);
    assert!(rendered.cut() > 0);
    assert_eq!(page.values("alikafka_exporter_series", &[]), [rendered.series().to_string()]);
    assert_eq!(
        page.values("alikafka_exporter_dropped_series_total", &[]),
        [(2 * rendered.cut()).to_string()]
    );
}

#[test]
fn the_fleet_and_the_exporter_have_no_family_in_common() {
    let own = used(None);
    let page = Renderer::new(super::everything()).render(&fleet::fleet());
    Parsed::of(&super::text(&page.with_tail(own.encode(&Look::default()).unwrap())));
}
