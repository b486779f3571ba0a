//! Renders a snapshot as an [`Exposition`] and reuses what did not change since the previous one. Pure.
//!
//! Owns: the order of the exposition, the metrics of each granularity, the reuse of text, and the limit on series.
//! Out of scope: I/O, clocks, and the expiry of data, which the snapshot has already decided.
//!
//! The order is that of the catalog, then account, region, instance, topic or group, and partition, in the order of
//! the snapshot. Metrics of regions and instances are a few lines and are always rendered again. Metrics of topics
//! and groups are cached as one chunk per metric and instance, which is rendered again only if a topic or a group of
//! the instance is another allocation. A chunk with unchanged text keeps its compressed form. Chunks of small
//! instances are merged, so that an exposition of many instances consists of few chunks.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{
    Exposition,
    catalog::{self, FAMILIES, MetricFamily, MetricId, MetricSet},
    chunk::{Chunk, ChunkCompressor},
    limit::{self, LimitOutcome},
    series::{self, SeriesCounter, SeriesSink as _},
    text::{MetricText, TextWriter, push_header},
};
use crate::{
    model::{AccountName, Granularity, InstanceId, RegionId, RenderOptions},
    snapshot::{GroupView, InstanceView, Snapshot, TopicView},
};

/// Chunks with fewer bytes are merged with their neighbours.
const SMALL_CHUNK_BYTES: usize = 8 * 1024;

/// Size at which a merged chunk takes no further chunks, in bytes.
const MERGED_CHUNK_BYTES: usize = 64 * 1024;

/// Renderer of snapshots. It caches the previous exposition.
#[derive(Debug)]
pub struct Renderer {
    max_series: Option<u64>,
    /// Tag keys and their label names.
    tags: Vec<(String, String)>,
    enabled: MetricSet,
    /// HELP and TYPE lines of every metric.
    headers: Vec<Chunk>,
    /// Writer of the metrics of regions and instances.
    fleet_writer: TextWriter,
    /// Writer of the metrics of topics and groups.
    object_writer: TextWriter,
    compressor: ChunkCompressor,
    cache: RenderCache,
}

/// Parts of the previous exposition.
#[derive(Debug, Default)]
struct RenderCache {
    fleet: HashMap<MetricId, Chunk>,
    instances: HashMap<InstanceKey, RenderedInstance>,
    merged: HashMap<MetricId, Vec<MergedChunk>>,
    cutoff: Option<u64>,
}

type InstanceKey = (Option<AccountName>, RegionId, InstanceId);

/// Text of the topics and groups of one instance.
#[derive(Debug)]
struct RenderedInstance {
    view: Arc<InstanceView>,
    cutoff: Option<u64>,
    chunks: BTreeMap<MetricId, Chunk>,
}

/// Several chunks of one metric as one.
#[derive(Debug)]
struct MergedChunk {
    parts: Vec<Chunk>,
    chunk: Chunk,
}

fn is_about_objects(family: &MetricFamily) -> bool {
    family.is_per_topic() || family.is_per_group()
}

impl Renderer {
    /// Creates a renderer with an empty cache.
    #[must_use]
    pub fn new(options: RenderOptions) -> Self {
        let RenderOptions { granularity, naming, max_series, constant_labels, instance_tags } = options;
        let is_enabled = |family: &MetricFamily| {
            let is_fine_enough = match granularity {
                Granularity::Partition => true,
                Granularity::Topic => !family.is_per_partition(),
                Granularity::Group => !family.is_per_topic(),
            };
            // The metrics after `Objects` come from the exporter process.
            is_fine_enough && family.id <= MetricId::Objects
        };
        let constant_labels = allowed_labels(constant_labels);
        let headers = FAMILIES.iter().map(|family| {
            let mut text = Vec::new();
            push_header(&mut text, family.id, naming);
            Chunk::new(text.into(), 0)
        });
        Self {
            max_series,
            tags: tag_labels(instance_tags),
            enabled: MetricSet::matching(is_enabled),
            headers: headers.collect(),
            fleet_writer: TextWriter::new(naming, &constant_labels, true),
            object_writer: TextWriter::new(naming, &constant_labels, false),
            compressor: ChunkCompressor::default(),
            cache: RenderCache::default(),
        }
    }

    /// Renders a snapshot and compresses the result in advance, so that a scrape only copies memory.
    #[must_use]
    pub fn render(&mut self, snapshot: &Snapshot) -> Exposition {
        let exposition = self.render_uncompressed(snapshot);
        exposition.compress(&mut self.compressor);
        exposition
    }

    /// Renders a snapshot. What is not yet compressed is compressed by the first gzip scrape.
    #[must_use]
    pub fn render_uncompressed(&mut self, snapshot: &Snapshot) -> Exposition {
        self.fleet_writer.enable(self.enabled);
        for region in &snapshot.regions {
            series::emit_region(region, &mut self.fleet_writer);
            for instance in &region.instances {
                series::emit_instance(instance, &self.tags, &mut self.fleet_writer);
            }
        }
        let LimitOutcome { cutoff, dropped_series } = self.apply_limit(snapshot);
        self.cache.cutoff = cutoff;
        let mut previous = mem::take(&mut self.cache.instances);
        let mut instances = Vec::new();
        for view in snapshot.regions.iter().flat_map(|r| &r.instances) {
            let key = (view.account.clone(), view.region.clone(), view.id.clone());
            let rendered = self.render_objects(view, cutoff, previous.remove(&key));
            instances.push((key, rendered));
        }
        let chunks = self.assemble(&mut instances);
        self.cache.instances = instances.into_iter().collect();
        Exposition::new(chunks, dropped_series)
    }

    fn apply_limit(&self, snapshot: &Snapshot) -> LimitOutcome {
        let Some(max) = self.max_series else { return LimitOutcome::default() };
        let mut objects = Vec::new();
        for instance in snapshot.regions.iter().flat_map(|r| &r.instances) {
            for topic in &instance.topics {
                let mut counter = SeriesCounter { enabled: self.enabled, series: 0 };
                series::emit_topic(topic, &mut counter);
                objects.push((topic.discovery_order, counter.series));
            }
            for group in &instance.groups {
                let mut counter = SeriesCounter { enabled: self.enabled, series: 0 };
                series::emit_group(group, &mut counter);
                objects.push((group.discovery_order, counter.series));
            }
        }
        limit::apply(max, self.fleet_writer.series(), objects, self.cache.cutoff)
    }

    /// Renders the topics and groups of an instance as far as they changed.
    fn render_objects(
        &mut self,
        view: &Arc<InstanceView>,
        cutoff: Option<u64>,
        previous: Option<RenderedInstance>,
    ) -> RenderedInstance {
        let changed = match &previous {
            Some(previous) => changed_metrics(previous, view, cutoff),
            None => MetricSet::matching(is_about_objects),
        };
        let changed = changed.intersection(self.enabled);
        let mut chunks = previous.map(|p| p.chunks).unwrap_or_default();
        if !changed.is_empty() {
            let writer = &mut self.object_writer;
            for (id, chunk) in chunks.iter().filter(|(id, _)| changed.contains(**id)) {
                // Slightly more than before, because offsets occasionally gain a digit.
                writer.reserve(*id, chunk.text().len() + chunk.text().len() / 64);
            }
            writer.enable(changed);
            emit_objects(view, cutoff, writer);
            for id in FAMILIES.iter().map(|f| f.id).filter(|id| changed.contains(*id)) {
                if let Some(chunk) = reuse_if_equal(writer.take(id), chunks.remove(&id)) {
                    chunks.insert(id, chunk);
                }
            }
        }
        RenderedInstance { view: Arc::clone(view), cutoff, chunks }
    }

    /// Puts all chunks into the order of the exposition.
    fn assemble(&mut self, instances: &mut [(InstanceKey, RenderedInstance)]) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut previous = mem::take(&mut self.cache.merged);
        for family in FAMILIES.iter().filter(|f| self.enabled.contains(f.id)) {
            let id = family.id;
            if is_about_objects(family) {
                let previous = previous.remove(&id).unwrap_or_default();
                let mut merger = ChunkMerger { previous, ..ChunkMerger::default() };
                merger.merge(instances.iter_mut().filter_map(|(_, i)| i.chunks.get_mut(&id)));
                if !merger.chunks.is_empty() {
                    chunks.extend(self.headers.get(id as usize).cloned());
                    chunks.append(&mut merger.chunks);
                    self.cache.merged.insert(id, merger.merged);
                }
            } else if let Some(chunk) =
                reuse_if_equal(self.fleet_writer.take(id), self.cache.fleet.remove(&id))
            {
                chunks.push(chunk.clone());
                self.cache.fleet.insert(id, chunk);
            }
        }
        chunks
    }
}

/// Merges the small chunks of one metric.
#[derive(Default)]
struct ChunkMerger {
    /// Merged chunks of the previous exposition.
    previous: Vec<MergedChunk>,
    merged: Vec<MergedChunk>,
    /// Result: merged and large chunks in order.
    chunks: Vec<Chunk>,
}

impl ChunkMerger {
    fn merge<'a>(&mut self, instance_chunks: impl Iterator<Item = &'a mut Chunk>) {
        let mut small: Vec<&mut Chunk> = Vec::new();
        let mut small_bytes = 0;
        for chunk in instance_chunks {
            let bytes = chunk.text().len();
            if bytes >= SMALL_CHUNK_BYTES {
                self.push_merged(mem::take(&mut small));
                small_bytes = 0;
                self.chunks.push(chunk.clone());
                continue;
            }
            small.push(chunk);
            small_bytes += bytes;
            if small_bytes >= MERGED_CHUNK_BYTES {
                self.push_merged(mem::take(&mut small));
                small_bytes = 0;
            }
        }
        self.push_merged(small);
    }

    /// Appends the chunks as one. They become slices of it, so that their text is in memory once.
    fn push_merged(&mut self, parts: Vec<&mut Chunk>) {
        if parts.len() < 2 {
            self.chunks.extend(parts.into_iter().map(|part| part.clone()));
            return;
        }
        let is_same = |previous: &MergedChunk| {
            previous.parts.len() == parts.len() && previous.parts.iter().zip(&parts).all(|(a, b)| a.ptr_eq(b))
        };
        let merged = match self.previous.iter().position(is_same) {
            Some(index) => self.previous.swap_remove(index),
            None => {
                let mut text = BytesMut::with_capacity(parts.iter().map(|part| part.text().len()).sum());
                parts.iter().for_each(|part| text.extend_from_slice(part.text()));
                let text = text.freeze();
                let mut start = 0;
                let mut slices = Vec::with_capacity(parts.len());
                let mut series = 0;
                for part in parts {
                    let end = start + part.text().len();
                    series += part.series();
                    *part = Chunk::new(text.slice(start..end), part.series());
                    slices.push(part.clone());
                    start = end;
                }
                MergedChunk { parts: slices, chunk: Chunk::new(text, series) }
            }
        };
        self.chunks.push(merged.chunk.clone());
        self.merged.push(merged);
    }
}

fn emit_objects(view: &InstanceView, cutoff: Option<u64>, writer: &mut TextWriter) {
    writer.enter_region(view.account.as_ref(), &view.region);
    writer.enter_instance(&view.id);
    for topic in shown_topics(view, cutoff) {
        series::emit_topic(topic, writer);
    }
    for group in shown_groups(view, cutoff) {
        series::emit_group(group, writer);
    }
}

/// Returns the metrics about topics and groups whose text may differ from the previous exposition.
fn changed_metrics(previous: &RenderedInstance, view: &Arc<InstanceView>, cutoff: Option<u64>) -> MetricSet {
    if Arc::ptr_eq(&previous.view, view) && previous.cutoff == cutoff {
        return MetricSet::default();
    }
    let (old, old_cutoff) = (&previous.view, previous.cutoff);
    let same_topics = same_allocations(shown_topics(old, old_cutoff), shown_topics(view, cutoff));
    let same_groups = same_allocations(shown_groups(old, old_cutoff), shown_groups(view, cutoff));
    MetricSet::matching(|family| {
        is_about_objects(family) && !(if family.is_per_group() { same_groups } else { same_topics })
    })
}

/// Returns the topics that the limit does not leave out.
fn shown_topics(view: &InstanceView, cutoff: Option<u64>) -> impl Iterator<Item = &Arc<TopicView>> {
    view.topics.iter().filter(move |t| cutoff.is_none_or(|cutoff| t.discovery_order < cutoff))
}

/// Returns the groups that the limit does not leave out.
fn shown_groups(view: &InstanceView, cutoff: Option<u64>) -> impl Iterator<Item = &Arc<GroupView>> {
    view.groups.iter().filter(move |g| cutoff.is_none_or(|cutoff| g.discovery_order < cutoff))
}

fn same_allocations<'a, T: 'a>(
    a: impl Iterator<Item = &'a Arc<T>>,
    b: impl Iterator<Item = &'a Arc<T>>,
) -> bool {
    a.map(Arc::as_ptr).eq(b.map(Arc::as_ptr))
}

/// Returns the previous chunk if its text is the same, because it may be compressed already. `None` if the text is
/// empty.
fn reuse_if_equal(new: MetricText, previous: Option<Chunk>) -> Option<Chunk> {
    if new.text.is_empty() {
        return None;
    }
    if let Some(previous) = previous.filter(|p| *p.text() == new.text) {
        return Some(previous);
    }
    // Shrunk to fit, because an exposition is kept for a long time.
    Some(Chunk::new(Bytes::from(new.text.into_boxed_slice()), new.series))
}

/// Returns the labels that every series may have.
pub(super) fn allowed_labels(labels: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut allowed: Vec<(String, String)> = Vec::new();
    for (name, value) in labels {
        if catalog::is_allowed_constant_label(&name) && allowed.iter().all(|(n, _)| *n != name) {
            allowed.push((name, value));
        }
    }
    allowed
}

/// Returns each tag key with its label name.
fn tag_labels(keys: Vec<String>) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    for key in keys {
        let label = format!("tag_{}", key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        if labels.iter().all(|(_, l)| *l != label) {
            labels.push((key, label));
        }
    }
    labels
}
