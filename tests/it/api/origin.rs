//! Time span and request id of a response, and a parameter that some clouds do not support.

use alikafka_exporter::model::{Observed, ResponseOrigin, TimeSpan};

use super::*;

const PROGRESS: &str = r#"{"Code":200,"RequestId":"252820E1-A2E6","ConsumerProgress":{"TopicList":[]}}"#;

/// `Tue, 14 Nov 2023 22:33:20 GMT`, twenty minutes after [`NOVEMBER`].
const DATE: &str = "Tue, 14 Nov 2023 22:33:20 GMT";
const DATE_MILLIS: i64 = 1_700_001_200_000;

async fn progress(client: &ApiClient, timestamps: MessageTimestamps) -> Result<ResponseOrigin, ApiError> {
    let (instance, group) = (InstanceId::new("i").unwrap(), GroupId::new("g").unwrap());
    client.group_progress(&instance, &group, timestamps, deadline()).await.map(|(_, origin)| origin)
}

/// Returns the value of the parameter in each request; `None` if it was omitted.
fn hide_parameters(server: &Server) -> Vec<Option<bool>> {
    let parameter = |request: &server::Request| {
        let (_, rest) = request.line.split_once("HideLastTimestamp=")?;
        Some(rest.starts_with("true"))
    };
    server.requests().iter().map(parameter).collect()
}

fn ends(span: TimeSpan) -> (i64, i64) {
    (span.earliest().get(), span.latest().get())
}

#[tokio::test]
async fn a_response_is_located_by_its_date_whatever_the_local_clock() {
    let server = Server::start(vec![ScriptedResponse::full(200, &[("Date", DATE)], PROGRESS)]).await;
    let (ClockedClient { client, .. }, clock) = clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
    for local in [NOVEMBER, NOVEMBER + 86_400_000, 1] {
        clock.store(local, Ordering::SeqCst);
        let began = Instant::now();
        let origin = progress(&client, MessageTimestamps::Requested).await.unwrap();
        let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap() + 1;
        let (earliest, latest) = ends(origin.span);
        assert!((DATE_MILLIS - elapsed..=DATE_MILLIS).contains(&earliest), "{earliest}");
        assert!((DATE_MILLIS + 999..=DATE_MILLIS + 999 + elapsed).contains(&latest), "{latest}");
    }
}

#[tokio::test]
async fn the_status_of_a_topic_has_an_origin_too() {
    let body = r#"{"Code":200,"RequestId":"T-1","TopicStatus":{"OffsetTable":[]}}"#;
    let server = Server::start(vec![ScriptedResponse::full(200, &[("Date", DATE)], body)]).await;
    let (instance, topic) = (InstanceId::new("i").unwrap(), TopicName::new("t").unwrap());
    let (Observed { value, .. }, origin) =
        setup(&server).client.topic_status(&instance, &topic, deadline()).await.unwrap();
    assert!(value.partitions.is_empty());
    assert_eq!(origin.request_id.as_deref(), Some("T-1"));
    let (earliest, latest) = ends(origin.span);
    assert!(earliest <= DATE_MILLIS && DATE_MILLIS + 999 <= latest, "{earliest} {latest}");
}

#[tokio::test]
async fn without_a_date_the_estimate_of_other_responses_counts() {
    let server = Server::start(vec![
        ScriptedResponse::json(PROGRESS),
        ScriptedResponse::full(200, &[("Date", DATE)], NO_INSTANCES),
        ScriptedResponse::json(PROGRESS),
    ])
    .await;
    let (ClockedClient { client, .. }, _) = clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
    let began = Instant::now();
    let (_, latest) = ends(progress(&client, MessageTimestamps::Requested).await.unwrap().span);
    assert_eq!(latest, i64::try_from(NOVEMBER).unwrap(), "there is only the wall clock");
    client.instances(deadline()).await.unwrap();
    let (earliest, latest) = ends(progress(&client, MessageTimestamps::Requested).await.unwrap().span);
    let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap() + 2;
    assert!(
        DATE_MILLIS - elapsed <= earliest && latest <= DATE_MILLIS + 999 + elapsed,
        "{earliest} {latest}"
    );
}

#[tokio::test]
async fn the_date_of_a_proxy_is_ignored() {
    let from_proxy =
        ScriptedResponse::full(502, &[("Date", "Wed, 15 Nov 2023 22:33:20 GMT")], "<html></html>");
    let server = Server::start(vec![from_proxy, ScriptedResponse::json(PROGRESS)]).await;
    let (ClockedClient { client, recorder }, _) = clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
    let (_, latest) = ends(progress(&client, MessageTimestamps::Requested).await.unwrap().span);
    assert_eq!(recorder.results(), ["server", "ok"]);
    assert_eq!(latest, i64::try_from(NOVEMBER).unwrap());
}

#[tokio::test]
async fn the_request_id_is_validated() {
    for (sent, expected) in [
        (r#""252820E1-A2E6-45F2-B4C9-1056B8CE0001""#, Some("252820E1-A2E6-45F2-B4C9-1056B8CE0001")),
        ("17", Some("17")),
        ("null", None),
        (r#""<b>x</b>""#, None),
        (r#""a\nb""#, None),
        (r#""x-LTAI5tCanaryKeyId0001""#, None),
    ] {
        let body = format!(r#"{{"Code":200,"RequestId":{sent},"ConsumerProgress":{{"TopicList":[]}}}}"#);
        let server = Server::start(vec![ScriptedResponse::json(&body)]).await;
        let origin = progress(&setup(&server).client, MessageTimestamps::Requested).await.unwrap();
        assert_eq!(origin.request_id.as_deref(), expected, "{sent}");
    }
    let long = format!(r#"{{"RequestId":"{}","ConsumerProgress":null}}"#, "a".repeat(1_000));
    let server = Server::start(vec![ScriptedResponse::json(&long)]).await;
    assert_eq!(
        progress(&setup(&server).client, MessageTimestamps::Requested).await.unwrap().request_id,
        None
    );
}

/// HTTP status and body of responses that reject a parameter.
const REJECTIONS: [(u16, &str); 7] = [
    (400, r#"{"Code":"InvalidParameter","Message":"m"}"#),
    (400, r#"{"Code":"InvalidParameter.Unknown","Message":"m"}"#),
    (400, r#"{"Code":"MissingParameter","Message":"m"}"#),
    (400, r#"{"Code":"UnsupportedParameter","Message":"m"}"#),
    (200, r#"{"Success":false,"Code":"BIZ_FIELD_CHECK_INVALID","Message":"m"}"#),
    (400, r#"{"Code":"Unknown.HideLastTimestamp","Message":"m"}"#),
    (200, r#"{"Success":false,"Code":400,"Message":"what is hidelasttimestamp?"}"#),
];

#[tokio::test]
async fn a_rejected_parameter_is_omitted_at_once_and_from_then_on() {
    for (status, rejection) in REJECTIONS {
        for timestamps in [MessageTimestamps::NotRequested, MessageTimestamps::Requested] {
            let server = Server::start(vec![
                ScriptedResponse::status(status, rejection),
                ScriptedResponse::json(PROGRESS),
            ])
            .await;
            let setup = setup(&server);
            for _ in 0..2 {
                progress(&setup.client, timestamps).await.unwrap();
            }
            let is_hidden = timestamps == MessageTimestamps::NotRequested;
            assert_eq!(hide_parameters(&server), [Some(is_hidden), None, None], "{rejection}");
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
async fn a_rejection_without_the_parameter_too_reports_the_first_one_and_is_not_remembered() {
    for (status, second) in
        [(400, r#"{"Code":"InvalidParameter","Message":"second"}"#), (403, r#"{"Code":"NoPermission"}"#)]
    {
        let server = Server::start(vec![
            ScriptedResponse::status(
                400,
                r#"{"Code":"InvalidParameter","Message":"first","RequestId":"R-1"}"#,
            ),
            ScriptedResponse::status(status, second),
            ScriptedResponse::json(PROGRESS),
        ])
        .await;
        let setup = setup(&server);
        let error = progress(&setup.client, MessageTimestamps::NotRequested).await.unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::Business, "first"));
        assert_eq!(error.request_id.as_deref(), Some("R-1"));
        progress(&setup.client, MessageTimestamps::NotRequested).await.unwrap();
        assert_eq!(hide_parameters(&server), [Some(true), None, Some(true)], "{second}");
    }
}

#[tokio::test]
async fn a_rejection_for_another_reason_costs_no_second_call() {
    for (status, body) in [
        (400, r#"{"Code":"BIZ_REGION_NOT_FOUND","Message":"m"}"#),
        (400, r#"{"Code":"InvalidAction.NotFound","Message":"m"}"#),
        (200, r#"{"Success":false,"Code":400,"Message":"m"}"#),
        (403, r#"{"Code":"NoPermission","Message":"HideLastTimestamp"}"#),
        (400, r#"{"Code":"BIZ_SUBSCRIPTION_NOT_FOUND","Message":"InvalidParameter"}"#),
    ] {
        let server = Server::start(vec![ScriptedResponse::status(status, body)]).await;
        progress(&setup(&server).client, MessageTimestamps::NotRequested).await.unwrap_err();
        assert_eq!(hide_parameters(&server), [Some(true)], "{body}");
    }
    // No other request has an optional parameter.
    let server = Server::start(vec![ScriptedResponse::status(400, r#"{"Code":"InvalidParameter"}"#)]).await;
    let (instance, topic) = (InstanceId::new("i").unwrap(), TopicName::new("t").unwrap());
    setup(&server).client.topic_status(&instance, &topic, deadline()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_attempt_without_the_parameter_is_a_retry_like_others() {
    let rejected = || ScriptedResponse::status(400, r#"{"Code":"InvalidParameter","Message":"first"}"#);
    let busy = || ScriptedResponse::status(503, "");
    let server = Server::start(vec![busy(), rejected(), ScriptedResponse::json(PROGRESS)]).await;
    progress(&setup(&server).client, MessageTimestamps::NotRequested).await.unwrap();
    assert_eq!(hide_parameters(&server), [Some(true), Some(true), None]);

    let server = Server::start(vec![rejected(), busy()]).await;
    let error = progress(&setup(&server).client, MessageTimestamps::NotRequested).await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::Business, "first"));
    assert_eq!(hide_parameters(&server), [Some(true), None, None], "three attempts, like every call");

    let server = Server::start(vec![rejected()]).await;
    let repeated = setup(&server);
    for _ in 0..40 {
        progress(&repeated.client, MessageTimestamps::NotRequested).await.unwrap_err();
    }
    let retries = server.requests().len() - 40;
    assert!(retries <= 9, "{retries} retries of 40 calls");
}
