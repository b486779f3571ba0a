//! Configuration: a YAML file, overlaid by the environment, checked once into values that cannot be wrong.
//!
//! Owns: what may be written ([`keys`]), the checks, and the message for each thing that is wrong: all of
//! them at once, each with its path, its place and what to write instead. Refuses: unknown and repeated
//! keys, defaults for what cannot be guessed, and secrets in messages or in `Debug`.

use std::collections::BTreeMap;

use config::Source as _;

use crate::model::{
    AccountName, Filters, PollTiming, ProxySetting, RegionSelection, RenderOptions, SignatureVersion,
};

mod account;
mod credentials;
mod endpoint;
mod environment;
mod file;
pub mod keys;
mod problem;
mod read;
mod settings;
mod shape;
mod value;
mod yaml;

pub use account::RequestRates;
pub use credentials::{
    AccessKey, AccessKeyFiles, AssumeRole, CredentialsConfig, CredentialsSource, OidcConfig, ProfileConfig,
};
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
    pub credentials: CredentialsConfig,
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

/// Reads the configuration from the name and the text of a file, if any, and the environment.
///
/// # Errors
/// As [`load`].
pub fn parse(file: Option<(&str, &str)>, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let (name, text) = file.map_or((None, ""), |(name, text)| (Some(name), text));
    let mut problems = Vec::new();
    let mut root = yaml::parse(text, &mut problems).map_err(|problem| Problems::new(name, vec![*problem]))?;
    // `config::ConfigBuilder` would merge the file, too, and lose where its maps were written.
    for key_override in environment::overrides(environment, &root, &mut problems) {
        key_override.collect_to(&mut root).map_err(|error| {
            let what = error.to_string();
            Problems::new(
                name,
                vec![Problem::new(&ValueSource::Nowhere, yaml::FILE, what, "report this bug")],
            )
        })?;
    }
    shape::check(&root, &mut problems);
    match settings::read(&root, &mut problems) {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(name, problems)),
    }
}
