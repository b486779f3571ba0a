//! Sources of access keys: their requests, their order, and that they expose no secret.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alikafka_exporter::{
    api::{
        ProvideCredentials,
        credentials::{self, AssumedRole, CredentialsObserver},
    },
    model::{
        ProxySetting, UnixMillis,
        credentials::{AccessKey, OidcSettings, ProfileSettings, SourceSelection},
    },
};

use super::server::{ScriptedResponse, Server};

const ID: &str = "LTAI5tCanaryKeyId0001";
const SECRET: &str = "CanarySecretCanarySecret0002";
const TOKEN: &str = "CanaryToken/+=0003";
const EXTERNAL: &str = "CanaryExternal0004";

const ROLE: &str = "acs:ram::1234567890123456:role/reader";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack";

/// 2024-01-02T03:04:05Z.
fn clock() -> UnixMillis {
    UnixMillis::new(1_704_164_645_000).unwrap()
}

/// Environment of an account's sources. Empty by default.
#[derive(Default)]
pub(super) struct Sources {
    variables: BTreeMap<&'static str, String>,
    sts: Option<String>,
    metadata: Option<String>,
    proxy: ProxySetting,
    role: Option<AssumedRole>,
    failures: Arc<FailureCounter>,
}

#[derive(Default)]
struct FailureCounter(AtomicUsize);

impl CredentialsObserver for FailureCounter {
    fn expires(&self, _: Option<UnixMillis>) {}

    fn failed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Sources {
    fn with(variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { variables, ..Self::default() }
    }

    pub(super) fn provider(&self, selection: SourceSelection) -> Arc<dyn ProvideCredentials> {
        let variables = self.variables.clone();
        let settings = credentials::SourceSettings {
            account: None,
            sts_endpoint: self.sts.clone(),
            metadata_endpoint: self.metadata.clone(),
            proxy: self.proxy.clone(),
            variables: Arc::new(move |name: &str| variables.get(name).cloned()),
            clock,
            entropy: || Some(7),
        };
        let observer = Arc::<FailureCounter>::clone(&self.failures);
        credentials::provider(selection, self.role.clone(), settings, observer).unwrap()
    }

    /// Returns the id of the provided key.
    async fn id(&self, selection: SourceSelection) -> Result<String, String> {
        let credentials = self.provider(selection).credentials(false).await;
        credentials.map(|c| c.access_key_id.clone()).map_err(|error| error.to_string())
    }
}

fn key(id: &str) -> String {
    format!(
        r#""AccessKeyId":"STS.{id}","AccessKeySecret":"{SECRET}","SecurityToken":"CanaryGiven0005","Expiration":"2024-01-02T04:04:05Z""#
    )
}

fn sts_response(id: &str) -> ScriptedResponse {
    ScriptedResponse::json(&format!(
        r#"{{"RequestId":"R","AssumedRoleUser":{{}},"Credentials":{{{}}}}}"#,
        key(id)
    ))
}

fn key_response(id: &str) -> ScriptedResponse {
    ScriptedResponse::json(&format!(
        r#"{{"Code":"Success","LastUpdated":"2024-01-02T03:04:05Z",{}}}"#,
        key(id)
    ))
}

fn assumed_role() -> AssumedRole {
    AssumedRole {
        external_id: Some(EXTERNAL.into()),
        policy: Some(r#"{"Version":"1"}"#.to_owned()),
        duration: Duration::from_secs(900),
        ..AssumedRole::new(ROLE.to_owned(), Some("exporter".to_owned()))
    }
}

fn inline() -> SourceSelection {
    SourceSelection::Inline(AccessKey {
        id: ID.into(),
        secret: SECRET.into(),
        security_token: Some(TOKEN.into()),
    })
}

/// Directory that is removed when dropped.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("credentials-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_role_is_assumed_by_a_signed_post_without_a_query() {
    let sts = Server::start(vec![sts_response("assumed")]).await;
    let sources = Sources { sts: Some(sts.url()), role: Some(assumed_role()), ..Sources::default() };
    let credentials = sources.provider(inline()).credentials(false).await.unwrap();
    assert_eq!(credentials.access_key_id, "STS.assumed");
    assert_eq!(credentials.expires_at, UnixMillis::new(clock().get() + 3_600_000));
    let [request] = &sts.requests()[..] else { panic!("one request") };
    assert_eq!(request.line, "POST / HTTP/1.1");
    assert_eq!(request.header("authorization"), None);
    let (body, signature) = request.body.rsplit_once("&Signature=").unwrap();
    assert_eq!(
        body,
        "AccessKeyId=LTAI5tCanaryKeyId0001&Action=AssumeRole&DurationSeconds=900&ExternalId=CanaryExternal0004\
         &Format=JSON&Policy=%7B%22Version%22%3A%221%22%7D\
         &RoleArn=acs%3Aram%3A%3A1234567890123456%3Arole%2Freader&RoleSessionName=exporter\
         &SecurityToken=CanaryToken%2F%2B%3D0003&SignatureMethod=HMAC-SHA1\
         &SignatureNonce=00000000000000000000000000000007&SignatureVersion=1.0\
         &Timestamp=2024-01-02T03%3A04%3A05Z&Version=2015-04-01"
    );
    assert!(signature.ends_with("%3D"), "{signature}");
}

#[tokio::test]
async fn an_oidc_token_is_exchanged_unsigned_and_read_again_for_every_refresh() {
    let folder = TempFolder::new("oidc");
    let token = folder.file("token", "CanaryJwt.one\n");
    let sts = Server::start(vec![sts_response("pod1"), sts_response("pod2")]).await;
    let sources = Sources { sts: Some(sts.url()), ..Sources::default() };
    let provider = sources.provider(SourceSelection::Oidc(OidcSettings {
        role_arn: Some(ROLE.to_owned()),
        provider_arn: Some(PROVIDER.to_owned()),
        token_file: Some(token.clone()),
        session_name: None,
    }));
    assert_eq!(provider.credentials(false).await.unwrap().access_key_id, "STS.pod1");
    fs::write(token, "CanaryJwt.two").unwrap();
    assert_eq!(provider.credentials(true).await.unwrap().access_key_id, "STS.pod2");
    let requests = sts.requests();
    assert_eq!(
        requests[0].body,
        "Action=AssumeRoleWithOIDC&DurationSeconds=3600&Format=JSON\
         &OIDCProviderArn=acs%3Aram%3A%3A1234567890123456%3Aoidc-provider%2Fack&OIDCToken=CanaryJwt.one\
         &RoleArn=acs%3Aram%3A%3A1234567890123456%3Arole%2Freader&RoleSessionName=alikafka-exporter\
         &SignatureNonce=00000000000000000000000000000007&Timestamp=2024-01-02T03%3A04%3A05Z&Version=2015-04-01"
    );
    assert!(requests[1].body.contains("OIDCToken=CanaryJwt.two"));
    assert!(requests.iter().all(|r| r.line == "POST / HTTP/1.1"));
}

#[tokio::test]
async fn the_metadata_service_is_called_with_a_token_first() {
    let metadata = Server::start(vec![
        ScriptedResponse::json("CanaryMachineToken"),
        ScriptedResponse::json("exporter\n"),
        key_response("machine"),
    ])
    .await;
    let sources = Sources { metadata: Some(metadata.url()), ..Sources::default() };
    assert_eq!(sources.id(SourceSelection::EcsRamRole(None)).await.unwrap(), "STS.machine");
    let requests = metadata.requests();
    let lines: Vec<_> = requests.iter().map(|r| r.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "PUT /latest/api/token HTTP/1.1",
            "GET /latest/meta-data/ram/security-credentials/ HTTP/1.1",
            "GET /latest/meta-data/ram/security-credentials/exporter HTTP/1.1",
        ]
    );
    assert_eq!(requests[0].header("x-aliyun-ecs-metadata-token-ttl-seconds"), Some("21600"));
    for request in &requests[1..] {
        assert_eq!(request.header("x-aliyun-ecs-metadata-token"), Some("CanaryMachineToken"));
    }
}

#[tokio::test]
async fn a_metadata_service_without_tokens_is_called_without_unless_that_is_disabled() {
    let old = || vec![ScriptedResponse::status(404, ""), key_response("machine")];
    let metadata = Server::start(old()).await;
    let sources = Sources { metadata: Some(metadata.url()), ..Sources::default() };
    assert_eq!(
        sources.id(SourceSelection::EcsRamRole(Some("exporter".to_owned()))).await.unwrap(),
        "STS.machine"
    );
    assert_eq!(metadata.requests()[1].header("x-aliyun-ecs-metadata-token"), None);

    let metadata = Server::start(old()).await;
    let strict =
        Sources::with(&[("ALIBABA_CLOUD_IMDSV1_DISABLED", "true"), ("ALIBABA_CLOUD_ECS_METADATA", "x")]);
    let strict = Sources { metadata: Some(metadata.url()), ..strict };
    assert!(strict.id(SourceSelection::EcsRamRole(None)).await.unwrap_err().contains("HTTP 404"));
    assert_eq!(metadata.requests().len(), 1);

    // It issues tokens and rejects them.
    let script =
        vec![ScriptedResponse::json("token"), ScriptedResponse::status(401, ""), key_response("machine")];
    let metadata = Server::start(script).await;
    let sources = Sources { metadata: Some(metadata.url()), ..Sources::default() };
    assert_eq!(
        sources.id(SourceSelection::EcsRamRole(Some("exporter".to_owned()))).await.unwrap(),
        "STS.machine"
    );
    assert_eq!(metadata.requests()[2].header("x-aliyun-ecs-metadata-token"), None);
}

#[tokio::test]
async fn a_role_name_that_would_change_the_path_is_rejected() {
    for name in ["../../user-data", "a/b", "..", "a?b", &"a".repeat(65)] {
        let metadata = Server::start(vec![
            ScriptedResponse::json("token"),
            ScriptedResponse::json(name),
            key_response("x"),
        ])
        .await;
        let sources = Sources { metadata: Some(metadata.url()), ..Sources::default() };
        let error = sources.id(SourceSelection::EcsRamRole(None)).await.unwrap_err();
        assert!(error.contains("the name of the instance's role is invalid"), "{name}: {error}");
        assert_eq!(metadata.requests().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_echo_is_shown() {
    let secrets = [ID, SECRET, TOKEN, EXTERNAL, "CanaryJwt", "CanaryPath", "CanaryGiven"];
    let folder = TempFolder::new("hostile");
    let token = folder.file("token", "CanaryJwt0006");
    let other = Server::start(vec![sts_response("elsewhere")]).await;
    let target = other.url();
    for response in [
        ScriptedResponse::EchoAsMessage(403, "NoPermission"),
        ScriptedResponse::EchoAsCode,
        ScriptedResponse::with_header(302, "Location", &target),
        ScriptedResponse::EchoAsLocation,
        ScriptedResponse::Reset,
        ScriptedResponse::Declare(1 << 30),
        ScriptedResponse::Endless,
        ScriptedResponse::json("CanaryGiven"),
        ScriptedResponse::json(r#"{"Credentials":{"AccessKeyId":"CanaryGiven"},"Code":"Failed"}"#),
        ScriptedResponse::json(&format!("\"{}\"", "x".repeat(64 * 1024))),
    ] {
        let server = Server::start(vec![response.clone()]).await;
        let url = server.url();
        let base = Sources { sts: Some(url.clone()), metadata: Some(url.clone()), ..Sources::default() };
        let oidc = OidcSettings {
            role_arn: Some(ROLE.to_owned()),
            provider_arn: Some(PROVIDER.to_owned()),
            token_file: Some(token.clone()),
            session_name: None,
        };
        let assume = Sources { role: Some(assumed_role()), sts: base.sts.clone(), ..Sources::default() };
        for (sources, selection) in [
            (&assume, inline()),
            (&base, SourceSelection::Oidc(oidc)),
            (&base, SourceSelection::EcsRamRole(None)),
            (&base, SourceSelection::Uri(Some(format!("{url}/CanaryPath?x=CanaryPath").into()))),
        ] {
            let error =
                sources.id(selection.clone()).await.expect_err(&format!("{response:?} provides a key"));
            let exposed = secrets.iter().find(|secret| error.to_lowercase().contains(&secret.to_lowercase()));
            assert_eq!(exposed, None, "{response:?}: {error}");
            assert!(error.len() < 1_000 && !error.contains('\n'), "{error}");
            assert_eq!(sources.failures.0.swap(0, Ordering::SeqCst), 1, "{error}");
        }
    }
    assert_eq!(other.requests().len(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_service_that_hangs_times_out() {
    let metadata = Server::start(vec![ScriptedResponse::Hang]).await;
    let sources = Sources { metadata: Some(metadata.url()), ..Sources::default() };
    let error = sources.id(SourceSelection::EcsRamRole(Some("x".to_owned()))).await.unwrap_err();
    assert!(error.contains("no complete response within 2s"), "{error}");
    // A fetch that hangs outlives its caller, and later callers do not start another one.
    let sts = Server::start(vec![ScriptedResponse::Hang]).await;
    let sources = Sources { sts: Some(sts.url()), role: Some(assumed_role()), ..Sources::default() };
    let provider = sources.provider(inline());
    for _ in 0..5 {
        _ = tokio::time::timeout(Duration::from_millis(100), provider.credentials(false)).await;
    }
    assert_eq!(sts.requests().len(), 1);
}

#[tokio::test]
async fn only_local_uris_and_the_metadata_service_bypass_the_proxy() {
    let proxy = Server::start(vec![sts_response("proxied")]).await;
    let near = Server::start(vec![key_response("near")]).await;
    let sources = Sources {
        sts: Some(near.url()),
        metadata: Some(near.url()),
        proxy: ProxySetting::Url(proxy.url().into()),
        ..Sources::default()
    };
    assert_eq!(sources.id(SourceSelection::Uri(Some(near.url().into()))).await.unwrap(), "STS.near");
    assert_eq!(sources.id(SourceSelection::EcsRamRole(Some("x".to_owned()))).await.unwrap(), "STS.near");
    assert_eq!(proxy.requests().len(), 0);
    let sources = Sources { role: Some(assumed_role()), ..sources };
    assert_eq!(sources.id(inline()).await.unwrap(), "STS.proxied");
}

/// All sources are configured, and then removed one by one.
#[tokio::test]
async fn the_chain_has_the_order_of_the_official_tools() {
    let folder = TempFolder::new("chain");
    let token = folder.file("token", "jwt");
    let cli = r#"{"current":"p","profiles":[{"name":"p","mode":"AK","access_key_id":"cli","access_key_secret":"s"}]}"#;
    let cli = folder.file(".aliyun/config.json", cli);
    let ini = |id| format!("[default]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = s\n");
    let first = folder.file(".alibabacloud/credentials", &ini("ini"));
    let second = folder.file(".alibabacloud/credentials.ini", &ini("ini2"));
    let sts = Server::start(vec![sts_response("oidc")]).await;
    let metadata = Server::start(vec![
        ScriptedResponse::json("token"),
        ScriptedResponse::json("role"),
        key_response("machine"),
    ])
    .await;
    let uri = Server::start(vec![key_response("uri")]).await;
    let (uri, token) = (format!("{}/keys", uri.url()), token.display().to_string());
    let mut sources = Sources::with(&[
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "environment"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s"),
        ("ALIBABA_CLOUD_ROLE_ARN", ROLE),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token),
        ("HOME", &folder.0.display().to_string()),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &uri),
    ]);
    (sources.sts, sources.metadata) = (Some(sts.url()), Some(metadata.url()));
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "environment");
    sources.variables.remove("ALIBABA_CLOUD_ACCESS_KEY_ID");
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "STS.oidc", "an incomplete key is skipped");
    sources.variables.remove("ALIBABA_CLOUD_ROLE_ARN");
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "cli");
    sources.variables.insert("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true".to_owned());
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "ini");
    assert_eq!(
        sources.id(SourceSelection::CliProfile(ProfileSettings::default())).await.unwrap(),
        "cli",
        "selected by name"
    );
    fs::remove_file(first).unwrap();
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "ini2");
    fs::remove_file(second).unwrap();
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "STS.machine");
    sources.variables.insert("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true".to_owned());
    assert_eq!(sources.id(SourceSelection::Chain).await.unwrap(), "STS.uri");
    sources.variables.remove("ALIBABA_CLOUD_CREDENTIALS_URI");
    let error = sources.id(SourceSelection::Chain).await.unwrap_err();
    assert_eq!(
        error,
        "unusable credentials: no source provides a key: environment: ALIBABA_CLOUD_ACCESS_KEY_SECRET is set but \
         ALIBABA_CLOUD_ACCESS_KEY_ID is missing"
    );
    sources.variables.remove("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
    let error = sources.id(SourceSelection::Chain).await.unwrap_err();
    assert!(
        error.starts_with("no credentials: set the variables ALIBABA_CLOUD_ACCESS_KEY_ID and "),
        "{error}"
    );
    fs::remove_file(cli).unwrap();
}

#[tokio::test]
async fn the_role_of_a_profile_is_assumed_with_its_source_profile() {
    let folder = TempFolder::new("profile");
    let file = folder.file(
        "config.json",
        &format!(
            r#"{{"profiles":[
            {{"name":"base","mode":"EcsRamRole","ram_role_name":"machine"}},
            {{"name":"top","mode":"ChainableRamRoleArn","source_profile":"base","ram_role_arn":"{ROLE}"}}]}}"#
        ),
    );
    let metadata = Server::start(vec![ScriptedResponse::json("token"), key_response("machine")]).await;
    let sts = Server::start(vec![sts_response("top")]).await;
    let sources = Sources {
        variables: BTreeMap::from([("ALIBABA_CLOUD_PROFILE", "top".to_owned())]),
        sts: Some(sts.url()),
        metadata: Some(metadata.url()),
        ..Sources::default()
    };
    let settings = ProfileSettings { name: None, file: Some(file) };
    assert_eq!(sources.id(SourceSelection::CliProfile(settings)).await.unwrap(), "STS.top");
    assert!(sts.requests()[0].body.contains("AccessKeyId=STS.machine&"));
    assert!(sts.requests()[0].body.contains("SecurityToken=CanaryGiven0005&"));
}
