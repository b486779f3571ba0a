//! Every source of a key yields lag metrics, selected by type or found by the chain.

use super::*;

/// Asserts that the daemon signs only with keys that have this prefix, and exposes their expiry.
async fn assert_signs_with(cloud: &CloudWithServices, what: &str, daemon: Daemon, prefix: &str) {
    let scrape = daemon.until(what, |p| all_lag_by(p, LAG_BEFORE)).await;
    let used = cloud.used_key_ids();
    assert!(!used.is_empty() && used.iter().all(|id| id.starts_with(prefix)), "{what}: {used:?}");
    assert_eq!(cloud.failed_calls(), Vec::<String>::new(), "{what}");
    let expiry = cloud.keys.issued().iter().find(|k| used.contains(&k.id)).map(|k| k.expires_ms);
    let exposed = scrape.value(EXPIRY, &[]);
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    let expected = expiry.map(|ms| (ms / 1000) as f64);
    assert_eq!(exposed, expected, "{what}: the expiry of the key, if it expires");
    assert_eq!(scrape.value(FAILURES, &[]).unwrap_or_default(), 0.0, "{what}");
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn environment_variables_have_a_permanent_or_temporary_key() {
    for (kind, settings) in [("chain", &[][..]), ("environment", &[("CREDENTIALS__TYPE", "environment")])] {
        let cloud = CloudWithServices::new(&format!("variables-{kind}")).await;
        let daemon = cloud.daemon(&[(ID, PERMANENT.0), (SECRET, PERMANENT.1)], settings).await;
        assert_signs_with(&cloud, kind, daemon, PERMANENT.0).await;
        let cloud = CloudWithServices::new(&format!("variables-token-{kind}")).await;
        cloud.keys.add(AccessKey::new("STS.CanaryTemporary1", "CanaryTemp+/=").with_token("CAIS+/Canary=="));
        let variables = [(ID, "STS.CanaryTemporary1"), (SECRET, "CanaryTemp+/="), (TOKEN, "CAIS+/Canary==")];
        let daemon = cloud.daemon(&variables, settings).await;
        for (_, secret) in variables {
            daemon.add_secret("the temporary key", secret);
        }
        assert_signs_with(&cloud, kind, daemon, "STS.CanaryTemporary1").await;
    }
}

#[tokio::test]
async fn an_oidc_token_is_exchanged_for_the_key_of_a_role_in_the_body() {
    for kind in ["chain", "variables", "keys"] {
        let cloud = CloudWithServices::new(&format!("oidc-{kind}")).await;
        let file = cloud.write("token", &format!("{OIDC_TOKEN}\n"));
        let rrsa = rrsa(&file);
        let by_type = [("CREDENTIALS__TYPE", "oidc")];
        let by_keys = [
            ("CREDENTIALS__TYPE", "oidc"),
            ("CREDENTIALS__ROLE_ARN", READER),
            ("CREDENTIALS__OIDC_PROVIDER_ARN", PROVIDER),
            ("CREDENTIALS__OIDC_TOKEN_FILE", file.as_str()),
            ("CREDENTIALS__SESSION_NAME", "lag@pod-1"),
        ];
        let daemon = match kind {
            "chain" => cloud.daemon(&borrowed(&rrsa), &[]).await,
            "variables" => cloud.daemon(&borrowed(&rrsa), &by_type).await,
            _ => cloud.daemon(&[], &by_keys).await,
        };
        assert_signs_with(&cloud, kind, daemon, "STS.reader").await;
        let calls = cloud.sts.call_log();
        assert_eq!(calls.len(), 1, "one exchange serves all calls");
        let call = calls.entries().next().unwrap();
        assert_eq!((call.action.as_str(), call.method.as_str()), ("AssumeRoleWithOIDC", "POST"));
        assert_eq!((call.object.as_deref(), call.key_id.as_deref()), (Some(READER), None));
        assert!(!call.target.contains("Canary"), "the token is not in the URL");
        let session = if kind == "keys" { "lag@pod-1" } else { "alikafka-exporter" };
        assert_eq!(call.details["RoleSessionName"], session);
    }
}

#[tokio::test]
async fn all_modes_of_cli_profiles_are_supported() {
    let (id, secret) = PERMANENT;
    let reader = format!(r#""ram_role_arn": "{READER}", "ram_session_name": "cli""#);
    let key = format!(r#""access_key_id": "{id}", "access_key_secret": "{secret}""#);
    let profiles = format!(
        r#"{{"current": "plain", "profiles": [
            {{"name": "plain", "mode": "AK", {key}, "region_id": "cn-hangzhou"}},
            {{"name": "token", "mode": "StsToken", "access_key_id": "STS.CanaryCli1",
              "access_key_secret": "CanaryCli+/=", "sts_token": "CAIS+/CanaryCli=="}},
            {{"name": "role", "mode": "RamRoleArn", {key}, {reader}, "expired_seconds": 1800}},
            {{"name": "next", "mode": "ChainableRamRoleArn", "source_profile": "role",
              "ram_role_arn": "{OTHER}", "ram_session_name": "cli", "external_id": "{EXTERNAL_ID}"}},
            {{"name": "machine", "mode": "EcsRamRole", "ram_role_name": "machine"}},
            {{"name": "pod", "mode": "OIDC", {reader}, "oidc_provider_arn": "{PROVIDER}",
              "oidc_token_file": "TOKEN_FILE"}}
        ]}}"#
    );
    for (name, prefix) in [
        ("plain", PERMANENT.0),
        ("token", "STS.CanaryCli1"),
        ("role", "STS.reader"),
        ("next", "STS.other"),
        ("machine", "STS.machine"),
        ("pod", "STS.reader"),
    ] {
        let cloud = CloudWithServices::new(&format!("cli-{name}")).await;
        cloud.keys.add(AccessKey::new("STS.CanaryCli1", "CanaryCli+/=").with_token("CAIS+/CanaryCli=="));
        let token_file = cloud.write("token", OIDC_TOKEN);
        let file = cloud.write("elsewhere.json", &profiles.replace("TOKEN_FILE", &token_file));
        let settings = [
            ("CREDENTIALS__TYPE", "cli_profile"),
            ("CREDENTIALS__PROFILE_FILE", file.as_str()),
            ("CREDENTIALS__PROFILE", name),
        ];
        // Without a name it is the current profile.
        let settings = if name == "plain" { &settings[..2] } else { &settings[..] };
        let daemon = cloud.daemon(&[], settings).await;
        daemon.add_secret("the profile's token", "CAIS+/CanaryCli==");
        assert_signs_with(&cloud, name, daemon, prefix).await;
        if name == "role" {
            let calls = cloud.sts.call_log();
            let details = &calls.entries().next().unwrap().details;
            assert_eq!(details["RoleSessionName"], "cli");
            assert_eq!(details["DurationSeconds"], "1800");
        }
    }
    // At the default path, with the name from the environment variable.
    let cloud = CloudWithServices::new("cli-home").await;
    cloud.write(".aliyun/config.json", &profiles);
    let daemon = cloud.daemon(&[("ALIBABA_CLOUD_PROFILE", "machine")], &[]).await;
    assert_signs_with(&cloud, "default path", daemon, "STS.machine").await;
}

#[tokio::test]
async fn all_types_of_ini_sections_are_supported() {
    let (id, secret) = PERMANENT;
    let ini = format!(
        "[default]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n\n\
         [role]\ntype = ram_role_arn\naccess_key_id = {id}\naccess_key_secret = {secret}\n\
         role_arn = {READER}\nrole_session_name = ini\n\n\
         [pod]\ntype = oidc_role_arn\nrole_arn = {READER}\noidc_provider_arn = {PROVIDER}\n\
         oidc_token_file_path = TOKEN_FILE\nrole_session_name = ini\n\n\
         [machine]\ntype = ecs_ram_role\nrole_name = machine\n"
    );
    for (name, prefix) in
        [("default", PERMANENT.0), ("role", "STS.reader"), ("pod", "STS.reader"), ("machine", "STS.machine")]
    {
        let cloud = CloudWithServices::new(&format!("ini-{name}")).await;
        let token_file = cloud.write("token", OIDC_TOKEN);
        let file = cloud.write("elsewhere.ini", &ini.replace("TOKEN_FILE", &token_file));
        let settings = [
            ("CREDENTIALS__TYPE", "ini_profile"),
            ("CREDENTIALS__PROFILE_FILE", file.as_str()),
            ("CREDENTIALS__PROFILE", name),
        ];
        let settings = if name == "default" { &settings[..2] } else { &settings[..] };
        let daemon = cloud.daemon(&[], settings).await;
        assert_signs_with(&cloud, name, daemon, prefix).await;
    }
    for path in [".alibabacloud/credentials", ".alibabacloud/credentials.ini"] {
        let cloud = CloudWithServices::new(&format!("ini-home-{}", path.len())).await;
        cloud.write(path, &ini);
        let daemon = cloud.daemon(&[], &[]).await;
        assert_signs_with(&cloud, path, daemon, PERMANENT.0).await;
    }
    let cloud = CloudWithServices::new("ini-variable").await;
    let file = cloud.write("by-variable", &ini);
    let variables = [("ALIBABA_CLOUD_CREDENTIALS_FILE", file.as_str()), ("ALIBABA_CLOUD_PROFILE", "machine")];
    let daemon = cloud.daemon(&variables, &[]).await;
    assert_signs_with(&cloud, "by variables", daemon, "STS.machine").await;
}

#[tokio::test]
async fn the_instance_role_is_found_with_and_without_a_token() {
    for (tokens, named, first) in [
        (TokenMode::Required, true, "PutToken"),
        (TokenMode::Required, false, "PutToken"),
        (TokenMode::Optional, false, "PutToken"),
        (TokenMode::Unsupported, false, "PutToken"),
    ] {
        let what = format!("{tokens:?}, role named: {named}");
        let cloud = CloudWithServices::new(&format!("machine-{tokens:?}-{named}")).await;
        cloud.metadata.rules(|r| r.tokens = tokens);
        let settings = [("CREDENTIALS__TYPE", "ecs_ram_role"), ("CREDENTIALS__ROLE_NAME", "machine")];
        let daemon = cloud.daemon(&[], if named { &settings } else { &settings[..1] }).await;
        assert_signs_with(&cloud, &what, daemon, "STS.machine").await;
        let calls = cloud.metadata.call_log();
        assert_eq!(
            calls.entries().next().unwrap().action,
            first,
            "{what}: the mode with a token is tried first"
        );
        let gets: Vec<_> = calls.entries().filter(|e| e.method == "GET").collect();
        let with_token = if tokens == TokenMode::Unsupported { "false" } else { "true" };
        assert!(gets.iter().all(|e| e.details["token"] == with_token), "{what}: {gets:?}");
        assert_eq!(gets.iter().filter(|e| e.action == "ListRole").count(), usize::from(!named), "{what}");
    }
}

#[tokio::test]
async fn without_tokens_no_key_is_requested_if_that_mode_is_disabled() {
    let cloud = CloudWithServices::new("machine-v1-disabled").await;
    cloud.metadata.rules(|r| r.tokens = TokenMode::Unsupported);
    let variables = [("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")];
    let daemon = cloud.daemon(&variables, &[("CREDENTIALS__TYPE", "ecs_ram_role")]).await;
    daemon.until("down", |p| p.region_up(REGION) == Some(0.0)).await;
    assert!(cloud.metadata.call_log().entries().all(|e| e.action == "PutToken"));
    assert!(cloud.sim.call_log().is_empty(), "no request is sent without a key");
    cloud.metadata.rules(|r| r.tokens = TokenMode::Required);
    daemon.until("recovered once there is a token", |p| all_lag_by(p, LAG_BEFORE)).await;
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn redirects_of_the_metadata_service_are_not_followed() {
    let cloud = CloudWithServices::new("machine-redirect").await;
    let location = cloud.uri();
    cloud.metadata.faults(|f| {
        for action in ["ListRole", "GetKey"] {
            f.add(Fault::new(Effect::Redirect { status: 302, location: location.clone() }).action(action));
        }
    });
    let settings = [("CREDENTIALS__TYPE", "ecs_ram_role"), ("CREDENTIALS__ROLE_NAME", "machine")];
    let daemon = cloud.daemon(&[], &settings).await;
    daemon.until("down", |p| p.region_up(REGION) == Some(0.0)).await;
    assert!(cloud.uri.call_log().is_empty() && cloud.sim.call_log().is_empty());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_uri_issues_keys() {
    for kind in ["chain", "variable", "key"] {
        let cloud = CloudWithServices::new(&format!("uri-{kind}")).await;
        let uri = cloud.uri();
        let variables = [
            ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str()),
            ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
        ];
        let settings = [("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())];
        let daemon = match kind {
            "chain" => cloud.daemon(&variables, &[]).await,
            "variable" => cloud.daemon(&variables[..1], &settings[..1]).await,
            _ => cloud.daemon(&[], &settings).await,
        };
        assert_signs_with(&cloud, kind, daemon, "STS.uri").await;
        assert!(cloud.metadata.call_log().is_empty(), "no other service is called");
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_the_key_of_any_source() {
    let role = [
        ("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", READER),
        ("CREDENTIALS__ASSUME_ROLE__SESSION_NAME", "lag"),
        ("CREDENTIALS__ASSUME_ROLE__DURATION", "20m"),
        ("CREDENTIALS__ASSUME_ROLE__POLICY", r#"{"Version":"1","Statement":[]}"#),
    ];
    for kind in ["variables", "files", "machine", "uri"] {
        let cloud = CloudWithServices::new(&format!("assume-{kind}")).await;
        let (id_file, secret_file) = (cloud.write("id", PERMANENT.0), cloud.write("secret", PERMANENT.1));
        let uri = cloud.uri();
        let (variables, source) = match kind {
            "variables" => (vec![(ID, PERMANENT.0), (SECRET, PERMANENT.1)], vec![]),
            "files" => (
                vec![],
                vec![
                    ("CREDENTIALS__ACCESS_KEY_ID_FILE", id_file.as_str()),
                    ("CREDENTIALS__ACCESS_KEY_SECRET_FILE", secret_file.as_str()),
                ],
            ),
            "machine" => (vec![], vec![("CREDENTIALS__TYPE", "ecs_ram_role")]),
            _ => (vec![], vec![("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())]),
        };
        let daemon = cloud.daemon(&variables, &[&source[..], &role].concat()).await;
        assert_signs_with(&cloud, kind, daemon, "STS.reader").await;
        let calls = cloud.sts.call_log();
        let call = calls.entries().next().unwrap();
        assert_eq!((calls.len(), call.action.as_str()), (1, "AssumeRole"));
        let prefix = match kind {
            "machine" => "STS.machine",
            "uri" => "STS.uri",
            _ => PERMANENT.0,
        };
        assert!(call.key_id.as_deref().unwrap().starts_with(prefix), "{call:?}");
        for (name, value) in [
            ("RoleSessionName", "lag"),
            ("DurationSeconds", "1200"),
            ("Policy", r#"{"Version":"1","Statement":[]}"#),
        ] {
            assert_eq!(call.details[name], value);
        }
    }
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_with_an_external_id() {
    let cloud = CloudWithServices::new("assume-pod").await;
    let file = cloud.write("token", OIDC_TOKEN);
    let settings = [
        ("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", OTHER),
        ("CREDENTIALS__ASSUME_ROLE__EXTERNAL_ID", EXTERNAL_ID),
    ];
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &settings).await;
    assert_signs_with(&cloud, "two steps", daemon, "STS.other").await;
    let actions: Vec<_> = cloud.sts.call_log().entries().map(|e| e.action.clone()).collect();
    assert_eq!(actions, ["AssumeRoleWithOIDC", "AssumeRole"]);
}
