//! An exposition that reuses parts of the previous one equals one that is rendered from scratch.

use std::sync::Arc;

use alikafka_exporter::exposition::{Exposition, Renderer};
use alikafka_exporter::lag::assess::{GroupAssessment, TopicAssessment};
use alikafka_exporter::model::RenderOptions;
use alikafka_exporter::snapshot::{GroupView, InstanceView, Snapshot};

use super::{fleet, gunzip, render, text};

fn fleet_of(instances: &[Arc<InstanceView>]) -> Snapshot {
    let mut region = fleet::region_view(None, "cn-hangzhou", Vec::new());
    region.instances = instances.to_vec();
    Snapshot { regions: vec![Arc::new(region)] }
}

/// Returns an instance with one topic from offset `start` on, and one group with committed offset 50.
fn instance(id: &str, discovery_order: u64, start: i64) -> InstanceView {
    let mut view = fleet::instance_view(id, discovery_order);
    view.topics = vec![Arc::new(fleet::topic_view(
        "t",
        discovery_order + 1,
        vec![fleet::topic_partition(0, start, 90, 1)],
    ))];
    let lag = fleet::topic_lag("t", Some(40), vec![fleet::partition_lag(0, 50, Some(40), 1)]);
    view.groups = vec![Arc::new(fleet::group_view("g", discovery_order + 2, Some(40), vec![lag]))];
    view
}

fn pointers(exposition: &Exposition) -> Vec<*const u8> {
    exposition.plain_chunks().map(|b| b.as_ptr()).collect()
}

#[test]
fn a_group_with_another_assessment_is_rendered_again() {
    let before = instance("i", 1, 10);
    let assessment = |margin| {
        let partitions = vec![fleet::partition_assessment(None, Some(1_500), Some(margin))];
        let topics = vec![TopicAssessment { partitions, ..TopicAssessment::default() }];
        Some(Arc::new(GroupAssessment { topics, ..GroupAssessment::default() }))
    };
    let with = |margin| {
        let group = GroupView { assessment: assessment(margin), ..(*before.groups[0]).clone() };
        fleet_of(&[Arc::new(InstanceView { groups: vec![Arc::new(group)], ..before.clone() })])
    };
    let mut renderer = Renderer::new(RenderOptions::default());
    let exposition = text(&renderer.render(&with(40)));
    assert!(exposition.contains("alikafka_group_partition_retention_margin_messages{"), "{exposition}");
    let exposition = text(&renderer.render(&with(-10)));
    assert!(
        !exposition.contains("retention_margin") && exposition.contains("partition=\"0\"} 10\n"),
        "{exposition}"
    );
    assert_eq!(exposition, render(RenderOptions::default(), &with(-10)));
}

#[test]
fn a_lower_cutoff_applies_to_unchanged_instances() {
    let older = instance("old", 1, 10);
    let newer = Arc::new(instance("young", 10, 10));
    let snapshot = fleet_of(&[Arc::new(older.clone()), Arc::clone(&newer)]);
    let all = Renderer::new(RenderOptions::default()).render(&snapshot).series_count();
    let options = || RenderOptions { max_series: Some(all), ..RenderOptions::default() };
    let mut renderer = Renderer::new(options());
    assert_eq!(renderer.render(&snapshot).dropped_series(), 0);
    let mut grown = older;
    let partitions = (0..9).map(|p| fleet::topic_partition(p, 1, 2, 3)).collect();
    grown.topics = vec![Arc::new(fleet::topic_view("t", 2, partitions))];
    let snapshot = fleet_of(&[Arc::new(grown), newer]);
    let exposition = renderer.render(&snapshot);
    assert!(exposition.dropped_series() > 0 && exposition.series_count() <= all);
    assert_eq!(text(&exposition), render(options(), &snapshot));
}

#[test]
fn instances_appear_and_disappear_between_others() {
    let all: Vec<_> = (0..5).map(|i| Arc::new(instance(&format!("i-{i}"), i * 10, 10))).collect();
    let mut renderer = Renderer::new(RenderOptions::default());
    for shown in [&[0, 1][..], &[0, 1, 2], &[0, 1, 2], &[1, 2], &[1, 2, 3, 4], &[0, 4], &[], &[0, 1, 2, 3, 4]]
    {
        let snapshot = fleet_of(&shown.iter().map(|i| Arc::clone(&all[*i])).collect::<Vec<_>>());
        let exposition = renderer.render(&snapshot);
        assert_eq!(text(&exposition), render(RenderOptions::default(), &snapshot), "{shown:?}");
        assert_eq!(gunzip(&exposition), text(&exposition));
    }
}

#[test]
fn unchanged_text_is_the_same_memory() {
    let stays: Vec<_> = (0..3).map(|i| Arc::new(instance(&format!("i-{i}"), i * 10, 10))).collect();
    let mut renderer = Renderer::new(RenderOptions::default());
    let first = renderer.render(&fleet_of(&stays));
    let again = renderer.render(&fleet_of(&stays));
    assert_eq!(pointers(&first), pointers(&again));
    let rebuilt: Vec<_> = (0..3).map(|i| Arc::new(instance(&format!("i-{i}"), i * 10, 10))).collect();
    assert_eq!(pointers(&first), pointers(&renderer.render(&fleet_of(&rebuilt))), "equal text is kept");
    let mut changed = stays.clone();
    changed[1] = Arc::new(instance("i-1", 10, 60));
    let kept = pointers(&renderer.render(&fleet_of(&changed)));
    let shared = kept.iter().filter(|p| pointers(&first).contains(p)).count();
    assert!(shared > kept.len() / 2, "only what the change touches is new: {shared} of {}", kept.len());
}
