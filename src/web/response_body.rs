//! Body of a response.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::{ResponseContent, connection_progress::ConnectionProgress};

/// Sends a [`ResponseContent`]. Its drop reports to the connection that hyper has all of it.
pub(super) struct ResponseBody {
    content: ResponseContent,
    next_segment: usize,
    /// Bytes not yet passed to hyper.
    remaining: u64,
    progress: Arc<ConnectionProgress>,
}

impl ResponseBody {
    pub(super) fn new(content: ResponseContent, progress: Arc<ConnectionProgress>) -> Self {
        Self { next_segment: 0, remaining: content.len, content, progress }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(segment) = self.content.segments.get(self.next_segment).cloned() {
            self.next_segment += 1;
            if !segment.is_empty() {
                self.remaining = self.remaining.saturating_sub(segment.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(segment))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.progress.on_body_passed();
    }
}
