//! From a snapshot to a page, touching only what changed since the page before. Pure.
//!
//! Owns: the order of the page, which families a granularity shows, what is kept between pages, and the
//! limit on series. Refuses: I/O, clocks, and deciding what is fresh: the snapshot has done that.
//!
//! The order is that of the catalog, then account, region, instance, then topic or group, then partition,
//! as the snapshot is sorted. The families of regions and instances are few lines: they are written anew
//! each time. The families of topics and groups are kept per family and instance, and written anew only if
//! a topic or a group of the instance is another allocation than before. Text that came out the same
//! keeps its compressed form. Pieces of small instances are joined, so that a fleet of many stays few
//! pieces.

use std::{collections::HashMap, mem, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    catalog::{self, FAMILIES, MetricFamily, MetricId},
    chunk::{Chunk, ChunkCompressor, Exposition},
    limit::{self, SeriesCut},
    series::{self, FamilySet, SeriesCounter},
    text::{FamilyText, TextWriter, push_header},
};
use crate::{
    model::{AccountName, Granularity, InstanceId, RegionId, RenderOptions},
    snapshot::{GroupView, InstanceView, Snapshot, TopicView},
};

/// A piece below this many bytes is joined with its neighbours.
const SMALL: usize = 8 * 1024;

/// Merged chunks are closed at this many bytes.
const JOINED: usize = 64 * 1024;

/// Makes pages of snapshots, each from what it kept of the one before.
#[derive(Debug)]
pub struct Renderer {
    max_series: Option<u64>,
    tags: Vec<(String, String)>,
    shown: FamilySet,
    /// HELP and TYPE of each family of topics and groups.
    headers: Vec<Chunk>,
    /// Writes the families of regions and instances.
    fleet: TextWriter,
    /// Writes the families of topics and groups.
    objects: TextWriter,
    packer: Option<ChunkCompressor>,
    kept: RenderCache,
}

/// What is kept of the page before.
#[derive(Debug, Default)]
struct RenderCache {
    fleet: HashMap<MetricId, Chunk>,
    instances: HashMap<Key, RenderedInstance>,
    joined: HashMap<MetricId, Vec<MergedChunk>>,
    cutoff: Option<u64>,
}

type Key = (Option<AccountName>, RegionId, InstanceId);

/// The drawn topics and groups of one instance.
#[derive(Debug)]
struct RenderedInstance {
    view: Arc<InstanceView>,
    cutoff: Option<u64>,
    pieces: Vec<(MetricId, Chunk)>,
}

/// Several pieces of one family as one.
#[derive(Debug)]
struct MergedChunk {
    members: Vec<Chunk>,
    segment: Chunk,
}

/// The families of topics and groups.
fn is_object_family(family: &MetricFamily) -> bool {
    family.labels.contains(&"topic") || family.labels.contains(&"group")
}

/// Whether the renderer draws a family; the others come from the process itself.
fn is_drawn(family: &MetricFamily) -> bool {
    family.id <= MetricId::Objects
}

impl Renderer {
    /// A renderer that has no page yet.
    #[must_use]
    pub fn new(options: RenderOptions) -> Self {
        let RenderOptions { granularity, naming, max_series, constant_labels, instance_tags } = options;
        let shown = |f: &&MetricFamily| match granularity {
            Granularity::Partition => true,
            Granularity::Topic => !f.is_per_partition(),
            Granularity::Group => !f.is_per_topic(),
        };
        let constant = usable_labels(constant_labels);
        let headers = FAMILIES.iter().map(|f| {
            let mut text = Vec::new();
            push_header(&mut text, f.id, naming);
            Chunk::new(text.into(), 0)
        });
        Self {
            max_series,
            tags: tag_labels(instance_tags),
            shown: FamilySet::of(FAMILIES.iter().filter(|f| is_drawn(f)).filter(shown).map(|f| f.id)),
            headers: headers.collect(),
            fleet: TextWriter::new(naming, &constant, true),
            objects: TextWriter::new(naming, &constant, false),
            packer: None,
            kept: RenderCache::default(),
        }
    }

    /// The page of a snapshot, compressed as well: a reader copies and nothing else.
    #[must_use]
    pub fn render(&mut self, snapshot: &Snapshot) -> Exposition {
        let page = self.render_uncompressed(snapshot);
        page.pack(&mut self.packer);
        page
    }

    /// The page of a snapshot. What is not compressed yet is so when a reader first asks for it.
    #[must_use]
    pub fn render_uncompressed(&mut self, snapshot: &Snapshot) -> Exposition {
        self.fleet.want(self.shown);
        for region in &snapshot.regions {
            series::region(region, &mut self.fleet);
            for instance in &region.instances {
                series::instance(instance, &self.tags, &mut self.fleet);
            }
        }
        let cut = self.cut(snapshot);
        self.kept.cutoff = cut.cutoff;
        let mut before = mem::take(&mut self.kept.instances);
        let mut instances = Vec::new();
        for view in snapshot.regions.iter().flat_map(|r| &r.instances) {
            let key = (view.account.clone(), view.region.clone(), view.id.clone());
            let drawn = self.instance(view, cut.cutoff, before.remove(&key));
            instances.push((key, drawn));
        }
        let segments = self.assemble(&mut instances);
        self.kept.instances = instances.into_iter().collect();
        Exposition::new(segments, cut.series)
    }

    /// Decides what is left out of the page.
    fn cut(&self, snapshot: &Snapshot) -> SeriesCut {
        let Some(max) = self.max_series else { return SeriesCut::default() };
        let mut objects = Vec::new();
        for instance in snapshot.regions.iter().flat_map(|r| &r.instances) {
            let count = |draw: &dyn Fn(&mut SeriesCounter)| {
                let mut count = SeriesCounter { wanted: self.shown, series: 0 };
                draw(&mut count);
                count.series
            };
            objects
                .extend(instance.topics.iter().map(|t| (t.discovery_order, count(&|c| series::topic(t, c)))));
            objects
                .extend(instance.groups.iter().map(|g| (g.discovery_order, count(&|c| series::group(g, c)))));
        }
        limit::cut(max, self.fleet.series(), objects, self.kept.cutoff)
    }

    /// The topics and groups of an instance, drawn as far as they are not what they were.
    fn instance(
        &mut self,
        view: &Arc<InstanceView>,
        cutoff: Option<u64>,
        before: Option<RenderedInstance>,
    ) -> RenderedInstance {
        let dirty = match &before {
            Some(b) => changed(&b.view, b.cutoff, view, cutoff).and(self.shown),
            None => {
                FamilySet::of(FAMILIES.iter().filter(|f| is_object_family(f)).map(|f| f.id)).and(self.shown)
            }
        };
        let mut old = before.map(|b| b.pieces).unwrap_or_default();
        if dirty.is_empty() {
            return RenderedInstance { view: Arc::clone(view), cutoff, pieces: old };
        }
        let out = &mut self.objects;
        for (id, piece) in &old {
            if dirty.has(*id) {
                // A little more than before, as offsets grow by a digit at a time.
                out.reserve(*id, piece.plain().len() + piece.plain().len() / 64);
            }
        }
        out.want(dirty);
        draw_objects(view, cutoff, out);
        let mut pieces = Vec::new();
        for id in FAMILIES.iter().map(|f| f.id) {
            let at = old.iter().position(|(i, _)| *i == id);
            let piece = at.map(|at| old.swap_remove(at).1);
            let piece = if dirty.has(id) { keep_if_equal(out.take(id), piece) } else { piece };
            pieces.extend(piece.map(|p| (id, p)));
        }
        RenderedInstance { view: Arc::clone(view), cutoff, pieces }
    }

    /// Puts the pieces into the order of the page.
    fn assemble(&mut self, instances: &mut [(Key, RenderedInstance)]) -> Vec<Chunk> {
        let mut page = Vec::new();
        let mut before = mem::take(&mut self.kept.joined);
        for family in FAMILIES.iter().filter(|f| self.shown.has(f.id)) {
            let id = family.id;
            if is_object_family(family) {
                let before = before.remove(&id).unwrap_or_default();
                let mut row = ChunkMerger {
                    id,
                    before,
                    joined: Vec::new(),
                    small: Vec::new(),
                    waiting: 0,
                    out: Vec::new(),
                };
                for at in 0..instances.len() {
                    row.add(at, instances);
                }
                row.close(instances);
                if !row.out.is_empty() {
                    page.extend(self.headers.get(id as usize).cloned());
                    page.append(&mut row.out);
                    self.kept.joined.insert(id, row.joined);
                }
            } else {
                let before = self.kept.fleet.remove(&id);
                if let Some(segment) = keep_if_equal(self.fleet.take(id), before) {
                    page.push(segment.clone());
                    self.kept.fleet.insert(id, segment);
                }
            }
        }
        page
    }
}

/// The pieces of one family, in order, small ones joined.
struct ChunkMerger {
    id: MetricId,
    before: Vec<MergedChunk>,
    joined: Vec<MergedChunk>,
    /// Which instances' pieces are to be joined next.
    small: Vec<usize>,
    /// How long those are together, in bytes.
    waiting: usize,
    out: Vec<Chunk>,
}

impl ChunkMerger {
    fn add(&mut self, at: usize, instances: &mut [(Key, RenderedInstance)]) {
        let Some(piece) = instances.get(at).and_then(|(_, i)| i.piece(self.id)) else { return };
        if piece.plain().len() >= SMALL {
            let piece = piece.clone();
            self.close(instances);
            self.out.push(piece);
            return;
        }
        self.small.push(at);
        self.waiting += piece.plain().len();
        if self.waiting >= JOINED {
            self.close(instances);
        }
    }

    fn close(&mut self, instances: &mut [(Key, RenderedInstance)]) {
        let small = mem::take(&mut self.small);
        self.waiting = 0;
        let pieces: Vec<Chunk> =
            small.iter().filter_map(|at| instances.get(*at)?.1.piece(self.id).cloned()).collect();
        if pieces.len() < 2 {
            self.out.extend(pieces);
            return;
        }
        let same = |j: &MergedChunk| {
            j.members.len() == pieces.len() && j.members.iter().zip(&pieces).all(|(a, b)| a.is(b))
        };
        if let Some(at) = self.before.iter().position(same) {
            let joined = self.before.swap_remove(at);
            self.out.push(joined.segment.clone());
            self.joined.push(joined);
            return;
        }
        let mut text = BytesMut::with_capacity(pieces.iter().map(|p| p.plain().len()).sum());
        for piece in &pieces {
            text.extend_from_slice(piece.plain());
        }
        let segment = Chunk::new(text.freeze(), pieces.iter().map(Chunk::series).sum());
        // The pieces become views into what they were joined to, so that their text is held once.
        let mut members = Vec::with_capacity(pieces.len());
        let mut from = 0;
        for (at, piece) in small.iter().zip(&pieces) {
            let to = from + piece.plain().len();
            let member = Chunk::new(segment.plain().slice(from..to), piece.series());
            if let Some((_, instance)) = instances.get_mut(*at) {
                instance.replace(self.id, member.clone());
            }
            members.push(member);
            from = to;
        }
        self.out.push(segment.clone());
        self.joined.push(MergedChunk { members, segment });
    }
}

impl RenderedInstance {
    fn piece(&self, id: MetricId) -> Option<&Chunk> {
        self.pieces.iter().find(|(i, _)| *i == id).map(|(_, piece)| piece)
    }

    fn replace(&mut self, id: MetricId, piece: Chunk) {
        if let Some((_, old)) = self.pieces.iter_mut().find(|(i, _)| *i == id) {
            *old = piece;
        }
    }
}

fn draw_objects(view: &InstanceView, cutoff: Option<u64>, out: &mut TextWriter) {
    use series::SeriesSink as _;
    out.enter_region(view.account.as_ref(), &view.region);
    out.enter_instance(&view.id);
    let shown = |since: u64| cutoff.is_none_or(|cutoff| since < cutoff);
    for topic in view.topics.iter().filter(|t| shown(t.discovery_order)) {
        series::topic(topic, out);
    }
    for group in view.groups.iter().filter(|g| shown(g.discovery_order)) {
        series::group(group, out);
    }
}

/// Which families of an instance may differ from what was drawn before.
fn changed(
    old: &Arc<InstanceView>,
    old_cutoff: Option<u64>,
    new: &Arc<InstanceView>,
    cutoff: Option<u64>,
) -> FamilySet {
    if Arc::ptr_eq(old, new) && old_cutoff == cutoff {
        return FamilySet::default();
    }
    let topics = same(kept_topics(old, old_cutoff), kept_topics(new, cutoff));
    let groups = same(kept_groups(old, old_cutoff), kept_groups(new, cutoff));
    let is_same = |f: &&MetricFamily| if f.labels.contains(&"group") { groups } else { topics };
    FamilySet::of(FAMILIES.iter().filter(|f| is_object_family(f) && !is_same(f)).map(|f| f.id))
}

fn kept_topics(view: &InstanceView, cutoff: Option<u64>) -> impl Iterator<Item = &Arc<TopicView>> {
    view.topics.iter().filter(move |t| cutoff.is_none_or(|cutoff| t.discovery_order < cutoff))
}

fn kept_groups(view: &InstanceView, cutoff: Option<u64>) -> impl Iterator<Item = &Arc<GroupView>> {
    view.groups.iter().filter(move |g| cutoff.is_none_or(|cutoff| g.discovery_order < cutoff))
}

/// Whether two lists are of the same allocations.
fn same<'a, T: 'a>(a: impl Iterator<Item = &'a Arc<T>>, mut b: impl Iterator<Item = &'a Arc<T>>) -> bool {
    a.into_iter().all(|a| b.next().is_some_and(|b| Arc::ptr_eq(a, b))) && b.next().is_none()
}

/// The piece before if it says the same, so that its compressed form is kept; `None` if there is nothing.
fn keep_if_equal(sheet: FamilyText, before: Option<Chunk>) -> Option<Chunk> {
    if sheet.text.is_empty() {
        return None;
    }
    Some(before.filter(|b| *b.plain() == sheet.text).unwrap_or_else(|| {
        // Pages live long: give back what was reserved in vain.
        Chunk::new(Bytes::from(sheet.text.into_boxed_slice()), sheet.series)
    }))
}

/// The labels that every series can have.
pub(super) fn usable_labels(labels: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut usable: Vec<(String, String)> = Vec::new();
    for (name, value) in labels {
        if catalog::is_free_label(&name) && usable.iter().all(|(n, _)| *n != name) {
            usable.push((name, value));
        }
    }
    usable
}

/// The allowed keys with their label names.
fn tag_labels(keys: Vec<String>) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    for key in keys {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let label = format!("tag_{}", key.chars().map(plain).collect::<String>());
        if labels.iter().all(|(_, l)| *l != label) {
            labels.push((key, label));
        }
    }
    labels
}
