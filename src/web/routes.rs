//! Routes of the server.

use std::sync::{Mutex, PoisonError};

use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        HeaderValue, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    },
    http::request::Parts,
};
use tokio::time::{Duration, Instant};

use super::{
    ResponseContent, WebApp,
    debug::{self, DebugEndpoint},
    encoding, path, reason, status_page,
};

const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Headers of every response.
const COMMON_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Minimum interval between reloads that clients request.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Routes to the content and the handlers.
pub(super) struct Routes {
    app: WebApp,
    debug: Option<DebugEndpoint>,
    /// Start of the last reload that a client requested.
    last_reload: Mutex<Option<Instant>>,
    status_page_policy: HeaderValue,
}

/// Response with the value of the label `path`.
pub(super) struct RoutedResponse {
    pub(super) path: &'static str,
    pub(super) response: Response<ResponseContent>,
}

/// Rejection of a request before routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestRejection {
    /// 400: the end of the request is ambiguous.
    BadRequest,
    /// 413
    BodyTooLarge,
}

#[derive(Clone, Copy)]
enum Route {
    Metrics,
    Healthy,
    Ready,
    Reload,
    Debug,
    StatusPage,
}

impl Routes {
    pub(super) fn new(app: WebApp) -> Self {
        Self {
            debug: app.explainer.clone().map(DebugEndpoint::new),
            last_reload: Mutex::default(),
            status_page_policy: status_page::content_security_policy(app.explainer.is_some()),
            app,
        }
    }

    /// Responds to a request. Only `/debug/state` uses the query; the host of an absolute target is ignored.
    pub(super) async fn respond(&self, head: &Parts) -> RoutedResponse {
        let Some(route) = self.route(head.uri.path()) else {
            return RoutedResponse { path: path::OTHER, response: not_found() };
        };
        let (is_allowed, allowed, text) = match route {
            Route::Reload => (head.method == Method::POST, "POST", "only POST is allowed\n"),
            _ => (
                matches!(head.method, Method::GET | Method::HEAD),
                "GET, HEAD",
                "only GET and HEAD are allowed\n",
            ),
        };
        if !is_allowed {
            self.app.observer.rejected(reason::METHOD);
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, text);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return RoutedResponse { path: route.label(), response };
        }
        let health = &self.app.health;
        let response = match route {
            Route::Metrics => self.metrics(&head.headers),
            Route::Healthy => health_response("stuck poll loops", &health.stopped()),
            Route::Ready => health_response("waiting for the first pass of", &health.awaited_first_passes()),
            Route::Reload => self.reload().await,
            Route::Debug => self.debug(head.uri.query()).await,
            Route::StatusPage => self.status_page(),
        };
        RoutedResponse { path: route.label(), response }
    }

    /// Responds to a request that is rejected before routing.
    pub(super) fn reject(&self, rejection: RequestRejection) -> RoutedResponse {
        let (reason, status, text) = match rejection {
            RequestRejection::BadRequest => {
                (reason::BAD_REQUEST, StatusCode::BAD_REQUEST, "ambiguous request framing\n")
            }
            RequestRejection::BodyTooLarge => {
                (reason::BODY_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n")
            }
        };
        self.app.observer.rejected(reason);
        RoutedResponse { path: path::OTHER, response: text_response(status, text) }
    }

    fn route(&self, path: &str) -> Option<Route> {
        match path {
            metrics if metrics == self.app.telemetry_path => Some(Route::Metrics),
            "/-/healthy" => Some(Route::Healthy),
            "/-/ready" => Some(Route::Ready),
            "/-/reload" => self.app.reload_handler.is_some().then_some(Route::Reload),
            debug::PATH => self.debug.is_some().then_some(Route::Debug),
            "/" => Some(Route::StatusPage),
            _ => None,
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<ResponseContent> {
        let content = self.app.content.metrics(encoding::wants_gzip(headers));
        let is_gzip = content.is_gzip;
        let mut response = response(StatusCode::OK, EXPOSITION, content);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if is_gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    async fn reload(&self) -> Response<ResponseContent> {
        let Some(handler) = &self.app.reload_handler else { return not_found() };
        if !self.may_reload_now() {
            let text = "reload at most once per second\n";
            return with_retry_after(text_response(StatusCode::TOO_MANY_REQUESTS, text));
        }
        match handler.reload().await {
            Ok(()) => text_response(StatusCode::OK, "reloaded\n"),
            Err(problems) => {
                let text = format!("reload failed:\n{problems}\n");
                text_response(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }

    /// Whether the last reload is long enough ago; if so, records a new one.
    fn may_reload_now(&self) -> bool {
        let mut last = self.last_reload.lock().unwrap_or_else(PoisonError::into_inner);
        let is_allowed = last.is_none_or(|at| at.elapsed() >= RELOAD_INTERVAL);
        if is_allowed {
            *last = Some(Instant::now());
        }
        is_allowed
    }

    async fn debug(&self, query: Option<&str>) -> Response<ResponseContent> {
        let Some(debug) = &self.debug else { return not_found() };
        let (status, content) = debug.respond(query).await;
        let response = response(status, JSON, content);
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => with_retry_after(response),
            _ => response,
        }
    }

    fn status_page(&self) -> Response<ResponseContent> {
        let debug_path = self.debug.is_some().then_some(debug::PATH);
        let content = self.app.content.status_page();
        let html = status_page::html(&content, &self.app.telemetry_path, debug_path, &self.app.health);
        let mut response = response(StatusCode::OK, HTML, html.into());
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.status_page_policy.clone());
        response
    }
}

impl Route {
    fn label(self) -> &'static str {
        match self {
            Self::Metrics => path::METRICS,
            Self::Healthy => path::HEALTHY,
            Self::Ready => path::READY,
            Self::Reload => path::RELOAD,
            Self::Debug => path::DEBUG,
            Self::StatusPage => path::STATUS_PAGE,
        }
    }
}

/// Returns 200 if there are no affected poll loops, else 503 with their names.
fn health_response(problem: &str, affected: &[String]) -> Response<ResponseContent> {
    if affected.is_empty() {
        return text_response(StatusCode::OK, "ok\n");
    }
    text_response(StatusCode::SERVICE_UNAVAILABLE, format!("{problem}: {}\n", affected.join(", ")))
}

fn with_retry_after(mut response: Response<ResponseContent>) -> Response<ResponseContent> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn not_found() -> Response<ResponseContent> {
    text_response(StatusCode::NOT_FOUND, "not found\n")
}

fn text_response(status: StatusCode, text: impl Into<String>) -> Response<ResponseContent> {
    response(status, TEXT, text.into().into())
}

fn response(
    status: StatusCode,
    content_type: HeaderValue,
    content: ResponseContent,
) -> Response<ResponseContent> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    for (name, value) in COMMON_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}
