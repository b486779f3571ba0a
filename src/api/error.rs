//! Errors of API calls: a closed set of kinds, each with a metric label, whether to retry it, and advice.

use std::fmt;

use super::Action;

/// Kind of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The cloud throttled the request.
    Throttled,
    /// No complete response before the timeout.
    Timeout,
    /// The connection was refused, reset or closed.
    Connect,
    /// The host name could not be resolved.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// The cloud failed (HTTP 5xx, `InternalError`, `ONS_SYSTEM_ERROR` and similar codes).
    Server,
    /// The request is not authorized.
    Auth {
        /// Whether the access key is rejected or missing, so that every call of the account fails. Otherwise a RAM
        /// policy denies this action or object.
        key: bool,
    },
    /// The cloud rejected the signed time or the nonce.
    Clock,
    /// The object does not exist or no longer exists.
    Gone {
        /// Whether it is the instance, not the requested topic or group.
        instance: bool,
    },
    /// The cloud rejected the request for another reason.
    Business,
    /// The response is not readable.
    Decode,
    /// The response is larger than the limit.
    TooLarge,
    /// The response is a redirect, which is never followed.
    Redirect,
}

impl ErrorKind {
    /// Returns the value of the label `result`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Server => "server",
            Self::Auth { .. } => "auth",
            Self::Clock => "clock",
            Self::Gone { .. } => "gone",
            Self::Business => "business",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
        }
    }

    /// Whether the same request may be retried within the call.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Timeout | Self::Connect | Self::Server | Self::Clock)
    }
}

/// A failed call. Contains no URL, header or body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Action of the request.
    pub action: Action,
    /// Kind of the failure.
    pub kind: ErrorKind,
    /// `Code` of the cloud, redacted.
    pub code: Option<String>,
    /// `RequestId` for the support of the cloud.
    pub request_id: Option<String>,
    /// Description of the failure, redacted, on one line.
    pub detail: String,
}

impl ApiError {
    /// Returns one sentence of advice for the operator.
    #[must_use]
    pub fn advice(&self) -> String {
        let advice = match self.kind {
            ErrorKind::Throttled => {
                "lower requests_per_second: the quota is shared by everything that uses the account"
            }
            ErrorKind::Timeout => {
                "check the network path to the endpoint, or raise request_timeout; if the call was not sent, the \
                 budget is short: raise requests_per_second or the intervals"
            }
            ErrorKind::Connect => {
                "check that the endpoint can be reached from this host, and the proxy setting"
            }
            ErrorKind::Dns => "check the spelling of the region or endpoint, and this host's resolver",
            ErrorKind::Tls => {
                "check the CA certificates, the clock and whether a proxy intercepts the endpoint"
            }
            ErrorKind::Server => {
                "the cloud failed, nothing to do unless it persists: then give the request id to its support"
            }
            // When the cloud rejects a key, it sends a code. Without a code there were no credentials to send.
            ErrorKind::Auth { key: true } if self.code.is_none() => {
                "set up a source of credentials, or fix the one that the error names: requests are sent once it \
                 provides a key, without a restart"
            }
            ErrorKind::Auth { key: true } => {
                "check the access key's id, secret and token: while the cloud rejects them, only the list of \
                 instances is requested; credential files are read again, so a new key needs no restart"
            }
            ErrorKind::Auth { key: false } => {
                let action = self.action;
                return format!(
                    "check that a RAM policy allows {} for {}",
                    action.permission(),
                    action.name()
                );
            }
            ErrorKind::Clock => {
                "synchronize this host's clock: the cloud tolerates a difference of 15 minutes"
            }
            ErrorKind::Gone { instance: true } => {
                "nothing to do if the instance was released; if it is in service, check that a RAM policy allows \
                 access to it"
            }
            ErrorKind::Gone { instance: false } => "nothing to do: the topic or group was deleted",
            ErrorKind::Business => "look up the code in the cloud's error center, and check the region",
            ErrorKind::Decode => {
                "check that the endpoint is AliKafka's own and that no proxy responds instead"
            }
            ErrorKind::TooLarge => {
                "check that the endpoint is AliKafka's own: no response of AliKafka is that large"
            }
            ErrorKind::Redirect => {
                "check the endpoint: AliKafka never redirects, and a redirect is never followed"
            }
        };
        advice.to_owned()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({})", self.action.name(), self.kind.label())?;
        if let Some(code) = &self.code {
            write!(f, ": {code}")?;
        }
        write!(f, ": {}", self.detail)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ErrorKind; 15] = [
        ErrorKind::Throttled,
        ErrorKind::Timeout,
        ErrorKind::Connect,
        ErrorKind::Dns,
        ErrorKind::Tls,
        ErrorKind::Server,
        ErrorKind::Auth { key: true },
        ErrorKind::Auth { key: false },
        ErrorKind::Clock,
        ErrorKind::Gone { instance: true },
        ErrorKind::Gone { instance: false },
        ErrorKind::Business,
        ErrorKind::Decode,
        ErrorKind::TooLarge,
        ErrorKind::Redirect,
    ];

    /// Values of the label `result` in the metric contract, except `ok`.
    const LABELS: [&str; 13] = [
        "throttled",
        "timeout",
        "connect",
        "dns",
        "tls",
        "server",
        "auth",
        "clock",
        "gone",
        "business",
        "decode",
        "too_large",
        "redirect",
    ];

    #[test]
    fn every_kind_has_a_label_of_the_contract_and_advice() {
        for kind in KINDS {
            assert!(LABELS.contains(&kind.label()), "{kind:?}");
            let advice = error(kind, Some("Code")).advice();
            assert!(!advice.is_empty() && !advice.ends_with('.'), "{kind:?}: {advice}");
        }
    }

    #[test]
    fn what_the_caller_must_change_is_not_retried() {
        let retried: Vec<_> = KINDS.into_iter().filter(|k| k.is_retryable()).map(ErrorKind::label).collect();
        assert_eq!(retried, ["throttled", "timeout", "connect", "server", "clock"]);
    }

    fn error(kind: ErrorKind, code: Option<&str>) -> ApiError {
        ApiError {
            action: Action::GetConsumerProgress,
            kind,
            code: code.map(str::to_owned),
            request_id: Some("R-1".to_owned()),
            detail: "denied".to_owned(),
        }
    }

    #[test]
    fn missing_credentials_and_a_rejected_key_have_different_advice() {
        let advice = |code| error(ErrorKind::Auth { key: true }, code).advice();
        assert!(advice(None).starts_with("set up a source of credentials"));
        assert!(advice(Some("InvalidAccessKeyId.NotFound")).starts_with("check the access key's id"));
    }

    #[test]
    fn a_denied_action_names_the_permission_that_it_needs() {
        let error = error(ErrorKind::Auth { key: false }, Some("NoPermission"));
        assert!(error.advice().contains("alikafka:ListGroup"));
        assert_eq!(
            error.to_string(),
            "GetConsumerProgress failed (auth): NoPermission: denied (request id R-1)"
        );
    }
}
