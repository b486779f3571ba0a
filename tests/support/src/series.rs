//! Sets of series, and the differences between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::scrape::Scrape;

/// Name and labels.
pub type SeriesId = (String, BTreeMap<String, String>);

/// Series with their values as text, so that no digit is lost.
#[derive(Debug, Default)]
pub struct SeriesSet(BTreeMap<SeriesId, String>);

impl SeriesSet {
    /// Parses a metrics response.
    pub fn parse(text: String) -> Self {
        let samples = Scrape::parse(text).samples.into_iter();
        Self(samples.map(|sample| ((sample.name, sample.labels), sample.value)).collect())
    }

    /// Adds a series.
    pub fn insert(&mut self, name: &str, labels: &[(&str, &str)], value: String) {
        self.0.insert(series_id(name, labels), value);
    }

    /// Returns the value of a series; `None` if it is missing.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.0.get(&series_id(name, labels)).map(|value| value.parse().unwrap())
    }

    /// Number of series.
    #[expect(clippy::len_without_is_empty, reason = "no test needs it")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Splits off the series that one GetConsumerProgress response determines, by region, instance and group.
    pub fn by_group(&self) -> BTreeMap<(String, String, String), Self> {
        const FAMILIES: [&str; 4] = [
            "alikafka_group_partition_offset",
            "alikafka_group_partition_lag_messages",
            "alikafka_group_topic_lag_messages",
            "alikafka_group_lag_messages",
        ];
        let mut groups = BTreeMap::<_, Self>::new();
        for (series, value) in self.0.iter().filter(|((name, _), _)| FAMILIES.contains(&name.as_str())) {
            let label = |key: &str| series.1[key].clone();
            let group = (label("region"), label("instance_id"), label("group"));
            groups.entry(group).or_default().0.insert(series.clone(), value.clone());
        }
        groups
    }

    /// Describes each series whose value was true at none of the moments. Skips families that no moment has, and
    /// `exempt` ones.
    pub fn never_true(&self, moments: &[Self], exempt: &[&str]) -> Vec<String> {
        let families: BTreeSet<&str> = moments.iter().flat_map(Self::family_names).collect();
        let is_wrong = |(series, value): &(&SeriesId, &String)| {
            let name = series.0.as_str();
            families.contains(name)
                && !exempt.contains(&name)
                // Most values are recent.
                && !moments.iter().rev().any(|moment| moment.0.get(*series) == Some(*value))
        };
        self.0.iter().filter(is_wrong).map(|(series, value)| format!("{series:?} {value}")).collect()
    }

    /// Describes the series of some families that every moment has and this set lacks.
    pub fn missing_from(&self, moments: &[Self], families: &[&str]) -> Vec<String> {
        let Some((first, others)) = moments.split_first() else { return Vec::new() };
        let missing = first.0.keys().filter(|series| {
            families.contains(&series.0.as_str())
                && others.iter().all(|moment| moment.0.contains_key(*series))
                && !self.0.contains_key(*series)
        });
        missing.map(|series| format!("{series:?}")).collect()
    }

    /// Describes each difference between these expected series and the same families of `actual`, which may lack
    /// the `optional` ones.
    pub fn difference(&self, actual: &Self, optional: &BTreeSet<SeriesId>) -> Vec<String> {
        let mut lines = Vec::new();
        for (series, expected) in &self.0 {
            match actual.0.get(series) {
                None if optional.contains(series) => {}
                None => lines.push(format!("missing {series:?} {expected}")),
                Some(value) if value != expected => {
                    lines.push(format!("{series:?} is {value}, not {expected}"));
                }
                Some(_) => {}
            }
        }
        let families: BTreeSet<&str> = self.family_names().collect();
        let unexpected = actual
            .0
            .keys()
            .filter(|series| families.contains(series.0.as_str()) && !self.0.contains_key(*series));
        lines.extend(unexpected.map(|series| format!("unexpected {series:?}")));
        lines
    }

    fn family_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|(name, _)| name.as_str())
    }
}

/// Returns the key of a series.
pub fn series_id(name: &str, labels: &[(&str, &str)]) -> SeriesId {
    (name.to_owned(), labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}
