//! Byte stream that enforces the deadlines of its connection.
//!
//! hyper polls for reading while it waits for a request, and for writing while it sends a response. So the read
//! deadlines are checked in `poll_read` and the write deadline in the polls for writing; no other timer is needed.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, Sleep, sleep_until},
};

use super::{
    connection_progress::{ConnectionProgress, ReadWait},
    reason,
};

/// Time after a response during which unwanted input is still read. Closing a socket with unread input resets it, and
/// the client might lose the response that explains the rejection.
const LINGER: Duration = Duration::from_millis(500);
/// Maximum number of bytes read after a response.
const LINGER_BYTES: usize = 256 * 1024;

/// Stream with deadlines.
pub(super) struct DeadlineStream<IO> {
    io: IO,
    progress: Arc<ConnectionProgress>,
    read_timer: DeadlineTimer,
    write_timer: DeadlineTimer,
    /// Deadline of the response that is being sent.
    write_deadline: Option<Instant>,
    /// Whether the client may have sent more than has been read.
    has_unread_input: bool,
    /// Deadline and remaining bytes of reading after a response.
    linger: Option<(Instant, usize)>,
}

impl<IO> DeadlineStream<IO> {
    pub(super) fn new(io: IO, progress: Arc<ConnectionProgress>) -> Self {
        Self {
            io,
            progress,
            read_timer: DeadlineTimer(None),
            write_timer: DeadlineTimer(None),
            write_deadline: None,
            has_unread_input: false,
            linger: None,
        }
    }

    /// Returns the awaited input if it is overdue; else wakes the task at the deadline.
    fn overdue_read(&mut self, cx: &mut Context<'_>) -> Option<ReadWait> {
        let (wait, deadline) = self.progress.read_deadline()?;
        self.read_timer.has_passed(cx, deadline).then_some(wait)
    }

    /// Passes the result of a poll for writing, or fails if the deadline has passed.
    fn unless_overdue<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let timeout = self.progress.limits.write_timeout;
        let deadline = *self.write_deadline.get_or_insert_with(|| Instant::now() + timeout);
        let has_passed = match polled {
            Poll::Pending => self.write_timer.has_passed(cx, deadline),
            Poll::Ready(_) => Instant::now() >= deadline,
        };
        if has_passed { Poll::Ready(Err(self.timed_out(reason::WRITE_TIMEOUT))) } else { polled }
    }

    fn timed_out(&self, reason: &'static str) -> io::Error {
        self.progress.observer.rejected(reason);
        io::Error::new(io::ErrorKind::TimedOut, reason)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for DeadlineStream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let Poll::Pending = polled else {
            let bytes = buf.filled().get(before..).unwrap_or_default();
            self.has_unread_input = !bytes.is_empty();
            self.progress.on_received(bytes);
            return polled;
        };
        self.has_unread_input = false;
        match self.overdue_read(cx) {
            None => Poll::Pending,
            Some(ReadWait::Request) => Poll::Ready(Err(self.timed_out(reason::HEADER_TIMEOUT))),
            // As if the client had closed the connection, which hyper then ends without an error.
            Some(ReadWait::NextRequest) => Poll::Ready(Ok(())),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for DeadlineStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.unless_overdue(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.unless_overdue(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        // hyper also flushes when it has sent nothing; only a response has a deadline.
        if self.write_deadline.is_none() {
            return polled;
        }
        ready!(self.unless_overdue(cx, polled))?;
        if self.progress.on_flushed() {
            self.write_deadline = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.unless_overdue(cx, polled))?;
            if !this.has_unread_input && !this.progress.ignores_input() {
                return Poll::Ready(Ok(()));
            }
        }
        let (deadline, remaining) = this.linger.get_or_insert((Instant::now() + LINGER, LINGER_BYTES));
        let mut scratch = [0; 4096];
        while *remaining > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => break,
                Poll::Ready(Ok(())) => *remaining = remaining.saturating_sub(buf.filled().len()),
                Poll::Ready(Err(_)) => break,
                Poll::Pending if this.read_timer.has_passed(cx, *deadline) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Timer that is created on first use and reset for each deadline.
struct DeadlineTimer(Option<Pin<Box<Sleep>>>);

impl DeadlineTimer {
    /// Whether `deadline` has passed; else wakes the task at the deadline.
    fn has_passed(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}
