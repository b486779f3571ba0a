//! Access keys, and the registry through which the API and the credential services share them.
//!
//! Owns: [`KeyRegistry`], every temporary key with its expiry, and the number of calls signed with parts of
//! different keys. Out of scope: checking calls; `auth` does that with the keys from here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{clock::wall_ms, sync::lock};

/// An access key that may call the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// `AccessKeyId`.
    pub id: String,
    /// Secret that signs calls.
    pub secret: String,
    /// Token that each call must carry; only temporary (STS) keys have one.
    pub security_token: Option<String>,
    /// Expiry of the token, in Unix milliseconds of the wall clock.
    pub token_expires_ms: Option<i64>,
    /// Whether the key is active. Calls with an inactive key fail with `InvalidAccessKeyId.Inactive`.
    pub active: bool,
    /// Actions that RAM denies, as API names (`GetTopicStatus`) or RAM names (`alikafka:ListTopic`).
    pub denied: BTreeSet<String>,
}

impl AccessKey {
    /// Returns a permanent key without denied actions.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            security_token: None,
            token_expires_ms: None,
            active: true,
            denied: BTreeSet::new(),
        }
    }

    /// Makes it a temporary key with this token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    /// Denies one more action.
    #[must_use]
    pub fn denying(mut self, action: impl Into<String>) -> Self {
        self.denied.insert(action.into());
        self
    }
}

/// A registry of keys. Clones share it: pass one to every service that must accept the same keys.
///
/// Keys are never removed, so that parts of two keys can be distinguished from an unknown key.
#[derive(Debug, Clone, Default)]
pub struct KeyRegistry(Arc<Mutex<RegisteredKeys>>);

/// A temporary key as a credential service has issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedKey {
    /// `AccessKeyId`: `STS.`, the name of the role or service, and random characters.
    pub id: String,
    /// Secret that signs calls.
    pub secret: String,
    /// `SecurityToken`.
    pub token: String,
    /// Time of issue, in Unix milliseconds of the wall clock.
    pub issued_ms: i64,
    /// Expiry, in Unix milliseconds of the wall clock.
    pub expires_ms: i64,
}

#[derive(Debug, Default)]
struct RegisteredKeys {
    by_id: BTreeMap<String, Vec<AccessKey>>,
    issued: Vec<IssuedKey>,
    mismatched_key_calls: u64,
}

impl KeyRegistry {
    /// Adds a permanent or temporary key.
    pub fn add(&self, key: AccessKey) {
        lock(&self.0).by_id.entry(key.id.clone()).or_default().push(key);
    }

    /// Deactivates a key.
    pub fn retire(&self, id: &str) {
        for key in lock(&self.0).by_id.get_mut(id).into_iter().flatten() {
            key.active = false;
        }
    }

    /// Returns every temporary key that was issued, oldest first.
    #[must_use]
    pub fn issued(&self) -> Vec<IssuedKey> {
        lock(&self.0).issued.clone()
    }

    /// Returns the number of calls that were signed with parts of different keys: the id of one with the
    /// secret or token of another, or a temporary key without its token. All of them were rejected.
    #[must_use]
    pub fn mismatched_key_calls(&self) -> u64 {
        lock(&self.0).mismatched_key_calls
    }

    /// Issues a temporary key. Its secret and token contain characters that must be escaped in URLs.
    pub(crate) fn issue(&self, issuer: &str, expires_ms: i64) -> IssuedKey {
        let mut keys = lock(&self.0);
        let number = keys.issued.len();
        let random = |part: &str| STANDARD.encode(Sha256::digest(format!("{issuer} {part} {number}")));
        let id: String = random("id").chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        let (secret, token) =
            (format!("{}+/", random("secret")), format!("CAIS+/{}==", random("token").repeat(2)));
        let issued =
            IssuedKey { id: format!("STS.{issuer}{id}"), secret, token, issued_ms: wall_ms(), expires_ms };
        keys.issued.push(issued.clone());
        let key = AccessKey {
            token_expires_ms: Some(expires_ms),
            ..AccessKey::new(&issued.id, &issued.secret).with_token(&issued.token)
        };
        keys.by_id.entry(issued.id.clone()).or_default().push(key);
        issued
    }

    /// Returns all keys with an id; more than one only if a test has added them.
    pub(crate) fn with_id(&self, id: &str) -> Vec<AccessKey> {
        lock(&self.0).by_id.get(id).cloned().unwrap_or_default()
    }

    /// Whether any key matches a predicate.
    pub(crate) fn any(&self, mut matches: impl FnMut(&AccessKey) -> bool) -> bool {
        lock(&self.0).by_id.values().flatten().any(&mut matches)
    }

    pub(crate) fn count_mismatched_key_call(&self) {
        lock(&self.0).mismatched_key_calls += 1;
    }
}
