//! No part of a key is exposed, whatever credential services respond. [`CloudWithServices::stop`] searches the output of
//! the daemon in every test; these tests provoke leaks.

use super::*;

fn echo(status: u16) -> Effect {
    Effect::Echo { status, code: "Echo".to_owned() }
}

/// Returns responses that echo the request, with different statuses.
fn echoes() -> [Effect; 3] {
    [echo(400), echo(503), echo(200)]
}

#[tokio::test]
async fn echoes_of_services_are_not_exposed() {
    for kind in ["pod", "assumed", "chained", "uri"] {
        let cloud = CloudWithServices::new(&format!("echo-{kind}")).await;
        // One per call, because two faults would both apply to the first call.
        for (n, effect) in (1..).zip(echoes()) {
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
            "assumed" => (vec![(ID, PERMANENT.0), (SECRET, PERMANENT.1)], assume.to_vec()),
            "chained" => (vec![], [&[("CREDENTIALS__TYPE", "ecs_ram_role")][..], &assume].concat()),
            _ => (vec![], vec![("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())]),
        };
        let daemon = cloud.daemon(&variables, &settings).await;
        let scrape = daemon.until("recovered", |p| all_lag_by(p, LAG_BEFORE)).await;
        assert!(scrape.value(FAILURES, &[]).unwrap() >= 3.0, "{kind}: no failures");
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn keys_in_invalid_responses_are_not_exposed() {
    for effect in [
        Effect::OmitField("SecurityToken".to_owned()),
        Effect::OmitField("AccessKeyId".to_owned()),
        Effect::OmitField("Expiration".to_owned()),
        Effect::ExpiresIn(-60_000),
        Effect::Truncate(200),
        Effect::CutBody(200),
    ] {
        let cloud = CloudWithServices::new("invalid-responses").await;
        cloud.sts.faults(|f| f.add(Fault::new(effect.clone()).times(2)));
        let file = cloud.write("token", OIDC_TOKEN);
        let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[]).await;
        daemon.until("recovered", |p| all_lag_by(p, LAG_BEFORE)).await;
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn incomplete_profiles_are_not_exposed() {
    let (id, secret) = PERMANENT;
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
        let cloud = CloudWithServices::new("half-profile").await;
        let file = cloud.write("profile", &text);
        let settings = [("CREDENTIALS__TYPE", kind), ("CREDENTIALS__PROFILE_FILE", file.as_str())];
        let daemon = cloud.daemon(&[], &settings).await;
        daemon.until("down", |p| p.region_up(REGION) == Some(0.0)).await;
        assert!(cloud.sim.call_log().is_empty(), "{text}");
        cloud.stop(daemon).await;
    }
}
