//! The limit on series is never exceeded. Objects are left out completely, and they do not flap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alikafka_exporter::exposition::{Exposition, Renderer};
use alikafka_exporter::lag::assess::GroupAssessment;
use alikafka_exporter::model::{Granularity, Naming, RenderOptions};
use alikafka_exporter::snapshot::{GroupView, InstanceView, RegionView, Snapshot};

use super::{fleet, text};
use test_support::scrape::{Sample, Scrape};

/// Returns the object of a series: account, region, instance, group and topic. `None` for series of regions and
/// instances.
fn object(sample: &Sample) -> Option<[String; 5]> {
    let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
    let group = sample.labels.get("group").or_else(|| sample.labels.get("consumergroup"));
    let topic = if group.is_some() { String::new() } else { label("topic") };
    let is_object = group.is_some() || !topic.is_empty();
    let group = group.cloned().unwrap_or_default();
    is_object.then(|| [label("account"), label("region"), label("instance_id"), group, topic])
}

fn by_object(scrape: &Scrape) -> BTreeMap<Option<[String; 5]>, BTreeSet<Sample>> {
    let mut objects: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for sample in &scrape.samples {
        objects.entry(object(sample)).or_default().insert(sample.clone());
    }
    objects
}

/// Returns the discovery order of each object.
fn discovery_orders(snapshot: &Snapshot) -> BTreeMap<[String; 5], u64> {
    let mut orders = BTreeMap::new();
    for i in snapshot.regions.iter().flat_map(|r| &r.instances) {
        let account = i.account.as_ref().map_or(String::new(), ToString::to_string);
        let of = |group: &str, topic: &str| {
            [account.clone(), i.region.to_string(), i.id.to_string(), group.to_owned(), topic.to_owned()]
        };
        orders.extend(i.topics.iter().map(|t| (of("", t.name.as_str()), t.discovery_order)));
        orders.extend(i.groups.iter().map(|g| (of(g.id.as_str(), ""), g.discovery_order)));
    }
    orders
}

/// The exposition without a limit.
struct Unlimited {
    objects: BTreeMap<Option<[String; 5]>, BTreeSet<Sample>>,
    orders: BTreeMap<[String; 5], u64>,
    series: u64,
}

impl Unlimited {
    fn of(snapshot: &Snapshot, options: &RenderOptions) -> Self {
        let options = RenderOptions { max_series: None, ..options.clone() };
        let unlimited = Scrape::parse(text(&Renderer::new(options).render_uncompressed(snapshot)));
        Self {
            objects: by_object(&unlimited),
            orders: discovery_orders(snapshot),
            series: unlimited.samples.len() as u64,
        }
    }

    /// Checks an exposition with a limit.
    fn check(&self, max: u64, exposition: &Exposition) {
        let Self { objects: all, orders, series } = self;
        let limited = Scrape::parse(text(exposition));
        let kept = by_object(&limited);
        let of_instances = all.get(&None).map_or(0, BTreeSet::len) as u64;
        assert!(
            exposition.series_count() <= max.max(of_instances),
            "{} series, limit {max}",
            exposition.series_count()
        );
        assert_eq!(
            exposition.series_count() + exposition.dropped_series(),
            *series,
            "dropped series are counted"
        );
        assert_eq!(exposition.series_count(), limited.samples.len() as u64);
        assert_eq!(kept.get(&None), all.get(&None), "regions and instances stay");
        let newest_kept = kept.keys().flatten().map(|o| orders[o]).max();
        for (object, series) in all {
            let Some(object) = object else { continue };
            match kept.get(&Some(object.clone())) {
                Some(left) => assert_eq!(left, series, "{object:?} is complete"),
                None => {
                    assert!(
                        newest_kept.is_none_or(|n| n < orders[object]),
                        "{object:?} is older than a shown one"
                    )
                }
            }
        }
    }
}

/// Checks an exposition with a limit against the one without.
pub(crate) fn check(snapshot: &Snapshot, options: &RenderOptions, exposition: &Exposition) {
    Unlimited::of(snapshot, options).check(options.max_series.unwrap(), exposition);
}

#[test]
fn every_limit_shows_as_many_of_the_oldest_objects_as_fit() {
    let snapshot = fleet::fleet();
    let unlimited = Unlimited::of(&snapshot, &RenderOptions::default());
    let mut before = 0;
    for max in 0..=unlimited.series {
        let options = RenderOptions { max_series: Some(max), ..RenderOptions::default() };
        let exposition = Renderer::new(options).render_uncompressed(&snapshot);
        unlimited.check(max, &exposition);
        assert!(exposition.series_count() >= before, "a higher limit never shows less");
        before = exposition.series_count();
    }
    assert_eq!(before, unlimited.series, "a sufficient limit drops nothing");
}

#[test]
fn the_limit_leaves_out_complete_objects_at_every_granularity_and_naming() {
    let snapshot = fleet::fleet();
    for granularity in [Granularity::Partition, Granularity::Topic, Granularity::Group] {
        for naming in [Naming::Native, Naming::KafkaExporter] {
            let options = RenderOptions { granularity, naming, ..RenderOptions::default() };
            let unlimited = Unlimited::of(&snapshot, &options);
            for max in (0..unlimited.series).step_by(5) {
                let options = RenderOptions { max_series: Some(max), ..options.clone() };
                unlimited.check(max, &Renderer::new(options).render_uncompressed(&snapshot));
            }
        }
    }
}

/// The forecast of the oldest group is known only at times, and the limit is exactly sufficient without it.
#[test]
fn the_newest_object_does_not_flap_while_an_older_one_changes_its_size() {
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
    let mut shown = String::new();
    for forecast in [None, None, Some(1.0), None, Some(1.0), None, None, Some(1.0)] {
        let snapshot = fleet_of(forecast);
        let exposition = renderer.render_uncompressed(&snapshot);
        check(&snapshot, &options, &exposition);
        shown.push(if text(&exposition).contains("group=\"young\"") { 'y' } else { '-' });
    }
    assert_eq!(shown, "yy------", "dropped at once, and no return for one series");
    let fewer = fleet_of(None);
    let mut instance = (*fewer.regions[0].instances[0]).clone();
    instance.groups.drain(1..=5);
    let fewer = Snapshot { regions: vec![Arc::new(fleet::region_view(None, "cn-hangzhou", vec![instance]))] };
    assert!(
        text(&renderer.render(&fewer)).contains("group=\"young\""),
        "it returns once the reserve is free"
    );
}

/// While objects appear, disappear, grow and shrink, every exposition respects the limit and contains only complete
/// objects, and objects return only if 5 % of the limit is free.
#[test]
fn no_exposition_of_a_sequence_shows_a_partial_object() {
    let options = RenderOptions { max_series: Some(60), ..RenderOptions::default() };
    let mut renderer = Renderer::new(options.clone());
    let (mut groups, mut noise) = (Vec::<GroupView>::new(), 1_u64);
    let mut before: BTreeSet<String> = BTreeSet::new();
    for order in 1..400 {
        let mut next = |below: u64| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % below
        };
        match next(3) {
            0 if groups.len() > 20 => _ = groups.remove(usize::try_from(next(groups.len() as u64)).unwrap()),
            1 if groups.len() < 30 => {
                let topics = (0..next(4)).map(|t| fleet::topic_lag(&format!("t{t}"), Some(1), Vec::new()));
                groups.push(fleet::group_view(&format!("g{order:03}"), order, Some(2), topics.collect()));
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
        let exposition = renderer.render_uncompressed(&snapshot);
        check(&snapshot, &options, &exposition);
        let shown: BTreeSet<String> = by_object(&Scrape::parse(text(&exposition)))
            .into_keys()
            .flatten()
            .map(|o| o[3].clone())
            .collect();
        let is_new = |group: &&GroupView| group.discovery_order == order;
        let returned = groups.iter().filter(|g| !is_new(g)).map(|g| g.id.to_string());
        let returned = returned.filter(|g| shown.contains(g) && !before.contains(g)).count();
        assert!(
            returned == 0 || exposition.series_count() <= 57 || exposition.dropped_series() == 0,
            "{returned} returned into {}",
            exposition.series_count()
        );
        before = shown;
    }
}

#[test]
fn a_new_object_does_not_displace_an_older_one() {
    let mut instance = fleet::instance_view("i", 1);
    instance.topics = vec![Arc::new(fleet::topic_view("m", 2, Vec::new()))];
    let text_of = |renderer: &mut Renderer, instance: &InstanceView| {
        let region: RegionView = fleet::region_view(None, "cn-hangzhou", vec![instance.clone()]);
        text(&renderer.render(&Snapshot { regions: vec![Arc::new(region)] }))
    };
    let base = text_of(&mut Renderer::new(RenderOptions::default()), &instance)
        .lines()
        .filter(|l| !l.starts_with('#'))
        .count();
    let mut renderer =
        Renderer::new(RenderOptions { max_series: Some(base as u64), ..RenderOptions::default() });
    assert!(text_of(&mut renderer, &instance).contains("topic=\"m\""));
    instance.topics.insert(0, Arc::new(fleet::topic_view("a", 3, Vec::new())));
    let exposition = text_of(&mut renderer, &instance);
    assert!(exposition.contains("topic=\"m\"") && !exposition.contains("topic=\"a\""), "{exposition}");
    instance.topics.remove(1);
    let exposition = text_of(&mut renderer, &instance);
    assert!(exposition.contains("topic=\"a\"") && !exposition.contains("topic=\"m\""), "{exposition}");
}
