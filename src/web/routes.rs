//! Which path answers what.

use std::sync::Arc;

use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
    http::request::Parts,
};

use super::{HttpObserver, Page, Pages, encoding, landing, path, reason};
use crate::health::Health;

/// Text format 0.0.4.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// On every answer: these are numbers and names for their reader alone.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What is served where.
pub(super) struct Routes {
    pages: Arc<dyn Pages>,
    observer: Arc<dyn HttpObserver>,
    health: Health,
    telemetry_path: String,
    landing_policy: HeaderValue,
}

/// An answer, and the label of the path that it is counted under.
pub(super) struct Reply {
    pub(super) path: &'static str,
    pub(super) response: Response<Page>,
}

/// A request that gets no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
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
    Landing,
}

impl Routes {
    pub(super) fn new(
        pages: Arc<dyn Pages>,
        observer: Arc<dyn HttpObserver>,
        health: Health,
        telemetry_path: String,
    ) -> Self {
        Self { pages, observer, health, telemetry_path, landing_policy: landing::policy() }
    }

    /// Answers a request. Its query is ignored, as is the host of an absolute target.
    pub(super) fn reply(&self, head: &Parts) -> Reply {
        let Some(route) = self.route(head.uri.path()) else {
            return Reply { path: path::OTHER, response: text(StatusCode::NOT_FOUND, "not found\n") };
        };
        if head.method != Method::GET && head.method != Method::HEAD {
            self.observer.rejected(reason::METHOD);
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Reply { path: route.label(), response };
        }
        let response = match route {
            Route::Metrics => self.metrics(&head.headers),
            Route::Healthy => check("stopped", &self.health.stopped()),
            Route::Ready => check("waiting for the first pass of", &self.health.pending()),
            Route::Landing => self.landing(),
        };
        Reply { path: route.label(), response }
    }

    /// Answers a request that gets no route.
    pub(super) fn refuse(&self, refusal: Refusal) -> Reply {
        let (reason, status, words) = match refusal {
            Refusal::BadRequest => (reason::BAD_REQUEST, StatusCode::BAD_REQUEST, "ambiguous request\n"),
            Refusal::BodyTooLarge => {
                (reason::BODY_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE, "send no body\n")
            }
        };
        self.observer.rejected(reason);
        Reply { path: path::OTHER, response: text(status, words) }
    }

    fn route(&self, path: &str) -> Option<Route> {
        match path {
            metrics if metrics == self.telemetry_path => Some(Route::Metrics),
            "/-/healthy" => Some(Route::Healthy),
            "/-/ready" => Some(Route::Ready),
            "/" => Some(Route::Landing),
            _ => None,
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Page> {
        let page = self.pages.metrics(encoding::wants_gzip(headers));
        let gzip = page.gzip;
        let mut response = answer(StatusCode::OK, EXPOSITION, page);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    fn landing(&self) -> Response<Page> {
        let html = landing::html(&self.pages.landing(), &self.telemetry_path, &self.health);
        let mut response = answer(StatusCode::OK, HTML, html.into());
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.landing_policy.clone());
        response
    }
}

impl Route {
    fn label(self) -> &'static str {
        match self {
            Self::Metrics => path::METRICS,
            Self::Healthy => path::HEALTHY,
            Self::Ready => path::READY,
            Self::Landing => path::LANDING,
        }
    }
}

/// 200 while nothing is the matter, else 503 with the names of what is.
fn check(matter: &str, names: &[String]) -> Response<Page> {
    if names.is_empty() {
        return text(StatusCode::OK, "ok\n");
    }
    let words = format!("{matter}: {}\n", names.join(", "));
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, words.into())
}

fn text(status: StatusCode, words: &str) -> Response<Page> {
    answer(status, TEXT, words.to_owned().into())
}

fn answer(status: StatusCode, content_type: HeaderValue, page: Page) -> Response<Page> {
    let mut response = Response::new(page);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, value);
    }
    response
}
