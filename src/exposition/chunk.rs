//! Immutable pieces of an exposition that are compressed once and shared.
//!
//! Owns: the compressed form of a chunk. It is raw deflate that ends on a byte boundary without ending the stream, so
//! that the compressed chunks of an exposition can be joined to one stream. Out of scope: gzip framing, see
//! [`super::Exposition`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// Complete lines of text. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Chunk(Arc<ChunkData>);

#[derive(Debug)]
struct ChunkData {
    text: Bytes,
    series: u64,
    compressed: OnceLock<CompressedChunk>,
}

/// Compressed form of a chunk.
#[derive(Debug)]
pub(super) struct CompressedChunk {
    pub(super) deflate: Bytes,
    /// Checksum of the text.
    pub(super) crc: Hasher,
}

impl Chunk {
    pub(super) fn new(text: Bytes, series: u64) -> Self {
        Self(Arc::new(ChunkData { text, series, compressed: OnceLock::new() }))
    }

    pub(super) fn text(&self) -> &Bytes {
        &self.0.text
    }

    /// Returns the number of series in the text.
    pub(super) fn series(&self) -> u64 {
        self.0.series
    }

    /// Whether both are the same allocation.
    pub(super) fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the compressed form, which is computed on first use.
    pub(super) fn compressed(&self, compressor: &mut ChunkCompressor) -> &CompressedChunk {
        self.0.compressed.get_or_init(|| {
            let mut crc = Hasher::new();
            crc.update(&self.0.text);
            CompressedChunk { deflate: compressor.compress(&self.0.text), crc }
        })
    }
}

/// Compressor whose working memory is reused for many chunks.
#[derive(Debug)]
pub(super) struct ChunkCompressor {
    deflate: Compress,
    buffer: Vec<u8>,
}

impl Default for ChunkCompressor {
    fn default() -> Self {
        Self { deflate: Compress::new(Compression::new(1), false), buffer: Vec::new() }
    }
}

impl ChunkCompressor {
    fn compress(&mut self, text: &[u8]) -> Bytes {
        match self.try_compress(text) {
            Some(()) => Bytes::copy_from_slice(&self.buffer),
            None => stored_blocks(text),
        }
    }

    /// Compresses into `buffer`; `None` if the compressor fails.
    fn try_compress(&mut self, text: &[u8]) -> Option<()> {
        self.deflate.reset();
        self.buffer.clear();
        loop {
            let consumed = usize::try_from(self.deflate.total_in()).ok()?;
            let rest = text.get(consumed..)?;
            self.buffer.reserve(rest.len() / 8 + 1024);
            self.deflate.compress_vec(rest, &mut self.buffer, FlushCompress::Sync).ok()?;
            let all_consumed = self.deflate.total_in() == text.len() as u64;
            // Spare capacity means that all output has been flushed.
            if all_consumed && self.buffer.len() < self.buffer.capacity() {
                return Some(());
            }
        }
    }
}

/// Returns the text as stored (uncompressed) deflate blocks: the fallback if the compressor fails.
fn stored_blocks(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + text.len() / 65_535 * 5 + 5);
    for block in text.chunks(65_535) {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.into()
}
