//! An address that hands out keys to whoever asks there, such as a process beside this one.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::{Position, Url};

use super::{
    BoxFuture, CredentialSource, CredentialsError, FetchedCredentials, context::SourceContext,
    http::ServiceRequest, service_response,
};
use crate::api::{redact::Redactor, sign::SigningKey, transport::is_loopback};

pub(super) const VARIABLE: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// A part of a path that is as long may be a ticket; shorter ones are words.
const LONG: usize = 12;

/// The name of this source.
pub(super) const NAME: &str = "uri";

/// An address that hands out keys.
pub(super) struct UriSource {
    pub(super) services: Arc<SourceContext>,
    /// The address, which may hold a secret; that of the variable where it is not told.
    pub(super) uri: Option<SecretString>,
}

impl UriSource {
    async fn key(&self) -> Result<FetchedCredentials, CredentialsError> {
        let by_variable =
            || self.services.variable(VARIABLE).map(|uri| SecretString::from(uri.trim().to_owned()));
        let uri = self.uri.clone().or_else(by_variable);
        let uri = uri.ok_or_else(|| CredentialsError::Missing(format!("the variable {VARIABLE}")))?;
        let url = checked(uri.expose_secret())
            .map_err(|why| CredentialsError::Unusable(format!("the address of credentials {why}")))?;
        let path = url[Position::BeforePath..].to_owned();
        let whole =
            Redactor::without(SigningKey { id: uri.expose_secret(), secret: &path, token: url.query() }, "");
        // Whoever is asked may quote a part of it: what it was asked for, or with which ticket.
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        let segments = url.path_segments().into_iter().flatten().filter(|part| part.len() >= LONG);
        let quote = values.chain(segments.map(str::to_owned)).fold(whole, |quote, part| quote.and(&part));
        let answer = self.services.web.ask_near(ServiceRequest::get(url.clone())).await?;
        service_response::read_key_response(
            &self.services,
            &answer,
            "the address of credentials",
            NAME,
            &quote,
        )
    }
}

impl CredentialSource for UriSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(self.key())
    }
}

/// An address that may be asked. Refusals do not quote it.
pub(super) fn checked(uri: &str) -> Result<Url, &'static str> {
    let url = Url::parse(uri).map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password");
    }
    if url.fragment().is_some() {
        return Err("holds a fragment");
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
    fn an_address_is_on_this_host_or_behind_tls() {
        for good in [
            "http://127.0.0.1:6666/key?of=me",
            "http://localhost/",
            "http://[::1]/",
            "https://keys.example/a",
        ] {
            assert!(checked(good).is_ok(), "{good}");
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
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
