//! What belongs to one account: its own keys over those of the top level.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use regex::Regex;

use super::{
    Account, Credentials, Endpoint, Network, credentials, endpoint,
    keys::ACTIONS,
    problem::{Problem, nearest, quoted},
    read::{Place, Reader, expects},
    yaml::{Node, Value},
};
use crate::model::{AccountName, Filter, Filters, ProxySetting, RegionId, RegionSelection, SignatureVersion};

/// Calls per second that are allowed to each action in each region.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRates {
    default: f64,
    special: BTreeMap<&'static str, f64>,
}

impl RequestRates {
    /// What a rate is where nothing is written.
    const DEFAULT: f64 = 20.0;

    /// The rate of an action, by its name on the wire; from 0.001 to 1000.
    #[must_use]
    pub fn of(&self, action: &str) -> f64 {
        self.special.get(action).copied().unwrap_or(self.default)
    }
}

impl fmt::Display for RequestRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.special.iter().try_for_each(|(action, rate)| write!(f, ", {action} {rate}"))
    }
}

/// What one level says of an account; `None` where it says nothing.
pub(super) struct Given {
    regions: Option<RegionSelection>,
    regions_written: bool,
    credentials: Option<Credentials>,
    network: Option<Network>,
    endpoint: Option<Endpoint>,
    signature: Option<SignatureVersion>,
    proxy: Option<ProxySetting>,
    rate: Option<f64>,
    rates: BTreeMap<&'static str, f64>,
    include: Patterns,
    exclude: Patterns,
    tags: Option<Vec<(String, Regex)>>,
}

/// Patterns of regions, instances, topics and groups.
type Patterns = [Option<Vec<Regex>>; 4];

const FILTERED: [&str; 4] = ["regions", "instances", "topics", "groups"];

impl Given {
    pub(super) fn read(reader: &Reader<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut patterns =
            |list: &str| FILTERED.map(|what| reader.patterns(&format!("filters.{what}.{list}"), problems));
        let (include, exclude) = (patterns("include"), patterns("exclude"));
        Self {
            regions: regions(reader, problems),
            regions_written: reader.place("regions").is_some(),
            credentials: credentials::read(reader, problems),
            network: reader.choice(
                "network",
                &[("public", Network::Public), ("vpc", Network::Vpc)],
                problems,
            ),
            endpoint: parsed(reader, "endpoint", Endpoint::parse, problems),
            signature: reader.choice(
                "signature",
                &[("acs3", SignatureVersion::Acs3), ("v1", SignatureVersion::V1)],
                problems,
            ),
            proxy: parsed(reader, "proxy", endpoint::proxy, problems),
            rate: reader.text("requests_per_second").and_then(|(place, text)| place.rate(text, problems)),
            rates: rates(reader, problems),
            include,
            exclude,
            tags: reader.place("filters.tags").map(|place| {
                let tag = |(place, key, text): (Place<'_>, &str, &str)| {
                    Some((key.to_owned(), place.pattern(text, problems)?))
                };
                place.members().filter_map(tag).collect()
            }),
        }
    }

    /// The account, what this level leaves out taken from `defaults`; `None` if something is missing.
    pub(super) fn over(
        &self,
        defaults: &Self,
        name: Option<AccountName>,
        reader: &Reader<'_>,
        node: &Node,
        problems: &mut Vec<Problem>,
    ) -> Option<Account> {
        let filters = self.filters(defaults);
        let regions = self.regions.clone().or_else(|| defaults.regions.clone());
        if regions.is_none() && !self.regions_written && !defaults.regions_written {
            let instead =
                format!("{}; without a file: ALIKAFKA_EXPORTER_REGIONS=cn-hangzhou", expects("regions"));
            let origin = if name.is_some() { node.origin.clone() } else { super::ValueSource::Nowhere };
            problems.push(Problem::new(&origin, reader.path("regions"), "is missing", instead));
        }
        let regions = match regions? {
            RegionSelection::Auto => RegionSelection::Auto,
            RegionSelection::List(list) => {
                let left: Vec<RegionId> = list.into_iter().filter(|r| filters.allow_region(r)).collect();
                if left.is_empty() {
                    let what = "none of the regions passes filters.regions";
                    let at = reader.place("regions").map_or(&node.origin, |p| &p.node.origin);
                    problems.push(Problem::new(at, reader.path("regions"), what, "change one of the two"));
                    return None;
                }
                RegionSelection::List(left)
            }
        };
        let network = self.network.or(defaults.network).unwrap_or(Network::Public);
        let endpoint = self.endpoint.clone().or_else(|| defaults.endpoint.clone());
        let credentials = self.credentials.clone().or_else(|| defaults.credentials.clone());
        let mut special = defaults.rates.clone();
        special.extend(&self.rates);
        Some(Account {
            name,
            regions,
            credentials: credentials.unwrap_or_default(),
            endpoint: endpoint.unwrap_or_else(|| Endpoint::of(network)),
            signature: self.signature.or(defaults.signature).unwrap_or(SignatureVersion::Acs3),
            filters,
            rates: RequestRates {
                default: self.rate.or(defaults.rate).unwrap_or(RequestRates::DEFAULT),
                special,
            },
            proxy: self.proxy.clone().or_else(|| defaults.proxy.clone()).unwrap_or(ProxySetting::None),
        })
    }

    fn filters(&self, defaults: &Self) -> Filters {
        let pick = |own: &Option<Vec<Regex>>, other: &Option<Vec<Regex>>| {
            own.clone().or_else(|| other.clone()).unwrap_or_default()
        };
        let [regions, instances, topics, groups] = [0, 1, 2, 3].map(|kind: usize| Filter {
            include: pick(&self.include[kind], &defaults.include[kind]),
            exclude: pick(&self.exclude[kind], &defaults.exclude[kind]),
        });
        let tags = self.tags.clone().or_else(|| defaults.tags.clone()).unwrap_or_default();
        Filters { regions, instances, topics, groups, tags }
    }
}

fn regions(reader: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<RegionSelection> {
    let place = reader.place("regions")?;
    if place.as_text() == Some("auto") {
        return Some(RegionSelection::Auto);
    }
    let Value::List(items) = &place.node.value else { return None };
    if items.is_empty() {
        problems.push(place.wrong("is an empty list", &expects("regions")));
    }
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (item, text) in place.items() {
        if text == "auto" {
            problems.push(item.wrong("auto is among region ids", "write regions: auto, or region ids only"));
            continue;
        }
        match RegionId::new(text) {
            Ok(region) if seen.insert(region.clone()) => list.push(region),
            Ok(_) => {
                problems.push(item.wrong(format!("{} is listed twice", quoted(text)), "keep one of them"))
            }
            Err(error) => {
                let what = format!("{} is not a region id: {}", quoted(text), error.2);
                problems.push(item.wrong(what, "write an id such as cn-hangzhou"));
            }
        }
    }
    (!list.is_empty()).then_some(RegionSelection::List(list))
}

/// A value whose refusals never quote it, as it may hold a password.
fn parsed<T>(
    reader: &Reader<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, (&'static str, &'static str)>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let (place, text) = reader.text(key)?;
    parse(text).map_err(|(what, instead)| problems.push(place.wrong(what, instead))).ok()
}

fn rates(reader: &Reader<'_>, problems: &mut Vec<Problem>) -> BTreeMap<&'static str, f64> {
    let mut rates = BTreeMap::new();
    let Some(place) = reader.place("request_rates") else { return rates };
    for (place, typed, text) in place.members() {
        // Case does not count, so that variables can name actions.
        let action = ACTIONS.into_iter().find(|a| a.eq_ignore_ascii_case(typed));
        let Some(action) = action else {
            let instead = match nearest(typed, ACTIONS) {
                Some(meant) => format!("did you mean {meant}; the actions are {}", ACTIONS.join(", ")),
                None => format!("write one of {}", ACTIONS.join(", ")),
            };
            problems.push(place.wrong(format!("{} is no action that is called", quoted(typed)), &instead));
            continue;
        };
        if let Some(rate) = place.rate(text, problems)
            && rates.insert(action, rate).is_some()
        {
            problems.push(place.wrong("the action is written more than once", "keep one of them"));
        }
    }
    rates
}
