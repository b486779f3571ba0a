//! Parses an HTTP request into target, headers, and the parameters of query and form body.
//!
//! Out of scope: validation. `auth` checks signatures, `actions` checks parameters.

use std::collections::BTreeMap;

use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

/// A parsed HTTP request: a call of an API action, of a credential service, or of an admin path.
#[derive(Debug, Clone)]
pub(crate) struct ApiCall {
    pub(crate) method: String,
    /// Request target as sent: path and query.
    pub(crate) target: String,
    pub(crate) path: String,
    /// Lower-case names, values as sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl ApiCall {
    pub(crate) fn new(parts: &Parts, body: Vec<u8>) -> Self {
        let headers: Vec<(String, String)> = parts
            .headers
            .iter()
            .map(|(k, v)| (k.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect();
        let is_form = headers
            .iter()
            .any(|(k, v)| k == "content-type" && v.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { decode(&String::from_utf8_lossy(&body)) } else { Vec::new() };
        Self {
            method: parts.method.as_str().to_owned(),
            target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            path: parts.uri.path().to_owned(),
            query: decode(parts.uri.query().unwrap_or_default()),
            headers,
            form,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Returns the parameters of query and form body, each name once. The form takes precedence: the vendor's
    /// older SDK sends `RegionId` in both and signs it once.
    pub(crate) fn params(&self) -> Vec<(String, String)> {
        let all: BTreeMap<_, _> = self.query.iter().chain(&self.form).cloned().collect();
        all.into_iter().collect()
    }

    /// Returns a parameter that is present and not empty.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let all = self.form.iter().chain(&self.query);
        all.filter(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v.as_str()).next()
    }

    /// Returns the values of `Name.1`, `Name.2`, ...
    pub(crate) fn numbered(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.param(&format!("{name}.{n}"))).collect()
    }

    /// Returns the pairs of `Tag.1.Key`, `Tag.1.Value`, ...; either may be absent.
    pub(crate) fn tags(&self) -> Vec<(Option<&str>, Option<&str>)> {
        (1..=20)
            .map(|n| (self.param(&format!("Tag.{n}.Key")), self.param(&format!("Tag.{n}.Value"))))
            .filter(|(k, v)| k.is_some() || v.is_some())
            .collect()
    }

    pub(crate) fn is_acs3(&self) -> bool {
        self.header("authorization").is_some_and(|a| a.starts_with("ACS3-"))
    }

    pub(crate) fn action(&self) -> &str {
        self.header("x-acs-action").or_else(|| self.param("Action")).unwrap_or_default()
    }

    pub(crate) fn version(&self) -> &str {
        self.header("x-acs-version").or_else(|| self.param("Version")).unwrap_or_default()
    }

    pub(crate) fn region(&self) -> Option<&str> {
        self.param("RegionId")
    }

    /// Returns the requested topic or group.
    pub(crate) fn object(&self) -> Option<&str> {
        self.param("Topic").or_else(|| self.param("ConsumerId"))
    }

    /// Whether the response must be JSON. The v1 default is XML.
    pub(crate) fn wants_json(&self) -> bool {
        self.is_acs3() || self.param("Format").is_some_and(|f| f.eq_ignore_ascii_case("json"))
    }
}

fn decode(encoded: &str) -> Vec<(String, String)> {
    let text = |s: &str| percent_decode_str(&s.replace('+', " ")).decode_utf8_lossy().into_owned();
    encoded
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            pair.split_once('=').map_or_else(|| (text(pair), String::new()), |(k, v)| (text(k), text(v)))
        })
        .collect()
}
