//! KeyRegistry that several services know: handed out by one, shown to another.
//!
//! Owns: [`KeyRegistry`], what is issued under it and until when, and the count of calls that were signed with parts
//! of keys that do not belong together. Refuses: judging a call; that is `auth`, which looks keys up here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{clock::wall_ms, management_api::lock, options::AccessKey};

/// A register of keys. Clones share one register: give one to every service that is to know the same keys.
///
/// A key is known for ever, so that a pair of parts of two generations is told from a key that never was.
#[derive(Debug, Clone, Default)]
pub struct KeyRegistry(Arc<Mutex<RegisteredKeys>>);

/// A temporary key as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedKey {
    /// `AccessKeyId`. Begins with `STS.` and the name of what issued it.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The token that must come with it.
    pub token: String,
    /// When it was handed out, in milliseconds since 1970 of the wall clock.
    pub issued_ms: i64,
    /// When it ends, in milliseconds since 1970 of the wall clock.
    pub expires_ms: i64,
}

#[derive(Debug)]
struct RegisteredKeys {
    by_id: BTreeMap<String, Vec<AccessKey>>,
    issued: Vec<IssuedKey>,
    mixed_calls: u64,
    rng: ChaCha8Rng,
}

impl Default for RegisteredKeys {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            issued: Vec::new(),
            mixed_calls: 0,
            rng: ChaCha8Rng::seed_from_u64(0x0057_1C5E),
        }
    }
}

impl KeyRegistry {
    /// Puts a key in, lasting or temporary.
    pub fn add(&self, key: AccessKey) {
        lock(&self.0).by_id.entry(key.id.clone()).or_default().push(key);
    }

    /// Takes a key out of use: from now on `InvalidAccessKeyId.Inactive`.
    pub fn retire(&self, id: &str) {
        for key in lock(&self.0).by_id.get_mut(id).into_iter().flatten() {
            key.active = false;
        }
    }

    /// Every temporary key that was handed out, oldest first.
    #[must_use]
    pub fn issued(&self) -> Vec<IssuedKey> {
        lock(&self.0).issued.clone()
    }

    /// Calls so far that were signed with parts of keys that do not belong together: the id of one and the
    /// secret or the token of another, or a temporary key without its token. All of them were refused.
    #[must_use]
    pub fn mixed_calls(&self) -> u64 {
        lock(&self.0).mixed_calls
    }

    /// Makes a temporary key. Secret and token hold characters that encodings change.
    pub(crate) fn issue(&self, issuer: &str, expires_ms: i64) -> IssuedKey {
        let mut register = lock(&self.0);
        let mut random = |bytes: usize| {
            let bytes: Vec<u8> = (0..bytes).map(|_| register.rng.random()).collect();
            STANDARD.encode(bytes)
        };
        let id = random(12).replace(['+', '/', '='], "x");
        let (secret, token) = (format!("{}+/=", random(21)), format!("CAIS+/{}==", random(60)));
        let issued =
            IssuedKey { id: format!("STS.{issuer}{id}"), secret, token, issued_ms: wall_ms(), expires_ms };
        register.issued.push(issued.clone());
        let key = AccessKey {
            token_expires_ms: Some(expires_ms),
            ..AccessKey::new(&issued.id, &issued.secret).with_token(&issued.token)
        };
        register.by_id.entry(issued.id.clone()).or_default().push(key);
        issued
    }

    /// All keys under an id: one, unless a test makes it otherwise.
    pub(crate) fn with_id(&self, id: &str) -> Vec<AccessKey> {
        lock(&self.0).by_id.get(id).cloned().unwrap_or_default()
    }

    /// Whether a key satisfies a condition.
    pub(crate) fn any(&self, mut is: impl FnMut(&AccessKey) -> bool) -> bool {
        lock(&self.0).by_id.values().flatten().any(&mut is)
    }

    pub(crate) fn count_mixed_call(&self) {
        lock(&self.0).mixed_calls += 1;
    }
}
