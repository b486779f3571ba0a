use proptest::prelude::*;

use super::{
    super::wire::{InstanceListResponse, ProgressResponse},
    *,
};

fn reply(status: u16, body: impl Into<Vec<u8>>) -> RawResponse<'static> {
    RawResponse {
        status,
        content_type: None,
        retry_after: None,
        date_millis: None,
        body: Cow::Owned(body.into()),
    }
}

fn outcome(status: u16, body: &str) -> Result<(), ErrorKind> {
    read::<InstanceListResponse<'_>>(&reply(status, body)).map(|_| ()).map_err(|failure| failure.kind)
}

#[test]
fn success_needs_a_good_status_and_a_good_code_and_success() {
    for body in [
        r#"{"Code":200,"Success":true,"InstanceList":[]}"#,
        r#"{"Code":"200","Success":"true","InstanceList":[]}"#,
        r#"{"code":200,"success":1,"InstanceList":[]}"#,
        r#"{"InstanceList":[]}"#,
        r#"{"Code":null,"Success":null,"InstanceList":null}"#,
        "\u{feff}{\"InstanceList\":[]}",
        r#"{"InstanceList":[],"InstanceList":[],"Code":1,"Code":200}"#,
    ] {
        assert_eq!(outcome(200, body), Ok(()), "{body}");
        assert_ne!(outcome(500, body), Ok(()), "{body}");
    }
    assert_eq!(outcome(200, r#"{"Code":200,"Success":false}"#), Err(ErrorKind::Business));
    assert_eq!(outcome(200, r#"{"Code":"200","Success":"false"}"#), Err(ErrorKind::Business));
    assert_eq!(outcome(200, r#"{"Code":200,"Success":0}"#), Err(ErrorKind::Business));
    assert_eq!(outcome(200, r#"{"Code":500,"Success":true}"#), Err(ErrorKind::Server));
    assert_eq!(outcome(200, r#"{"Code":{},"Success":true}"#), Err(ErrorKind::Business));
    assert_eq!(outcome(200, r#"{"Success":"perhaps"}"#), Err(ErrorKind::Decode));
    let failure = read::<InstanceListResponse<'_>>(&reply(200, r#"{"RequestId":"R"}"#)).unwrap_err();
    assert_eq!((failure.kind, failure.request_id.as_deref()), (ErrorKind::Decode, Some("R")));
}

#[test]
fn codes_are_classified_by_pattern_and_statuses_where_no_code_is() {
    let gone = |instance| ErrorKind::Gone { instance };
    let refused = |key| ErrorKind::Auth { key };
    for (status, code, kind) in [
        (400, "Throttling", ErrorKind::Throttled),
        (400, "Throttling.User", ErrorKind::Throttled),
        (503, "Throttling.Api", ErrorKind::Throttled),
        (400, "Rejected.Throttling", ErrorKind::Throttled),
        (400, "ONS_SYSTEM_FLOW_CONTROL", ErrorKind::Throttled),
        (400, "ServiceUnavailable", ErrorKind::Server),
        (400, "InternalError", ErrorKind::Server),
        (400, "ONS_SYSTEM_ERROR", ErrorKind::Server),
        (400, "ONS_INVOKE_ERROR", ErrorKind::Server),
        (502, "SomethingNew", ErrorKind::Server),
        (400, "BIZ_TOPIC_NOT_FOUND", gone(false)),
        (400, "BIZ_SUBSCRIPTION_NOT_FOUND", gone(false)),
        (500, "BIZ_SUBSCRIPTION_NOT_FOUND", gone(false)),
        (400, "BIZ_INSTANCE_STATUS_ERROR", gone(true)),
        (400, "BIZ.INSTANCE.STATUS.ERROR", gone(true)),
        (400, "AUTH_RESOURCE_OWNER_ERROR", gone(true)),
        (404, "INSTANCE_NOT_FOUND", gone(true)),
        (400, "BIZ_REGION_NOT_FOUND", ErrorKind::Business),
        (400, "BIZ_FIELD_CHECK_INVALID", ErrorKind::Business),
        (400, "MissingParameter", ErrorKind::Business),
        (404, "InvalidAction.NotFound", ErrorKind::Business),
        (404, "InvalidAccessKeyId.NotFound", refused(true)),
        (400, "InvalidAccessKeyId.Inactive", refused(true)),
        (400, "SignatureDoesNotMatch", refused(true)),
        (400, "IncompleteSignature", refused(true)),
        (400, "InvalidSecurityToken.Expired", refused(true)),
        (403, "NoPermission", refused(false)),
        (403, "Forbidden.RAM", refused(false)),
        (400, "AUTH_PERMISSION_CHECK_ERROR", refused(false)),
        (400, "AUTH_SERVICE_CHECK_ERROR", refused(false)),
        (400, "InvalidTimeStamp.Expired", ErrorKind::Clock),
        (400, "SignatureNonceUsed", ErrorKind::Clock),
        (429, "", ErrorKind::Throttled),
        (401, "", refused(false)),
        (403, "Unheard", refused(false)),
        (500, "", ErrorKind::Server),
        (404, "", ErrorKind::Business),
        (400, "Unheard", ErrorKind::Business),
    ] {
        for key in ["Code", "code"] {
            let body = format!(r#"{{"{key}":"{code}","Message":"m","RequestId":"R","HostId":"h"}}"#);
            assert_eq!(outcome(status, &body), Err(kind), "{status} {code}");
        }
    }
}

#[test]
fn a_code_is_heeded_though_the_status_is_good() {
    let body =
        r#"{"Success":false,"Code":"BIZ_TOPIC_NOT_FOUND","message":"no such topic","requestId":"R-9"}"#;
    let failure = read::<InstanceListResponse<'_>>(&reply(200, body)).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Gone { instance: false });
    assert_eq!(failure.code.as_deref(), Some("BIZ_TOPIC_NOT_FOUND"));
    assert_eq!(failure.request_id.as_deref(), Some("R-9"));
    assert_eq!(failure.detail, "no such topic");
}

#[test]
fn bodies_that_are_not_json_are_classified_by_status_or_not_readable() {
    let html = "<html><body>502 Bad Gateway</body></html>";
    assert_eq!(outcome(502, html), Err(ErrorKind::Server));
    assert_eq!(outcome(200, html), Err(ErrorKind::Decode));
    assert_eq!(outcome(429, html), Err(ErrorKind::Throttled));
    assert_eq!(outcome(400, html), Err(ErrorKind::Business));
    let xml = "<?xml version='1.0'?><ApiError><RequestId>R-1</RequestId><Code>Throttling.User</Code>\
               <Message>slow down</Message></ApiError>";
    assert_eq!(outcome(400, xml), Err(ErrorKind::Throttled));
    assert_eq!(outcome(200, xml), Err(ErrorKind::Throttled));
    assert_eq!(outcome(200, "<R><Code>200</Code><Success>true</Success></R>"), Err(ErrorKind::Decode));
    for body in ["", " \n", "[]", "null", "5", "\"x\"", "{}", r#"{"Hello":1}"#, r#"{"Code":200} trailing"#] {
        assert_eq!(outcome(200, body), Err(ErrorKind::Decode), "{body:?}");
        assert_eq!(outcome(503, body), Err(ErrorKind::Server), "{body:?}");
    }
}

#[test]
fn text_that_is_not_text_and_deep_nesting_cost_the_whole_body_and_nothing_else() {
    let bad_byte = [br#"{"RequestId":""#.as_slice(), b"\xff", br#"","InstanceList":[]}"#].concat();
    let failure = read::<InstanceListResponse<'_>>(&reply(200, bad_byte)).unwrap_err();
    assert_eq!(
        (failure.kind, failure.detail.as_str()),
        (ErrorKind::Decode, "the body is not UTF-8 from byte 14 on")
    );
    let lone = r#"{"InstanceList":[{"InstanceId":"\ud800"}]}"#;
    assert_eq!(outcome(200, lone), Err(ErrorKind::Decode));
    let deep = format!(r#"{{"InstanceList":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(outcome(200, &deep), Ok(()) | Err(ErrorKind::Decode)));
    let wrapped = format!(r#"{{"InstanceList":{}1{}}}"#, r#"{"InstanceVO":"#.repeat(200), "}".repeat(200));
    assert_eq!(outcome(200, &wrapped), Err(ErrorKind::Decode));
}

#[test]
fn what_could_not_be_read_is_told_by_place_and_content_type_never_by_content() {
    let mut page = reply(200, "<html>Canary</html>");
    page.content_type = Some("text/html".to_owned());
    let failure = read::<InstanceListResponse<'_>>(&page).unwrap_err();
    assert_eq!(failure.detail, "the JSON cannot be read at byte 1; the content type is text/html");
    let cut = reply(200, "{\n\"InstanceList\": [{\"InstanceId\":\"Cana");
    assert_eq!(
        read::<InstanceListResponse<'_>>(&cut).unwrap_err().detail,
        "the JSON ends too early, at byte 38"
    );
}

const GOLDEN: &str = include_str!("../../../tests/fixtures/api/GetConsumerProgress/served.json");

proptest! {
    #[test]
    fn an_answer_that_is_cut_is_never_taken_for_a_whole_one(at in 0..GOLDEN.trim_end().len()) {
        let cut = reply(200, &GOLDEN.as_bytes()[..at]);
        let failure = read::<ProgressResponse<'_>>(&cut).unwrap_err();
        prop_assert_eq!(failure.kind, ErrorKind::Decode);
    }

    #[test]
    fn no_body_makes_the_reader_panic(status in 200u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read::<ProgressResponse<'_>>(&reply(status, body));
    }
}
