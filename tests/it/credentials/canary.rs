//! Nothing that a key is made of is told, whatever those who hand it out answer. What is searched for, and in
//! which forms, is in [`Cloud::stop`]: every run of these tests is such a search; these make it hard.

use super::*;

fn echo(status: u16) -> Effect {
    Effect::Echo { status, code: "Echo".to_owned() }
}

/// An answer that echoes with the HTTP status of success.
fn all_ways() -> [Effect; 3] {
    [echo(400), echo(503), echo(200)]
}

#[tokio::test]
async fn services_that_echo_what_was_sent_to_them_do_not_get_it_told() {
    for kind in ["pod", "assumed", "chained", "uri"] {
        let cloud = Cloud::new(&format!("echo-{kind}")).await;
        // One after the other: two faults of one call would both be spent on it.
        for (n, effect) in (1..).zip(all_ways()) {
            let fault = || Fault::new(effect.clone()).occurrence(Occurrence::Nth(n));
            cloud.sts.faults(|f| f.add(fault()));
            cloud.uri.faults(|f| f.add(fault()));
            cloud.metadata.faults(|f| f.add(fault().action("GetKey")));
            cloud.sim.faults(|f| f.add(fault().action("GetInstanceList")));
        }
        let token_file = cloud.write("token", OIDC_TOKEN);
        let (rrsa, uri) = (rrsa(&token_file), cloud.uri());
        let assume = [
            ("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", READER),
            ("CREDENTIALS__ASSUME_ROLE__EXTERNAL_ID", EXTERNAL_ID),
        ];
        let (variables, settings) = match kind {
            "pod" => (borrowed(&rrsa), vec![]),
            "assumed" => (vec![(ID, LASTING.0), (SECRET, LASTING.1)], assume.to_vec()),
            "chained" => (vec![], [&[("CREDENTIALS__TYPE", "ecs_ram_role")][..], &assume].concat()),
            _ => (vec![], vec![("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())]),
        };
        let daemon = cloud.daemon(&variables, &settings).await;
        let page = daemon.until("well in the end", |p| all_lag_by(p, LAG_BEFORE)).await;
        assert!(page.value(FAILURES, &[]).unwrap() >= 3.0, "{kind}: it did fail");
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn keys_that_come_with_a_bad_answer_are_not_told_either() {
    for effect in [
        Effect::OmitField("SecurityToken".to_owned()),
        Effect::OmitField("AccessKeyId".to_owned()),
        Effect::OmitField("Expiration".to_owned()),
        Effect::ExpiresIn(-60_000),
        Effect::Truncate(200),
        Effect::CutBody(200),
    ] {
        let cloud = Cloud::new("bad-answers").await;
        cloud.sts.faults(|f| f.add(Fault::new(effect.clone()).times(2)));
        let file = cloud.write("token", OIDC_TOKEN);
        let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[]).await;
        daemon.until("well in the end", |p| all_lag_by(p, LAG_BEFORE)).await;
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn files_that_hold_half_of_a_profile_are_not_quoted() {
    let (id, secret) = LASTING;
    let in_json = format!(
        r#"{{"current": "x", "profiles": [{{"name": "x", "mode": "AK", "access_key_id": "{id}", "access_key_secret": "{secret}""#
    );
    for (kind, text) in [
        ("cli_profile", in_json.clone()),
        ("cli_profile", format!("{in_json}}}]}}}}")),
        ("cli_profile", format!("{in_json}, \"oops\" \"{secret}\"}}]}}")),
        ("ini_profile", format!("[default]\ntype = access_key\naccess_key_id = {id}\n{secret}\n")),
        ("ini_profile", format!("{id}\n{secret}\n")),
        (
            "ini_profile",
            format!("[default\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"),
        ),
    ] {
        let cloud = Cloud::new("half-profile").await;
        let file = cloud.write("profile", &text);
        let settings = [("CREDENTIALS__TYPE", kind), ("CREDENTIALS__PROFILE_FILE", file.as_str())];
        let daemon = cloud.daemon(&[], &settings).await;
        daemon.until("down", |p| p.region_up(REGION) == Some(0.0)).await;
        assert!(cloud.sim.call_log().is_empty(), "{text}");
        cloud.stop(daemon).await;
    }
}
