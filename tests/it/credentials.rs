//! Whatever the source of an account's key, the daemon finds it, refreshes it in time and with few calls, never signs
//! with parts of two keys, survives failures of the source, and exposes no secret.
//!
//! Each test runs the daemon's binary against a simulated cloud and simulated credential services on loopback, and
//! searches all output of the daemon for every issued key.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail by panicking, as its assertions do")]

mod canary;
mod order;
mod outage;
mod refresh;
mod rotation;
mod sources;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use alikafka_simulator::{
    AccessKey, Effect, Fault, KeyRegistry, MetadataRules, MetadataService, Occurrence, ServiceBehaviour,
    Simulator, SimulatorOptions, StsRole, StsRules, StsService, TokenMode, UriRules, UriService,
    WorldOptions,
};
use test_support::scrape::Scrape;

use crate::faults::{
    A, B, LAG_AFTER, LAG_BEFORE, REGION, add_instance, all_lag_by, daemon::Daemon, millis, write_more,
};

/// Roles of the token service. Only a key of [`READER`] may assume [`OTHER`], and only with [`EXTERNAL_ID`].
const READER: &str = "acs:ram::1234567890123456:role/reader";
const OTHER: &str = "acs:ram::6543210987654321:role/other";
/// Provider of the OIDC tokens of pods.
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c123";
const EXTERNAL_ID: &str = "CanaryExternalIdWq8";
const OIDC_TOKEN: &str = "CanaryOidcHead.CanaryOidcBody_x-9.CanaryOidcSign-_7";
/// Path and query of the URL that issues keys; the query is a secret.
const TARGET: &str = "/keys?ticket=CanaryTicket7Zq";
const TICKET: &str = "CanaryTicket7Zq";

/// The permanent key of the account.
const PERMANENT: (&str, &str) = ("LTAI5tLastingCanaryK3", "LastingCanary/+Secret=w7");
const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// Self-metrics about the keys.
const EXPIRY: &str = "alikafka_exporter_credentials_expiry_timestamp_seconds";
const FAILURES: &str = "alikafka_exporter_credentials_refresh_failures_total";

/// Simulated cloud and credential services.
struct CloudWithServices {
    sim: Simulator,
    keys: KeyRegistry,
    sts: StsService,
    metadata: MetadataService,
    uri: UriService,
    dir: PathBuf,
    /// Settings with the endpoints of the services.
    endpoints: [(&'static str, String); 2],
}

impl CloudWithServices {
    /// Starts a cloud with two instances, the permanent key [`PERMANENT`], and an empty directory of this name.
    async fn new(name: &str) -> Self {
        let keys = KeyRegistry::default();
        keys.add(AccessKey::new(PERMANENT.0, PERMANENT.1));
        let behaviour =
            ServiceBehaviour { keys: Vec::new(), shared_keys: keys.clone(), ..ServiceBehaviour::default() };
        let options = SimulatorOptions {
            world: WorldOptions::empty([REGION]),
            behaviour,
            ..SimulatorOptions::default()
        };
        let sim = Simulator::start(options).await.unwrap();
        sim.with_world(|w| [A, B].iter().for_each(|id| add_instance(w, REGION, id)));
        let rules = StsRules {
            roles: vec![
                StsRole::new(READER),
                StsRole::new(OTHER).trusting("STS.reader").with_external_id(EXTERNAL_ID),
            ],
            oidc_provider: Some(PROVIDER.to_owned()),
            oidc_tokens: vec![OIDC_TOKEN.to_owned()],
            ..StsRules::default()
        };
        let sts = StsService::start(rules, &keys).unwrap();
        let metadata = MetadataService::start(MetadataRules::default(), &keys).unwrap();
        let target = UriRules { target: TARGET.to_owned(), ..UriRules::default() };
        let uri = UriService::start(target, &keys).unwrap();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("credentials-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let endpoints =
            [("CREDENTIALS__STS_ENDPOINT", sts.url()), ("CREDENTIALS__METADATA_ENDPOINT", metadata.url())];
        Self { sim, keys, sts, metadata, uri, dir, endpoints }
    }

    /// Runs the daemon with these environment variables and settings, and with the endpoints of the services.
    async fn daemon(&self, variables: &[(&str, &str)], settings: &[(&str, &str)]) -> Daemon {
        let home = self.dir.display().to_string();
        let variables = [&[("HOME", home.as_str())], variables].concat();
        let mut all = settings.to_vec();
        // The configuration rejects an endpoint that its source does not use.
        let has = |name: &str| settings.iter().any(|(k, _)| k.contains(name));
        let kind = settings.iter().find(|(k, _)| *k == "CREDENTIALS__TYPE").map(|(_, v)| *v);
        let kind = kind.unwrap_or(if has("ACCESS_KEY_ID") { "files" } else { "chain" });
        let [sts, metadata] = &self.endpoints;
        if has("ASSUME_ROLE") || ["chain", "oidc", "cli_profile", "ini_profile"].contains(&kind) {
            all.push((sts.0, &sts.1));
        }
        if ["chain", "ecs_ram_role", "cli_profile", "ini_profile"].contains(&kind) {
            all.push((metadata.0, &metadata.1));
        }
        let daemon = Daemon::with_variables(&self.sim, &variables, &all).await;
        for (what, secret) in [
            ("the id of the permanent key", PERMANENT.0),
            ("the secret of the permanent key", PERMANENT.1),
            ("the OIDC token", OIDC_TOKEN),
            ("the external id", EXTERNAL_ID),
            ("the ticket of the URL", TICKET),
        ] {
            daemon.add_secret(what, secret);
        }
        daemon
    }

    /// Stops the daemon, and searches its output for every issued key.
    async fn stop(&self, daemon: Daemon) {
        for key in self.keys.issued() {
            daemon.add_secret("an issued id", &key.id);
            daemon.add_secret("an issued secret", &key.secret);
            daemon.add_secret("an issued token", &key.token);
        }
        daemon.stop().await;
        assert_eq!(self.keys.mismatched_key_calls(), 0, "parts of two keys were used together");
    }

    /// Writes a file in the directory, and creates its folders.
    fn write(&self, path: &str, text: &str) -> String {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, text);
        path.display().to_string()
    }

    fn uri(&self) -> String {
        format!("{}{TARGET}", self.uri.url())
    }

    /// Returns the distinct ids of the keys that signed API calls.
    fn used_key_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.sim.with_call_log(|l| l.entries().filter_map(|e| e.key_id.clone()).collect());
        ids.sort();
        ids.dedup();
        ids
    }

    /// Returns the API calls that failed.
    fn failed_calls(&self) -> Vec<String> {
        self.sim.with_call_log(|l| {
            let failed = l.entries().filter(|e| !matches!(e.code.as_str(), "200" | "pending"));
            failed.map(|e| format!("{} {}", e.action, e.code)).collect()
        })
    }
}

/// Returns the environment variables that RRSA sets in a pod.
fn rrsa(token_file: &str) -> [(&'static str, String); 3] {
    [
        ("ALIBABA_CLOUD_ROLE_ARN", READER.to_owned()),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER.to_owned()),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token_file.to_owned()),
    ]
}

fn borrowed<'s>(pairs: &'s [(&'static str, String)]) -> Vec<(&'s str, &'s str)> {
    pairs.iter().map(|(k, v)| (*k, v.as_str())).collect()
}

/// Writes a file that only its owner may read.
fn write(path: &Path, text: &str) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// Returns the wall time of the services.
fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A directory like those of the kubelet: files are links through `..data`, which is swapped atomically.
struct KubernetesMount {
    root: PathBuf,
    generation: u32,
}

impl KubernetesMount {
    fn new(root: PathBuf, files: &[(&str, &str)]) -> Self {
        fs::create_dir_all(&root).unwrap();
        for (name, _) in files {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
        let mut mount = Self { root, generation: 0 };
        mount.publish(files);
        mount
    }

    /// Publishes a new generation of all files, and removes the one before the previous.
    fn publish(&mut self, files: &[(&str, &str)]) {
        self.generation += 1;
        let folder = |generation: u32| format!("..generation{generation}");
        let name = folder(self.generation);
        fs::create_dir_all(self.root.join(&name)).unwrap();
        for (file, text) in files {
            write(&self.root.join(&name).join(file), text);
        }
        let fresh = self.root.join("..data_tmp");
        symlink(&name, &fresh).unwrap();
        fs::rename(&fresh, self.root.join("..data")).unwrap();
        if self.generation > 2 {
            let _ = fs::remove_dir_all(self.root.join(folder(self.generation - 2)));
        }
    }

    fn path(&self, file: &str) -> String {
        self.root.join(file).display().to_string()
    }
}
