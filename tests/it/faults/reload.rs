//! Reloads apply a configuration completely, at once and without a gap, or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{budget::StallMonitor, *};

const NEXT: &str = "cn-beijing";
const RELOADED: &str = "configuration reloaded";
const RELOAD_FAILED: &str = "configuration reload failed, keeping the previous configuration";

/// Discovery so rare that only a reload finds changes within a test.
const RARE_DISCOVERY: [(&str, &str); 2] = [("DISCOVERY_INTERVAL", "10m"), ("STALE_AFTER", "40m")];

/// A configuration file in its own folder.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(name: &str, text: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reload-{name}"));
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let file = Self(folder.join("config.yml"));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

fn config(sim: &Simulator, regions: &str, more: &str) -> String {
    format!("endpoint: {}\nregions: [{regions}]\n{more}\n", sim.url())
}

/// Starts [`cloud`] with one more instance in another region.
async fn two_regions() -> Simulator {
    let sim = empty_cloud(&[REGION, NEXT]).await;
    sim.with_world(|w| {
        add_instance(w, REGION, A);
        add_instance(w, REGION, B);
        add_instance(w, NEXT, "next");
    });
    sim
}

fn knows(scrape: &Scrape, instance: &str) -> bool {
    ["billing", "shipping"].iter().all(|group| scrape.lag(instance, group).is_some())
}

fn reloads(lines: &[Value]) -> usize {
    lines.iter().filter(|l| l["msg"] == RELOADED).count()
}

/// Returns the logged problems of each failed reload.
fn rejections(lines: &[Value]) -> Vec<String> {
    let failed = lines.iter().filter(|l| l["level"] == "error" && l["msg"] == RELOAD_FAILED);
    failed.map(|l| l["error"].as_str().unwrap().to_owned()).collect()
}

/// Reloads by SIGHUP, and waits for success.
async fn reload_by_sighup(daemon: &Daemon) {
    let before = reloads(&daemon.log_lines());
    daemon.signal(Signal::HUP);
    daemon.until_logged("a reload", |lines| reloads(lines) > before).await;
}

fn reload_state(scrape: &Scrape) -> (Option<f64>, Option<f64>) {
    (
        scrape.value("alikafka_exporter_config_last_reload_successful", &[]),
        scrape.value("alikafka_exporter_config_last_reload_success_timestamp_seconds", &[]),
    )
}

#[tokio::test]
async fn an_added_region_causes_no_gap_for_the_others() {
    let sim = two_regions().await;
    let file = ConfigFile::new("added", &config(&sim, REGION, ""));
    let daemon = Daemon::reloadable(&file.0, &RARE_DISCOVERY).await;
    let before = daemon.until_known().await;
    let ok = before.api_calls("GetInstanceList", "ok");
    // Values that need another call would be absent.
    sim.faults(|f| {
        f.add(Fault::new(Effect::Hang).region(REGION));
        f.add(Fault::new(Effect::Latency(millis(700))).region(NEXT));
    });
    file.write(&config(&sim, &format!("{REGION}, {NEXT}"), ""));
    reload_by_sighup(&daemon).await;
    assert_eq!(
        daemon.get("/-/ready").await.0,
        200,
        "the first pass of an added region does not affect readiness"
    );
    let scrape = daemon
        .until("the added region", |p| {
            assert!(all_lag_by(p, LAG_BEFORE) && p.region_up(REGION) == Some(1.0), "a gap");
            knows(p, "next")
        })
        .await;
    let (successful, at) = reload_state(&scrape);
    assert!(successful == Some(1.0) && at > reload_state(&before).1);
    assert!(scrape.api_calls("GetInstanceList", "ok") > ok, "counters continue");
    assert_eq!(reloads(&daemon.log_lines()), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_removed_region_disappears_at_once_and_is_no_longer_polled() {
    let sim = two_regions().await;
    let both = format!("{REGION}, {NEXT}");
    let file = ConfigFile::new("removed", &config(&sim, &both, ""));
    let daemon = Daemon::reloadable(&file.0, &RARE_DISCOVERY).await;
    daemon.until("everything is known", |p| all_lag_by(p, LAG_BEFORE) && knows(p, "next")).await;
    file.write(&config(&sim, REGION, ""));
    reload_by_sighup(&daemon).await;
    let scrape = daemon.scrape().await;
    assert!(all_lag_by(&scrape, LAG_BEFORE));
    let of_next: Vec<_> = scrape.samples.iter().filter(|s| s.labels.values().any(|v| v == NEXT)).collect();
    assert!(of_next.is_empty(), "neither cloud series nor self-metrics: {of_next:?}");
    assert!(!daemon.body("/-/healthy").await.contains(NEXT));
    let calls = |sim: &Simulator| sim.with_call_log(|l| l.entries().filter(|e| e.region == NEXT).count());
    let (then, polls) = (calls(&sim), scrape.api_calls("GetConsumerProgress", "ok"));
    daemon.until("more polls", |p| p.api_calls("GetConsumerProgress", "ok") > polls + 12.0).await;
    assert_eq!(calls(&sim), then);
    daemon.stop().await;
}

#[tokio::test]
async fn a_changed_filter_applies_at_once() {
    let sim = cloud().await;
    let file = ConfigFile::new("filter", &config(&sim, REGION, ""));
    let daemon = Daemon::reloadable(&file.0, &RARE_DISCOVERY).await;
    daemon.until_known().await;
    let hide = format!("filters: {{groups: {{exclude: [ship.*]}}, instances: {{exclude: [{B}]}}}}");
    file.write(&config(&sim, REGION, &hide));
    reload_by_sighup(&daemon).await;
    let scrape = daemon.scrape().await;
    assert_eq!(scrape.lag(A, "billing"), Some(LAG_BEFORE));
    for hidden in ["shipping", B] {
        assert!(scrape.cloud_series(&[]).iter().all(|s| !s.contains(&format!("\"{hidden}\""))), "{hidden}");
    }
    assert_eq!(scrape.count("alikafka_topic_groups", &[]), 0, "a hidden group may consume the topic");
    let about = || {
        let hidden = [Some("shipping"), Some(B)];
        let is_hidden = |of: &Option<String>| of.is_some() && hidden.contains(&of.as_deref());
        sim.with_call_log(|l| l.entries().filter(|e| is_hidden(&e.instance) || is_hidden(&e.object)).count())
    };
    let (then, polls) = (about(), scrape.api_calls("GetConsumerProgress", "ok"));
    daemon.until("more polls", |p| p.api_calls("GetConsumerProgress", "ok") > polls + 6.0).await;
    assert_eq!(about(), then, "hidden objects are not polled");
    file.write(&config(&sim, REGION, ""));
    reload_by_sighup(&daemon).await;
    daemon
        .until("everything is back", |p| {
            assert_eq!(p.lag(A, "billing"), Some(LAG_BEFORE), "a gap");
            all_lag_by(p, LAG_BEFORE) && p.count("alikafka_topic_groups", &[]) == 4
        })
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn discovered_regions_stay_while_discovery_fails() {
    let (east, west) = ("cn-shanghai", "us-west-1");
    let sim = empty_cloud(&[REGION, east, west]).await;
    sim.with_world(|w| {
        add_instance(w, east, "e");
        add_instance(w, west, "w");
    });
    let auto = |more: &str| format!("endpoint: {}\nregions: auto\n{more}\n", sim.url());
    let file = ConfigFile::new("auto", &auto(""));
    let daemon = Daemon::reloadable(&file.0, &RARE_DISCOVERY).await;
    daemon.until("both are discovered", |p| knows(p, "e") && knows(p, "w")).await;
    sim.faults(|f| f.add(Fault::new(Effect::Hang).action("GetAllInstanceIdList")));
    file.write(&auto(&format!("filters: {{regions: {{exclude: [{west}]}}}}")));
    reload_by_sighup(&daemon).await;
    sim.with_world(write_more);
    daemon
        .until("the other one is polled", |p| {
            assert!(knows(p, "e"), "a gap");
            assert_eq!(p.cloud_series(&[("region", west)]).len(), 0, "hidden at once");
            p.lag("e", "billing") == Some(LAG_AFTER)
        })
        .await;
    assert_eq!(daemon.get("/-/ready").await.0, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn another_endpoint_starts_without_the_old_values() {
    let (one, other) = (cloud().await, empty_cloud(&[REGION]).await);
    other.with_world(|w| add_instance(w, REGION, "of-another"));
    let file = ConfigFile::new("another", &config(&one, REGION, ""));
    let daemon = Daemon::reloadable(&file.0, &RARE_DISCOVERY).await;
    daemon.until_known().await;
    other.faults(|f| f.add(Fault::new(Effect::Latency(millis(700)))));
    file.write(&config(&other, REGION, ""));
    reload_by_sighup(&daemon).await;
    daemon
        .until("the values of the new endpoint", |p| {
            assert!(!knows(p, A) && !knows(p, B), "values of the old endpoint");
            knows(p, "of-another")
        })
        .await;
    daemon.stop().await;
}

/// Makes a configuration file invalid.
type Corruption = Box<dyn Fn(&ConfigFile)>;

/// Invalid files, and the reason that is logged.
fn invalid_files(sim: &Simulator) -> Vec<(&'static str, Corruption, &'static str)> {
    let good = config(sim, REGION, "poll_interval: 500ms");
    let half = good.split_once("regions").unwrap().0.to_owned();
    let [id, secret, token] = SECRETS;
    let text = |text: String| -> Corruption { Box::new(move |file| file.write(&text)) };
    vec![
        ("unknown key", text(config(sim, REGION, "poll_intervall: 1s")), "poll_intervall: unknown key"),
        ("not YAML", text(config(sim, REGION, "filters: {a: [")), "--config.file: not YAML"),
        ("truncated", text(half), "regions: is missing"),
        ("emptied", text(String::new()), "is empty"),
        ("not text", Box::new(|file| fs::write(&file.0, [0xff, 0xfe, 0x00]).unwrap()), "is not UTF-8 text"),
        ("deleted", Box::new(|file| fs::remove_file(&file.0).unwrap()), "cannot read"),
        (
            "secrets in wrong places",
            text(config(
                sim,
                REGION,
                &format!(
                    "credentials: {{access_key_id: {id:?}, access_key_secret: \"{secret} \", security_token: [{token:?}]}}\n\
                     proxy: \"http://user:{secret}@[\"\n"
                ),
            )),
            "credentials.access_key_secret: ",
        ),
        (
            "an unterminated secret",
            text(config(
                sim,
                REGION,
                &format!("credentials:\n  access_key_secret: \"{secret}\n  x: {token}"),
            )),
            "--config.file: not YAML",
        ),
        (
            "a folder",
            Box::new(|file| {
                _ = fs::remove_file(&file.0);
                fs::create_dir(&file.0).unwrap();
            }),
            "cannot read",
        ),
    ]
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_logs_one_line() {
    let sim = cloud().await;
    let good = config(&sim, REGION, "metrics: {labels: {generation: first}}");
    let file = ConfigFile::new("bad", &good);
    let daemon = Daemon::reloadable(&file.0, &[]).await;
    let before = daemon.until_known().await;
    for (number, (what, corrupt, why)) in (1..).zip(invalid_files(&sim)) {
        corrupt(&file);
        daemon.signal(Signal::HUP);
        daemon.until_logged(what, |lines| rejections(lines).len() >= number).await;
        let lines = rejections(&daemon.log_lines());
        let line = lines.last().unwrap();
        assert!(lines.len() == number && line.contains(why), "{what}: {lines:#?}");
        assert!(line.contains(&*file.0.to_string_lossy()) || !line.contains("cannot read"), "{what}: {line}");
        let scrape = daemon.scrape().await;
        assert_eq!(reload_state(&scrape), (Some(0.0), reload_state(&before).1), "{what}");
        assert!(all_lag_by(&scrape, LAG_BEFORE), "{what}");
        assert_eq!(scrape.count("alikafka_region_up", &[("generation", "first")]), 1, "{what}");
    }
    // The old configuration is still polling.
    sim.with_world(write_more);
    daemon.until("new values", |p| all_lag_by(p, LAG_AFTER)).await;
    fs::remove_dir(&file.0).unwrap();
    file.write(&good);
    reload_by_sighup(&daemon).await;
    let (successful, at) = reload_state(&daemon.scrape().await);
    assert!(successful == Some(1.0) && at > reload_state(&before).1);
    // Searches all output for secrets.
    daemon.stop().await;
}

#[tokio::test]
async fn a_reload_request_returns_the_result() {
    let sim = cloud().await;
    let good = |generation: &str| {
        config(&sim, REGION, &format!("metrics: {{labels: {{generation: {generation}}}}}"))
    };
    let file = ConfigFile::new("request", &good("first"));
    let daemon = Daemon::reloadable(&file.0, &[]).await;
    daemon.until_known().await;
    assert_eq!(daemon.get("/-/reload").await.0, 405);
    let post = async || loop {
        match daemon.request("POST", "/-/reload").await {
            (429, _) => sleep(millis(200)).await,
            response => return response,
        }
    };
    file.write(&good("second"));
    assert_eq!(post().await, (200, "reloaded\n".to_owned()));
    assert!(
        daemon.scrape().await.count("alikafka_region_up", &[("generation", "second")]) == 1,
        "it is in force"
    );
    file.write(&config(&sim, "Nowhere", &format!("credentials: {{access_key_id: {:?}}}\nx: 1", SECRETS[1])));
    let (status, body) = post().await;
    assert_eq!(status, 500);
    for problem in ["regions[0]: ", "credentials.access_key_secret: ", "x: "] {
        assert!(body.lines().any(|line| line.starts_with(problem)), "{problem}: {body}");
    }
    assert!(secrets_in(&body).is_empty(), "{body}");
    daemon.until_logged("the reason", |lines| !rejections(lines).is_empty()).await;
    assert_eq!(rejections(&daemon.log_lines()).len(), 1, "one line for all problems");
    daemon.stop().await;
}

fn secrets_in(text: &str) -> Vec<(String, String)> {
    daemon::encoded_secrets().into_iter().filter(|(_, form)| text.contains(form)).collect()
}

#[tokio::test]
async fn without_the_lifecycle_flag_only_sighup_reloads() {
    let sim = cloud().await;
    let file = config(&sim, REGION, "");
    let daemon = Daemon::with_file("reload-without-flag.yml", &file, &[]).await;
    daemon.until_known().await;
    assert_eq!(daemon.request("POST", "/-/reload").await.0, 404);
    reload_by_sighup(&daemon).await;
    assert!(all_lag_by(&daemon.scrape().await, LAG_BEFORE));
    daemon.stop().await;
}

/// Kubernetes updates a mounted volume by renaming a symlink.
#[tokio::test]
async fn a_file_replaced_through_a_symlink_is_reloaded() {
    let sim = cloud().await;
    let folder = ConfigFile::new("links", "").0.parent().unwrap().to_owned();
    let publish = |generation: &str| {
        let data = folder.join(generation);
        fs::create_dir(&data).unwrap();
        let labels = format!("metrics: {{labels: {{generation: {generation}}}}}");
        fs::write(data.join("config.yml"), config(&sim, REGION, &labels)).unwrap();
        std::os::unix::fs::symlink(generation, folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    };
    let path = folder.join("config.yml");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("..data/config.yml", &path).unwrap();
    publish("first");
    let daemon = Daemon::reloadable(&path, &[]).await;
    daemon.until_known().await;
    publish("second");
    fs::remove_dir_all(folder.join("first")).unwrap();
    reload_by_sighup(&daemon).await;
    let scrape = daemon.scrape().await;
    assert!(
        all_lag_by(&scrape, LAG_BEFORE)
            && scrape.count("alikafka_region_up", &[("generation", "second")]) == 1
    );
    daemon.stop().await;
}

#[tokio::test]
async fn sigterm_ends_a_reload_that_blocks_on_the_file() {
    let sim = cloud().await;
    let file = ConfigFile::new("pipe", &config(&sim, REGION, ""));
    let daemon = Daemon::reloadable(&file.0, &[]).await;
    daemon.until_known().await;
    // Reading a pipe without a writer blocks forever, like a network file system may.
    fs::remove_file(&file.0).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file.0).status().unwrap().success());
    for number in 1..=2 {
        daemon.signal(Signal::HUP);
        daemon.until_logged("the timeout of the read", |lines| rejections(lines).len() >= number).await;
    }
    sim.with_world(write_more);
    daemon.until("polling continues", |p| all_lag_by(p, LAG_AFTER)).await;
    daemon.signal(Signal::HUP);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_never_exceed_the_rate_limit() {
    let (monitor, sim) = (StallMonitor::watch(), cloud().await);
    sim.with_world(|w| (0..40).for_each(|n| add_group(w, A, &format!("g{n}"), "orders")));
    let file = ConfigFile::new("budget", &config(&sim, REGION, ""));
    // A pass needs more calls than the budget allows per interval, so calls always wait.
    let settings = [("REQUESTS_PER_SECOND", "10"), ("STALE_AFTER", "1m")];
    let daemon = Daemon::reloadable(&file.0, &settings).await;
    daemon.until("a first pass", |p| p.lag(A, "g39").is_some()).await;
    for number in 0..12 {
        reload_by_sighup(&daemon).await;
        let polls = daemon.scrape().await.api_calls("GetConsumerProgress", "ok");
        daemon
            .until("more polls", |p| p.api_calls("GetConsumerProgress", "ok") > polls + f64::from(number % 3))
            .await;
    }
    for ((region, action), most) in monitor.max_calls_per_second(&sim) {
        assert!(most <= 10, "{most} calls of {action} in {region} in one second");
    }
    daemon.stop().await;
}

/// Returns the configuration of a generation. Consecutive generations differ in everything that can differ.
fn generation(sim: &Simulator, number: usize) -> String {
    let metrics = format!("{{labels: {{generation: \"{number}\"}}, ");
    if number.is_multiple_of(2) {
        config(
            sim,
            REGION,
            &format!(
                "request_rates: {{GetTopicList: 150}}\nmetrics: {metrics}naming: native, granularity: partition}}"
            ),
        )
    } else {
        let more = format!(
            "request_rates: {{GetTopicList: 50}}\nmetrics: {metrics}naming: kafka_exporter, granularity: group, max_series: 300}}"
        );
        config(sim, &format!("{NEXT}, {REGION}"), &more)
    }
}

/// Returns the generation of a scrape, to which every series must belong.
fn generation_of(scrape: &Scrape) -> usize {
    let generations: std::collections::BTreeSet<_> =
        scrape.samples.iter().map(|s| s.labels["generation"].as_str()).collect();
    assert_eq!(generations.len(), 1, "{generations:?} in one scrape");
    let number: usize = generations.first().unwrap().parse().unwrap();
    let is_second = number % 2 == 1;
    let has = |name: &str| scrape.samples.iter().any(|s| s.name == name);
    let of_next = scrape.samples.iter().any(|s| s.labels.values().any(|v| v == NEXT));
    assert_eq!(of_next, is_second, "the other region");
    assert_eq!(scrape.samples.iter().any(|s| s.labels.contains_key("partition")), !is_second, "partitions");
    assert_eq!(
        (has("kafka_exporter_build_info"), has("alikafka_exporter_build_info")),
        (is_second, !is_second)
    );
    let budget = [("action", "GetTopicList"), ("region", REGION)];
    let budget = scrape.value("alikafka_exporter_api_budget_requests_per_second", &budget);
    assert_eq!(budget, Some(if is_second { 50.0 } else { 150.0 }));
    assert!(all_lag_by(scrape, LAG_BEFORE), "a gap");
    number
}

/// Resident memory in MiB, threads and open files, by the process metrics.
async fn footprint(daemon: &Daemon) -> [f64; 3] {
    let scrape = daemon.scrape().await;
    let value =
        |name: &str| scrape.samples.iter().find(|s| s.name == name).unwrap().value.parse::<f64>().unwrap();
    [
        value("process_resident_memory_bytes") / f64::from(1 << 20),
        value("process_threads"),
        value("process_open_fds"),
    ]
}

/// Requests two reloads; the second one waits for the first.
async fn request_two_reloads(daemon: &Daemon, file: &ConfigFile, text: &str) {
    file.write(text);
    let before = daemon.logged(RELOADED);
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::HUP);
    let done = async {
        while daemon.logged(RELOADED) == before {
            sleep(millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), done).await.expect("the reload ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_never_mix_configurations() {
    let sim = two_regions().await;
    let file = ConfigFile::new("hundred", &generation(&sim, 0));
    let daemon = Arc::new(Daemon::reloadable(&file.0, &RARE_DISCOVERY).await);
    daemon.until_known().await;
    for number in 1..=30 {
        request_two_reloads(&daemon, &file, &generation(&sim, number)).await;
    }
    let [memory, threads, files] = footprint(&daemon).await;
    let (over, scrapes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let scrapers = (0..3).map(|_| {
        let (daemon, over, scrapes) = (Arc::clone(&daemon), Arc::clone(&over), Arc::clone(&scrapes));
        tokio::spawn(async move {
            let mut last = 0;
            while !over.load(Ordering::Relaxed) {
                let number = generation_of(&daemon.scrape().await);
                assert!(number >= last, "an older generation after a newer one");
                last = number;
                scrapes.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let scrapers: Vec<_> = scrapers.collect();
    for number in 31..=100 {
        request_two_reloads(&daemon, &file, &generation(&sim, number)).await;
    }
    // Wait for enough scrapes, or for a failure.
    while scrapes.load(Ordering::Relaxed) < 2_000
        && !scrapers.iter().any(tokio::task::JoinHandle::is_finished)
    {
        sleep(millis(20)).await;
    }
    over.store(true, Ordering::Relaxed);
    for scraper in scrapers {
        scraper.await.unwrap();
    }
    let daemon = Arc::into_inner(daemon).unwrap();
    daemon.until("the last generation", |p| generation_of(p) == 100).await;
    // Scrapes and calls need some; a leak in each reload would be there 70 times.
    let now = footprint(&daemon).await;
    assert!(now[0] < memory + 16.0, "from {memory} MiB to {}", now[0]);
    assert!(now[1] < threads + 16.0, "from {threads} threads to {}", now[1]);
    assert!(now[2] < files + 16.0, "from {files} open files to {}", now[2]);
    assert_eq!(rejections(&daemon.log_lines()).len(), 0);
    daemon.stop().await;
}
