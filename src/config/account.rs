//! Reads the keys of one account. An account inherits omitted keys from the top level.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use config::Value;
use regex::Regex;

use super::{
    Account, CredentialsConfig, Endpoint, Network, ValueSource, credentials, endpoint,
    keys::ACTIONS,
    problem::{Problem, nearest, quoted},
    read::{ConfigField, LevelReader, expects},
    value::{items, source, text},
};
use crate::model::{AccountName, Filter, Filters, ProxySetting, RegionId, RegionSelection, SignatureVersion};

/// Calls per second that each action may make in each region.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRates {
    default: f64,
    overrides: BTreeMap<&'static str, f64>,
}

impl RequestRates {
    /// Rate of actions that are not configured.
    const DEFAULT: f64 = 20.0;

    /// Returns the rate of an action, by its name in the API; from 0.001 to 1000.
    #[must_use]
    pub fn of(&self, action: &str) -> f64 {
        self.overrides.get(action).copied().unwrap_or(self.default)
    }
}

impl fmt::Display for RequestRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.overrides.iter().try_for_each(|(action, rate)| write!(f, ", {action} {rate}"))
    }
}

/// Keys that one level sets for an account; `None` for a key that it omits.
pub(super) struct AccountKeys {
    regions: Option<RegionSelection>,
    has_regions: bool,
    credentials: Option<CredentialsConfig>,
    network: Option<Network>,
    endpoint: Option<Endpoint>,
    signature: Option<SignatureVersion>,
    proxy: Option<ProxySetting>,
    rate: Option<f64>,
    rates: BTreeMap<&'static str, f64>,
    include: FilterPatterns,
    exclude: FilterPatterns,
    tags: Option<Vec<(String, Regex)>>,
}

/// Patterns for each of [`FILTERED`].
type FilterPatterns = [Option<Vec<Regex>>; 4];

const FILTERED: [&str; 4] = ["regions", "instances", "topics", "groups"];

impl AccountKeys {
    pub(super) fn read(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut patterns =
            |list: &str| FILTERED.map(|kind| reader.patterns(&format!("filters.{kind}.{list}"), problems));
        let (include, exclude) = (patterns("include"), patterns("exclude"));
        let networks = [("public", Network::Public), ("vpc", Network::Vpc)];
        let signatures = [("acs3", SignatureVersion::Acs3), ("v1", SignatureVersion::V1)];
        Self {
            regions: read_regions(reader, problems),
            has_regions: reader.field("regions").is_some(),
            credentials: credentials::read(reader, problems),
            network: reader.choice("network", &networks, problems),
            endpoint: reader.parsed("endpoint", Endpoint::parse, problems),
            signature: reader.choice("signature", &signatures, problems),
            proxy: reader.parsed("proxy", endpoint::proxy, problems),
            rate: reader.text("requests_per_second").and_then(|(field, text)| field.rate(text, problems)),
            rates: read_rates(reader, problems),
            include,
            exclude,
            tags: reader.field("filters.tags").map(|field| {
                let tags = field.entries();
                tags.filter_map(|(field, key, text)| Some((key.to_owned(), field.pattern(text, problems)?)))
                    .collect()
            }),
        }
    }

    /// Builds the account, inheriting what this level omits from `defaults`. Returns nothing if a key is missing.
    pub(super) fn inherit(
        &self,
        defaults: &Self,
        name: Option<AccountName>,
        reader: &LevelReader<'_>,
        level: &Value,
        problems: &mut Vec<Problem>,
    ) -> Option<Account> {
        let filters = self.filters(defaults);
        let regions = self.regions.clone().or_else(|| defaults.regions.clone());
        if regions.is_none() && !self.has_regions && !defaults.has_regions {
            let instead =
                format!("{}; without a file: ALIKAFKA_EXPORTER_REGIONS=cn-hangzhou", expects("regions"));
            let source = if name.is_some() { source(level) } else { ValueSource::Nowhere };
            problems.push(Problem::new(&source, reader.path("regions"), "is missing", instead));
        }
        let regions = match regions? {
            RegionSelection::Auto => RegionSelection::Auto,
            RegionSelection::List(mut regions) => {
                regions.retain(|region| filters.allow_region(region));
                if regions.is_empty() {
                    let what = "none of the regions passes filters.regions";
                    let source = source(reader.field("regions").map_or(level, |field| field.value));
                    let path = reader.path("regions");
                    problems.push(Problem::new(&source, path, what, "change one of the two"));
                    return None;
                }
                RegionSelection::List(regions)
            }
        };
        let network = self.network.or(defaults.network).unwrap_or(Network::Public);
        let endpoint = self.endpoint.clone().or_else(|| defaults.endpoint.clone());
        let credentials = self.credentials.clone().or_else(|| defaults.credentials.clone());
        let mut overrides = defaults.rates.clone();
        overrides.extend(&self.rates);
        Some(Account {
            name,
            regions,
            credentials: credentials.unwrap_or_default(),
            endpoint: endpoint.unwrap_or_else(|| Endpoint::of(network)),
            signature: self.signature.or(defaults.signature).unwrap_or_default(),
            filters,
            rates: RequestRates {
                default: self.rate.or(defaults.rate).unwrap_or(RequestRates::DEFAULT),
                overrides,
            },
            proxy: self.proxy.clone().or_else(|| defaults.proxy.clone()).unwrap_or_default(),
        })
    }

    fn filters(&self, defaults: &Self) -> Filters {
        let patterns = |account: &FilterPatterns, default: &FilterPatterns, kind: usize| {
            account[kind].clone().or_else(|| default[kind].clone()).unwrap_or_default()
        };
        let [regions, instances, topics, groups] = [0, 1, 2, 3].map(|kind| Filter {
            include: patterns(&self.include, &defaults.include, kind),
            exclude: patterns(&self.exclude, &defaults.exclude, kind),
        });
        let tags = self.tags.clone().or_else(|| defaults.tags.clone()).unwrap_or_default();
        Filters { regions, instances, topics, groups, tags }
    }
}

fn read_regions(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> Option<RegionSelection> {
    let field = reader.field("regions")?;
    if text(field.value) == Some("auto") {
        return Some(RegionSelection::Auto);
    }
    if items(field.value)?.is_empty() {
        problems.push(field.problem("is an empty list", &expects("regions")));
    }
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (item, text) in field.items() {
        if text == "auto" {
            let instead = "write regions: auto, or region ids only";
            problems.push(item.problem("auto is among region ids", instead));
            continue;
        }
        match RegionId::new(text) {
            Ok(region) if seen.insert(region.clone()) => list.push(region),
            Ok(_) => {
                problems.push(item.problem(format!("{} is listed twice", quoted(text)), "keep one of them"));
            }
            Err(error) => {
                let what = format!("{} is not a region id: {}", quoted(text), error.2);
                problems.push(item.problem(what, "write an id such as cn-hangzhou"));
            }
        }
    }
    (!list.is_empty()).then_some(RegionSelection::List(list))
}

fn read_rates(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> BTreeMap<&'static str, f64> {
    let mut rates = BTreeMap::new();
    for (field, typed, text) in reader.field("request_rates").iter().flat_map(ConfigField::entries) {
        // Ignore case so that environment variables can name actions.
        let Some(action) = ACTIONS.into_iter().find(|action| action.eq_ignore_ascii_case(typed)) else {
            let instead = match nearest(typed, ACTIONS) {
                Some(known) => format!("did you mean {known}; the actions are {}", ACTIONS.join(", ")),
                None => format!("write one of {}", ACTIONS.join(", ")),
            };
            problems.push(
                field.problem(format!("{} is not an action of this exporter", quoted(typed)), &instead),
            );
            continue;
        };
        if let Some(rate) = field.rate(text, problems)
            && rates.insert(action, rate).is_some()
        {
            problems.push(field.problem("the action is written more than once", "keep one of them"));
        }
    }
    rates
}
