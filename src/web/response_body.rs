//! The body of an answer: shared segments, sent without being copied.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::{ResponseContent, progress::ConnectionProgress};

/// Sends a [`ResponseContent`]; its drop tells the connection that hyper has all of it.
pub(super) struct ResponseBody {
    page: ResponseContent,
    /// The segment to send next.
    next: usize,
    /// Bytes not yet given to hyper.
    left: u64,
    progress: Arc<ConnectionProgress>,
}

impl ResponseBody {
    pub(super) fn new(page: ResponseContent, progress: Arc<ConnectionProgress>) -> Self {
        Self { next: 0, left: page.len, page, progress }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(segment) = self.page.segments.get(self.next).cloned() {
            self.next += 1;
            if !segment.is_empty() {
                self.left = self.left.saturating_sub(segment.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(segment))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.progress.body_ended();
    }
}
