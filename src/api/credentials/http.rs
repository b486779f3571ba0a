//! The way to the services that hand out keys, with the rules of the transport: no redirects, no proxy that
//! nobody configured, a limit on size, and errors without URLs.

use reqwest::{
    Method, Url,
    header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderValue},
};
use tokio::{
    sync::OnceCell,
    time::{Duration, timeout},
};
use zeroize::Zeroizing;

use super::CredentialsError;
use crate::api::transport::{TransportOptions, http_client, http_date_millis, is_loopback, network_failure};
use crate::model::ProxySetting;

/// Larger answers hold no keys.
const MAX_BYTES: usize = 64 * 1024;

/// Clients, made when they are needed: a host without CA certificates can still ask its metadata service.
pub(super) struct ServiceClient {
    proxy: ProxySetting,
    /// For connecting, and for the whole of an exchange.
    timeouts: (Duration, Duration),
    tls: OnceCell<reqwest::Client>,
    plain: OnceCell<reqwest::Client>,
    /// Past any proxy.
    direct: OnceCell<reqwest::Client>,
}

/// A question to a service.
pub(super) struct ServiceRequest<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) form: Option<String>,
}

/// What a service said.
pub(super) struct ServiceResponse {
    pub(super) status: u16,
    /// `Date`, in milliseconds since 1970.
    pub(super) date_millis: Option<i64>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct ServiceCallError {
    /// Nobody is there, so that another question to the same place is in vain.
    pub(super) is_nobody_there: bool,
    pub(super) text: String,
}

impl From<ServiceCallError> for CredentialsError {
    fn from(trouble: ServiceCallError) -> Self {
        Self::Unusable(trouble.text)
    }
}

impl ServiceRequest<'_> {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: &[], form: None }
    }
}

impl ServiceClient {
    /// To the token service, and to addresses that hand out keys.
    pub(super) fn to_services(proxy: ProxySetting) -> Self {
        Self::new(proxy, (Duration::from_secs(5), Duration::from_secs(10)))
    }

    /// To the machine's own metadata service, which is near or not there. Never through a proxy, as that
    /// would be another machine's.
    pub(super) fn to_metadata() -> Self {
        Self::new(ProxySetting::None, (Duration::from_secs(1), Duration::from_secs(2)))
    }

    fn new(proxy: ProxySetting, timeouts: (Duration, Duration)) -> Self {
        Self { proxy, timeouts, tls: OnceCell::new(), plain: OnceCell::new(), direct: OnceCell::new() }
    }

    /// Asks as the proxy setting says.
    pub(super) async fn ask(
        &self,
        question: ServiceRequest<'_>,
    ) -> Result<ServiceResponse, ServiceCallError> {
        let is_https = question.url.scheme() == "https";
        let cell = if is_https { &self.tls } else { &self.plain };
        let client = self.client(cell, is_https, &self.proxy).await?;
        self.exchange(client, question).await
    }

    /// The same, but past the proxy where the service is on this host: no proxy can reach it there.
    pub(super) async fn ask_near(
        &self,
        question: ServiceRequest<'_>,
    ) -> Result<ServiceResponse, ServiceCallError> {
        if !is_loopback(&question.url) {
            return self.ask(question).await;
        }
        let is_https = question.url.scheme() == "https";
        let client = self.client(&self.direct, is_https, &ProxySetting::None).await?;
        self.exchange(client, question).await
    }

    async fn client<'c>(
        &self,
        cell: &'c OnceCell<reqwest::Client>,
        is_https: bool,
        proxy: &ProxySetting,
    ) -> Result<&'c reqwest::Client, ServiceCallError> {
        // Renewals are minutes apart: no connection is kept.
        let make =
            async || http_client(is_https, 0, &TransportOptions { connect_timeout: self.timeouts.0, proxy });
        cell.get_or_try_init(make)
            .await
            .map_err(|error| ServiceCallError { is_nobody_there: false, text: error.to_string() })
    }

    async fn exchange(
        &self,
        client: &reqwest::Client,
        question: ServiceRequest<'_>,
    ) -> Result<ServiceResponse, ServiceCallError> {
        let host = host_of(&question.url);
        let (_, whole) = self.timeouts;
        timeout(whole, send(client, &host, question)).await.unwrap_or_else(|_| {
            Err(ServiceCallError {
                is_nobody_there: false,
                text: format!("{host}: no whole answer within {whole:?}"),
            })
        })
    }
}

async fn send(
    client: &reqwest::Client,
    host: &str,
    question: ServiceRequest<'_>,
) -> Result<ServiceResponse, ServiceCallError> {
    let trouble = |text: String| ServiceCallError { is_nobody_there: false, text };
    let failure = |error: reqwest::Error| {
        let is_nobody_there = error.is_connect();
        ServiceCallError { is_nobody_there, text: network_failure(host, error).detail }
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in question.headers {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| trouble(format!("{host}: what it handed out cannot be sent back to it")))?;
        value.set_sensitive(true);
        headers.insert(*name, value);
    }
    let mut request = client.request(question.method, question.url);
    if let Some(form) = question.form {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request = request.body(form);
    }
    let request = request.headers(headers).build().map_err(failure)?;
    let mut response = client.execute(request).await.map_err(failure)?;
    if response.status().is_redirection() {
        let status = response.status().as_u16();
        // The target is not named: it may be made of what was sent.
        return Err(trouble(format!("{host}: HTTP {status} is a redirect, which is not followed")));
    }
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date_millis = date.and_then(http_date_millis);
    let status = response.status().as_u16();
    // All room at once: a buffer that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(trouble(format!("{host}: the answer is larger than 64 KiB")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(ServiceResponse { status, date_millis, body })
}

/// Host and port, which is all of a URL that may be shown.
fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or("nowhere").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_where_nobody_is_is_told_from_one_that_answers_badly() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let question = || ServiceRequest::get(Url::parse(&format!("http://{address}/CanaryPath")).unwrap());
        let closing = tokio::spawn(async move {
            drop(listener.accept().await);
            listener
        });
        let http = ServiceClient::to_metadata();
        let trouble = http.ask(question()).await.map(|_| ()).unwrap_err();
        assert!(!trouble.is_nobody_there, "{}", trouble.text);
        drop(closing.await.unwrap());
        let trouble = http.ask(question()).await.map(|_| ()).unwrap_err();
        assert!(trouble.is_nobody_there && !trouble.text.contains("Canary"), "{}", trouble.text);
    }
}
