//! Endpoints of API calls, of the credential services, and of the proxy.
//!
//! Rejects: plain http beyond loopback, user names, paths, queries and fragments, addresses of metadata services, and
//! hosts that resolve to something other than they appear to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use secrecy::SecretString;
use url::{Host, Url};

use crate::model::{ProxySetting, RegionId};

/// Network of the service's own hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// `alikafka.<region>.aliyuncs.com`.
    Public,
    /// `alikafka-vpc.<region>.aliyuncs.com`.
    Vpc,
}

/// Endpoint of an account: a URL without a path, with `{region}` as a placeholder for the region id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// Problem of a URL: what is wrong, and what to write instead. Never quotes the URL.
pub(super) type Rejection = (&'static str, &'static str);

const REGION: &str = "{region}";
const EXAMPLE: &str = "write a URL such as https://alikafka.{region}.aliyuncs.com";
const PROXY_EXAMPLE: &str = "write none, environment, or a URL such as http://proxy.example:3128";

impl Endpoint {
    /// Returns the endpoint of the service in a network.
    #[must_use]
    pub fn of(network: Network) -> Self {
        Self(match network {
            Network::Public => format!("https://alikafka.{REGION}.aliyuncs.com"),
            Network::Vpc => format!("https://alikafka-vpc.{REGION}.aliyuncs.com"),
        })
    }

    /// Returns the URL of a region: scheme, host and optional port, e.g. `https://alikafka.cn-hangzhou.aliyuncs.com`,
    /// without a trailing slash.
    #[must_use]
    pub fn url(&self, region: &RegionId) -> String {
        self.0.replace(REGION, region.as_str())
    }

    pub(super) fn parse(text: &str) -> Result<Self, Rejection> {
        // Any region id is a plain host label.
        check_base(&text.replace(REGION, "cn-hangzhou"), EXAMPLE)?;
        Ok(Self(base(text)))
    }
}

/// Parses the URL of the security token service.
pub(super) fn token_service(text: &str) -> Result<String, Rejection> {
    check_base(text, "write a URL such as https://sts.cn-hangzhou.aliyuncs.com")?;
    Ok(base(text))
}

/// Parses the URL of the metadata service, or of a substitute on loopback.
pub(super) fn metadata_service(text: &str) -> Result<String, Rejection> {
    const INSTEAD: &str = "write http://100.100.100.200, or remove the key";
    let url = base(text);
    let is_on_loopback = || {
        check_base(text, INSTEAD).is_ok()
            && Url::parse(&url).is_ok_and(|url| url.host().is_some_and(|host| is_loopback(&host)))
    };
    if url == "http://100.100.100.200" || is_on_loopback() {
        return Ok(url);
    }
    Err(("is neither the metadata service nor loopback", INSTEAD))
}

/// Parses the URL of a service that returns keys, which may have a path and a query.
pub(super) fn key_service(text: &str) -> Result<SecretString, Rejection> {
    const INSTEAD: &str = "write a URL such as http://127.0.0.1:6666/credentials";
    let after_scheme = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(after_scheme);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    check_base(&format!("{scheme}{authority}"), INSTEAD)?;
    if path.contains(['#', '\\']) || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(("has a fragment, a space or a character that no URL has", INSTEAD));
    }
    Ok(SecretString::from(text.to_owned()))
}

/// Normalizes a URL: lower case, without a trailing slash.
fn base(text: &str) -> String {
    text.strip_suffix('/').unwrap_or(text).to_lowercase()
}

/// Checks that a URL consists of scheme, host and optional port, and cannot leak secrets or mislead.
fn check_base(text: &str, example: &'static str) -> Result<(), Rejection> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(("is not a URL with a scheme", example));
    };
    if rest.contains('@') {
        return Err(("has a user name", "give the key under credentials, and the URL without it"));
    }
    if rest.contains(['?', '#']) {
        return Err(("has a query or a fragment", example));
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '\\']) {
        return Err(("has a path", example));
    }
    let authority = authority.to_lowercase();
    let scheme = scheme.to_lowercase();
    let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|_| ("is not a valid URL", example))?;
    let host = url.host().ok_or(("has no host", example))?;
    check_host(&host, &authority, example)?;
    match (scheme.as_str(), is_loopback(&host)) {
        ("https", _) | ("http", true) => {}
        ("http", false) => {
            return Err(("is plain http to a host that is not loopback", "write https://"));
        }
        _ => return Err(("has a scheme other than https", example)),
    }
    if url.port() == Some(0) || authority.ends_with(':') {
        return Err(("has no valid port", "write a port from 1 to 65535, or none"));
    }
    Ok(())
}

/// Rejects hosts that must not be called, and hosts in a misleading spelling.
fn check_host(host: &Host<&str>, typed: &str, example: &'static str) -> Result<(), Rejection> {
    match host {
        Host::Domain(name) => {
            let is_label = |l: &str| {
                (1..=63).contains(&l.len())
                    && !l.starts_with('-')
                    && !l.ends_with('-')
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if !name.split('.').all(is_label) || !begins_with(typed, name) {
                return Err(("has an invalid host name", example));
            }
        }
        Host::Ipv4(address) => {
            if !begins_with(typed, &address.to_string()) {
                return Err(("has an address in an unusual spelling", "write it as four decimal numbers"));
            }
            check_address((*address).into(), example)?;
        }
        Host::Ipv6(address) => {
            if address.to_ipv4_mapped().is_some() {
                return Err(("is an IPv4-mapped IPv6 address", "write it as four decimal numbers"));
            }
            check_address((*address).into(), example)?;
        }
    }
    Ok(())
}

fn begins_with(typed: &str, host: &str) -> bool {
    typed.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn check_address(address: IpAddr, example: &'static str) -> Result<(), Rejection> {
    const METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    const METADATA_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let is_rejected = match address {
        IpAddr::V4(a) => {
            a == METADATA || a.is_link_local() || a.is_unspecified() || a.is_multicast() || a.is_broadcast()
        }
        IpAddr::V6(a) => {
            a == METADATA_6 || a.is_unicast_link_local() || a.is_unspecified() || a.is_multicast()
        }
    };
    if is_rejected {
        return Err((
            "has an address that is not an API host's (link-local, metadata or multicast)",
            example,
        ));
    }
    Ok(())
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Parses the value of `proxy`: `none`, `environment`, or the URL of a proxy.
pub(super) fn proxy(text: &str) -> Result<ProxySetting, Rejection> {
    match text {
        "none" => return Ok(ProxySetting::None),
        "environment" => return Ok(ProxySetting::Environment),
        _ => {}
    }
    if !text.contains("://") {
        return Err(("is neither none, environment nor a URL", PROXY_EXAMPLE));
    }
    let url = Url::parse(text).map_err(|_| ("is not a valid URL", PROXY_EXAMPLE))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(("has a scheme other than http or https", PROXY_EXAMPLE));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(("has a path, a query or a fragment", PROXY_EXAMPLE));
    }
    Ok(ProxySetting::Url(SecretString::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_replaces_its_placeholder() {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let url = |e: Endpoint| e.url(&region);
        assert_eq!(url(Endpoint::of(Network::Public)), "https://alikafka.cn-hangzhou.aliyuncs.com");
        assert_eq!(url(Endpoint::of(Network::Vpc)), "https://alikafka-vpc.cn-hangzhou.aliyuncs.com");
        for (typed, url_of_region) in [
            ("https://alikafka.{region}.aliyuncs.com/", "https://alikafka.cn-hangzhou.aliyuncs.com"),
            ("HTTPS://API.Example.com:8443", "https://api.example.com:8443"),
            ("https://10.0.0.7", "https://10.0.0.7"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(Endpoint::parse(typed).map(url), Ok(url_of_region.to_owned()), "{typed}");
        }
    }

    #[test]
    fn endpoints_that_could_leak_or_mislead_are_rejected() {
        for typed in [
            "",
            "alikafka.cn-hangzhou.aliyuncs.com",
            "//alikafka.cn-hangzhou.aliyuncs.com",
            "https://",
            "https:///",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://alikafka.cn-hangzhou.aliyuncs.com",
            "http://10.0.0.7",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "https://user@example.com",
            "https://user:word@example.com",
            "https://alikafka.aliyuncs.com@example.com",
            "https://example.com/path",
            "https://example.com//",
            "https://example.com\\path",
            "https://example.com?x=1",
            "https://example.com#x",
            "https://example.com/?",
            "https://example.com:0",
            "https://example.com:",
            "https://example.com:65536",
            "https://example.com:port",
            "https://example.com.",
            "https://exa mple.com",
            "https://exa_mple.com",
            "https://-example.com",
            "https://example..com",
            "https://{account}.example.com",
            "https://example.com:{region}",
            "https://пример.example.com",
            "https://169.254.169.254",
            "https://100.100.100.200",
            "https://0.0.0.0",
            "https://2130706433",
            "http://2130706433",
            "https://0x7f.0.0.1",
            "https://0177.0.0.1",
            "https://127.1",
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:169.254.169.254]",
            "https://[fe80::1]",
            "https://[::]",
            "https://[fd00:ec2::254]",
            "https://224.0.0.1",
            "https://%31%32%37.0.0.1",
        ] {
            assert!(Endpoint::parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn debug_output_of_a_proxy_has_no_password() {
        let setting = proxy("http://user:canary@proxy.example:3128").unwrap();
        assert_eq!(format!("{setting:?}"), "http://proxy.example:3128");
        for typed in ["proxy.example:3128", "socks5://proxy.example", "http://proxy.example/path", "http://"]
        {
            assert!(proxy(typed).is_err(), "{typed}");
        }
    }
}
