//! Context that the sources of one account share: environment variables, files, HTTP clients and service endpoints.
//!
//! Rejects: services over plain HTTP other than loopback, and metadata services other than that of the cloud or a
//! replacement on loopback.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use reqwest::Url;
use zeroize::Zeroizing;

use super::{
    Credentials, CredentialsError,
    http::{ServiceClient, ServiceResponse},
    secret_file::FileReads,
};
use crate::{
    api::{
        client::EntropySource,
        transport::{ClientBuildError, checked_endpoint, is_loopback},
    },
    clock::WallClock,
    model::{AccountName, ProxySetting, RegionId},
};

/// Looks up an environment variable.
pub type VariableLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

const ACCESS_KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const ACCESS_KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const SECURITY_TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";
const STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
const STS_VPC: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// Endpoint of the cloud's metadata service.
const METADATA_ENDPOINT: &str = "http://100.100.100.200";

/// Smallest clock skew that is corrected, because `Date` has a resolution of one second.
const MIN_SKEW_MILLIS: i64 = 5_000;
/// Largest clock skew that is corrected.
const MAX_SKEW_MILLIS: i64 = 24 * 3600 * 1000;

/// Settings that the sources of one account share.
#[derive(Clone)]
pub struct SourceSettings {
    /// The configured account, if accounts are named.
    pub account: Option<AccountName>,
    /// Scheme, host and port of the token service; `None` for the cloud's own.
    pub sts_endpoint: Option<String>,
    /// Scheme, host and port of the metadata service; `None` for the cloud's own.
    pub metadata_endpoint: Option<String>,
    /// Proxy for the token service and for a URL that issues keys.
    pub proxy: ProxySetting,
    /// Environment variables.
    pub variables: VariableLookup,
    /// [`crate::clock::unix_now`] outside of tests.
    pub clock: WallClock,
    /// [`super::super::os_entropy`] outside of tests.
    pub entropy: EntropySource,
}

/// Context of the sources of one account.
pub(super) struct SourceContext {
    pub(super) settings: SourceSettings,
    pub(super) files: FileReads,
    pub(super) services: ServiceClient,
    pub(super) metadata: ServiceClient,
    pub(super) metadata_base: Url,
    sts_base: Option<Url>,
    /// Added to the local clock when signing, as measured from the token service.
    clock_correction_millis: AtomicI64,
}

impl SourceContext {
    pub(super) fn new(settings: &SourceSettings) -> Result<Arc<Self>, CredentialsError> {
        let metadata_base = match settings.metadata_endpoint.as_deref() {
            None | Some(METADATA_ENDPOINT) => Url::parse(METADATA_ENDPOINT)
                .map_err(|_| CredentialsError::unusable("credentials.metadata_endpoint: it is not a URL"))?,
            Some(endpoint) => {
                let url = parse_endpoint("metadata_endpoint", endpoint)?;
                if !is_loopback(&url) {
                    return Err(CredentialsError::unusable(
                        "credentials.metadata_endpoint: it is neither the metadata service nor loopback",
                    ));
                }
                url
            }
        };
        let sts_endpoint = settings.sts_endpoint.as_deref();
        Ok(Arc::new(Self {
            files: FileReads::default(),
            services: ServiceClient::for_services(settings.proxy.clone()),
            metadata: ServiceClient::for_metadata(),
            metadata_base,
            sts_base: sts_endpoint.map(|endpoint| parse_endpoint("sts_endpoint", endpoint)).transpose()?,
            clock_correction_millis: AtomicI64::new(0),
            settings: settings.clone(),
        }))
    }

    /// Returns an environment variable that may be secret, unless it is blank.
    pub(super) fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        variable(&self.settings.variables, name)
    }

    /// Returns an environment variable that is not secret, trimmed, unless it is blank.
    pub(super) fn plain_variable(&self, name: &str) -> Option<String> {
        self.variable(name).map(|value| value.trim().to_owned())
    }

    /// Whether an environment variable is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Returns the URL of the token service: the configured one, that of the region, or the central one.
    pub(super) fn sts_url(&self, region: Option<&str>, in_vpc: bool) -> Result<Url, CredentialsError> {
        if let Some(url) = &self.sts_base {
            return Ok(url.clone());
        }
        let host = match region.map(str::to_owned).or_else(|| self.plain_variable(STS_REGION)) {
            None => "sts.aliyuncs.com".to_owned(),
            Some(region) => {
                let region = RegionId::new(&region).map_err(|_| {
                    CredentialsError::unusable("the region of the token service is not a region id")
                })?;
                let name = if in_vpc || self.flag(STS_VPC) { "sts-vpc" } else { "sts" };
                format!("{name}.{}.aliyuncs.com", region.as_str())
            }
        };
        checked_endpoint(&format!("https://{host}"))
            .map_err(|error| CredentialsError::unusable(format!("the token service {host}: {error}")))
    }

    /// Returns the time for signing, in Unix milliseconds.
    pub(super) fn signing_millis(&self) -> i64 {
        (self.settings.clock)().get().saturating_add(self.clock_correction_millis.load(Ordering::Relaxed))
    }

    /// Returns the latest time of a response by the clock of its server, or the local time if it has no `Date`. Uses
    /// the latest time, because a key must not be used after its expiry.
    pub(super) fn millis_of(&self, response: &ServiceResponse) -> i64 {
        response.date_millis.map_or_else(|| (self.settings.clock)().get(), |date| date.saturating_add(1_000))
    }

    /// Measures the clock skew of the token service.
    pub(super) fn update_clock_correction(&self, response: &ServiceResponse) {
        let Some(date) = response.date_millis else { return };
        let skew = date - (self.settings.clock)().get();
        let is_corrected = (MIN_SKEW_MILLIS..=MAX_SKEW_MILLIS).contains(&skew.abs());
        self.clock_correction_millis.store(if is_corrected { skew } else { 0 }, Ordering::Relaxed);
    }
}

fn parse_endpoint(key: &str, endpoint: &str) -> Result<Url, CredentialsError> {
    checked_endpoint(endpoint).map_err(|error| {
        let reason = match error {
            ClientBuildError::Endpoint(reason) => reason.to_owned(),
            other => other.to_string(),
        };
        CredentialsError::unusable(format!("credentials.{key}: {reason}"))
    })
}

fn variable(variables: &VariableLookup, name: &str) -> Option<Zeroizing<String>> {
    variables(name).map(Zeroizing::new).filter(|value| !value.trim().is_empty())
}

/// Returns the credentials in the environment variables of Alibaba Cloud's own tools.
pub(super) fn environment_credentials(variables: &VariableLookup) -> Result<Credentials, CredentialsError> {
    match (variable(variables, ACCESS_KEY_ID), variable(variables, ACCESS_KEY_SECRET)) {
        (Some(id), Some(secret)) => {
            let token = variable(variables, SECURITY_TOKEN);
            Credentials::new(&id, &secret, token.as_ref().map(|token| token.as_str()))
        }
        (Some(_), None) => Err(CredentialsError::unusable(format!(
            "{ACCESS_KEY_ID} is set but {ACCESS_KEY_SECRET} is missing"
        ))),
        (None, Some(_)) => Err(CredentialsError::unusable(format!(
            "{ACCESS_KEY_SECRET} is set but {ACCESS_KEY_ID} is missing"
        ))),
        (None, None) => Err(CredentialsError::Missing(format!(
            "the variables {ACCESS_KEY_ID} and {ACCESS_KEY_SECRET}, or the keys credentials.access_key_id_file \
             and credentials.access_key_secret_file"
        ))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::UnixMillis;

    /// 2024-01-02T03:04:05Z.
    pub(in super::super) const NOW: i64 = 1_704_164_645_000;

    fn lookup(variables: &'static [(&'static str, &'static str)]) -> VariableLookup {
        Arc::new(move |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    pub(in super::super) fn settings(variables: &'static [(&'static str, &'static str)]) -> SourceSettings {
        SourceSettings {
            account: None,
            sts_endpoint: None,
            metadata_endpoint: None,
            proxy: ProxySetting::None,
            variables: lookup(variables),
            clock: || UnixMillis::new(NOW).unwrap(),
            entropy: || Some(7),
        }
    }

    fn sts(variables: &'static [(&'static str, &'static str)], region: Option<&str>, in_vpc: bool) -> String {
        SourceContext::new(&settings(variables))
            .unwrap()
            .sts_url(region, in_vpc)
            .map_or_else(|e| e.to_string(), String::from)
    }

    #[test]
    fn the_token_service_is_that_of_the_named_region() {
        assert_eq!(sts(&[], None, false), "https://sts.aliyuncs.com/");
        assert_eq!(sts(&[(STS_VPC, "true")], None, true), "https://sts.aliyuncs.com/");
        let region = &[(STS_REGION, "cn-beijing")];
        assert_eq!(sts(region, None, false), "https://sts.cn-beijing.aliyuncs.com/");
        assert_eq!(sts(region, Some("cn-hangzhou"), true), "https://sts-vpc.cn-hangzhou.aliyuncs.com/");
        let vpc = &[(STS_REGION, "cn-beijing"), (STS_VPC, "TRUE")];
        assert_eq!(sts(vpc, None, false), "https://sts-vpc.cn-beijing.aliyuncs.com/");
        assert!(sts(&[(STS_REGION, "evil.example/")], None, false).contains("not a region id"));
    }

    #[test]
    fn invalid_service_endpoints_are_rejected() {
        let with = |sts: Option<&str>, metadata: Option<&str>| {
            let (sts_endpoint, metadata_endpoint) = (sts.map(str::to_owned), metadata.map(str::to_owned));
            SourceContext::new(&SourceSettings { sts_endpoint, metadata_endpoint, ..settings(&[]) })
                .map(|_| ())
        };
        for good in ["http://100.100.100.200", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(with(None, Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "http://169.254.169.254",
            "https://100.100.100.200",
            "http://100.100.100.200/x",
            "https://x.example",
        ] {
            assert!(with(None, Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(with(Some("https://sts.example"), None), Ok(()));
        for bad in [
            "http://sts.aliyuncs.com",
            "https://a@sts.example",
            "https://sts.example/x",
            "https://sts.example?x",
        ] {
            assert!(with(Some(bad), None).is_err(), "{bad}");
        }
    }

    fn credentials_from(
        variables: &'static [(&'static str, &'static str)],
    ) -> Result<Credentials, CredentialsError> {
        environment_credentials(&lookup(variables))
    }

    #[test]
    fn environment_variables_make_credentials() {
        let read = credentials_from(&[
            (ACCESS_KEY_ID, "id\n"),
            (ACCESS_KEY_SECRET, "secret"),
            (SECURITY_TOKEN, "token"),
        ])
        .unwrap();
        let key = read.key();
        assert_eq!((key.id, key.secret, key.token), ("id", "secret", Some("token")));
        assert_eq!(
            credentials_from(&[(ACCESS_KEY_ID, "id"), (ACCESS_KEY_SECRET, "secret"), (SECURITY_TOKEN, "")])
                .unwrap()
                .key()
                .token,
            None
        );
    }

    #[test]
    fn missing_variables_are_named() {
        let nothing = credentials_from(&[]).unwrap_err().to_string();
        for name in [ACCESS_KEY_ID, ACCESS_KEY_SECRET, "access_key_id_file", "access_key_secret_file"] {
            assert!(nothing.contains(name), "{nothing}");
        }
        let half = credentials_from(&[(ACCESS_KEY_ID, "id")]).unwrap_err().to_string();
        assert_eq!(
            half,
            format!("unusable credentials: {ACCESS_KEY_ID} is set but {ACCESS_KEY_SECRET} is missing")
        );
    }
}
