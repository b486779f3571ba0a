//! A byte stream that keeps the deadlines of its connection.
//!
//! hyper polls for reading while it waits for a request and for writing while it has something to send, so
//! the deadlines live where these polls arrive: the head and idle deadlines in `poll_read`, the write
//! deadline in the polls for writing. Nothing else needs a timer.

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
    HttpLimits, HttpObserver,
    progress::{ConnectionProgress, ReadWait},
    reason,
};

/// After the last byte of an answer, how long bytes of the client that nobody wants are still read. Closing
/// a socket with unread bytes resets it, and the client might lose the answer that explains why.
const LINGER: Duration = Duration::from_millis(500);
/// Most bytes read so.
const LINGER_BYTES: usize = 256 * 1024;

/// A stream with deadlines.
pub(super) struct DeadlineStream<IO> {
    io: IO,
    progress: Arc<ConnectionProgress>,
    observer: Arc<dyn HttpObserver>,
    limits: HttpLimits,
    read_timer: DeadlineTimer,
    write_timer: DeadlineTimer,
    /// When the answer that is being sent must have been sent.
    write_deadline: Option<Instant>,
    /// Whether the client may have sent more than has been read.
    unread: bool,
    linger: Option<(Instant, usize)>,
}

impl<IO> DeadlineStream<IO> {
    pub(super) fn new(
        io: IO,
        progress: Arc<ConnectionProgress>,
        observer: Arc<dyn HttpObserver>,
        limits: HttpLimits,
    ) -> Self {
        Self {
            io,
            progress,
            observer,
            limits,
            read_timer: DeadlineTimer(None),
            write_timer: DeadlineTimer(None),
            write_deadline: None,
            unread: false,
            linger: None,
        }
    }

    /// What has been waited for beyond its deadline. If nothing, the task is woken at the deadline.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<ReadWait> {
        let (waiting, deadline) = self.progress.waiting()?;
        self.read_timer.is_over(cx, deadline).then_some(waiting)
    }

    /// Lets the result of a poll for writing pass, unless the deadline is over.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let limit = self.limits.write_timeout;
        let deadline = *self.write_deadline.get_or_insert_with(|| Instant::now() + limit);
        let over = match polled {
            Poll::Pending => self.write_timer.is_over(cx, deadline),
            Poll::Ready(_) => Instant::now() >= deadline,
        };
        if over {
            self.observer.rejected(reason::WRITE_TIMEOUT);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason::WRITE_TIMEOUT)));
        }
        polled
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
            self.unread = !bytes.is_empty();
            self.progress.received(bytes);
            return polled;
        };
        self.unread = false;
        match self.overdue(cx) {
            None => Poll::Pending,
            Some(ReadWait::Request) => {
                self.observer.rejected(reason::HEADER_TIMEOUT);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason::HEADER_TIMEOUT)))
            }
            // As if the client had closed: hyper then ends the connection in peace.
            Some(ReadWait::NextRequest) => Poll::Ready(Ok(())),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for DeadlineStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.in_time(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.in_time(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        // hyper also flushes when it has sent nothing; only an answer has a deadline.
        if self.write_deadline.is_none() {
            return polled;
        }
        ready!(self.in_time(cx, polled))?;
        if self.progress.flushed() {
            self.write_deadline = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.in_time(cx, polled))?;
            if !this.unread && !this.progress.refuses_bytes() {
                return Poll::Ready(Ok(()));
            }
        }
        let (deadline, left) = this.linger.get_or_insert((Instant::now() + LINGER, LINGER_BYTES));
        let mut scratch = [0; 4096];
        while *left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => break,
                Poll::Ready(Ok(())) => *left = left.saturating_sub(buf.filled().len()),
                Poll::Ready(Err(_)) => break,
                Poll::Pending if this.read_timer.is_over(cx, *deadline) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// One sleep, made when first needed and moved from deadline to deadline.
struct DeadlineTimer(Option<Pin<Box<Sleep>>>);

impl DeadlineTimer {
    /// Whether `deadline` is over; if not, the task is woken when it is.
    fn is_over(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}
