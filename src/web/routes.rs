//! Which path answers what.

use std::sync::{Arc, Mutex, PoisonError};

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
    ContentSource, Explainer, HttpObserver, ReloadHandler, ResponseContent,
    debug::{self, Debug},
    encoding, path, reason, status_page,
};
use crate::health::Health;

/// Text format 0.0.4.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// On every answer: these are numbers and names for their reader alone.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Between two reloads that clients ask for, at least.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// What is served where.
pub(super) struct Routes {
    content: Arc<dyn ContentSource>,
    observer: Arc<dyn HttpObserver>,
    lifecycle: Option<Arc<dyn ReloadHandler>>,
    debug: Option<Debug>,
    /// When a client's reload last began.
    reloaded: Mutex<Option<Instant>>,
    health: Health,
    telemetry_path: String,
    status_page_policy: HeaderValue,
}

/// An answer, and the label of the path that it is counted under.
pub(super) struct RoutedResponse {
    pub(super) path: &'static str,
    pub(super) response: Response<ResponseContent>,
}

/// A request that gets no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestRejection {
    /// 400: its end is ambiguous.
    BadRequest,
    /// 413.
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
    pub(super) fn new(
        content: Arc<dyn ContentSource>,
        observer: Arc<dyn HttpObserver>,
        lifecycle: Option<Arc<dyn ReloadHandler>>,
        explain: Option<Arc<dyn Explainer>>,
        health: Health,
        telemetry_path: String,
    ) -> Self {
        let (reloaded, status_page_policy) = (Mutex::default(), status_page::policy(explain.is_some()));
        let debug = explain.map(Debug::new);
        Self { content, observer, lifecycle, debug, reloaded, health, telemetry_path, status_page_policy }
    }

    /// Answers a request. Its query is ignored where it asks nothing, as is the host of an absolute target.
    pub(super) async fn reply(&self, head: &Parts) -> RoutedResponse {
        let Some(route) = self.route(head.uri.path()) else {
            return RoutedResponse {
                path: path::OTHER,
                response: text(StatusCode::NOT_FOUND, "not found\n"),
            };
        };
        let (is_allowed, allowed, words) = match route {
            Route::Reload => (head.method == Method::POST, "POST", "only POST\n"),
            _ => (matches!(head.method, Method::GET | Method::HEAD), "GET, HEAD", "only GET and HEAD\n"),
        };
        if !is_allowed {
            self.observer.rejected(reason::METHOD);
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, words);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return RoutedResponse { path: route.label(), response };
        }
        let response = match route {
            Route::Metrics => self.metrics(&head.headers),
            Route::Healthy => check("stopped", &self.health.stopped()),
            Route::Ready => check("waiting for the first pass of", &self.health.pending()),
            Route::Reload => self.reload().await,
            Route::Debug => self.debug(head.uri.query()).await,
            Route::StatusPage => self.status_page(),
        };
        RoutedResponse { path: route.label(), response }
    }

    /// Answers a request that gets no route.
    pub(super) fn refuse(&self, refusal: RequestRejection) -> RoutedResponse {
        let (reason, status, words) = match refusal {
            RequestRejection::BadRequest => {
                (reason::BAD_REQUEST, StatusCode::BAD_REQUEST, "ambiguous request\n")
            }
            RequestRejection::BodyTooLarge => {
                (reason::BODY_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE, "send no body\n")
            }
        };
        self.observer.rejected(reason);
        RoutedResponse { path: path::OTHER, response: text(status, words) }
    }

    fn route(&self, path: &str) -> Option<Route> {
        match path {
            metrics if metrics == self.telemetry_path => Some(Route::Metrics),
            "/-/healthy" => Some(Route::Healthy),
            "/-/ready" => Some(Route::Ready),
            "/-/reload" => self.lifecycle.is_some().then_some(Route::Reload),
            debug::PATH => self.debug.is_some().then_some(Route::Debug),
            "/" => Some(Route::StatusPage),
            _ => None,
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<ResponseContent> {
        let page = self.content.metrics(encoding::wants_gzip(headers));
        let gzip = page.gzip;
        let mut response = answer(StatusCode::OK, EXPOSITION, page);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    async fn reload(&self) -> Response<ResponseContent> {
        let Some(lifecycle) = &self.lifecycle else { return text(StatusCode::NOT_FOUND, "not found\n") };
        let may = {
            let mut last = self.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
            let may = last.is_none_or(|at| at.elapsed() >= RELOAD_PAUSE);
            if may {
                *last = Some(Instant::now());
            }
            may
        };
        if !may {
            return soon(text(StatusCode::TOO_MANY_REQUESTS, "at most one reload a second\n"));
        }
        match lifecycle.reload().await {
            Ok(()) => text(StatusCode::OK, "reloaded\n"),
            Err(problems) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("not reloaded:\n{problems}\n")),
        }
    }

    async fn debug(&self, query: Option<&str>) -> Response<ResponseContent> {
        let Some(debug) = &self.debug else { return text(StatusCode::NOT_FOUND, "not found\n") };
        let (status, page) = debug.answer(query).await;
        let response = answer(status, JSON, page);
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => soon(response),
            _ => response,
        }
    }

    fn status_page(&self) -> Response<ResponseContent> {
        let form = self.debug.is_some().then_some(debug::PATH);
        let html = status_page::html(&self.content.status_page(), &self.telemetry_path, form, &self.health);
        let mut response = answer(StatusCode::OK, HTML, html.into());
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

/// 200 while nothing is the matter, else 503 with the names of what is.
fn check(matter: &str, names: &[String]) -> Response<ResponseContent> {
    if names.is_empty() {
        return text(StatusCode::OK, "ok\n");
    }
    let words = format!("{matter}: {}\n", names.join(", "));
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, words.into())
}

/// An answer that another attempt may better.
fn soon(mut response: Response<ResponseContent>) -> Response<ResponseContent> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn text(status: StatusCode, words: &str) -> Response<ResponseContent> {
    answer(status, TEXT, words.to_owned().into())
}

fn answer(status: StatusCode, content_type: HeaderValue, page: ResponseContent) -> Response<ResponseContent> {
    let mut response = Response::new(page);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, value);
    }
    response
}
