//! The chain tries its sources in the order of the official tools. A selected source has no fallback.

use super::*;

#[tokio::test]
async fn the_first_configured_source_of_the_chain_is_used() {
    let cloud = CloudWithServices::new("order").await;
    let token_file = cloud.write("token", OIDC_TOKEN);
    let uri = cloud.uri();
    let rrsa = rrsa(&token_file);
    for key in ["cli", "ini"] {
        cloud.keys.add(AccessKey::new(format!("LTAI{key}CanaryQ5"), format!("{key}Canary/+Secret")));
    }
    cloud.write(
        ".aliyun/config.json",
        r#"{"current": "x", "profiles": [{"name": "x", "mode": "AK",
            "access_key_id": "LTAIcliCanaryQ5", "access_key_secret": "cliCanary/+Secret"}]}"#,
    );
    cloud.write(
        ".alibabacloud/credentials",
        "[default]\ntype = access_key\naccess_key_id = LTAIiniCanaryQ5\naccess_key_secret = iniCanary/+Secret\n",
    );
    let everything: Vec<(&str, &str)> = [
        &[(ID, PERMANENT.0), (SECRET, PERMANENT.1)][..],
        &borrowed(&rrsa),
        &[("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str())],
    ]
    .concat();
    let no_cli = ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true");
    let no_metadata = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    // Each case removes the source of the previous one.
    let mut seen = 0;
    for (what, without, with, expected) in [
        ("variables", 0, vec![], PERMANENT.0),
        ("an OIDC token", 2, vec![], "STS.reader"),
        ("the CLI profile", 5, vec![], "LTAIcliCanaryQ5"),
        ("the credentials file", 5, vec![no_cli], "LTAIiniCanaryQ5"),
        ("the instance role", 5, vec![no_cli], "STS.machine"),
        ("the URI", 5, vec![no_cli, no_metadata], "STS.uri"),
    ] {
        if what == "the instance role" {
            fs::remove_dir_all(cloud.dir.join(".alibabacloud")).unwrap();
        }
        let daemon = cloud.daemon(&[&everything[without..], &with].concat(), &[]).await;
        daemon.until(what, |p| all_lag_by(p, LAG_BEFORE)).await;
        cloud.stop(daemon).await;
        let ids: Vec<String> =
            cloud.sim.with_call_log(|l| l.entries().skip(seen).filter_map(|e| e.key_id.clone()).collect());
        seen += ids.len();
        assert!(!ids.is_empty() && ids.iter().all(|id| id.starts_with(expected)), "{what}: {ids:?}");
    }
}

#[tokio::test]
async fn a_selected_source_has_no_fallback() {
    let cloud = CloudWithServices::new("order-named").await;
    let variables = [(ID, PERMANENT.0), (SECRET, PERMANENT.1)];
    let missing = cloud.dir.join("no-token").display().to_string();
    let settings = [
        ("CREDENTIALS__TYPE", "oidc"),
        ("CREDENTIALS__ROLE_ARN", READER),
        ("CREDENTIALS__OIDC_PROVIDER_ARN", PROVIDER),
        ("CREDENTIALS__OIDC_TOKEN_FILE", missing.as_str()),
    ];
    let daemon = cloud.daemon(&variables, &settings).await;
    daemon.until("down", |p| p.region_up(REGION) == Some(0.0)).await;
    assert!(cloud.sim.call_log().is_empty() && cloud.sts.call_log().is_empty());
    fs::write(&missing, OIDC_TOKEN).unwrap();
    daemon.until("recovered once the file exists", |p| all_lag_by(p, LAG_BEFORE)).await;
    cloud.stop(daemon).await;
}
