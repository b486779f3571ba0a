//! Configuration: a YAML file, overridden by environment variables, and checked into valid values.
//!
//! Owns: the table of keys ([`keys`]), the checks, and the messages: all problems at once, each with its path, its place
//! and what to write instead. Messages and `Debug` never contain secrets.
//! Rejects: unknown and repeated keys.
//!
//! [`parse`] shows the steps: parse the file, merge the variables, check the shape, read the settings.

use std::collections::BTreeMap;

use config::Source as _;

use value::ErasedOnDrop;

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
pub use credentials::{AssumeRole, CredentialsConfig};
pub use endpoint::{Endpoint, Network};
pub use file::{load, load_settled};
pub use problem::{Problem, Problems, ValueSource};

/// Checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Accounts to monitor; at least one, with distinct names.
    pub accounts: Vec<Account>,
    /// Poll intervals and the ages at which cached values expire.
    pub timing: PollTiming,
    /// Options of the rendered exposition.
    pub metrics: RenderOptions,
}

/// Account to monitor.
#[derive(Debug, Clone)]
pub struct Account {
    /// Label `account`; `None` without the key `accounts`.
    pub name: Option<AccountName>,
    /// Regions to monitor; a list has at least one, each once, all allowed by `filters.regions`.
    pub regions: RegionSelection,
    /// Source of the access key.
    pub credentials: CredentialsConfig,
    /// Endpoint of API calls.
    pub endpoint: Endpoint,
    /// Signature method of API requests.
    pub signature: SignatureVersion,
    /// Objects to include and to exclude.
    pub filters: Filters,
    /// Maximum rates of API calls.
    pub rates: RequestRates,
    /// HTTP proxy for API calls.
    pub proxy: ProxySetting,
}

/// Reads the configuration from the name and the text of a file, if any, and the environment.
///
/// # Errors
/// As [`load`].
pub fn parse(file: Option<(&str, &str)>, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let (name, text) = file.map_or((None, ""), |(name, text)| (Some(name), text));
    let mut problems = Vec::new();
    let root = yaml::parse(text, &mut problems).map_err(|problem| Problems::new(name, vec![*problem]))?;
    let mut tree = ErasedOnDrop(root);
    let root = &mut tree.0;
    // `config::ConfigBuilder` would merge the file, too, and lose where its maps were written.
    for key_override in environment::overrides(environment, root, &mut problems) {
        key_override.collect_to(root).map_err(|error| {
            let what = error.to_string();
            Problems::new(
                name,
                vec![Problem::new(&ValueSource::Nowhere, yaml::FILE, what, "report this bug")],
            )
        })?;
    }
    shape::check(root, &mut problems);
    match settings::read(root, &mut problems) {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(name, problems)),
    }
}
