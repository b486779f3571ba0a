//! Faults have their effects on the selected calls and on no others.

use std::time::Duration;

use alikafka_simulator::{
    Effect, Fault, GroupSpec, InstanceSpec, Occurrence, Simulator, SimulatorOptions, TopicSpec, WorldOptions,
    WrongType,
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::client::{Client, TestResponse, exchange};

const REGION: &str = "cn-hangzhou";
const STATUS: (&str, &[(&str, &str)]) = ("GetTopicStatus", &[("InstanceId", "i"), ("Topic", "t")]);
const PROGRESS: (&str, &[(&str, &str)]) =
    ("GetConsumerProgress", &[("InstanceId", "i"), ("ConsumerId", "g"), ("RegionId", REGION)]);
const TOPICS: (&str, &[(&str, &str)]) = ("GetTopicList", &[("InstanceId", "i"), ("PageSize", "2")]);

async fn started() -> Simulator {
    let options = SimulatorOptions { world: WorldOptions::empty([REGION]), ..SimulatorOptions::default() };
    let sim = Simulator::start(options).await.expect("a free port");
    sim.with_world(|w| {
        w.add_instance(REGION, InstanceSpec::new("i"));
        for topic in ["t", "u", "v"] {
            w.add_topic("i", TopicSpec::new(topic, 2)).expect("the instance is there");
            w.append("i", topic, 0, 9).expect("the partition is there");
        }
        w.add_group("i", GroupSpec::new("g", &["t"])).expect("the instance is there");
    });
    sim
}

/// Sends one call with one fault.
async fn call_with(sim: &Simulator, effect: Effect, call: (&str, &[(&str, &str)])) -> Option<TestResponse> {
    sim.faults(|f| {
        f.clear();
        f.add(Fault::new(effect));
    });
    Client::new(sim).try_call(call.0, call.1).await
}

async fn json_with(sim: &Simulator, effect: Effect, call: (&str, &[(&str, &str)])) -> Value {
    call_with(sim, effect, call).await.expect("a response").json()
}

#[tokio::test]
async fn error_effects_have_their_formats() {
    let sim = started().await;
    let (code, message) = ("ServiceUnavailable".to_owned(), "busy".to_owned());
    let error = Effect::Error { status: 503, code: code.clone(), message: message.clone() };
    let response = call_with(&sim, error, STATUS).await.expect("a response");
    assert_eq!((response.status, response.code()), (503, code.clone()));
    let lower = Effect::LowerCaseError { status: 500, code: code.clone(), message: message.clone() };
    let response = call_with(&sim, lower, STATUS).await.expect("a response");
    assert_eq!((response.status, response.json()["code"].as_str()), (500, Some("ServiceUnavailable")));
    let soft = json_with(&sim, Effect::SuccessFalse { code, message }, STATUS).await;
    assert_eq!(soft["Success"], false);
    let html = call_with(&sim, Effect::Html { status: 502 }, STATUS).await.expect("a response");
    assert!(html.status == 502 && html.headers["content-type"].starts_with("text/html"));
    let xml = call_with(&sim, Effect::XmlError { status: 400, code: "X".to_owned() }, STATUS)
        .await
        .expect("a response");
    assert!(xml.body.contains("<Code>X</Code>") && xml.headers["content-type"].starts_with("text/xml"));
    let throttle =
        Effect::Throttle { status: 429, code: "Throttling.Api".to_owned(), retry_after_ms: Some(1500) };
    let response = call_with(&sim, throttle, STATUS).await.expect("a response");
    assert_eq!((response.status, response.headers["x-acs-retry-after"].as_str()), (429, "1500"));
    let to = Effect::Redirect { status: 307, location: "http://127.0.0.1:9/".to_owned() };
    let response = call_with(&sim, to, STATUS).await.expect("a response");
    assert_eq!((response.status, response.headers["location"].as_str()), (307, "http://127.0.0.1:9/"));
    let raw =
        Effect::Raw { status: 200, content_type: "x/y".to_owned(), body: vec![0xEF, 0xBB, 0xBF, b'{', b'}'] };
    let response = call_with(&sim, raw, STATUS).await.expect("a response");
    assert_eq!((response.headers["content-type"].as_str(), response.body.as_str()), ("x/y", "\u{feff}{}"));
    assert!(sim.served().topics.is_empty(), "no response was true");
    sim.shutdown().await;
}

#[tokio::test]
async fn connection_effects_break_the_connection() {
    let sim = started().await;
    let request = || Client::new(&sim).request(STATUS.0, STATUS.1);
    let set = |effect: Effect| {
        sim.faults(|f| {
            f.clear();
            f.add(Fault::new(effect));
        });
    };
    set(Effect::Close);
    assert_eq!(exchange(sim.addr(), &request()).await.expect("a clean close"), b"");
    set(Effect::Reset);
    let reset = exchange(sim.addr(), &request()).await.expect_err("a reset");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    set(Effect::CutBody(30));
    let cut =
        String::from_utf8(exchange(sim.addr(), &request()).await.expect("a clean close")).expect("text");
    assert_eq!(cut.split_once("\r\n\r\n").map(|(_, body)| body.len()), Some(30));
    set(Effect::ResetBody(30));
    let reset = exchange(sim.addr(), &request()).await.expect_err("a reset");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    for (effect, seen) in [(Effect::Hang, 0), (Effect::HangBody(30), 30)] {
        set(effect);
        let mut stream = TcpStream::connect(sim.addr()).await.expect("connected");
        stream.write_all(&request()).await.expect("sent");
        let mut all = Vec::new();
        let ended = timeout(Duration::from_millis(200), stream.read_to_end(&mut all)).await;
        assert!(ended.is_err(), "neither data nor an end follows");
        let text = String::from_utf8_lossy(&all).into_owned();
        assert_eq!(text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len()), seen);
    }
    set(Effect::Drip(Duration::from_millis(20)));
    let mut stream = TcpStream::connect(sim.addr()).await.expect("connected");
    stream.write_all(&request()).await.expect("sent");
    let mut some = [0; 250];
    stream.read_exact(&mut some).await.expect("the head and a few bytes");
    drop(stream);
    assert!(sim.served().topics.is_empty(), "no response was complete");
    set(Effect::Drip(Duration::from_micros(100)));
    assert_eq!(Client::new(&sim).call(STATUS.0, STATUS.1).await.code(), "200");
    assert_eq!(sim.served().topics.len(), 1, "a complete drip is recorded");
    let codes: Vec<_> = sim.call_log().entries().map(|e| e.code.clone()).collect();
    assert_eq!(codes[..2], ["fault: close", "fault: reset"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn oversized_body_is_declared_or_chunked() {
    let sim = started().await;
    let bytes = 3_000_000;
    let declared =
        call_with(&sim, Effect::Oversized { bytes, declared: true }, STATUS).await.expect("a response");
    assert!(declared.body.len() > 3_000_000 && declared.code() == "200");
    sim.faults(|f| {
        f.clear();
        f.add(Fault::new(Effect::Oversized { bytes, declared: false }));
    });
    let chunked = exchange(sim.addr(), &Client::new(&sim).request(STATUS.0, STATUS.1)).await.expect("an end");
    assert!(chunked.len() > 3_000_000);
    assert!(String::from_utf8_lossy(&chunked[..500]).contains("transfer-encoding: chunked"));
    sim.shutdown().await;
}

#[tokio::test]
async fn only_true_responses_are_recorded_as_served() {
    let sim = started().await;
    let row = |v: &Value| v["TopicStatus"]["OffsetTable"]["OffsetTable"][0].clone();
    let text = json_with(&sim, Effect::WrongType(WrongType::Text), STATUS).await;
    assert_eq!(
        (&row(&text)["MaxOffset"], &row(&text)["Topic"]),
        (&json!("many"), &json!("t")),
        "numbers in strings are changed too"
    );
    sim.behaviour(|b| b.status_strings = false);
    let served = || sim.served().topics.values().map(|l| l.times).sum::<u64>();
    let before = served();
    assert_eq!(
        row(&json_with(&sim, Effect::WrongType(WrongType::TooBig), STATUS).await)["MaxOffset"],
        json!(u64::MAX)
    );
    assert_eq!(
        row(&json_with(&sim, Effect::WrongType(WrongType::Null), STATUS).await)["MaxOffset"],
        json!(null)
    );
    assert_eq!(json_with(&sim, Effect::NullList, STATUS).await["TopicStatus"]["OffsetTable"], json!(null));
    assert_eq!(
        json_with(&sim, Effect::EmptyList, STATUS).await["TopicStatus"]["OffsetTable"]["OffsetTable"],
        json!([])
    );
    let truncated = call_with(&sim, Effect::Truncate(40), STATUS).await.expect("a complete HTTP response");
    assert_eq!((truncated.status, truncated.body.len()), (200, 40));
    assert_eq!(served(), before);
    let floats = json_with(&sim, Effect::WrongType(WrongType::Floats), STATUS).await;
    assert!(row(&floats)["MaxOffset"].is_f64());
    assert!(json_with(&sim, Effect::UnknownFields, STATUS).await["FieldOfTomorrow"].is_object());
    assert_eq!(served(), before + 2);
    let ahead = json_with(&sim, Effect::ConsumerAhead(4), PROGRESS).await;
    let part = &ahead["ConsumerProgress"]["TopicList"]["TopicList"][0]["OffsetList"]["OffsetList"][0];
    assert_eq!((&part["BrokerOffset"], &part["ConsumerOffset"]), (&json!(9), &json!(13)));
    let foreign = json_with(&sim, Effect::ForeignItems, TOPICS).await;
    assert_eq!(foreign["TopicList"]["TopicVO"][0]["InstanceId"], "alikafka_foreign");
    let undated = call_with(&sim, Effect::Date(None), STATUS).await.expect("a response");
    assert!(!undated.headers.contains_key("date"));
    sim.shutdown().await;
}

#[tokio::test]
async fn paging_effects_change_pages() {
    let sim = started().await;
    let client = Client::new(&sim);
    let list_page = async |effect: Effect, n: &str| {
        sim.faults(|f| {
            f.clear();
            f.add(Fault::new(effect).action("GetTopicList"));
        });
        let a = client.good(TOPICS.0, &[TOPICS.1, &[("CurrentPage", n)]].concat()).await;
        let rows: Vec<_> =
            a["TopicList"]["TopicVO"].as_array().expect("rows").iter().map(|r| r["Topic"].clone()).collect();
        (json!(rows), a["Total"].clone())
    };
    assert_eq!(list_page(Effect::WrongTotal(99), "2").await, (json!(["v"]), json!(99)));
    assert_eq!(list_page(Effect::EndlessPages, "7").await, (json!(["t", "u"]), json!(1_000_000_000)));
    assert_eq!(list_page(Effect::RepeatedRows, "2").await, (json!(["u", "v"]), json!(3)));
    sim.shutdown().await;
}

#[tokio::test]
async fn filters_select_calls_and_effects_accumulate() {
    let sim = started().await;
    let error = Effect::Error { status: 500, code: "InternalError".to_owned(), message: String::new() };
    sim.faults(|f| {
        f.add(Fault::new(error).action("GetTopicStatus").object("t").occurrence(Occurrence::Nth(2)));
        f.add(Fault::new(Effect::UnknownFields).action("GetTopicStatus"));
    });
    let client = Client::new(&sim);
    let mut seen = Vec::new();
    for topic in ["t", "u", "t", "t"] {
        seen.push(client.call("GetTopicStatus", &[("InstanceId", "i"), ("Topic", topic)]).await.status);
    }
    assert_eq!(seen, [200, 200, 500, 200]);
    assert_eq!(sim.faults(|f| f.fired()), [1, 4]);
    sim.faults(|f| f.clear());
    assert!(client.good(STATUS.0, STATUS.1).await.get("FieldOfTomorrow").is_none());
    sim.shutdown().await;
}
