//! The metrics in the Prometheus text format.
//!
//! Owns: the [`catalog`] of all metrics, the [`Renderer`] that turns a [`Snapshot`] into an [`Exposition`], the gzip
//! form of an exposition, and the [`SelfMetrics`] of the exporter. Out of scope: I/O, clocks, the API and HTTP.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use crc32fast::Hasher;

pub mod catalog;
mod chunk;
mod limit;
pub mod publisher;
pub mod render;
pub mod self_metrics;
mod series;
mod text;
mod value;

use chunk::{Chunk, ChunkCompressor};

pub use render::Renderer;
pub use self_metrics::SelfMetrics;

/// Header of a gzip member (RFC 1952): deflate, no flags, no time, fastest compression, unknown system.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Empty final deflate block (RFC 1951), which ends the stream that the chunks leave open.
const DEFLATE_END: &[u8] = &[3, 0];

/// Body of a metrics response as shared chunks, plain or as one gzip member. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    fleet: Arc<FleetExposition>,
    appended: Option<Chunk>,
}

/// The part about the monitored fleet.
#[derive(Debug, Default)]
struct FleetExposition {
    chunks: Vec<Chunk>,
    dropped_series: u64,
    crc: OnceLock<Hasher>,
}

impl Exposition {
    fn new(chunks: Vec<Chunk>, dropped_series: u64) -> Self {
        let fleet = FleetExposition { chunks, dropped_series, crc: OnceLock::new() };
        Self { fleet: Arc::new(fleet), appended: None }
    }

    /// Returns the same exposition followed by `text`: complete lines of other metrics. [`Self::series_count`] does
    /// not count them.
    #[must_use]
    pub fn with_appended_text(&self, text: impl Into<Bytes>) -> Self {
        Self { fleet: Arc::clone(&self.fleet), appended: Some(Chunk::new(text.into(), 0)) }
    }

    /// Returns the number of series about the monitored fleet.
    #[must_use]
    pub fn series_count(&self) -> u64 {
        self.fleet.chunks.iter().map(Chunk::series).sum()
    }

    /// Returns the number of series that the limit `metrics.max_series` left out.
    #[must_use]
    pub fn dropped_series(&self) -> u64 {
        self.fleet.dropped_series
    }

    /// Returns the length of the plain text in bytes.
    #[must_use]
    pub fn plain_len(&self) -> usize {
        self.chunks().map(|chunk| chunk.text().len()).sum()
    }

    /// Returns the plain text in shared pieces.
    pub fn plain_chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.chunks().map(|chunk| chunk.text().clone())
    }

    /// Returns the text as one gzip member, in pieces. Those of the fleet are shared.
    pub fn gzip_chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut compressor = ChunkCompressor::default();
        let mut crc = self.fleet_crc(&mut compressor).clone();
        if let Some(appended) = &self.appended {
            crc.combine(&appended.compressed(&mut compressor).crc);
        }
        let mut trailer = DEFLATE_END.to_vec();
        trailer.extend_from_slice(&crc.finalize().to_le_bytes());
        // The format keeps the length modulo 2^32.
        trailer.extend_from_slice(&(self.plain_len() as u64).to_le_bytes()[..4]);
        let compressed = self.chunks().map(move |chunk| chunk.compressed(&mut compressor).deflate.clone());
        std::iter::once(Bytes::from_static(GZIP_HEADER)).chain(compressed).chain([trailer.into()])
    }

    /// Compresses the fleet part in advance, so that no scrape has to.
    fn compress(&self, compressor: &mut ChunkCompressor) {
        self.fleet_crc(compressor);
    }

    fn fleet_crc(&self, compressor: &mut ChunkCompressor) -> &Hasher {
        self.fleet.crc.get_or_init(|| {
            let mut crc = Hasher::new();
            for chunk in &self.fleet.chunks {
                crc.combine(&chunk.compressed(compressor).crc);
            }
            crc
        })
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.fleet.chunks.iter().chain(&self.appended)
    }
}
