//! Key files are replaced, as the kubelet does it and as people do it, and never are parts of two keys used.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;

fn pair(n: u32) -> (String, String) {
    (format!("LTAI5tCanaryGeneration{n:04}"), format!("CanaryGenerationSecret+/{n:04}="))
}

fn files(mount: &Mount) -> [(&'static str, String); 2] {
    [
        ("CREDENTIALS__ACCESS_KEY_ID_FILE", mount.path("id")),
        ("CREDENTIALS__ACCESS_KEY_SECRET_FILE", mount.path("secret")),
    ]
}

fn publish(cloud: &Cloud, daemon: &Daemon, mount: &mut Mount, n: u32) {
    let (id, secret) = pair(n);
    cloud.keys.add(AccessKey::new(&id, &secret));
    daemon.add_secret("an id of the files", &id);
    daemon.add_secret("a secret of the files", &secret);
    mount.publish(&[("id", &id), ("secret", &secret)]);
}

async fn started(name: &str) -> (Cloud, Mount, Daemon) {
    let cloud = Cloud::new(name).await;
    let (id, secret) = pair(0);
    cloud.keys.add(AccessKey::new(&id, &secret));
    let mount = Mount::new(cloud.dir.join("mount"), &[("id", &id), ("secret", &secret)]);
    let settings = files(&mount);
    let daemon = cloud.daemon(&[], &borrowed(&settings)).await;
    daemon.add_secret("an id of the files", &id);
    daemon.add_secret("a secret of the files", &secret);
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    (cloud, mount, daemon)
}

#[tokio::test]
async fn a_thousand_generations_that_are_swapped_during_passes_never_make_a_mixed_pair() {
    const ACCOUNTS: usize = 24;
    let cloud = Cloud::new("swaps").await;
    let mount = Mount::new(cloud.dir.join("mount"), &[("id", &pair(0).0), ("secret", &pair(0).1)]);
    for n in 0..1_000 {
        let (id, secret) = pair(n);
        cloud.keys.add(AccessKey::new(&id, &secret));
        let folder = mount.root.join(format!("generation{n}"));
        fs::create_dir(&folder).unwrap();
        write(&folder.join("id"), &id);
        write(&folder.join("secret"), &secret);
    }
    // Each account reads the files for itself, and so has its own chance to meet a swap in its midst.
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
            // In bursts: in one nothing can be read as a whole, after it all can.
            for _ in 0..1_000 {
                symlink(format!("generation{}", swaps % 1_000), &fresh).unwrap();
                fs::rename(&fresh, root.join("..data")).unwrap();
                swaps += 1;
            }
            std::thread::park_timeout(millis(30));
        }
        swaps
    });
    let used = |cloud: &Cloud| cloud.used().len();
    for _ in 0..2 {
        let before = used(&cloud);
        daemon
            .until("new keys are used", |p| {
                assert!(known(p), "a gap");
                used(&cloud) >= before + ACCOUNTS
            })
            .await;
    }
    done.store(true, Ordering::Relaxed);
    let swaps: u32 = tokio::task::spawn_blocking(move || swapping.join().unwrap()).await.unwrap();
    assert!(swaps >= 1_000, "{swaps}");
    // Every generation was good all the time, so each refusal would be one of a mixed pair.
    assert_eq!(cloud.refused(), Vec::<String>::new());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn files_that_are_half_written_empty_or_gone_leave_the_old_key_in_use_until_they_are_whole() {
    let (cloud, mount, daemon) = started("broken-files").await;
    let bad = |d: &Daemon| {
        let is_of_files = |l: &serde_json::Value| {
            l["level"] == "warn" && l["msg"].as_str().is_some_and(|m| m.contains("credential"))
        };
        d.log_lines().iter().filter(|l| is_of_files(l)).count()
    };
    let (id_path, secret_path) = (mount.root.join("..data/id"), mount.root.join("..data/secret"));
    let mut told = 0;
    for (n, what) in (1..).zip(["emptied", "gone", "half written"]) {
        match what {
            "emptied" => fs::write(&secret_path, "").unwrap(),
            "gone" => fs::remove_file(&id_path).unwrap(),
            // As `echo new > id; echo new > secret` is seen in its midst.
            _ => {
                fs::write(&id_path, pair(n).0).unwrap();
                fs::write(&secret_path, "").unwrap();
            }
        }
        told += 1;
        daemon.until_logged(what, |_| bad(&daemon) == told).await;
        cloud.sim.world(write_more);
        let used = cloud.sim.call_log().len();
        daemon
            .until("some passes with the old key", |p| {
                assert!(p.lag(A, "billing").is_some(), "{what}: a gap");
                cloud.sim.call_log().len() > used + 20
            })
            .await;
        assert_eq!(cloud.refused(), Vec::<String>::new(), "{what}");
        assert_eq!(bad(&daemon), told, "{what}: told once");
        let (id, secret) = pair(n);
        cloud.keys.add(AccessKey::new(&id, &secret));
        daemon.add_secret("an id of the files", &id);
        daemon.add_secret("a secret of the files", &secret);
        fs::write(&secret_path, &secret).unwrap();
        fs::write(&id_path, &id).unwrap();
        daemon.until("the new key is used", |_| cloud.used().contains(&id)).await;
    }
    assert!(daemon.scrape().await.value(FAILURES, &[]).unwrap() >= 3.0);
    // The new secret stood beside the old id for a moment, in place: that a reader cannot know.
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_key_that_is_retired_after_the_files_were_replaced_is_not_missed() {
    let (cloud, mut mount, daemon) = started("retired").await;
    publish(&cloud, &daemon, &mut mount, 1);
    daemon.until("the new key is used", |_| cloud.used().contains(&pair(1).0)).await;
    cloud.keys.retire(&pair(0).0);
    cloud.sim.world(write_more);
    daemon.until("it goes on", |p| all_lag_by(p, LAG_AFTER)).await;
    assert_eq!(cloud.refused(), Vec::<String>::new());
    cloud.stop(daemon).await;
}
