//! HTTP client for the services that issue keys, with the rules of the transport: no redirects, no proxies that are not
//! configured, a size limit, and errors without URLs.

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
use crate::{
    api::transport::{
        TransportOptions, host_and_port, http_client, http_date_millis, is_loopback, network_failure,
    },
    model::ProxySetting,
};

/// Maximum size of a response.
const MAX_BYTES: usize = 64 * 1024;

/// HTTP client for services. Its parts are built on first use, because a host without CA certificates must still reach
/// its metadata service.
pub(super) struct ServiceClient {
    proxy: ProxySetting,
    connect_timeout: Duration,
    total_timeout: Duration,
    tls: OnceCell<reqwest::Client>,
    plain: OnceCell<reqwest::Client>,
    /// Client without a proxy.
    direct: OnceCell<reqwest::Client>,
}

/// Request to a service.
pub(super) struct ServiceRequest<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) form: Option<String>,
    /// Whether to bypass the proxy for a service on this host, which no proxy can reach.
    pub(super) bypasses_proxy_on_loopback: bool,
}

/// Response of a service.
pub(super) struct ServiceResponse {
    pub(super) status: u16,
    /// `Date`, in Unix milliseconds.
    pub(super) date_millis: Option<i64>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Reason why there is no response.
#[derive(Debug)]
pub(super) struct ServiceCallError {
    /// Whether the service is not reachable at all, so that another request would fail too.
    pub(super) is_unreachable: bool,
    pub(super) reason: String,
}

impl From<ServiceCallError> for CredentialsError {
    fn from(error: ServiceCallError) -> Self {
        Self::Unusable(error.reason)
    }
}

impl ServiceRequest<'_> {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: &[], form: None, bypasses_proxy_on_loopback: false }
    }
}

impl ServiceClient {
    /// Returns a client for the token service and for URLs that issue keys.
    pub(super) fn for_services(proxy: ProxySetting) -> Self {
        Self::new(proxy, Duration::from_secs(5), Duration::from_secs(10))
    }

    /// Returns a client for the metadata service of this machine, which is near or does not exist. Uses no proxy,
    /// because that would reach the metadata service of another machine.
    pub(super) fn for_metadata() -> Self {
        Self::new(ProxySetting::None, Duration::from_secs(1), Duration::from_secs(2))
    }

    fn new(proxy: ProxySetting, connect_timeout: Duration, total_timeout: Duration) -> Self {
        let (tls, plain, direct) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { proxy, connect_timeout, total_timeout, tls, plain, direct }
    }

    /// Sends a request and reads the complete response.
    pub(super) async fn send(
        &self,
        request: ServiceRequest<'_>,
    ) -> Result<ServiceResponse, ServiceCallError> {
        let is_https = request.url.scheme() == "https";
        let (cell, proxy) = if request.bypasses_proxy_on_loopback && is_loopback(&request.url) {
            (&self.direct, &ProxySetting::None)
        } else {
            (if is_https { &self.tls } else { &self.plain }, &self.proxy)
        };
        let options = TransportOptions { connect_timeout: self.connect_timeout, proxy };
        // Requests are minutes apart, so no connection is kept.
        let client = cell
            .get_or_try_init(async || http_client(is_https, 0, &options))
            .await
            .map_err(|error| call_error(error.to_string()))?;
        let host = host_and_port(&request.url).unwrap_or_default();
        timeout(self.total_timeout, exchange(client, &host, request)).await.unwrap_or_else(|_| {
            Err(call_error(format!("{host}: no complete response within {:?}", self.total_timeout)))
        })
    }
}

fn call_error(reason: String) -> ServiceCallError {
    ServiceCallError { is_unreachable: false, reason }
}

async fn exchange(
    client: &reqwest::Client,
    host: &str,
    request: ServiceRequest<'_>,
) -> Result<ServiceResponse, ServiceCallError> {
    let network_error = |error: reqwest::Error| ServiceCallError {
        is_unreachable: error.is_connect(),
        reason: network_failure(host, error).detail,
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in request.headers {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| call_error(format!("{host}: its token is not a valid header")))?;
        value.set_sensitive(true);
        headers.insert(*name, value);
    }
    let mut builder = client.request(request.method, request.url);
    if let Some(form) = request.form {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        builder = builder.body(form);
    }
    let request = builder.headers(headers).build().map_err(network_error)?;
    let mut response = client.execute(request).await.map_err(network_error)?;
    let status = response.status();
    if status.is_redirection() {
        // The target is not reported, because it may contain parts of the request.
        return Err(call_error(format!(
            "{host}: HTTP {} is a redirect, which is not followed",
            status.as_u16()
        )));
    }
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date_millis = date.and_then(http_date_millis);
    // Allocated at once, because a growing buffer leaves copies of the key in memory.
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    while let Some(chunk) = response.chunk().await.map_err(network_error)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(call_error(format!("{host}: the response is larger than 64 KiB")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(ServiceResponse { status: status.as_u16(), date_millis, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_service_differs_from_one_that_closes_the_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let request = || ServiceRequest::get(Url::parse(&format!("http://{address}/CanaryPath")).unwrap());
        let closing = tokio::spawn(async move {
            drop(listener.accept().await);
            listener
        });
        let http = ServiceClient::for_metadata();
        let error = http.send(request()).await.map(|_| ()).unwrap_err();
        assert!(!error.is_unreachable, "{}", error.reason);
        drop(closing.await.unwrap());
        let error = http.send(request()).await.map(|_| ()).unwrap_err();
        assert!(error.is_unreachable && !error.reason.contains("Canary"), "{}", error.reason);
    }
}
