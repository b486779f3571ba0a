//! Why an attempt failed: a closed set of kinds with a fixed label, a retry answer and advice.

use std::fmt;

use super::Action;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The cloud refused the call because too many are made.
    Throttled,
    /// No whole answer within the time allowed.
    Timeout,
    /// The connection was refused, reset or closed.
    Connect,
    /// The host name could not be resolved.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// The cloud failed (HTTP 5xx, `InternalError`, `ONS_SYSTEM_ERROR` and their like).
    Server,
    /// Credentials are missing, refused or not allowed this action.
    Auth,
    /// The signed time or the nonce was refused.
    Clock,
    /// The object does not exist (any more). `instance` tells whether it is the whole instance.
    Gone {
        /// The code speaks of the instance, not of the topic or group that was asked for.
        instance: bool,
    },
    /// The cloud refused the call for another reason.
    Business,
    /// The answer could not be read.
    Decode,
    /// The answer was larger than the limit.
    TooLarge,
    /// The answer was a redirect, which is never followed.
    Redirect,
}

impl Kind {
    /// Every value of the label `result` but `ok`.
    pub const LABELS: [&'static str; 13] = [
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

    /// The value of the label `result`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Server => "server",
            Self::Auth => "auth",
            Self::Clock => "clock",
            Self::Gone { .. } => "gone",
            Self::Business => "business",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
        }
    }

    /// Whether the same question may be asked again within the pass.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Throttled | Self::Timeout | Self::Connect | Self::Server | Self::Clock => true,
            Self::Dns | Self::Tls | Self::Auth | Self::Gone { .. } | Self::Business => false,
            Self::Decode | Self::TooLarge | Self::Redirect => false,
        }
    }
}

/// A failed call, made of parts: never of a URL, a header or a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was asked.
    pub action: Action,
    /// Why it failed.
    pub kind: Kind,
    /// The cloud's `Code`, cut and escaped.
    pub code: Option<String>,
    /// The cloud's `RequestId`, to hand to its support.
    pub request_id: Option<String>,
    /// What happened, in words: cut, masked, on one line.
    pub detail: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({}): {}", self.action.name(), self.kind.label(), self.detail)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// What an operator can do about it, in one sentence.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        "see the detail"
    }
}
