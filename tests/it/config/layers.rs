//! Layers: variables override the file, every key has a variable, and misspelled ones are rejected.

use std::time::Duration;

use alikafka_exporter::{
    config::{keys, load},
    model::{Granularity, LastTimestamps, RegionId, RegionSelection, credentials::SourceSelection},
};

use super::{config, environment};

fn problems(yaml: &str, variables: &[(&str, &str)]) -> String {
    config(yaml, variables).unwrap_err().to_string()
}

#[test]
fn no_file_is_needed() {
    let config =
        load(None, &environment(&[("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou, cn-shanghai")])).unwrap();
    let regions = ["cn-hangzhou", "cn-shanghai"].map(|r| RegionId::new(r).unwrap());
    assert_eq!(config.accounts[0].regions, RegionSelection::List(regions.to_vec()));
    let config = load(None, &environment(&[("ALIKAFKA_EXPORTER_REGIONS", "auto")])).unwrap();
    assert_eq!(config.accounts[0].regions, RegionSelection::Auto);
}

#[test]
fn without_any_settings_the_message_names_the_variable() {
    let problems = load(None, &environment(&[("PATH", "/bin")])).unwrap_err().to_string();
    assert!(problems.starts_with("regions: is missing; "), "{problems}");
    assert!(problems.contains("ALIKAFKA_EXPORTER_REGIONS=cn-hangzhou"), "{problems}");
}

#[test]
fn variables_override_the_file() {
    let yaml =
        "regions: [cn-beijing]\npoll_interval: 30s\nfilters: {topics: {include: [a, b], exclude: [c]}}\n";
    let config = config(
        yaml,
        &[
            ("REGIONS", "cn-hangzhou"),
            ("POLL_INTERVAL", "2m"),
            ("METRICS__GRANULARITY", "topic"),
            ("FILTERS__TOPICS__EXCLUDE", "__.*,tmp-.*"),
            ("METRICS__LABELS", "team=payments, site=eu=1"),
            ("METRICS__INSTANCE_TAGS", "env,cost-center"),
        ],
    )
    .unwrap();
    let account = &config.accounts[0];
    assert_eq!(account.regions, RegionSelection::List(vec![RegionId::new("cn-hangzhou").unwrap()]));
    assert_eq!(config.timing.poll, Duration::from_secs(120));
    assert_eq!(config.metrics.granularity, Granularity::Topic);
    assert_eq!(config.metrics.instance_tags, ["env", "cost-center"]);
    let labels = [("site", "eu=1"), ("team", "payments")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(config.metrics.constant_labels, labels);
    let allowed = ["a", "b", "c", "tmp-a"].map(|topic| account.filters.topics.allows(topic));
    assert_eq!(allowed, [true, true, false, false], "include is the file's, exclude the variable's");
}

#[test]
fn members_of_maps_have_variables_of_their_own() {
    let config = config(
        "regions: auto\nmetrics: {labels: {team: payments}}\n",
        &[
            ("REQUEST_RATES__GETTOPICSTATUS", "5"),
            ("REQUEST_RATES__GetTopicList", "6"),
            ("METRICS__LABELS__SITE", "eu"),
            ("FILTERS__TAGS", "env=prod"),
            ("FILTERS__TAGS__Owner", "me"),
        ],
    )
    .unwrap();
    let account = &config.accounts[0];
    assert_eq!((account.rates.of("GetTopicStatus"), account.rates.of("GetTopicList")), (5.0, 6.0));
    let labels = [("site", "eu"), ("team", "payments")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(config.metrics.constant_labels, labels);
    let tags: Vec<&str> = account.filters.tags.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(tags, ["env", "Owner"]);
}

#[test]
fn group_settings_may_come_from_variables() {
    let yaml = "regions: auto\nstatus_window: 20m\nlast_timestamps: never\n";
    for (word, expected) in [
        ("lagging", LastTimestamps::Lagging),
        ("always", LastTimestamps::Always),
        ("never", LastTimestamps::Never),
    ] {
        let config = config(yaml, &[("STATUS_WINDOW", "1h"), ("LAST_TIMESTAMPS", word)]).unwrap();
        assert_eq!(config.timing.status_window, Duration::from_secs(3_600));
        assert_eq!(config.timing.last_timestamps, expected);
    }
    assert_eq!(
        problems(yaml, &[("STATUS_WINDOW", "90s"), ("LAST_TIMESTAMPS", "Always")]),
        "last_timestamps: \"Always\" is not a choice; write lagging, always or never (from ALIKAFKA_EXPORTER_LAST_TIMESTAMPS)\n\
         status_window: 1m30s is shorter than four times poll_interval (1m); write at least 4m, or remove the key (from ALIKAFKA_EXPORTER_STATUS_WINDOW)"
    );
}

#[test]
fn credentials_may_come_from_variables() {
    let variables =
        [("CREDENTIALS__ACCESS_KEY_ID", "LTAIcanary"), ("CREDENTIALS__ACCESS_KEY_SECRET", "canary")];
    let config = config("regions: auto", &variables).unwrap();
    assert!(matches!(config.accounts[0].credentials.source, SourceSelection::Inline(_)));
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn the_credentials_type_may_come_from_variables() {
    let variables = [
        ("CREDENTIALS__TYPE", "oidc"),
        ("CREDENTIALS__ROLE_ARN", "acs:ram::1:role/reader"),
        ("CREDENTIALS__STS_ENDPOINT", "HTTPS://sts.cn-hangzhou.aliyuncs.com/"),
        ("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", "acs:ram::2:role/other"),
        ("CREDENTIALS__ASSUME_ROLE__EXTERNAL_ID", "canary"),
        ("CREDENTIALS__ASSUME_ROLE__DURATION", "30m"),
    ];
    let config = config("regions: auto", &variables).unwrap();
    let credentials = &config.accounts[0].credentials;
    let SourceSelection::Oidc(oidc) = &credentials.source else { panic!("{credentials:?}") };
    assert_eq!(oidc.role_arn.as_deref(), Some("acs:ram::1:role/reader"));
    assert_eq!(credentials.sts_endpoint.as_deref(), Some("https://sts.cn-hangzhou.aliyuncs.com"));
    let role = credentials.assume_role.as_ref().unwrap();
    assert_eq!((role.role_arn.as_str(), role.duration), ("acs:ram::2:role/other", Duration::from_secs(1800)));
    assert_eq!(role.session_name, "alikafka-exporter");
    assert_eq!(credentials.to_string(), "oidc+assume_role");
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn every_key_but_accounts_has_a_variable() {
    for key in keys::KEYS {
        let variable = key.variable();
        assert_eq!(variable.is_none(), key.path == "accounts");
        let Some(variable) = variable else { continue };
        // The value is invalid for every key, but the name of the variable is known.
        let problems = load(None, &environment(&[(&variable, "\u{1}")])).err().map(|p| p.to_string());
        assert!(!problems.unwrap_or_default().contains("unknown key"), "{variable}");
    }
}

#[test]
fn misspelled_variables_are_rejected_with_a_suggestion() {
    for (name, meant) in [
        ("REGION", "ALIKAFKA_EXPORTER_REGIONS"),
        ("POLL_INTERVALL", "ALIKAFKA_EXPORTER_POLL_INTERVAL"),
        ("METRICS_GRANULARITY", "ALIKAFKA_EXPORTER_METRICS__GRANULARITY"),
        ("FILTERS_TOPICS_EXCLUDE", "ALIKAFKA_EXPORTER_FILTERS__TOPICS__EXCLUDE"),
        ("regions", "ALIKAFKA_EXPORTER_REGIONS"),
    ] {
        assert_eq!(
            problems("regions: auto", &[(name, "x")]),
            format!("ALIKAFKA_EXPORTER_{name}: unknown key; did you mean {meant}")
        );
    }
    assert_eq!(
        problems("regions: auto", &[("WEB_LISTEN", "x")]),
        "ALIKAFKA_EXPORTER_WEB_LISTEN: unknown key; unset it, or write ALIKAFKA_EXPORTER_ and the \
         path of a key with __ for each dot"
    );
}

#[test]
fn problems_name_their_variable_and_are_reported_with_those_of_the_file() {
    assert_eq!(
        problems(
            "regions: auto\nnetwork: x\n",
            &[
                ("FILTERS__GROUPS__INCLUDE", "a,("),
                ("METRICS__LABELS", "team"),
                ("ACCOUNTS", "one,two"),
                ("ACCOUNTS__0__NAME", "one"),
            ]
        ),
        "network: \"x\" is not a choice; write public or vpc (f.yml:2:10)\n\
         accounts: cannot be set from the environment; list the accounts in the file (from ALIKAFKA_EXPORTER_ACCOUNTS)\n\
         accounts: cannot be set from the environment; list the accounts in the file (from ALIKAFKA_EXPORTER_ACCOUNTS__0__NAME)\n\
         filters.groups.include[1]: is not a regular expression: unclosed group; write a regular expression for the entire name, such as \"orders-.*\" (from ALIKAFKA_EXPORTER_FILTERS__GROUPS__INCLUDE)\n\
         metrics.labels: has a part without \"=\"; write key=value,key=value (from ALIKAFKA_EXPORTER_METRICS__LABELS)"
    );
}

#[test]
fn a_variable_overrides_an_invalid_value_of_the_file() {
    assert!(config("regions: auto\npoll_interval: x\n", &[("POLL_INTERVAL", "1m")]).is_ok());
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config =
        config("regions: auto\npoll_interval: 2m\n", &[("POLL_INTERVAL", ""), ("REGIONS", "")]).unwrap();
    assert_eq!(config.timing.poll, Duration::from_secs(120));
}

/// Kubernetes sets these in every pod of the namespace of a service named `alikafka-exporter`.
#[test]
fn kubernetes_service_variables_are_ignored() {
    let links = [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "19308"),
        ("SERVICE_PORT_METRICS", "19308"),
        ("PORT", "tcp://10.0.0.1:19308"),
        ("PORT_19308_TCP", "tcp://10.0.0.1:19308"),
        ("PORT_19308_TCP_PROTO", "tcp"),
        ("PORT_19308_TCP_PORT", "19308"),
        ("PORT_19308_TCP_ADDR", "10.0.0.1"),
        ("WEB_SERVICE_HOST", "10.0.0.2"),
        ("WEB_PORT", "tcp://10.0.0.2:80"),
        ("WEB_PORT_80_TCP_ADDR", "10.0.0.2"),
    ];
    assert!(config("regions: auto", &links).is_ok());
    assert!(config("regions: auto", &[("PORT", "9308")]).is_err());
}
