//! One HTTP exchange with the endpoint: sends a signed request and returns the complete response or a failure.
//!
//! Owns: the HTTP client and its limits. There are no redirects, cookies, compression or proxies that are not
//! configured. Rejects: responses above 16 MiB. Errors contain no URL.

use std::{error::Error as StdError, io, net::IpAddr};

use reqwest::{
    StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderValue, LOCATION},
};
use secrecy::ExposeSecret as _;
use tokio::time::Duration;

use super::{
    ErrorKind,
    envelope::{CallFailure, RawResponse},
    resolver::BoundedResolver,
    sign::{self, Acs3Request},
};
use crate::model::ProxySetting;

/// Maximum size of a response body.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of idle connections. Rate limits keep the number of concurrent requests low.
const IDLE_CONNECTIONS: usize = 32;

/// Maximum idle time of a connection, shorter than that of load balancers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Failure to build a client. Texts name the configuration key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientBuildError {
    /// `endpoint` is invalid.
    #[error("endpoint: {0}")]
    Endpoint(&'static str),
    /// `proxy` is invalid.
    #[error("proxy: it is not a URL of a proxy")]
    Proxy,
    /// TLS cannot be set up, usually because this host has no CA certificates.
    #[error("the HTTP client cannot be built: {0}")]
    Http(String),
}

/// Installs the crypto provider of the process. Building a client does so too; a second call has no effect.
pub fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only if another thread has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

pub(super) struct TransportOptions<'a> {
    pub(super) connect_timeout: Duration,
    pub(super) proxy: &'a ProxySetting,
}

/// A signed request.
pub(super) enum SignedRequest {
    /// Parameters and signature in the form body.
    Form(String),
    /// Parameters in the query, signature in the headers.
    Headers(Acs3Request),
}

impl SignedRequest {
    /// Returns the signature, for redaction.
    pub(super) fn signature(&self) -> String {
        sign::signature_in(match self {
            Self::Form(body) => body,
            Self::Headers(signed) => signed.headers.last().map_or("", |(_, authorization)| authorization),
        })
    }
}

pub(super) struct HttpTransport {
    http: reqwest::Client,
    base: Url,
    host: String,
    connect_timeout: Duration,
}

impl HttpTransport {
    pub(super) fn new(endpoint: &str, options: &TransportOptions<'_>) -> Result<Self, ClientBuildError> {
        let base = checked_endpoint(endpoint)?;
        let host = host_and_port(&base).ok_or(ClientBuildError::Endpoint("it has no host"))?;
        let http = http_client(base.scheme() == "https", IDLE_CONNECTIONS, options)?;
        Ok(Self { http, base, host, connect_timeout: options.connect_timeout })
    }

    /// Returns the value of the header `host`, as signed and sent.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a request and reads the complete response. Has no timeout except for connecting.
    pub(super) async fn exchange(&self, signed: &SignedRequest) -> Result<RawResponse<'static>, CallFailure> {
        let request = self.request(signed)?;
        let mut response = self.http.execute(request).await.map_err(|error| self.network_failure(error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.redirect_failure(status, response.headers()));
        }
        let too_large = || CallFailure::new(ErrorKind::TooLarge, "the response is larger than 16 MiB");
        // Returning drops the response and closes the connection with the unread body.
        if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(too_large());
        }
        // Concatenated at the end, because a growing buffer leaves the same amount of free memory in the allocator.
        let (mut chunks, mut length) = (Vec::new(), 0);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network_failure(error))? {
            length += chunk.len();
            if length > MAX_BODY_BYTES {
                return Err(too_large());
            }
            chunks.push(chunk);
        }
        let headers = response.headers();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Ok(RawResponse {
            status: status.as_u16(),
            content_type: header(CONTENT_TYPE.as_str()).map(str::to_owned),
            retry_after: header("x-acs-retry-after")
                .and_then(|millis| millis.trim().parse().ok())
                .map(Duration::from_millis),
            date_millis: header(DATE.as_str()).and_then(http_date_millis),
            body: chunks.concat().into(),
        })
    }

    fn request(&self, signed: &SignedRequest) -> Result<reqwest::Request, CallFailure> {
        // Credentials are checked for visible ASCII when they are read, so this does not fail.
        let invalid = |_| {
            let detail = "the credentials contain a character that is not allowed in a header";
            CallFailure::new(ErrorKind::Auth { key: true }, detail)
        };
        let header = |value: &str| HeaderValue::from_str(value).map_err(invalid);
        let mut url = self.base.clone();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, header(&self.host)?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut body = None;
        match signed {
            SignedRequest::Form(form) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                body = Some(form.clone());
            }
            SignedRequest::Headers(Acs3Request { query, headers: signed }) => {
                url.set_query(Some(query));
                for (name, value) in signed {
                    let mut value = header(value)?;
                    value.set_sensitive(*name == AUTHORIZATION || *name == "x-acs-security-token");
                    headers.insert(*name, value);
                }
            }
        }
        let mut request = self.http.post(url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        request.build().map_err(|error| self.network_failure(error))
    }

    fn network_failure(&self, error: reqwest::Error) -> CallFailure {
        let is_connect_timeout = error.is_timeout() && error.is_connect();
        let failure = network_failure(&self.host, error);
        if is_connect_timeout {
            // The cause of a connect timeout is a timer without a useful text.
            let detail = format!("{}: no connection within {:?}", self.host, in_millis(self.connect_timeout));
            return CallFailure { detail, ..failure };
        }
        failure
    }

    /// Reports the host of a redirect target and nothing else of its URL.
    fn redirect_failure(&self, status: StatusCode, headers: &HeaderMap) -> CallFailure {
        let target = headers.get(LOCATION).and_then(|to| to.to_str().ok());
        let target = target.and_then(|to| self.base.join(to).ok());
        let host = target.as_ref().and_then(Url::host_str).unwrap_or("nowhere");
        CallFailure::new(ErrorKind::Redirect, format!("HTTP {} redirects to host {host}", status.as_u16()))
    }
}

/// Builds an HTTP client with the limits of this module, for one scheme.
pub(super) fn http_client(
    is_https: bool,
    idle_connections: usize,
    options: &TransportOptions<'_>,
) -> Result<reqwest::Client, ClientBuildError> {
    install_crypto_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("alikafka-exporter/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .http1_only()
        .https_only(is_https)
        .pool_max_idle_per_host(idle_connections)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(BoundedResolver::default());
    match options.proxy {
        ProxySetting::None => builder = builder.no_proxy(),
        ProxySetting::Environment => {}
        ProxySetting::Url(url) => {
            let proxy = reqwest::Proxy::all(url.expose_secret()).map_err(|_| ClientBuildError::Proxy)?;
            builder = builder.no_proxy().proxy(proxy);
        }
    }
    if !is_https {
        // Plain HTTP must also work on hosts without CA certificates.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| ClientBuildError::Http(root_cause(&error.without_url())))
}

/// Classifies an error of the HTTP client and removes its URL.
pub(super) fn network_failure(host: &str, error: reqwest::Error) -> CallFailure {
    let error = error.without_url();
    let mut causes = std::iter::successors(error.source(), |&cause| next_cause(cause));
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_dns() {
        ErrorKind::Dns
    } else if causes.any(|cause| cause.is::<rustls::Error>()) {
        ErrorKind::Tls
    } else {
        ErrorKind::Connect
    };
    CallFailure::new(kind, format!("{}: {}", host, root_cause(&error)))
}

/// Parses an endpoint: scheme, host and port, plain `http` for loopback only.
pub(super) fn checked_endpoint(endpoint: &str) -> Result<Url, ClientBuildError> {
    let fail = |why| Err(ClientBuildError::Endpoint(why));
    let Ok(url) = Url::parse(endpoint) else { return fail("it is not a URL") };
    if !url.username().is_empty() || url.password().is_some() {
        return fail("it contains a user name or a password");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return fail("it contains more than scheme, host and port");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => fail("plain http is for loopback only, use https"),
        _ => fail("it is neither https nor http"),
    }
}

/// Returns host and port, without the default port.
pub(super) fn host_and_port(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns the text of the innermost cause, because the layers above it do not name the problem.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&cause| next_cause(cause)).last().unwrap_or(error).to_string()
}

/// Returns the cause of an error. The `source` of an I/O error skips the error that it wraps.
fn next_cause<'e>(cause: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => cause.source(),
    }
}

/// Rounds a duration to milliseconds, for error texts.
pub(super) fn in_millis(duration: Duration) -> Duration {
    let rounded = duration.saturating_add(Duration::from_micros(500)).as_millis();
    Duration::from_millis(rounded.try_into().unwrap_or(u64::MAX))
}

/// Parses an HTTP `Date` to Unix milliseconds.
#[must_use]
pub fn http_date_millis(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_or_loopback_and_have_no_path() {
        for good in [
            "https://alikafka.cn-hangzhou.aliyuncs.com",
            "https://alikafka.cn-hangzhou.aliyuncs.com:8443/",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://localhost:1",
        ] {
            assert!(checked_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "alikafka.cn-hangzhou.aliyuncs.com",
            "http://alikafka.cn-hangzhou.aliyuncs.com",
            "http://127.0.0.1.example.com",
            "https://user:Canary@example.com",
            "https://example.com/path",
            "https://example.com/?Canary",
            "ftp://example.com",
        ] {
            let error = checked_endpoint(bad).unwrap_err();
            assert!(!error.to_string().contains("Canary"), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_host_that_never_accepts_a_connection_is_named_with_the_timeout() {
        // One connection fills the backlog, so the system does not accept another one.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _first = std::net::TcpStream::connect(address).unwrap();
        let options =
            TransportOptions { connect_timeout: Duration::from_millis(50), proxy: &ProxySetting::None };
        let transport = HttpTransport::new(&format!("http://{address}"), &options).unwrap();
        let failure = transport.exchange(&SignedRequest::Form(String::new())).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Timeout);
        assert_eq!(failure.detail, format!("{address}: no connection within 50ms"));
    }

    #[test]
    fn durations_are_rounded_to_milliseconds() {
        let rounded = |micros| format!("{:?}", in_millis(Duration::from_micros(micros)));
        assert_eq!([rounded(184_481), rounded(15_000_000), rounded(999_700)], ["184ms", "15s", "1s"]);
        assert_eq!(in_millis(Duration::MAX), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn http_dates_are_parsed() {
        assert_eq!(http_date_millis("Tue, 02 Jan 2024 03:04:05 GMT"), Some(1_704_164_645_000));
        assert_eq!(http_date_millis("yesterday"), None);
    }
}
