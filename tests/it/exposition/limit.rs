//! The limit on series is never exceeded, and what it leaves out is whole and does not flap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alikafka_exporter::exposition::{Exposition, Renderer};
use alikafka_exporter::lag::assess::GroupAssessment;
use alikafka_exporter::model::{Granularity, Naming, RenderOptions};
use alikafka_exporter::snapshot::{GroupView, InstanceView, RegionView, Snapshot};

use super::{fleet, text};
use test_support::scrape::{Sample, Scrape};

/// The object that a series belongs to: account, region, instance, and its topic or group. `None` for
/// series of regions and instances.
fn object(sample: &Sample) -> Option<[String; 5]> {
    let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
    let group = sample.labels.get("group").or_else(|| sample.labels.get("consumergroup"));
    let topic = if group.is_some() { String::new() } else { label("topic") };
    let is_object = group.is_some() || !topic.is_empty();
    let group = group.cloned().unwrap_or_default();
    is_object.then(|| [label("account"), label("region"), label("instance_id"), group, topic])
}

fn by_object(page: &Scrape) -> BTreeMap<Option<[String; 5]>, BTreeSet<Sample>> {
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
        ages.extend(i.topics.iter().map(|t| (of("", t.name.as_str()), t.discovery_order)));
        ages.extend(i.groups.iter().map(|g| (of(g.id.as_str(), ""), g.discovery_order)));
    }
    ages
}

/// What a page without a limit would hold.
struct Whole {
    objects: BTreeMap<Option<[String; 5]>, BTreeSet<Sample>>,
    ages: BTreeMap<[String; 5], u64>,
    series: u64,
}

impl Whole {
    fn of(snapshot: &Snapshot, options: &RenderOptions) -> Self {
        let unlimited = RenderOptions { max_series: None, ..options.clone() };
        let whole = Scrape::parse(text(&Renderer::new(unlimited).render_uncompressed(snapshot)));
        Self { objects: by_object(&whole), ages: ages(snapshot), series: whole.samples.len() as u64 }
    }

    /// Checks a page under a limit.
    fn check(&self, max: u64, page: &Exposition) {
        let Self { objects: all, ages, series } = self;
        let cut = Scrape::parse(text(page));
        let kept = by_object(&cut);
        let of_instances = all.get(&None).map_or(0, BTreeSet::len) as u64;
        assert!(page.series_count() <= max.max(of_instances), "{} series, limit {max}", page.series_count());
        assert_eq!(page.series_count() + page.dropped_series(), *series, "what is cut is counted");
        assert_eq!(page.series_count(), cut.samples.len() as u64);
        assert_eq!(kept.get(&None), all.get(&None), "regions and instances stay");
        let youngest_kept = kept.keys().flatten().map(|o| ages[o]).max();
        for (object, series) in all {
            let Some(object) = object else { continue };
            match kept.get(&Some(object.clone())) {
                Some(left) => assert_eq!(left, series, "{object:?} is whole"),
                None => {
                    assert!(youngest_kept.is_none_or(|y| y < ages[object]), "{object:?} is too old to be cut")
                }
            }
        }
    }
}

/// Checks a page under a limit against the page without one.
pub(crate) fn check(snapshot: &Snapshot, options: &RenderOptions, page: &Exposition) {
    Whole::of(snapshot, options).check(options.max_series.unwrap(), page);
}

#[test]
fn each_limit_keeps_as_many_of_the_oldest_objects_as_fit() {
    let snapshot = fleet::fleet();
    let whole = Whole::of(&snapshot, &RenderOptions::default());
    let mut before = 0;
    for max in 0..=whole.series {
        let options = RenderOptions { max_series: Some(max), ..RenderOptions::default() };
        let page = Renderer::new(options).render_uncompressed(&snapshot);
        whole.check(max, &page);
        assert!(page.series_count() >= before, "a higher limit never shows less");
        before = page.series_count();
    }
    assert_eq!(before, whole.series, "a limit that fits cuts nothing");
}

#[test]
fn a_limit_leaves_out_whole_objects_at_every_granularity_and_naming() {
    let snapshot = fleet::fleet();
    for granularity in [Granularity::Partition, Granularity::Topic, Granularity::Group] {
        for naming in [Naming::Native, Naming::KafkaExporter] {
            let options = RenderOptions { granularity, naming, ..RenderOptions::default() };
            let whole = Whole::of(&snapshot, &options);
            for max in (0..whole.series).step_by(5) {
                let options = RenderOptions { max_series: Some(max), ..options.clone() };
                whole.check(max, &Renderer::new(options).render_uncompressed(&snapshot));
            }
        }
    }
}

/// An old group of which a forecast is known at times, a younger one, and the limit that both fit exactly at most.
#[test]
fn an_object_near_the_limit_does_not_flap_while_an_old_one_changes_its_size() {
    let fleet_of = |forecast: Option<f64>| {
        let mut old = fleet::group_view("old", 2, Some(1), Vec::new());
        old.assessment = Some(Arc::new(GroupAssessment { catch_up: forecast, ..GroupAssessment::default() }));
        let filler = (10..60).map(|n| Arc::new(fleet::group_view(&format!("g{n}"), n, Some(0), Vec::new())));
        let mut instance = fleet::instance_view("i", 1);
        instance.groups.push(Arc::new(old));
        instance.groups.extend(filler);
        instance.groups.push(Arc::new(fleet::group_view("young", 99, Some(1), Vec::new())));
        Snapshot { regions: vec![Arc::new(fleet::region_view(None, "cn-hangzhou", vec![instance]))] }
    };
    let short = Renderer::new(RenderOptions::default()).render_uncompressed(&fleet_of(None)).series_count();
    let options = RenderOptions { max_series: Some(short), ..RenderOptions::default() };
    let mut renderer = Renderer::new(options.clone());
    let mut seen = String::new();
    for forecast in [None, None, Some(1.0), None, Some(1.0), None, None, Some(1.0)] {
        let snapshot = fleet_of(forecast);
        let page = renderer.render_uncompressed(&snapshot);
        check(&snapshot, &options, &page);
        seen.push(if text(&page).contains("group=\"young\"") { 'y' } else { '-' });
    }
    assert_eq!(seen, "yy------", "out when it must be, and not in again for one series");
    let fewer = fleet_of(None);
    let mut instance = (*fewer.regions[0].instances[0]).clone();
    instance.groups.drain(1..=5);
    let fewer = Snapshot { regions: vec![Arc::new(fleet::region_view(None, "cn-hangzhou", vec![instance]))] };
    assert!(text(&renderer.render(&fewer)).contains("group=\"young\""), "in again once there is room");
}

/// Objects come, go, grow and shrink: whatever came before, each page keeps the limit with whole objects, and
/// what is out stays out unless a twentieth of the limit is free with it.
#[test]
fn over_many_pages_no_object_is_ever_half_shown() {
    let options = RenderOptions { max_series: Some(60), ..RenderOptions::default() };
    let mut renderer = Renderer::new(options.clone());
    let (mut groups, mut noise) = (Vec::<GroupView>::new(), 1_u64);
    let mut before: BTreeSet<String> = BTreeSet::new();
    for since in 1..400 {
        let mut next = |below: u64| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % below
        };
        match next(3) {
            0 if groups.len() > 20 => _ = groups.remove(usize::try_from(next(groups.len() as u64)).unwrap()),
            1 if groups.len() < 30 => {
                let topics = (0..next(4)).map(|t| fleet::topic_lag(&format!("t{t}"), Some(1), Vec::new()));
                groups.push(fleet::group_view(&format!("g{since:03}"), since, Some(2), topics.collect()));
            }
            _ => {
                let at = next(groups.len().max(1) as u64);
                if let Some(group) = groups.get_mut(usize::try_from(at).unwrap()) {
                    group.assessment = (next(2) == 0).then(|| {
                        Arc::new(GroupAssessment { catch_up: Some(1.0), ..GroupAssessment::default() })
                    });
                }
            }
        }
        let mut instance = fleet::instance_view("i", 0);
        instance.groups = groups.iter().cloned().map(Arc::new).collect();
        let snapshot = Snapshot { regions: vec![Arc::new(fleet::region_view(None, "r", vec![instance]))] };
        let page = renderer.render_uncompressed(&snapshot);
        check(&snapshot, &options, &page);
        let shown: BTreeSet<String> =
            by_object(&Scrape::parse(text(&page))).into_keys().flatten().map(|o| o[3].clone()).collect();
        let is_new = |group: &&GroupView| group.discovery_order == since;
        let back = groups.iter().filter(|g| !is_new(g)).map(|g| g.id.to_string());
        let back = back.filter(|g| shown.contains(g) && !before.contains(g)).count();
        assert!(
            back == 0 || page.series_count() <= 57 || page.dropped_series() == 0,
            "{back} came back into {}",
            page.series_count()
        );
        before = shown;
    }
}

#[test]
fn a_new_object_does_not_push_an_old_one_out() {
    let mut instance = fleet::instance_view("i", 1);
    instance.topics = vec![Arc::new(fleet::topic_view("m", 2, Vec::new()))];
    let page_of = |renderer: &mut Renderer, instance: &InstanceView| {
        let region: RegionView = fleet::region_view(None, "cn-hangzhou", vec![instance.clone()]);
        text(&renderer.render(&Snapshot { regions: vec![Arc::new(region)] }))
    };
    let base = page_of(&mut Renderer::new(RenderOptions::default()), &instance)
        .lines()
        .filter(|l| !l.starts_with('#'))
        .count();
    let mut renderer =
        Renderer::new(RenderOptions { max_series: Some(base as u64), ..RenderOptions::default() });
    assert!(page_of(&mut renderer, &instance).contains("topic=\"m\""));
    instance.topics.insert(0, Arc::new(fleet::topic_view("a", 3, Vec::new())));
    let page = page_of(&mut renderer, &instance);
    assert!(page.contains("topic=\"m\"") && !page.contains("topic=\"a\""), "{page}");
    instance.topics.remove(1);
    let page = page_of(&mut renderer, &instance);
    assert!(page.contains("topic=\"a\"") && !page.contains("topic=\"m\""), "{page}");
}
