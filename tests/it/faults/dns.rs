//! Unknown host names, silent name servers and unreachable addresses.
//!
//! These tests need a network namespace with its own name server and a route that leads nowhere. Each test runs this
//! binary again inside such a namespace, for one test that is ignored otherwise. If the system grants no namespace
//! (neither root nor user namespaces), the test says so on stderr and checks less, on loopback.

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

/// Environment variable that is set inside the network namespace.
const IN_OWN_NETWORK: &str = "ALIKAFKA_TEST_OWN_NETWORK";
/// Longest run of a test inside the namespace.
const PATIENCE: Duration = Duration::from_secs(120);
/// A host name that only [`NameServer`] knows.
const NAME: &str = "kafka.test";
/// An address with a route but no host.
const UNREACHABLE: &str = "198.51.100.9";

/// Sets up the network, then executes its arguments. The first two are configuration files of the resolver.
const NETWORK_SETUP: &str = r#"set -e
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip route add 198.51.100.0/24 dev lo src 192.0.2.1
mount --bind "$1" /etc/resolv.conf
if [ -e /etc/nsswitch.conf ]; then mount --bind "$2" /etc/nsswitch.conf; fi
shift 2
exec "$@"
"#;

/// Returns a command that runs a program in a network namespace, or `None` if the system grants none.
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

/// Runs a test inside a namespace. Returns `false`, with a note on stderr, if the system grants none.
async fn run_in_own_network(test: &str) -> bool {
    let Some(mut command) = own_network(&std::env::current_exe().unwrap()).await else {
        // Not by `eprintln!`, whose output is shown only for failed tests.
        let mut stderr = std::io::stderr();
        _ = writeln!(
            stderr,
            "\nNOT RUN: {test}: no network namespace without root or user namespaces; this run checks less\n"
        );
        return false;
    };
    let name = format!("faults::dns::{test}");
    let run = command.env(IN_OWN_NETWORK, "1").args([&name, "--exact", "--ignored", "--nocapture"]).output();
    let output = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    true
}

fn assert_in_own_network() {
    assert!(std::env::var_os(IN_OWN_NETWORK).is_some(), "another test runs this one, in a network namespace");
}

/// Behavior of the name server.
#[derive(Clone, Copy)]
enum DnsReply {
    /// NXDOMAIN.
    NotFound,
    /// An A record.
    Address(Ipv4Addr),
    /// No response.
    Silence,
}

/// The name server of a network namespace.
struct NameServer {
    reply: Arc<Mutex<DnsReply>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    async fn start(reply: DnsReply) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
        let reply = Arc::new(Mutex::new(reply));
        let current = Arc::clone(&reply);
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let reply = *current.lock().unwrap();
                if let Some(response) = dns_response(&query[..length], reply) {
                    _ = socket.send_to(&response, from).await;
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

/// Returns the response to a DNS query, unless there is none.
fn dns_response(query: &[u8], reply: DnsReply) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    let name_end = HEAD + query.get(HEAD..)?.iter().position(|b| *b == 0)? + 1;
    let query_section = query.get(HEAD..name_end + 4)?;
    let (code, address) = match reply {
        DnsReply::Silence => return None,
        DnsReply::NotFound => (3, None),
        DnsReply::Address(address) => (0, (query.get(name_end..name_end + 2)? == TYPE_A).then_some(address)),
    };
    let mut response = query.get(..2)?.to_vec();
    response.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    response.extend(query_section);
    if let Some(address) = address {
        // A pointer to the name, type A, class IN, TTL 0, four bytes.
        response.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        response.extend(address.octets());
    }
    Some(response)
}

/// Starts the exporter with a host name or address of the certificate as endpoint.
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
    // RFC 2606 reserves this name.
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[("ENDPOINT", "https://kafka.invalid")]).await;
    ConnectionScenario { sim: &sim, daemon: &daemon, result: "dns", log_text: "kafka.invalid" }
        .assert_failing_from_the_start()
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the test above runs it in a network namespace"]
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
    // Only the unit tests of the resolver check the number of threads then.
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

/// Regions whose host name cannot be resolved, and the most concurrent lookups of each.
const SLOW_REGIONS: u64 = 3;
const LOOKUPS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the test above runs it in a network namespace"]
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
        // The main thread, two workers, the renderer, the waiting lookups, and for each region one that has just
        // ended. Without a limit, each call would leave one behind.
        assert!(threads <= 4 + SLOW_REGIONS * (LOOKUPS + 1), "{threads} threads");
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

/// Adds the address to this host, or deletes it.
fn set_address(verb: &str) {
    let words = ["address", verb, &format!("{UNREACHABLE}/32"), "dev", "lo"];
    assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the test above runs it in a network namespace"]
async fn an_address_becomes_unreachable() {
    assert_in_own_network();
    let (sim, authority) = (cloud().await, Authority::new("nowhere"));
    let proxy = TlsProxy::start(&sim, authority.certified(UNREACHABLE, 2999)).await;
    let daemon = start_behind(UNREACHABLE, &proxy, &authority, &[("REQUEST_TIMEOUT", "1s")]).await;
    let way = ConnectionScenario { sim: &sim, daemon: &daemon, result: "timeout", log_text: "" };
    way.assert_failing_from_the_start().await;
    set_address("add");
    way.assert_recovered(LAG_BEFORE).await;
    // Open connections become unreachable too.
    set_address("del");
    way.assert_failing_after_success().await;
    set_address("add");
    way.assert_recovered(LAG_AFTER).await;
    daemon.stop().await;
}
