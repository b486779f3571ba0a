//! A page as a list of shared pieces, plain and as one gzip stream.
//!
//! Owns: pieces that are compressed once and for themselves, and how a single valid gzip member is put
//! together from them: each piece is raw deflate that ends on a byte boundary without ending the stream,
//! and checksums of pieces combine. Refuses: knowing what the text says.

use std::{
    iter,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

/// Magic, deflate, no flags, no time, fastest, unknown system (RFC 1952).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// An empty final block (RFC 1951): what ends the stream that pieces leave open.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A piece of a page: whole lines, immutable, cheap to share.
#[derive(Debug, Clone)]
pub(super) struct Chunk(Arc<ChunkData>);

#[derive(Debug)]
struct ChunkData {
    plain: Bytes,
    series: u64,
    packed: OnceLock<DeflatedChunk>,
}

/// The compressed form of a piece.
#[derive(Debug, Clone)]
struct DeflatedChunk {
    deflated: Bytes,
    crc: crc32fast::Hasher,
}

impl Chunk {
    pub(super) fn new(plain: Bytes, series: u64) -> Self {
        Self(Arc::new(ChunkData { plain, series, packed: OnceLock::new() }))
    }

    pub(super) fn plain(&self) -> &Bytes {
        &self.0.plain
    }

    pub(super) fn series(&self) -> u64 {
        self.0.series
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn packed(&self, packer: &mut Option<ChunkCompressor>) -> &DeflatedChunk {
        self.0.packed.get_or_init(|| packer.get_or_insert_default().pack(&self.0.plain))
    }
}

/// Compresses pieces one after another with the same working memory.
#[derive(Debug)]
pub(super) struct ChunkCompressor {
    deflate: Compress,
    scratch: Vec<u8>,
}

impl Default for ChunkCompressor {
    fn default() -> Self {
        Self { deflate: Compress::new(Compression::new(1), false), scratch: Vec::new() }
    }
}

impl ChunkCompressor {
    fn pack(&mut self, plain: &[u8]) -> DeflatedChunk {
        let mut crc = crc32fast::Hasher::new();
        crc.update(plain);
        let deflated = match self.deflate(plain) {
            Some(()) => Bytes::copy_from_slice(&self.scratch),
            None => stored(plain),
        };
        DeflatedChunk { deflated, crc }
    }

    /// Deflates into the scratch; `None` if the compressor gives up.
    fn deflate(&mut self, plain: &[u8]) -> Option<()> {
        self.deflate.reset();
        self.scratch.clear();
        loop {
            let read = usize::try_from(self.deflate.total_in()).ok()?;
            let left = plain.get(read..)?;
            self.scratch.reserve(left.len() / 8 + 1024);
            self.deflate.compress_vec(left, &mut self.scratch, FlushCompress::Sync).ok()?;
            let all_read = self.deflate.total_in() == plain.len() as u64;
            // Room left over means that the compressor had nothing more to say.
            if all_read && self.scratch.len() < self.scratch.capacity() {
                return Some(());
            }
        }
    }
}

/// Raw deflate without compression: what remains should the compressor refuse its work.
fn stored(plain: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 65_535 * 5 + 5);
    for block in plain.chunks(65_535) {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.into()
}

/// One page. Cheap to clone; a reader of an old page keeps it alive.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    body: Arc<ExpositionBody>,
    tail: Option<Chunk>,
}

#[derive(Debug, Default)]
struct ExpositionBody {
    segments: Vec<Chunk>,
    plain_len: usize,
    dropped_series: u64,
    crc: OnceLock<crc32fast::Hasher>,
}

impl Exposition {
    pub(super) fn new(segments: Vec<Chunk>, dropped_series: u64) -> Self {
        let plain_len = segments.iter().map(|s| s.plain().len()).sum();
        Self {
            body: Arc::new(ExpositionBody { segments, plain_len, dropped_series, crc: OnceLock::new() }),
            tail: None,
        }
    }

    /// The same page with more text at its end. The text must be whole lines of families that the page
    /// does not have; it is not counted in [`Self::series_count`].
    #[must_use]
    pub fn with_appended_text(&self, text: impl Into<Bytes>) -> Self {
        Self { body: Arc::clone(&self.body), tail: Some(Chunk::new(text.into(), 0)) }
    }

    /// How many series of the fleet the page holds.
    #[must_use]
    pub fn series_count(&self) -> u64 {
        self.body.segments.iter().map(Chunk::series).sum()
    }

    /// How many series were left out to stay within the limit.
    #[must_use]
    pub fn dropped_series(&self) -> u64 {
        self.body.dropped_series
    }

    /// The length of the plain text, in bytes.
    #[must_use]
    pub fn plain_len(&self) -> usize {
        self.body.plain_len + self.tail.as_ref().map_or(0, |t| t.plain().len())
    }

    /// The plain text in pieces that are shared with the page.
    pub fn plain_chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.segments().map(|s| s.plain().clone())
    }

    /// The page as one gzip member, in pieces; those of the fleet are shared with the page.
    pub fn gzip_chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut packer = None;
        let mut crc = self.body_crc(&mut packer).clone();
        let mut pieces: Vec<Bytes> = vec![Bytes::from_static(&GZIP_HEADER)];
        pieces.extend(self.body.segments.iter().map(|s| s.packed(&mut packer).deflated.clone()));
        if let Some(tail) = &self.tail {
            let tail = tail.packed(&mut packer);
            crc.combine(&tail.crc);
            pieces.push(tail.deflated.clone());
        }
        pieces.push(Bytes::from(self.trailer(&crc)));
        pieces.into_iter()
    }

    /// Compresses what is not compressed yet, so that no reader has to. Idempotent.
    pub(super) fn pack(&self, packer: &mut Option<ChunkCompressor>) {
        self.body_crc(packer);
    }

    fn body_crc(&self, packer: &mut Option<ChunkCompressor>) -> &crc32fast::Hasher {
        self.body.crc.get_or_init(|| {
            let mut crc = crc32fast::Hasher::new();
            for segment in &self.body.segments {
                crc.combine(&segment.packed(packer).crc);
            }
            crc
        })
    }

    fn trailer(&self, crc: &crc32fast::Hasher) -> Vec<u8> {
        // The format keeps the length modulo 2^32.
        let [a, b, c, d, ..] = (self.plain_len() as u64).to_le_bytes();
        let mut out = DEFLATE_END.to_vec();
        out.extend_from_slice(&crc.clone().finalize().to_le_bytes());
        out.extend_from_slice(&[a, b, c, d]);
        out
    }

    fn segments(&self) -> impl Iterator<Item = &Chunk> {
        self.body.segments.iter().chain(iter::once(&self.tail).flatten())
    }
}
