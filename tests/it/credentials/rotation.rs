//! Key files are replaced, atomically and in place. Parts of two keys are never mixed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;

fn pair(n: u32) -> (String, String) {
    (format!("LTAI5tCanaryGeneration{n:04}"), format!("CanaryGenerationSecret+/{n:04}="))
}

fn files(mount: &KubernetesMount) -> [(&'static str, String); 2] {
    [
        ("CREDENTIALS__ACCESS_KEY_ID_FILE", mount.path("id")),
        ("CREDENTIALS__ACCESS_KEY_SECRET_FILE", mount.path("secret")),
    ]
}

fn publish(cloud: &CloudWithServices, daemon: &Daemon, mount: &mut KubernetesMount, n: u32) {
    let (id, secret) = pair(n);
    cloud.keys.add(AccessKey::new(&id, &secret));
    daemon.add_secret("an id of the files", &id);
    daemon.add_secret("a secret of the files", &secret);
    mount.publish(&[("id", &id), ("secret", &secret)]);
}

async fn start(name: &str) -> (CloudWithServices, KubernetesMount, Daemon) {
    let cloud = CloudWithServices::new(name).await;
    let (id, secret) = pair(0);
    cloud.keys.add(AccessKey::new(&id, &secret));
    let mount = KubernetesMount::new(cloud.dir.join("mount"), &[("id", &id), ("secret", &secret)]);
    let settings = files(&mount);
    let daemon = cloud.daemon(&[], &borrowed(&settings)).await;
    daemon.add_secret("an id of the files", &id);
    daemon.add_secret("a secret of the files", &secret);
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    (cloud, mount, daemon)
}

#[tokio::test]
async fn a_thousand_swapped_generations_are_never_mixed() {
    const ACCOUNTS: usize = 24;
    let cloud = CloudWithServices::new("swaps").await;
    let mount = KubernetesMount::new(cloud.dir.join("mount"), &[("id", &pair(0).0), ("secret", &pair(0).1)]);
    for n in 0..1_000 {
        let (id, secret) = pair(n);
        cloud.keys.add(AccessKey::new(&id, &secret));
        let folder = mount.root.join(format!("generation{n}"));
        fs::create_dir(&folder).unwrap();
        write(&folder.join("id"), &id);
        write(&folder.join("secret"), &secret);
    }
    // Each account reads the files itself, so each read may meet a swap.
    let files = files(&mount).map(|(_, path)| path);
    let keys = format!("{{access_key_id_file: {}, access_key_secret_file: {}}}", files[0], files[1]);
    let accounts: String = (0..ACCOUNTS)
        .map(|n| format!("  - {{name: a{n}, regions: [{REGION}], credentials: {keys}}}\n"))
        .collect();
    let text = format!("endpoint: {}\naccounts:\n{accounts}", cloud.sim.url());
    let settings = [
        ("DISCOVERY_INTERVAL", "20s"),
        ("POLL_INTERVAL", "2s"),
        ("TOPIC_POLL_INTERVAL", "20s"),
        ("STALE_AFTER", "60s"),
    ];
    let daemon = Daemon::with_file("swaps.yml", &text, &settings).await;
    daemon.add_secret("the ids of the files", "LTAI5tCanaryGeneration");
    daemon.add_secret("the secrets of the files", "CanaryGenerationSecret+/");
    let lags = ACCOUNTS * 4;
    let known = |p: &Scrape| p.count("alikafka_group_lag_messages", &[]) == lags;
    daemon.until("all known", known).await;
    let (root, done) = (mount.root.clone(), Arc::new(AtomicBool::new(false)));
    let is_done = Arc::clone(&done);
    let swapping = std::thread::spawn(move || {
        let (mut swaps, fresh) = (0, root.join("..data_tmp"));
        while !is_done.load(Ordering::Relaxed) {
            // In bursts: no read succeeds during a burst, and every read succeeds between them.
            for _ in 0..1_000 {
                symlink(format!("generation{}", swaps % 1_000), &fresh).unwrap();
                fs::rename(&fresh, root.join("..data")).unwrap();
                swaps += 1;
            }
            std::thread::park_timeout(millis(30));
        }
        swaps
    });
    let used = |cloud: &CloudWithServices| cloud.used_key_ids().len();
    for _ in 0..2 {
        let before = used(&cloud);
        daemon
            .until("new keys are used", |p| {
                assert!(known(p), "a gap");
                // Half of the accounts suffice: a failed read delays the next one, so all of them may take a minute.
                used(&cloud) >= before + ACCOUNTS / 2
            })
            .await;
    }
    done.store(true, Ordering::Relaxed);
    let swaps: u32 = tokio::task::spawn_blocking(move || swapping.join().unwrap()).await.unwrap();
    assert!(swaps >= 1_000, "{swaps}");
    // Every generation is valid all the time, so only a mixed pair would be rejected.
    assert_eq!(cloud.failed_calls(), Vec::<String>::new());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn incomplete_files_leave_the_old_key_in_use() {
    let (cloud, mount, daemon) = start("broken-files").await;
    let count_warnings = |d: &Daemon| {
        let is_about_files = |l: &serde_json::Value| {
            l["level"] == "warn" && l["msg"].as_str().is_some_and(|m| m.contains("credential"))
        };
        d.log_lines().iter().filter(|l| is_about_files(l)).count()
    };
    let (id_path, secret_path) = (mount.root.join("..data/id"), mount.root.join("..data/secret"));
    let mut expected = 0;
    for (n, what) in (1..).zip(["emptied", "gone", "half written"]) {
        match what {
            "emptied" => fs::write(&secret_path, "").unwrap(),
            "gone" => fs::remove_file(&id_path).unwrap(),
            // The state in the middle of `echo new > id; echo new > secret`.
            _ => {
                fs::write(&id_path, pair(n).0).unwrap();
                fs::write(&secret_path, "").unwrap();
            }
        }
        expected += 1;
        daemon.until_logged(what, |_| count_warnings(&daemon) == expected).await;
        cloud.sim.with_world(write_more);
        let used = cloud.sim.call_log().len();
        daemon
            .until("some passes with the old key", |p| {
                assert!(p.lag(A, "billing").is_some(), "{what}: a gap");
                cloud.sim.call_log().len() > used + 20
            })
            .await;
        assert_eq!(cloud.failed_calls(), Vec::<String>::new(), "{what}");
        assert_eq!(count_warnings(&daemon), expected, "{what}: logged once");
        let (id, secret) = pair(n);
        cloud.keys.add(AccessKey::new(&id, &secret));
        daemon.add_secret("an id of the files", &id);
        daemon.add_secret("a secret of the files", &secret);
        fs::write(&secret_path, &secret).unwrap();
        fs::write(&id_path, &id).unwrap();
        daemon.until("the new key is used", |_| cloud.used_key_ids().contains(&id)).await;
    }
    assert!(daemon.scrape().await.value(FAILURES, &[]).unwrap() >= 3.0);
    // The files are replaced in place, so the new secret and the old id may be read together: a call may fail.
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_key_that_is_deleted_after_its_replacement_is_not_used() {
    let (cloud, mut mount, daemon) = start("retired").await;
    publish(&cloud, &daemon, &mut mount, 1);
    daemon.until("the new key is used", |_| cloud.used_key_ids().contains(&pair(1).0)).await;
    cloud.keys.retire(&pair(0).0);
    cloud.sim.with_world(write_more);
    daemon.until("it goes on", |p| all_lag_by(p, LAG_AFTER)).await;
    assert_eq!(cloud.failed_calls(), Vec::<String>::new());
    cloud.stop(daemon).await;
}
