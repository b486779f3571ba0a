//! Output of `check-config` for files: fixtures with the exact messages, and the two shipped files.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use alikafka_exporter::{
    api::Action,
    config::{self, keys},
    exposition::catalog::FAMILIES,
    model::{
        Granularity, LastTimestamps, Naming, ProxySetting, RegionId, RegionSelection, SignatureVersion,
        credentials::SourceSelection,
    },
};
use proptest::prelude::*;

use super::{check_config, config, environment, fixtures, root, text};

fn names(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(prefix) && name.ends_with(".yml"))
        .collect();
    names.sort();
    names
}

fn expected(name: &str) -> String {
    let path = fixtures().join(name).with_extension("txt");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn invalid_files_are_rejected_with_all_problems() {
    let names = names("bad-");
    assert!(names.len() >= 30);
    for name in names {
        let output = check_config(&name);
        assert_eq!(text(&output.stderr), expected(&name), "{name}");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{name}");
        assert!(!text(&output.stderr).contains("canary"), "{name} shows a secret");
    }
}

#[test]
fn valid_files_are_summarized_on_one_line() {
    for name in names("good-") {
        let output = check_config(&name);
        assert_eq!(text(&output.stderr), "", "{name}");
        assert_eq!(text(&output.stdout), expected(&name), "{name}");
        assert_eq!(output.status.code(), Some(0), "{name}");
    }
}

#[test]
fn every_key_and_every_rule_has_an_invalid_fixture() {
    let all: String = names("bad-").iter().map(|name| expected(name)).collect();
    for key in keys::KEYS {
        let covered = match key.path {
            // No fixture reports the first key, because its problems are reported for the second one.
            "credentials.access_key_secret_file" => "credentials.access_key_id_file",
            path => path,
        };
        assert!(all.contains(covered), "no bad fixture has {covered}");
    }
}

#[test]
fn labels_of_the_catalog_are_reserved() {
    for label in
        FAMILIES.iter().flat_map(|f| f.labels.iter().chain(f.kafka_exporter.iter().flat_map(|k| k.labels)))
    {
        let pair = format!("{label}=x");
        let variables = environment(&[
            ("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou"),
            ("ALIKAFKA_EXPORTER_METRICS__LABELS", pair.as_str()),
        ]);
        let problems = config::load(None, &variables).expect_err(label);
        assert!(problems.to_string().contains("is a reserved label"), "{problems}");
    }
}

#[test]
fn an_endless_device_is_rejected() {
    let problems = config::load(Some(Path::new("/dev/zero")), &environment(&[])).unwrap_err();
    assert!(problems.to_string().contains("/dev/zero is larger than 1 MiB"), "{problems}");
}

/// Returns a file for one test.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{name}.yml"))
}

#[test]
fn a_file_being_written_is_loaded_when_it_is_complete() {
    let path = scratch("being-written");
    // Each prefix of the file is a valid file.
    let lines = ["regions:", "- cn-hangzhou", "- cn-beijing", "- cn-shanghai", "poll_interval: 30s"];
    fs::write(&path, "regions: [eu-central-1]\n").unwrap();
    let writing = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut file = fs::File::create(&path).unwrap();
            for line in lines {
                std::thread::park_timeout(Duration::from_millis(30));
                writeln!(file, "{line}").unwrap();
            }
        }
    });
    while fs::read_to_string(&path).unwrap().starts_with("regions: [eu") {}
    let config = config::load_settled(Some(&path), &environment(&[]), Duration::from_secs(1)).unwrap();
    writing.join().unwrap();
    assert_eq!(config.accounts[0].regions.to_string(), "cn-hangzhou, cn-beijing, cn-shanghai");
    assert_eq!(config.timing.poll, Duration::from_secs(30));
}

#[test]
fn a_file_that_never_settles_or_is_empty_is_rejected() {
    let moment = Duration::from_millis(1);
    // Another text whenever it is read.
    let restless = Path::new("/proc/sys/kernel/random/uuid");
    let problems = config::load_settled(Some(restless), &environment(&[]), moment).unwrap_err();
    assert!(problems.to_string().contains("is being written to"), "{problems}");

    let path = scratch("empty");
    let complete = environment(&[("ALIKAFKA_EXPORTER_REGIONS", "auto")]);
    for nothing in ["", " \n\n"] {
        fs::write(&path, nothing).unwrap();
        let problems = config::load_settled(Some(&path), &complete, moment).unwrap_err();
        assert!(problems.to_string().contains("is empty"), "though the variables are enough: {problems}");
        assert!(config::load(Some(&path), &complete).is_ok(), "at a start it is as good as no file");
    }
    assert!(config::load_settled(None, &complete, moment).is_ok());
}

#[test]
fn problem_lines_omit_excerpts() {
    let problems = config("regions: auto\nfilters: [\n", &[]).unwrap_err();
    let text = problems.to_string();
    let lines: Vec<String> = problems.lines().collect();
    assert_eq!((lines.len(), text.lines().next()), (1, lines.first().map(String::as_str)));
    assert!(text.contains("filters: [") && !lines[0].contains("filters: ["), "{text}");
}

#[test]
fn credentials_and_proxies_are_compared_by_all_settings() {
    let of = |yaml: &str| config(&format!("regions: auto\n{yaml}"), &[]).unwrap().accounts.remove(0);
    let key = |secret: &str| format!("credentials: {{access_key_id: LTAI, access_key_secret: {secret}}}");
    let role = |policy: &str| {
        let policy = format!("'{{\"Version\": \"{policy}\"}}'");
        format!("credentials: {{assume_role: {{role_arn: \"acs:ram::1:role/r\", policy: {policy}}}}}")
    };
    for yaml in ["", &key("one"), &role("a"), "credentials: {type: ecs_ram_role, role_name: r}"] {
        assert!(of(yaml).credentials.is_same_as(&of(yaml).credentials), "{yaml}");
        assert!(of(yaml).credentials.is_same_source_as(&of(yaml).credentials), "{yaml}");
    }
    for (one, other, is_same_source) in [
        (key("one"), key("two"), true),
        (role("a"), role("b"), true),
        (role("a"), String::new(), false),
        (key("one"), String::new(), false),
        (String::new(), "credentials: {sts_endpoint: \"https://sts.example\"}".to_owned(), true),
    ] {
        let (one, other) = (of(&one).credentials, of(&other).credentials);
        assert!(!one.is_same_as(&other), "{one} {other}");
        assert_eq!(one.is_same_source_as(&other), is_same_source, "{one} {other}");
    }
    let proxy = |proxy: &str| of(&format!("proxy: \"{proxy}\"")).proxy;
    let (one, other) = (proxy("http://a:b@proxy.example:1"), proxy("http://a:c@proxy.example:1"));
    assert!(one == one.clone() && one != other && one != proxy("none"));
}

#[test]
fn the_reference_file_matches_the_table_of_keys() {
    let path = root().join("config/alikafka-exporter.yml");
    let written = fs::read_to_string(&path).unwrap_or_default();
    if written != keys::reference() {
        fs::write(&path, keys::reference()).unwrap();
        panic!("{} was outdated and has been regenerated", path.display());
    }
}

#[test]
fn the_reference_file_yields_the_defaults() {
    let none = environment(&[]);
    let reference = config::load(Some(&root().join("config/alikafka-exporter.yml")), &none).unwrap();
    let minimal = config::load(Some(&root().join("config/minimal.yml")), &none).unwrap();
    let variables =
        config::load(None, &environment(&[("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou")])).unwrap();
    assert_eq!(format!("{reference:#?}"), format!("{variables:#?}"));
    assert_eq!(format!("{minimal:#?}"), format!("{variables:#?}"));
}

#[test]
fn every_example_of_the_reference_file_is_valid() {
    for key in keys::KEYS {
        let keys::ReferenceValue::Example(value) = key.reference else { continue };
        if key.path.starts_with("credentials.") {
            continue;
        }
        let mut yaml = String::from("regions: [cn-hangzhou]\n");
        for (depth, part) in key.path.split('.').enumerate() {
            yaml.push_str(&format!(
                "{}{part}:{}",
                "  ".repeat(depth),
                if key.path.ends_with(part) { " " } else { "\n" }
            ));
        }
        yaml.push_str(value);
        if let Err(problems) = config(&yaml, &[]) {
            panic!("{yaml}\n{problems}");
        }
    }
}

#[test]
fn defaults_match_the_documentation() {
    let config = config("regions: auto", &[]).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!((config.timing.discovery, config.timing.poll), (seconds(300), seconds(60)));
    assert_eq!((config.timing.topic_poll, config.timing.stale_after), (seconds(60), seconds(180)));
    assert_eq!((config.timing.idle_poll, config.timing.idle_topic_poll), (seconds(90), seconds(90)));
    assert_eq!(
        (config.timing.status_window, config.timing.last_timestamps),
        (seconds(600), LastTimestamps::Lagging)
    );
    assert_eq!(config.timing.request_timeout, seconds(15));
    assert_eq!((config.metrics.granularity, config.metrics.naming), (Granularity::Partition, Naming::Native));
    assert_eq!((config.metrics.max_series, config.metrics.constant_labels.len()), (None, 0));
    let [account] = &config.accounts[..] else { panic!("one account") };
    assert_eq!(
        (&account.name, &account.regions, account.signature),
        (&None, &RegionSelection::Auto, SignatureVersion::Acs3)
    );
    assert!(matches!(account.credentials.source, SourceSelection::Chain));
    assert!(account.credentials.assume_role.is_none());
    assert!(matches!(account.proxy, ProxySetting::None));
    let region = RegionId::new("cn-beijing").unwrap();
    assert_eq!(account.endpoint.url(&region), "https://alikafka.cn-beijing.aliyuncs.com");
    assert!(Action::ALL.iter().all(|action| account.rates.of(action.name()) == 20.0));
}

#[test]
fn omitted_intervals_derive_from_the_others() {
    let minutes = |m: u64| Duration::from_secs(m * 60);
    let of = |yaml: &str| config(&format!("regions: auto\n{yaml}"), &[]).unwrap().timing;
    let slow_topics = of("poll_interval: 1m\ntopic_poll_interval: 10m");
    assert_eq!((slow_topics.stale_after, slow_topics.topic_stale_after), (minutes(3), minutes(30)));
    let slow = of("poll_interval: 2m");
    assert_eq!(
        (slow.topic_poll, slow.stale_after, slow.topic_stale_after),
        (minutes(2), minutes(6), minutes(6))
    );
    assert_eq!(slow.discovery_stale_after, minutes(15));
    let written = of("stale_after: 20m");
    assert_eq!((written.stale_after, written.discovery_stale_after), (minutes(20), minutes(20)));
}

#[test]
fn idle_objects_are_polled_twice_in_five_minutes_and_before_they_are_stale() {
    let seconds = Duration::from_secs;
    let of = |yaml: &str| {
        let i = config(&format!("regions: auto\n{yaml}"), &[]).unwrap().timing;
        assert!(i.idle_poll + i.poll <= i.stale_after, "{yaml}: {i:?}");
        assert!(i.idle_topic_poll + i.poll <= i.topic_stale_after, "{yaml}: {i:?}");
        (i.idle_poll, i.idle_topic_poll)
    };
    assert_eq!(of("stale_after: 20m"), (seconds(150), seconds(150)), "half of it is too long");
    assert_eq!(of("stale_after: 2m"), (seconds(60), seconds(60)), "as short as it may be");
    assert_eq!(of("poll_interval: 5m"), (seconds(300), seconds(300)), "as the others");
    assert_eq!(of("topic_poll_interval: 10m"), (seconds(90), seconds(600)));
    assert_eq!(of("idle_poll_interval: 2m"), (seconds(120), seconds(120)));
    assert_eq!(
        of("stale_after: 6m\nidle_poll_interval: 5m\ntopic_poll_interval: 3m"),
        (seconds(300), seconds(300))
    );
    assert_eq!(of("poll_interval: 1s\nstale_after: 9s\nidle_poll_interval: 8s"), (seconds(8), seconds(8)));
}

#[test]
fn the_status_window_contains_five_polls() {
    let seconds = Duration::from_secs;
    let window = |yaml: &str| config(&format!("regions: auto\n{yaml}"), &[]).map(|c| c.timing.status_window);
    for (yaml, expected) in [
        ("poll_interval: 10s", 600),
        ("poll_interval: 150s", 600),
        ("poll_interval: 151s", 755),
        ("poll_interval: 1d", 432_000),
        ("status_window: 4m", 240),
        ("poll_interval: 6h\nstatus_window: 1d", 86_400),
        ("poll_interval: 100ms\nstatus_window: 1s", 1),
    ] {
        assert_eq!(window(yaml).ok(), Some(seconds(expected)), "{yaml}");
    }
    for yaml in ["status_window: 239s", "poll_interval: 5m\nstatus_window: 10m", "status_window: 25h"] {
        assert!(window(yaml).unwrap_err().to_string().contains("status_window: "), "{yaml}");
    }
    // Every problem is reported, but not its consequences.
    let both = window("topic_poll_interval: 10s\nstatus_window: 1m").unwrap_err();
    assert_eq!(both.lines().count(), 2, "{both}");
    let one = window("poll_interval: often\nstatus_window: 1m").unwrap_err();
    assert_eq!(one.lines().count(), 1, "{one}");
}

#[test]
fn request_rates_accept_exactly_the_actions_of_the_client() {
    assert_eq!(keys::ACTIONS, Action::ALL.map(Action::name));
}

#[test]
fn accounts_inherit_omitted_keys() {
    let yaml = fs::read_to_string(fixtures().join("good-accounts.yml")).unwrap();
    let config = config(&yaml, &[]).unwrap();
    let [production, test] = &config.accounts[..] else { panic!("two accounts") };
    let region = RegionId::new("cn-hangzhou").unwrap();
    assert_eq!(production.name.as_ref().unwrap().as_str(), "production");
    assert_eq!(production.endpoint.url(&region), "https://alikafka-vpc.cn-hangzhou.aliyuncs.com");
    assert_eq!(test.endpoint.url(&region), "https://alikafka.cn-hangzhou.aliyuncs.com");
    assert_eq!((production.signature, test.signature), (SignatureVersion::V1, SignatureVersion::V1));
    assert_eq!(production.rates.of("GetTopicStatus"), 2.5);
    assert_eq!((production.rates.of("GetTopicList"), test.rates.of("GetTopicStatus")), (10.0, 10.0));
    assert!(matches!(production.credentials.source, SourceSelection::Files(_)));
    assert!(matches!(test.credentials.source, SourceSelection::Environment));
    assert!(matches!((&production.proxy, &test.proxy), (ProxySetting::None, ProxySetting::Environment)));
    for account in [production, test] {
        assert!(
            !account.filters.topics.allows("__consumer_offsets") && account.filters.topics.allows("orders")
        );
    }
}

#[test]
fn an_account_overrides_one_list_of_a_filter_and_one_rate() {
    let yaml = "regions: auto
request_rates: {GetTopicStatus: 1, GetTopicList: 2}
filters: {topics: {include: [\"a.*\"], exclude: [ab]}}
accounts:
  - {name: one, filters: {topics: {exclude: []}}, request_rates: {GetTopicStatus: 3}}
";
    let config = config(yaml, &[]).unwrap();
    let account = &config.accounts[0];
    assert!(account.filters.topics.allows("ab") && !account.filters.topics.allows("b"));
    assert_eq!((account.rates.of("GetTopicStatus"), account.rates.of("GetTopicList")), (3.0, 2.0));
}

#[test]
fn patterns_match_entire_names() {
    let yaml = "regions: auto\nfilters: {topics: {include: [a|bc, \"(?i)x\"]}}";
    let config = config(yaml, &[]).unwrap();
    let allowed = |name| config.accounts[0].filters.topics.allows(name);
    assert!(allowed("a") && allowed("bc") && allowed("X"));
    assert!(!allowed("ab") && !allowed("xbc") && !allowed("abc") && !allowed("a\n"));
}

#[test]
fn listed_regions_excluded_by_a_filter_are_dropped() {
    let yaml = "regions: [cn-hangzhou, eu-central-1]\nfilters: {regions: {include: [\"cn-.*\"]}}";
    let config = config(yaml, &[]).unwrap();
    assert_eq!(
        config.accounts[0].regions,
        RegionSelection::List(vec![RegionId::new("cn-hangzhou").unwrap()])
    );
}

#[test]
fn scalars_stay_as_typed() {
    let yaml = "regions: auto\nmetrics: {labels: {a: 007, b: 1.10, c: yes, d: \"null\", e: 1e3}}";
    let labels = config(yaml, &[]).unwrap().metrics.constant_labels;
    let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["007", "1.10", "yes", "null", "1e3"]);
}

#[test]
fn debug_output_contains_no_secret() {
    let yaml = fs::read_to_string(fixtures().join("good-everything.yml")).unwrap();
    assert_eq!(yaml.matches("canary").count(), 4);
    let shown = format!("{0:?} {0:#?}", config(&yaml, &[]).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn unreadable_files_are_named() {
    let output = check_config("nowhere.yml");
    assert_eq!(
        text(&output.stderr),
        "--config.file: cannot read nowhere.yml: no such file or directory; give the path of a readable file\n"
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&check_config(".").stderr).contains("is a directory"));
}

/// Nested aliases: a small file that expands to a billion values.
#[test]
fn exponential_aliases_are_rejected() {
    let mut yaml = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let item = format!("*a{}, ", n - 1);
        yaml.push_str(&format!("a{n}: &a{n} [{}]\n", item.repeat(10).trim_end_matches(", ")));
    }
    assert!(config(&yaml, &[]).unwrap_err().to_string().contains("too large"));
    let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(config(&deep, &[]).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(yaml in "[a-z_ :\\-\\[\\]{}&*!|>#\"'\n\t0-9]{0,200}") {
        _ = config(&yaml, &[]);
    }

    #[test]
    fn messages_escape_line_breaks_of_the_file(
        key in "[^\\x00-\\x1f:\"#]{1,20}",
        value in "\\PC{0,20}",
    ) {
        let yaml = format!("regions: auto\n\"{}\": {value:?}\n", key.replace('\\', ""));
        if let Err(problems) = config(&yaml, &[]) {
            let lines = problems.to_string().lines().count();
            let excerpts = problems.list().iter().filter(|p| p.excerpt.is_some()).count();
            prop_assert!(lines <= problems.list().len() + 2 * excerpts);
        }
    }
}
