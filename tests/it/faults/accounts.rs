//! Two accounts with their own cloud, key and budget. A failure of one does not affect the other, and objects with equal
//! names are not mixed up.

use alikafka_simulator::Faults;

use super::*;

/// Access key of the second account. The first one uses the default key.
const SECOND: [&str; 2] = ["LTAI5tSecondKeyIdW3z", "SecondSecretOfAnAccount9"];

/// Starts a cloud that accepts only the key of the second account.
async fn second_cloud() -> Simulator {
    let sim = cloud().await;
    sim.behaviour(|b| b.keys = vec![second_key()]);
    sim
}

fn second_key() -> AccessKey {
    AccessKey::new(SECOND[0], SECOND[1])
}

/// Formats an account of the configuration file. `more` are further settings, each followed by a comma.
pub(super) fn account(name: &str, url: &str, credentials: &str, more: &str) -> String {
    let regions = if more.contains("regions:") { String::new() } else { format!("regions: [{REGION}], ") };
    format!(
        "- {{name: {name}, {more}{regions}endpoint: {url:?}, credentials: {{{credentials}}}}}
"
    )
}

pub(super) fn first_credentials() -> String {
    let [id, secret, token] = SECRETS;
    format!("access_key_id: {id:?}, access_key_secret: {secret:?}, security_token: {token:?}")
}

fn second_credentials() -> String {
    let [id, secret] = SECOND;
    format!("access_key_id: {id:?}, access_key_secret: {secret:?}")
}

/// Starts with both accounts, which differ only in their names.
async fn both(file: &str, one: &Simulator, two: &Simulator, settings: &[(&str, &str)]) -> Daemon {
    both_with(file, one, two, "", settings).await
}

/// Starts with both accounts and further settings for each.
async fn both_with(
    file: &str,
    one: &Simulator,
    two: &Simulator,
    more: &str,
    settings: &[(&str, &str)],
) -> Daemon {
    let text = format!(
        "accounts:\n{}{}",
        account("one", &one.url(), &first_credentials(), more),
        account("two", &two.url(), &second_credentials(), more)
    );
    Daemon::with_file(file, &text, settings).await
}

fn lag(scrape: &Scrape, account: &str) -> Option<f64> {
    let labels = [("account", account), ("instance_id", A), ("group", "billing")];
    scrape.value("alikafka_group_lag_messages", &labels)
}

fn lags(scrape: &Scrape) -> [Option<f64>; 2] {
    ["one", "two"].map(|account| lag(scrape, account))
}

fn ups(scrape: &Scrape) -> [Option<f64>; 2] {
    ["one", "two"].map(|account| scrape.value("alikafka_region_up", &[("account", account)]))
}

fn action_value(scrape: &Scrape, name: &str, account: &str, action: &str) -> f64 {
    scrape.sum(name, &[("account", account), ("action", action)])
}

/// Failed API calls of an account.
fn failed(scrape: &Scrape, account: &str) -> f64 {
    let name = "alikafka_exporter_api_requests_total";
    scrape.sum(name, &[("account", account)]) - scrape.sum(name, &[("account", account), ("result", "ok")])
}

/// Returns the account of each logged failure.
fn failed_accounts(daemon: &Daemon) -> Vec<String> {
    daemon.failures().iter().map(|l| l["account"].as_str().unwrap_or("nobody").to_owned()).collect()
}

#[tokio::test]
async fn equal_names_in_two_accounts_are_separate_series() {
    let (one, two) = (cloud().await, second_cloud().await);
    two.with_world(write_more);
    let daemon = both("faults-accounts-names.yml", &one, &two, &[]).await;
    let series = |p: &Scrape, account| p.cloud_series(&[("account", account)]);
    let scrape = daemon
        .until("both are known, with equal objects", |p| {
            let renamed: std::collections::BTreeSet<String> =
                series(p, "one").iter().map(|s| s.replace(r#"account="one""#, r#"account="two""#)).collect();
            lags(p) == [Some(LAG_BEFORE), Some(LAG_AFTER)]
                && ups(p) == [Some(1.0), Some(1.0)]
                && ["one", "two"].iter().all(|account| {
                    let of_account = |i| [("account", *account), ("instance_id", i)];
                    [A, B].iter().all(|i| p.value("alikafka_instance_up", &of_account(*i)) == Some(1.0))
                })
                && renamed == series(p, "two")
        })
        .await;
    let (of_one, of_two) = (series(&scrape, "one"), series(&scrape, "two"));
    assert!(of_one.len() > 50);
    assert_eq!(
        of_one.len() + of_two.len(),
        scrape.cloud_series(&[]).len(),
        "every cloud series has an account"
    );
    for line in scrape.text.lines().filter(|l| l.starts_with("alikafka_exporter_") && l.contains("region=\""))
    {
        assert!(line.contains("account=\"one\"") || line.contains("account=\"two\""), "{line}");
    }
    // Neither cloud receives the key of the other.
    for (sim, id) in [(&one, SECRETS[0]), (&two, SECOND[0])] {
        sim.with_call_log(|l| assert!(l.entries().all(|e| e.key_id.as_deref() == Some(id))));
    }
    assert_eq!((failed(&scrape, "one"), failed(&scrape, "two")), (0.0, 0.0));
    daemon.stop().await;
}

#[tokio::test]
async fn throttling_of_one_account_leaves_the_budget_of_the_other() {
    let (one, two) = (cloud().await, second_cloud().await);
    let more = "requests_per_second: 40, ";
    let daemon = both_with("faults-accounts-throttled.yml", &one, &two, more, &[("STALE_AFTER", "2s")]).await;
    daemon.until("both are known", |p| lags(p) == [Some(LAG_BEFORE); 2]).await;
    let throttle =
        Effect::Throttle { status: 429, code: "Throttling.User".to_owned(), retry_after_ms: Some(500) };
    two.faults(|f| f.add(Fault::new(throttle)));
    let budget = |p: &Scrape, account| {
        let name = "alikafka_exporter_api_budget_requests_per_second";
        action_value(p, name, account, "GetConsumerProgress")
    };
    daemon
        .until("the throttled account is slower and its values have expired", |p| {
            budget(p, "two") < 20.0 && lag(p, "two").is_none()
        })
        .await;
    one.with_world(write_more);
    let before = one.call_log().len();
    let scrape = daemon
        .until("the other account is fresh and polled at its rate", |p| {
            lags(p) == [Some(LAG_AFTER), None] && one.call_log().len() > before + 60
        })
        .await;
    assert_eq!(ups(&scrape), [Some(1.0), Some(0.0)]);
    for action in ["GetInstanceList", "GetConsumerProgress", "GetTopicStatus"] {
        let name = "alikafka_exporter_api_budget_requests_per_second";
        assert_eq!(action_value(&scrape, name, "one", action), 40.0, "{action}");
    }
    assert_eq!(failed(&scrape, "one"), 0.0);
    assert_eq!(failed_accounts(&daemon), ["two"], "{:#?}", daemon.failures());
    two.faults(Faults::clear);
    two.with_world(write_more);
    daemon.until("the throttled account is back", |p| lags(p) == [Some(LAG_AFTER); 2]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_unresponsive_account_does_not_delay_the_other() {
    for effect in [Effect::Hang, Effect::Close] {
        let (one, two) = (cloud().await, second_cloud().await);
        let settings = [("STALE_AFTER", "3s"), ("REQUEST_TIMEOUT", "2s")];
        let daemon = both("faults-accounts-slow.yml", &one, &two, &settings).await;
        daemon.until("both are known", |p| lags(p) == [Some(LAG_BEFORE); 2]).await;
        two.faults(|f| f.add(Fault::new(effect)));
        daemon.until("its values have expired", |p| lag(p, "two").is_none()).await;
        let scrape = daemon.scrape().await;
        assert_eq!((lag(&scrape, "one"), ups(&scrape)), (Some(LAG_BEFORE), [Some(1.0), Some(0.0)]));
        one.with_world(write_more);
        let scrape = daemon.until("the other account is fresh", |p| lag(p, "one") == Some(LAG_AFTER)).await;
        assert_eq!(failed(&scrape, "one"), 0.0);
        assert!(failed_accounts(&daemon).iter().all(|account| account == "two"), "{:#?}", daemon.failures());
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_revoked_key_affects_only_its_account() {
    let (one, two) = (cloud().await, second_cloud().await);
    let daemon = both("faults-accounts-revoked.yml", &one, &two, &[]).await;
    daemon.until("both are known", |p| lags(p) == [Some(LAG_BEFORE); 2]).await;
    one.behaviour(|b| b.keys[0].active = false);
    one.with_world(write_more);
    two.with_world(write_more);
    let scrape =
        daemon.until("one is down, the other one is fresh", |p| lags(p) == [None, Some(LAG_AFTER)]).await;
    assert_eq!(ups(&scrape), [Some(0.0), Some(1.0)]);
    assert_eq!(failed(&scrape, "two"), 0.0);
    assert!(failed_accounts(&daemon).iter().all(|account| account == "one"), "{:#?}", daemon.failures());
    one.behaviour(|b| b.keys[0].active = true);
    daemon.until("both are fresh", |p| lags(p) == [Some(LAG_AFTER); 2] && ups(p) == [Some(1.0); 2]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_missing_key_file_affects_only_its_account_until_it_appears() {
    let (one, two) = (cloud().await, second_cloud().await);
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let files = ["id", "secret"].map(|part| place.join(format!("faults-accounts-key-{part}")));
    for file in &files {
        // The first run has nothing to remove.
        let _ = std::fs::remove_file(file);
    }
    let credentials = format!("access_key_id_file: {:?}, access_key_secret_file: {:?}", files[0], files[1]);
    let text = format!(
        "accounts:\n{}{}",
        account("one", &one.url(), &first_credentials(), ""),
        account("two", &two.url(), &credentials, "")
    );
    let daemon = Daemon::with_file("faults-accounts-files.yml", &text, &[]).await;
    let scrape = daemon
        .until("one is up, the other one is down", |p| {
            lag(p, "one") == Some(LAG_BEFORE) && ups(p) == [Some(1.0), Some(0.0)]
        })
        .await;
    assert!(two.call_log().is_empty(), "no call is signed with the key of the other account");
    assert_eq!(scrape.cloud_series(&[("account", "two"), ("instance_id", A)]).len(), 0);
    assert_eq!(failed_accounts(&daemon), ["two"], "{:#?}", daemon.failures());
    let line = &daemon.failures()[0];
    assert!(line["error"].as_str().unwrap().contains("faults-accounts-key-"), "names the file: {line}");
    for (file, part) in files.iter().zip(SECOND) {
        std::fs::write(file, part).unwrap();
    }
    daemon.until("both are known", |p| lags(p) == [Some(LAG_BEFORE); 2] && ups(p) == [Some(1.0); 2]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn failed_region_discovery_affects_only_its_account() {
    let (one, two) = (cloud().await, second_cloud().await);
    two.behaviour(|b| b.keys = vec![second_key().denying("GetAllInstanceIdList")]);
    let daemon = both_with("faults-accounts-auto.yml", &one, &two, "regions: auto, ", &[]).await;
    let denied = |p: &Scrape| {
        let labels = [("account", "two"), ("action", "GetAllInstanceIdList"), ("result", "auth")];
        p.sum("alikafka_exporter_api_requests_total", &labels)
    };
    daemon
        .until("one is discovered, the other one rejected", |p| {
            lags(p) == [Some(LAG_BEFORE), None] && denied(p) >= 3.0
        })
        .await;
    one.with_world(write_more);
    let scrape = daemon.until("one is still polled", |p| lags(p) == [Some(LAG_AFTER), None]).await;
    assert_eq!(ups(&scrape), [Some(1.0), Some(0.0)]);
    assert_eq!(failed(&scrape, "one"), 0.0);
    assert_eq!(failed_accounts(&daemon), ["two"], "{:#?}", daemon.failures());
    two.behaviour(|b| b.keys = vec![second_key()]);
    daemon.until("both are discovered", |p| lags(p) == [Some(LAG_AFTER), Some(LAG_BEFORE)]).await;
    daemon.stop().await;
}
