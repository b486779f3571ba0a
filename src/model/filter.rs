//! Which objects are looked at. Filters are applied before any call is spent on an object.

use regex::Regex;

use super::{Instance, RegionId};

/// Include and exclude patterns for one kind of name; exclude wins. Patterns are anchored by whoever
/// compiles them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A name must match one of these; none means all.
    pub include: Vec<Regex>,
    /// A name must match none of these.
    pub exclude: Vec<Regex>,
}

impl Filter {
    /// Whether a name passes.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.allows_any(&[name])
    }

    /// Whether an object known by several names passes: one name included is enough, one excluded is too.
    #[must_use]
    pub fn allows_any(&self, names: &[&str]) -> bool {
        let hit = |patterns: &[Regex]| patterns.iter().any(|p| names.iter().any(|n| p.is_match(n)));
        (self.include.is_empty() || hit(&self.include)) && !hit(&self.exclude)
    }
}

/// The filters of one account.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// By region id.
    pub regions: Filter,
    /// By instance id or name.
    pub instances: Filter,
    /// By topic name.
    pub topics: Filter,
    /// By group id.
    pub groups: Filter,
    /// Tags that an instance must have, each with the pattern of its value.
    pub tags: Vec<(String, Regex)>,
}

impl Filters {
    /// Whether a region is looked at.
    #[must_use]
    pub fn allow_region(&self, region: &RegionId) -> bool {
        self.regions.allows(region.as_str())
    }

    /// Whether an instance is looked at, by id, name and tags.
    #[must_use]
    pub fn allow_instance(&self, instance: &Instance) -> bool {
        let mut names = vec![instance.id.as_str()];
        names.extend(instance.name.as_deref());
        self.instances.allows_any(&names)
            && self
                .tags
                .iter()
                .all(|(key, value)| instance.tags.iter().any(|(k, v)| k == key && value.is_match(v)))
    }
}
