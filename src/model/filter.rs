//! Filters that select the objects to monitor. They apply before any API call for an object.

use regex::Regex;

use super::{Instance, RegionId};

/// Include and exclude patterns for one kind of name. Exclude wins. Callers compile patterns with anchors.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A name must match one of these; an empty list matches every name.
    pub include: Vec<Regex>,
    /// A name must match none of these.
    pub exclude: Vec<Regex>,
}

impl Filter {
    /// Whether a name matches.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.allows_any(&[name])
    }

    /// Whether an object with several names matches. It is included, or excluded, if any of its names is.
    #[must_use]
    pub fn allows_any(&self, names: &[&str]) -> bool {
        let any_matches = |patterns: &[Regex]| patterns.iter().any(|p| names.iter().any(|n| p.is_match(n)));
        (self.include.is_empty() || any_matches(&self.include)) && !any_matches(&self.exclude)
    }
}

/// Filters of an account.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Filter by region id.
    pub regions: Filter,
    /// Filter by instance id or name.
    pub instances: Filter,
    /// Filter by topic name.
    pub topics: Filter,
    /// Filter by group id.
    pub groups: Filter,
    /// Required instance tags, each with the pattern of its value.
    pub tags: Vec<(String, Regex)>,
}

impl Filters {
    /// Whether to monitor a region.
    #[must_use]
    pub fn allow_region(&self, region: &RegionId) -> bool {
        self.regions.allows(region.as_str())
    }

    /// Whether to monitor an instance, by id, name and tags.
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
