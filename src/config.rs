//! Configuration: a YAML file, overlaid by the environment, checked once into values that cannot be wrong.
//!
//! Owns: what may be written ([`keys`]), the checks, and the message for each thing that is wrong: all of
//! them at once, each with its path, its place and what to write instead. Refuses: unknown and repeated
//! keys, defaults for what cannot be guessed, and secrets in messages or in `Debug`.

use std::collections::BTreeMap;

use crate::model::{
    AccountName, Filters, PollTiming, ProxySetting, RegionSelection, RenderOptions, SignatureVersion,
};

mod account;
mod credentials;
mod endpoint;
mod file;
pub mod keys;
mod layer;
mod problem;
mod read;
mod settings;
mod shape;
mod yaml;

pub use account::RequestRates;
pub use credentials::{AccessKey, AccessKeyFiles, AssumeRole, Credentials, CredentialsSource, Oidc, Profile};
pub use endpoint::{Endpoint, Network};
pub use file::{load, load_settled};
pub use problem::{Problem, Problems, ValueSource};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is read; at least one. Names differ.
    pub accounts: Vec<Account>,
    /// Poll intervals and the ages at which cached values expire.
    pub timing: PollTiming,
    /// Options of the rendered exposition.
    pub metrics: RenderOptions,
}

/// One account of the cloud.
#[derive(Debug, Clone)]
pub struct Account {
    /// The label `account`; `None` where `accounts` is not written.
    pub name: Option<AccountName>,
    /// Which regions are read.
    pub regions: RegionSelection,
    /// Where the access key comes from.
    pub credentials: Credentials,
    /// Which host is called for a region.
    pub endpoint: Endpoint,
    /// How requests are signed.
    pub signature: SignatureVersion,
    /// Which objects are looked at.
    pub filters: Filters,
    /// How many calls may be made.
    pub rates: RequestRates,
    /// The HTTP proxy.
    pub proxy: ProxySetting,
}

/// Checks a text with the name of its file, with the environment laid over it.
///
/// # Errors
/// As [`load`].
pub fn parse(file: Option<(&str, &str)>, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let name = file.map(|(name, _)| name);
    let text = file.map_or("", |(_, text)| text);
    let mut root = yaml::parse(text).map_err(|problem| Problems::new(name, vec![*problem]))?;
    let mut problems = Vec::new();
    layer::environment(&mut root, environment, &mut problems);
    shape::check(&root, &mut problems);
    let config = settings::read(&root, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(name, problems)),
    }
}
