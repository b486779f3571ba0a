//! When an answer was true, which one it was, and a parameter that not every cloud knows.

use alikafka_exporter::model::{Observed, ResponseOrigin, TimeSpan};

use super::*;

const PROGRESS: &str = r#"{"Code":200,"RequestId":"252820E1-A2E6","ConsumerProgress":{"TopicList":[]}}"#;

/// `Tue, 14 Nov 2023 22:33:20 GMT`, twenty minutes after [`NOVEMBER`].
const DATE: &str = "Tue, 14 Nov 2023 22:33:20 GMT";
const DATE_MILLIS: i64 = 1_700_001_200_000;

async fn progress(client: &ApiClient, times: MessageTimestamps) -> Result<ResponseOrigin, ApiError> {
    let (instance, group) = (InstanceId::new("i").unwrap(), GroupId::new("g").unwrap());
    client.group_progress(&instance, &group, times, deadline()).await.map(|(_, origin)| origin)
}

/// How each request had the parameter: `None` for not at all.
fn hidden(server: &Server) -> Vec<Option<bool>> {
    let of = |request: &server::Request| {
        let (_, rest) = request.line.split_once("HideLastTimestamp=")?;
        Some(rest.starts_with("true"))
    };
    server.requests().iter().map(of).collect()
}

fn ends(span: TimeSpan) -> (i64, i64) {
    (span.earliest().get(), span.latest().get())
}

#[tokio::test]
async fn an_answer_is_from_the_second_of_its_date_whatever_the_clock_of_this_host_shows() {
    let server = Server::start(vec![Answer::full(200, &[("Date", DATE)], PROGRESS)]).await;
    let (Clocked { client, .. }, clock) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
    for shown in [NOVEMBER, NOVEMBER + 86_400_000, 1] {
        clock.store(shown, Ordering::SeqCst);
        let began = Instant::now();
        let origin = progress(&client, MessageTimestamps::Requested).await.unwrap();
        let took = i64::try_from(began.elapsed().as_millis()).unwrap() + 1;
        let (earliest, latest) = ends(origin.span);
        assert!((DATE_MILLIS - took..=DATE_MILLIS).contains(&earliest), "{earliest}");
        assert!((DATE_MILLIS + 999..=DATE_MILLIS + 999 + took).contains(&latest), "{latest}");
    }
}

#[tokio::test]
async fn what_a_topic_holds_has_an_origin_too() {
    let body = r#"{"Code":200,"RequestId":"T-1","TopicStatus":{"OffsetTable":[]}}"#;
    let server = Server::start(vec![Answer::full(200, &[("Date", DATE)], body)]).await;
    let (instance, topic) = (InstanceId::new("i").unwrap(), TopicName::new("t").unwrap());
    let (Observed { value, .. }, origin) =
        setup(&server).client.topic_status(&instance, &topic, deadline()).await.unwrap();
    assert!(value.partitions.is_empty());
    assert_eq!(origin.request_id.as_deref(), Some("T-1"));
    let (earliest, latest) = ends(origin.span);
    assert!(earliest <= DATE_MILLIS && DATE_MILLIS + 999 <= latest, "{earliest} {latest}");
}

#[tokio::test]
async fn without_a_date_the_clock_of_the_cloud_as_other_answers_told_it_counts() {
    let server = Server::start(vec![
        Answer::json(PROGRESS),
        Answer::full(200, &[("Date", DATE)], NO_INSTANCES),
        Answer::json(PROGRESS),
    ])
    .await;
    let (Clocked { client, .. }, _) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
    let began = Instant::now();
    let (_, latest) = ends(progress(&client, MessageTimestamps::Requested).await.unwrap().span);
    assert_eq!(latest, i64::try_from(NOVEMBER).unwrap(), "nothing is known but the wall clock");
    client.instances(deadline()).await.unwrap();
    let (earliest, latest) = ends(progress(&client, MessageTimestamps::Requested).await.unwrap().span);
    let took = i64::try_from(began.elapsed().as_millis()).unwrap() + 2;
    assert!(DATE_MILLIS - took <= earliest && latest <= DATE_MILLIS + 999 + took, "{earliest} {latest}");
}

#[tokio::test]
async fn the_date_of_what_is_no_answer_of_the_cloud_counts_for_nothing() {
    let proxys = Answer::full(502, &[("Date", "Wed, 15 Nov 2023 22:33:20 GMT")], "<html></html>");
    let server = Server::start(vec![proxys, Answer::json(PROGRESS)]).await;
    let (Clocked { client, recorder }, _) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
    let (_, latest) = ends(progress(&client, MessageTimestamps::Requested).await.unwrap().span);
    assert_eq!(recorder.results(), ["server", "ok"]);
    assert_eq!(latest, i64::try_from(NOVEMBER).unwrap());
}

#[tokio::test]
async fn the_request_id_of_an_answer_is_one_or_none() {
    for (told, shown) in [
        (r#""252820E1-A2E6-45F2-B4C9-1056B8CE0001""#, Some("252820E1-A2E6-45F2-B4C9-1056B8CE0001")),
        ("17", Some("17")),
        ("null", None),
        (r#""<b>x</b>""#, None),
        (r#""a\nb""#, None),
        (r#""x-LTAI5tCanaryKeyId0001""#, None),
    ] {
        let body = format!(r#"{{"Code":200,"RequestId":{told},"ConsumerProgress":{{"TopicList":[]}}}}"#);
        let server = Server::start(vec![Answer::json(&body)]).await;
        let origin = progress(&setup(&server).client, MessageTimestamps::Requested).await.unwrap();
        assert_eq!(origin.request_id.as_deref(), shown, "{told}");
    }
    let long = format!(r#"{{"RequestId":"{}","ConsumerProgress":null}}"#, "a".repeat(1_000));
    let server = Server::start(vec![Answer::json(&long)]).await;
    assert_eq!(
        progress(&setup(&server).client, MessageTimestamps::Requested).await.unwrap().request_id,
        None
    );
}

/// Refusals of a parameter, each with its HTTP status.
const REFUSALS: [(u16, &str); 7] = [
    (400, r#"{"Code":"InvalidParameter","Message":"m"}"#),
    (400, r#"{"Code":"InvalidParameter.Unknown","Message":"m"}"#),
    (400, r#"{"Code":"MissingParameter","Message":"m"}"#),
    (400, r#"{"Code":"UnsupportedParameter","Message":"m"}"#),
    (200, r#"{"Success":false,"Code":"BIZ_FIELD_CHECK_INVALID","Message":"m"}"#),
    (400, r#"{"Code":"Strange.HideLastTimestamp","Message":"m"}"#),
    (200, r#"{"Success":false,"Code":400,"Message":"what is hidelasttimestamp?"}"#),
];

#[tokio::test]
async fn a_parameter_that_is_refused_is_left_out_at_once_and_from_then_on() {
    for (status, refusal) in REFUSALS {
        for times in [MessageTimestamps::NotRequested, MessageTimestamps::Requested] {
            let server = Server::start(vec![Answer::status(status, refusal), Answer::json(PROGRESS)]).await;
            let setup = setup(&server);
            for _ in 0..2 {
                progress(&setup.client, times).await.unwrap();
            }
            let is_hidden = times == MessageTimestamps::NotRequested;
            assert_eq!(hidden(&server), [Some(is_hidden), None, None], "{refusal}");
            for request in server.requests() {
                let rest = ["?ConsumerId=g&", "&InstanceId=i&RegionId=cn-hangzhou "];
                assert!(rest.iter().all(|part| request.line.contains(part)), "{}", request.line);
            }
            assert_eq!(setup.recorder.results(), ["business", "ok", "ok"]);
            let retries: Vec<_> =
                setup.recorder.attempts.lock().unwrap().iter().map(|a| a.is_retry).collect();
            assert_eq!(retries, [false, true, false]);
        }
    }
}

#[tokio::test]
async fn what_is_refused_without_the_parameter_too_is_told_as_first_refused_and_not_remembered() {
    for (status, second) in
        [(400, r#"{"Code":"InvalidParameter","Message":"second"}"#), (403, r#"{"Code":"NoPermission"}"#)]
    {
        let server = Server::start(vec![
            Answer::status(400, r#"{"Code":"InvalidParameter","Message":"first","RequestId":"R-1"}"#),
            Answer::status(status, second),
            Answer::json(PROGRESS),
        ])
        .await;
        let setup = setup(&server);
        let error = progress(&setup.client, MessageTimestamps::NotRequested).await.unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::Business, "first"));
        assert_eq!(error.request_id.as_deref(), Some("R-1"));
        progress(&setup.client, MessageTimestamps::NotRequested).await.unwrap();
        assert_eq!(hidden(&server), [Some(true), None, Some(true)], "{second}");
    }
}

#[tokio::test]
async fn a_refusal_about_something_else_costs_no_second_call() {
    for (status, body) in [
        (400, r#"{"Code":"BIZ_REGION_NOT_FOUND","Message":"m"}"#),
        (400, r#"{"Code":"InvalidAction.NotFound","Message":"m"}"#),
        (200, r#"{"Success":false,"Code":400,"Message":"m"}"#),
        (403, r#"{"Code":"NoPermission","Message":"HideLastTimestamp"}"#),
        (400, r#"{"Code":"BIZ_SUBSCRIPTION_NOT_FOUND","Message":"InvalidParameter"}"#),
    ] {
        let server = Server::start(vec![Answer::status(status, body)]).await;
        progress(&setup(&server).client, MessageTimestamps::NotRequested).await.unwrap_err();
        assert_eq!(hidden(&server), [Some(true)], "{body}");
    }
    // No other question has a parameter that could be left out.
    let server = Server::start(vec![Answer::status(400, r#"{"Code":"InvalidParameter"}"#)]).await;
    let (instance, topic) = (InstanceId::new("i").unwrap(), TopicName::new("t").unwrap());
    setup(&server).client.topic_status(&instance, &topic, deadline()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn asking_without_a_parameter_is_a_retry_among_the_others() {
    let refused = || Answer::status(400, r#"{"Code":"InvalidParameter","Message":"first"}"#);
    let busy = || Answer::status(503, "");
    let server = Server::start(vec![busy(), refused(), Answer::json(PROGRESS)]).await;
    progress(&setup(&server).client, MessageTimestamps::NotRequested).await.unwrap();
    assert_eq!(hidden(&server), [Some(true), Some(true), None]);

    let server = Server::start(vec![refused(), busy()]).await;
    let error = progress(&setup(&server).client, MessageTimestamps::NotRequested).await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::Business, "first"));
    assert_eq!(hidden(&server), [Some(true), None, None], "three attempts, as of every call");

    let server = Server::start(vec![refused()]).await;
    let poor = setup(&server);
    for _ in 0..40 {
        progress(&poor.client, MessageTimestamps::NotRequested).await.unwrap_err();
    }
    let retries = server.requests().len() - 40;
    assert!(retries <= 9, "{retries} retries of 40 calls");
}
