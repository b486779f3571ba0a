//! Names that are not known, name servers that do not answer, and addresses behind which nothing is.
//!
//! These tests need a network of their own: a name server of their own, and a route that leads nowhere. Each
//! runs this binary once more inside of one, for one test that is ignored elsewhere. Where the system grants
//! none (neither root nor user namespaces), that is said on stderr, and less is shown on loopback.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, process::Command, task::JoinHandle, time::timeout};

use super::{
    network::{self, BlackHole},
    tls::{Authority, ConnectionScenario, TlsProxy},
    *,
};

/// Is set inside of a network of one's own.
const IN_OWN_NETWORK: &str = "ALIKAFKA_TEST_OWN_NETWORK";
/// Longest run of a test inside.
const PATIENCE: Duration = Duration::from_secs(120);
/// A name that only the name server below knows.
const NAME: &str = "kafka.test";
/// An address to which a route leads, and nothing is there.
const UNREACHABLE: &str = "198.51.100.9";

/// Prepares the network, then becomes what it is given. Its first two arguments are files.
const NETWORK_SETUP: &str = r#"set -e
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip route add 198.51.100.0/24 dev lo src 192.0.2.1
mount --bind "$1" /etc/resolv.conf
if [ -e /etc/nsswitch.conf ]; then mount --bind "$2" /etc/nsswitch.conf; fi
shift 2
exec "$@"
"#;

/// A command that runs a program in a network of its own, or `None` where the system grants none.
async fn own_network(program: &std::path::Path) -> Option<Command> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (servers, order) = (folder.join("resolv.conf"), folder.join("nsswitch.conf"));
    std::fs::write(&servers, "nameserver 127.0.0.1\n").unwrap();
    std::fs::write(&order, "hosts: dns\n").unwrap();
    for namespaces in ["-nm", "-rnm"] {
        let within = |program: &std::path::Path| {
            let mut command = Command::new("unshare");
            command.args([namespaces, "--", "sh", "-c", NETWORK_SETUP, "sh"]).args([&servers, &order]);
            command.arg(program).kill_on_drop(true);
            command
        };
        let mut probe = within(std::path::Path::new("true"));
        if probe.stdout(Stdio::null()).stderr(Stdio::null()).status().await.is_ok_and(|s| s.success()) {
            return Some(within(program));
        }
    }
    None
}

/// Runs a test inside. `false` if there is no inside, which is then said where everyone sees it.
async fn run_in_own_network(test: &str) -> bool {
    let Some(mut command) = own_network(&std::env::current_exe().unwrap()).await else {
        // Not by a macro: what those print is shown of failed tests only.
        let mut stderr = std::io::stderr();
        _ = writeln!(
            stderr,
            "\nNOT RUN: {test}: no network of one's own without root or user namespaces; less is shown instead\n"
        );
        return false;
    };
    let name = format!("faults::dns::{test}");
    let run = command.env(IN_OWN_NETWORK, "1").args([&name, "--exact", "--ignored", "--nocapture"]).output();
    let output = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    true
}

fn assert_in_own_network() {
    assert!(
        std::env::var_os(IN_OWN_NETWORK).is_some(),
        "this test is run by another one, in a network of its own"
    );
}

/// What the name server reply.
#[derive(Clone, Copy)]
enum DnsReply {
    /// There is no such name.
    NotFound,
    /// Where it is.
    Address(Ipv4Addr),
    /// Not a word.
    Silence,
}

/// The name server of a network of its own.
struct NameServer {
    reply: Arc<Mutex<DnsReply>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    async fn start(reply: DnsReply) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
        let reply = Arc::new(Mutex::new(reply));
        let told = Arc::clone(&reply);
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let reply = *told.lock().unwrap();
                if let Some(answer) = answer(&query[..length], reply) {
                    _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { reply, serving }
    }

    fn set_reply(&self, reply: DnsReply) {
        *self.reply.lock().unwrap() = reply;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The answer to a query of one question.
fn answer(query: &[u8], reply: DnsReply) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    const A: [u8; 2] = [0, 1];
    let name_end = HEAD + query.get(HEAD..)?.iter().position(|b| *b == 0)? + 1;
    let question = query.get(HEAD..name_end + 4)?;
    let (refusal, address) = match reply {
        DnsReply::Silence => return None,
        DnsReply::NotFound => (3, None),
        DnsReply::Address(address) => (0, (query.get(name_end..name_end + 2)? == A).then_some(address)),
    };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | refusal, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(address) = address {
        // The name of the question, type A, class IN, not to be kept, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The daemon over a cloud behind a name or an address that is in the certificate.
async fn start_behind(
    host: &str,
    proxy: &TlsProxy,
    authority: &Authority,
    settings: &[(&str, &str)],
) -> Daemon {
    let url = format!("https://{host}:{}", proxy.port());
    let mut all = vec![("ENDPOINT", url.as_str())];
    all.extend(settings);
    let variables = [("SSL_CERT_FILE", authority.file())];
    Daemon::launch(Launch { variables: &variables, settings: &all, ..Launch::default() }).await
}

#[tokio::test]
async fn an_unknown_host_name_is_logged_and_resolved_once_it_exists() {
    if run_in_own_network("a_host_name_appears_and_disappears").await {
        return;
    }
    // By the rules of names, nobody may know this one.
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[("ENDPOINT", "https://kafka.invalid")]).await;
    ConnectionScenario { sim: &sim, daemon: &daemon, result: "dns", log_text: "kafka.invalid" }
        .assert_failing_from_the_start()
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run by the test above, in a network of its own"]
async fn a_host_name_appears_and_disappears() {
    assert_in_own_network();
    let (sim, authority) = (cloud().await, Authority::new("names"));
    let proxy = TlsProxy::start(&sim, authority.certified(NAME, 2999)).await;
    let server = NameServer::start(DnsReply::NotFound).await;
    let daemon = start_behind(NAME, &proxy, &authority, &[]).await;
    let way = ConnectionScenario { sim: &sim, daemon: &daemon, result: "dns", log_text: NAME };
    way.assert_failing_from_the_start().await;
    server.set_reply(DnsReply::Address(Ipv4Addr::LOCALHOST));
    way.assert_recovered(LAG_BEFORE).await;
    server.set_reply(DnsReply::NotFound);
    proxy.close_connections();
    way.assert_failing_after_success().await;
    server.set_reply(DnsReply::Address(Ipv4Addr::LOCALHOST));
    way.assert_recovered(LAG_AFTER).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_silent_name_server_delays_no_other_region() {
    if run_in_own_network("a_name_server_stops_responding").await {
        return;
    }
    // That few threads wait is then shown by the tests of `resolve` alone.
    let far = network::far_cloud().await;
    let black_hole = BlackHole::open(&far).await;
    network::assert_other_regions_unaffected(
        &far,
        black_hole.url(),
        &[],
        || black_hole.drop_connections(),
        || black_hole.restore(),
        |_| (),
    )
    .await;
}

/// Regions whose name cannot be looked up, and how many look-ups of one may wait.
const SLOW: u64 = 3;
const LOOK_UPS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run by the test above, in a network of its own"]
async fn a_name_server_stops_responding() {
    assert_in_own_network();
    let server = NameServer::start(DnsReply::Address(Ipv4Addr::LOCALHOST)).await;
    let authority = Authority::new("silence");
    let far = network::far_cloud().await;
    let proxy = TlsProxy::start(&far, authority.certified(NAME, 2999)).await;
    let url = format!("https://{NAME}:{}", proxy.port());
    let variables = [("SSL_CERT_FILE", authority.file())];
    let silence = || {
        server.set_reply(DnsReply::Silence);
        proxy.close_connections();
    };
    let speak = || server.set_reply(DnsReply::Address(Ipv4Addr::LOCALHOST));
    let threads = |daemon: &Daemon| {
        let threads = daemon.proc_status("Threads");
        // The main one, two that work, one that renders, those that wait for the name server, and for each
        // region one that has just ended. Without a bound, each call would leave one behind.
        assert!(threads <= 4 + SLOW * (LOOK_UPS + 1), "{threads} threads");
    };
    network::assert_other_regions_unaffected(&far, url, &variables, silence, speak, threads).await;
}

#[tokio::test]
async fn an_unreachable_address_times_out() {
    if run_in_own_network("an_address_becomes_unreachable").await {
        return;
    }
    let sim = cloud().await;
    let black_hole = BlackHole::open(&sim).await;
    black_hole.drop_connections();
    let url = black_hole.url();
    let daemon = Daemon::start(&sim, &[("ENDPOINT", &url), ("REQUEST_TIMEOUT", "1s")]).await;
    ConnectionScenario { sim: &sim, daemon: &daemon, result: "timeout", log_text: "" }
        .assert_failing_from_the_start()
        .await;
    daemon.stop().await;
}

/// Lets the address be this host's own, or takes it away.
fn route(verb: &str) {
    let words = ["address", verb, &format!("{UNREACHABLE}/32"), "dev", "lo"];
    assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run by the test above, in a network of its own"]
async fn an_address_becomes_unreachable() {
    assert_in_own_network();
    let (sim, authority) = (cloud().await, Authority::new("nowhere"));
    let proxy = TlsProxy::start(&sim, authority.certified(UNREACHABLE, 2999)).await;
    let daemon = start_behind(UNREACHABLE, &proxy, &authority, &[("REQUEST_TIMEOUT", "1s")]).await;
    let way = ConnectionScenario { sim: &sim, daemon: &daemon, result: "timeout", log_text: "" };
    way.assert_failing_from_the_start().await;
    route("add");
    way.assert_recovered(LAG_BEFORE).await;
    // Connections that are open lead nowhere too.
    route("del");
    way.assert_failing_after_success().await;
    route("add");
    way.assert_recovered(LAG_AFTER).await;
    daemon.stop().await;
}
