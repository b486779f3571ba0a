//! The limit on series is never exceeded, and what it leaves out is whole and does not flap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alikafka_exporter::exposition::{Options, Renderer};
use alikafka_exporter::snapshot::{InstanceView, RegionView, Snapshot};

use super::parse::{Parsed, Sample};
use super::{fleet, text};

/// The object that a series belongs to: account, region, instance, and its topic or group. `None` for
/// series of regions and instances.
fn object(sample: &Sample) -> Option<[String; 5]> {
    let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
    let is_object = sample.labels.contains_key("topic") || sample.labels.contains_key("group");
    let topic = if sample.labels.contains_key("group") { String::new() } else { label("topic") };
    is_object.then(|| [label("account"), label("region"), label("instance_id"), label("group"), topic])
}

fn by_object(page: &Parsed) -> BTreeMap<Option<[String; 5]>, BTreeSet<Sample>> {
    let mut objects: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for sample in &page.samples {
        objects.entry(object(sample)).or_default().insert(sample.clone());
    }
    objects
}

/// When each object was first seen.
fn ages(snapshot: &Snapshot) -> BTreeMap<[String; 5], u64> {
    let mut ages = BTreeMap::new();
    for i in snapshot.regions.iter().flat_map(|r| &r.instances) {
        let account = i.account.as_ref().map_or(String::new(), ToString::to_string);
        let of = |group: &str, topic: &str| {
            [account.clone(), i.region.to_string(), i.id.to_string(), group.to_owned(), topic.to_owned()]
        };
        ages.extend(i.topics.iter().map(|t| (of("", t.name.as_str()), t.since)));
        ages.extend(i.groups.iter().map(|g| (of(g.id.as_str(), ""), g.since)));
    }
    ages
}

/// Checks a page under a limit against the page without one.
pub(crate) fn check(snapshot: &Snapshot, max: u64, page: &alikafka_exporter::exposition::Page) {
    let whole = Parsed::of(&text(&Renderer::new(Options::default()).render(snapshot)));
    let cut = Parsed::of(&text(page));
    let (all, kept, ages) = (by_object(&whole), by_object(&cut), ages(snapshot));
    let of_instances = all.get(&None).map_or(0, BTreeSet::len) as u64;
    assert!(page.series() <= max.max(of_instances), "{} series, limit {max}", page.series());
    assert_eq!(page.series() + page.cut(), whole.samples.len() as u64, "what is cut is counted");
    assert_eq!(page.series(), cut.samples.len() as u64);
    assert_eq!(kept.get(&None), all.get(&None), "regions and instances stay");
    let youngest_kept = kept.keys().flatten().map(|o| ages[o]).max();
    for (object, series) in &all {
        let Some(object) = object else { continue };
        match kept.get(&Some(object.clone())) {
            Some(left) => assert_eq!(left, series, "{object:?} is whole"),
            None => {
                assert!(youngest_kept.is_none_or(|y| y < ages[object]), "{object:?} is too old to be cut")
            }
        }
    }
}

#[test]
fn each_limit_keeps_as_many_of_the_oldest_objects_as_fit() {
    let snapshot = fleet::fleet();
    let all = Renderer::new(Options::default()).render(&snapshot).series();
    let mut before = 0;
    for max in 0..=all {
        let options = Options { max_series: Some(max), ..Options::default() };
        let page = Renderer::new(options).render(&snapshot);
        check(&snapshot, max, &page);
        assert!(page.series() >= before, "a higher limit never shows less");
        before = page.series();
    }
    assert_eq!(before, all, "a limit that fits cuts nothing");
}

#[test]
fn a_new_object_does_not_push_an_old_one_out() {
    let mut instance = fleet::instance_view("i", 1);
    instance.topics = vec![Arc::new(fleet::topic_view("m", 2, Vec::new()))];
    let page_of = |renderer: &mut Renderer, instance: &InstanceView| {
        let region: RegionView = fleet::region_view(None, "cn-hangzhou", vec![instance.clone()]);
        text(&renderer.render(&Snapshot { regions: vec![Arc::new(region)] }))
    };
    let base = page_of(&mut Renderer::new(Options::default()), &instance)
        .lines()
        .filter(|l| !l.starts_with('#'))
        .count();
    let mut renderer = Renderer::new(Options { max_series: Some(base as u64), ..Options::default() });
    assert!(page_of(&mut renderer, &instance).contains("topic=\"m\""));
    instance.topics.insert(0, Arc::new(fleet::topic_view("a", 3, Vec::new())));
    let page = page_of(&mut renderer, &instance);
    assert!(page.contains("topic=\"m\"") && !page.contains("topic=\"a\""), "{page}");
    instance.topics.remove(1);
    let page = page_of(&mut renderer, &instance);
    assert!(page.contains("topic=\"a\"") && !page.contains("topic=\"m\""), "{page}");
}
