//! URL that issues keys, e.g. of a process on the same host.

use secrecy::{ExposeSecret as _, SecretString};
use url::{Position, Url};

use super::{CredentialsError, FetchResult, context::SourceContext, http::ServiceRequest, service_response};
use crate::api::{redact::Redactor, sign::SigningKey, transport::is_loopback};

const VARIABLE: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// Minimum length of a path segment that may be a secret. Shorter ones are words.
const MIN_SECRET_SEGMENT: usize = 12;

/// Name of this source.
pub(super) const NAME: &str = "uri";

/// Fetches a key from a URL, which may contain a secret; `None` for the one in the environment variable.
pub(super) async fn fetch(context: &SourceContext, uri: Option<&SecretString>) -> FetchResult {
    let from_variable = || context.variable(VARIABLE).map(|uri| SecretString::from(uri.trim().to_owned()));
    let uri = uri.cloned().or_else(from_variable);
    let uri = uri.ok_or_else(|| CredentialsError::Missing(format!("the variable {VARIABLE}")))?;
    let url = checked_url(uri.expose_secret())
        .map_err(|reason| CredentialsError::unusable(format!("the credentials URI {reason}")))?;
    let path = url[Position::BeforePath..].to_owned();
    let key = SigningKey { id: uri.expose_secret(), secret: &path, token: url.query() };
    // The service may echo any part of the URL.
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let segments = url.path_segments().into_iter().flatten().filter(|part| part.len() >= MIN_SECRET_SEGMENT);
    let redactor = values
        .chain(segments.map(str::to_owned))
        .fold(Redactor::for_key(key, ""), |redactor, part| redactor.with_secret(&part));
    let request = ServiceRequest { bypasses_proxy_on_loopback: true, ..ServiceRequest::get(url.clone()) };
    let response = context.services.send(request).await?;
    service_response::read_key_response(context, &response, "the credentials URI", NAME, &redactor)
}

/// Parses a URL, which must use TLS or loopback. Errors do not contain it.
fn checked_url(uri: &str) -> Result<Url, &'static str> {
    let url = Url::parse(uri).map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user name or a password");
    }
    if url.fragment().is_some() {
        return Err("contains a fragment");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("is plain http beyond loopback, use https"),
        _ => Err("is neither https nor http"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_on_this_host_or_has_tls() {
        for good in [
            "http://127.0.0.1:6666/key?of=me",
            "http://localhost/",
            "http://[::1]/",
            "https://keys.example/a",
        ] {
            assert!(checked_url(good).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1/key",
            "http://keys.example/key",
            "http://100.100.100.200/latest/meta-data/ram/security-credentials/x",
            "http://169.254.169.254/",
            "http://127.0.0.1.example.com/",
            "https://user@keys.example/",
            "https://keys.example/#x",
            "file:///etc/passwd",
        ] {
            assert!(checked_url(bad).is_err(), "{bad}");
        }
    }
}
