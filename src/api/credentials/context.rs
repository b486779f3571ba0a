//! What the sources of one account share: variables, files, the way to services, and where these are.
//!
//! Owns: which token service and which metadata service are asked. Refuses: services over plain HTTP beyond
//! loopback, and any metadata service but the cloud's own and what stands in for it on loopback.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use reqwest::Url;
use zeroize::Zeroizing;

use super::{
    CredentialsError,
    http::{ServiceClient, ServiceResponse},
    secret_file::BlockingReads,
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

const STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
const STS_VPC: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// Where the metadata of a machine are.
const METADATA: &str = "http://100.100.100.200";

/// The cloud and this host may differ by so much without a word: `Date` has whole seconds.
const TOLERATED_SKEW_MILLIS: i64 = 5_000;
/// A larger difference is not believed.
const MAX_SKEW_MILLIS: i64 = 24 * 3600 * 1000;

/// What the sources of one account need to know.
#[derive(Clone)]
pub struct SourceSettings {
    /// The configured account, if accounts are named.
    pub account: Option<AccountName>,
    /// Scheme, host and perhaps port of the token service; `None` for the cloud's own.
    pub sts_endpoint: Option<String>,
    /// The same of the metadata service.
    pub metadata_endpoint: Option<String>,
    /// The proxy on the way to the token service and to an address of keys.
    pub proxy: ProxySetting,
    /// The environment.
    pub variables: VariableLookup,
    /// [`crate::clock::unix_now`] outside of tests.
    pub clock: WallClock,
    /// [`super::super::os_entropy`] outside of tests.
    pub entropy: EntropySource,
}

/// The same, ready for use.
pub(super) struct SourceContext {
    pub(super) variables: VariableLookup,
    pub(super) disk: BlockingReads,
    pub(super) web: ServiceClient,
    pub(super) metadata: ServiceClient,
    pub(super) metadata_base: Url,
    pub(super) entropy: EntropySource,
    sts_base: Option<Url>,
    clock: WallClock,
    /// What is added to the local clock when signing, as the token service told.
    correction_millis: AtomicI64,
}

impl SourceContext {
    pub(super) fn new(setup: &SourceSettings) -> Result<Arc<Self>, CredentialsError> {
        let bad = |key: &str, why: &ClientBuildError| {
            let why = why.to_string();
            let why = why.strip_prefix("endpoint: ").unwrap_or(&why);
            CredentialsError::Unusable(format!("credentials.{key}: {why}"))
        };
        let checked = |key, url: &str| checked_endpoint(url).map_err(|why| bad(key, &why));
        let metadata = setup.metadata_endpoint.as_deref().unwrap_or(METADATA);
        let metadata_base = if metadata == METADATA {
            Url::parse(METADATA)
                .map_err(|_| bad("metadata_endpoint", &ClientBuildError::Endpoint("it is not a URL")))?
        } else {
            let url = checked("metadata_endpoint", metadata)?;
            if !is_loopback(&url) {
                let why = ClientBuildError::Endpoint("it is neither the metadata service nor loopback");
                return Err(bad("metadata_endpoint", &why));
            }
            url
        };
        let sts_base = setup.sts_endpoint.as_deref().map(|url| checked("sts_endpoint", url)).transpose()?;
        Ok(Arc::new(Self {
            variables: Arc::clone(&setup.variables),
            disk: BlockingReads::default(),
            web: ServiceClient::to_services(setup.proxy.clone()),
            metadata: ServiceClient::to_metadata(),
            metadata_base,
            entropy: setup.entropy,
            sts_base,
            clock: setup.clock,
            correction_millis: AtomicI64::new(0),
        }))
    }

    /// A variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        variable(&self.variables, name)
    }

    /// The same for what is no secret.
    pub(super) fn plain_variable(&self, name: &str) -> Option<String> {
        self.variable(name).map(|value| value.trim().to_owned())
    }

    /// Whether a variable says yes.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// The token service: the configured one, else that of a region, else the one for all.
    pub(super) fn sts(&self, region: Option<&str>, in_vpc: bool) -> Result<Url, CredentialsError> {
        if let Some(url) = &self.sts_base {
            return Ok(url.clone());
        }
        let by_variable = self.plain_variable(STS_REGION);
        let host = match region.or(by_variable.as_deref()) {
            None => "sts.aliyuncs.com".to_owned(),
            Some(region) => {
                let region = RegionId::new(region).map_err(|_| {
                    CredentialsError::Unusable(
                        "the region of the token service is not a region id".to_owned(),
                    )
                })?;
                let name = if in_vpc || self.flag(STS_VPC) { "sts-vpc" } else { "sts" };
                format!("{name}.{}.aliyuncs.com", region.as_str())
            }
        };
        checked_endpoint(&format!("https://{host}"))
            .map_err(|why| CredentialsError::Unusable(format!("the token service {host}: {why}")))
    }

    /// The time that the token service is told, in milliseconds.
    pub(super) fn signing_millis(&self) -> i64 {
        (self.clock)().get().saturating_add(self.correction_millis.load(Ordering::Relaxed))
    }

    /// The time by the clock of whoever answered, where it told it; rather late than early, as it tells whole
    /// seconds only and a key is not to be used after its end.
    pub(super) fn millis_of(&self, answer: &ServiceResponse) -> i64 {
        answer.date_millis.map_or_else(|| (self.clock)().get(), |date| date.saturating_add(1_000))
    }

    /// Takes note of how far the clock of the token service is from this host's.
    pub(super) fn note_clock(&self, answer: &ServiceResponse) {
        let Some(date) = answer.date_millis else { return };
        let skew = date - (self.clock)().get();
        let is_worth_it = (TOLERATED_SKEW_MILLIS..=MAX_SKEW_MILLIS).contains(&skew.abs());
        self.correction_millis.store(if is_worth_it { skew } else { 0 }, Ordering::Relaxed);
    }
}

/// A variable that is set to something.
pub(super) fn variable(variables: &VariableLookup, name: &str) -> Option<Zeroizing<String>> {
    variables(name).map(Zeroizing::new).filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::UnixMillis;

    /// 2024-01-02T03:04:05Z.
    pub(in super::super) const NOW: i64 = 1_704_164_645_000;

    pub(in super::super) fn setup(variables: &'static [(&'static str, &'static str)]) -> SourceSettings {
        SourceSettings {
            account: None,
            sts_endpoint: None,
            metadata_endpoint: None,
            proxy: ProxySetting::None,
            variables: Arc::new(move |name: &str| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            }),
            clock: || UnixMillis::new(NOW).unwrap(),
            entropy: || Some(7),
        }
    }

    fn sts(variables: &'static [(&'static str, &'static str)], region: Option<&str>, in_vpc: bool) -> String {
        SourceContext::new(&setup(variables))
            .unwrap()
            .sts(region, in_vpc)
            .map_or_else(|e| e.to_string(), String::from)
    }

    #[test]
    fn the_token_service_is_that_of_the_region_that_is_named() {
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
    fn services_in_the_wrong_place_are_refused() {
        let with = |sts: Option<&str>, metadata: Option<&str>| {
            let (sts_endpoint, metadata_endpoint) = (sts.map(str::to_owned), metadata.map(str::to_owned));
            SourceContext::new(&SourceSettings { sts_endpoint, metadata_endpoint, ..setup(&[]) }).map(|_| ())
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
}
