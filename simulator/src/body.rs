//! Response bodies with delivery faults: complete, dripping, hanging, cut, reset, or endless.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::faults::Effect;

/// One step of a body.
enum BodyStep {
    Data(Bytes),
    /// This many spaces.
    Spaces(u64),
    Wait(Duration),
    Hang,
    /// Closes the connection before the declared length is reached.
    Close,
    /// Resets the connection before the declared length is reached.
    Reset,
}

/// Runs when the last byte is handed to the connection.
pub(crate) type OnComplete = Box<dyn FnOnce() + Send>;

/// A body as a list of steps.
pub(crate) struct ScriptedBody {
    steps: VecDeque<BodyStep>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Declared length; a body without one is chunked.
    length: Option<u64>,
    on_complete: Option<OnComplete>,
    /// Set if the connection must end with a reset.
    reset: Arc<AtomicBool>,
}

const SPACES: &[u8] = &[b' '; 64 * 1024];
/// Wait that lets written data reach the peer before the connection ends.
const FLUSH: Duration = Duration::from_millis(20);

impl ScriptedBody {
    /// Returns a body with the delivery fault of an effect, if any.
    pub(crate) fn new(
        bytes: Vec<u8>,
        delivery: Option<&Effect>,
        on_complete: Option<OnComplete>,
        reset: &Arc<AtomicBool>,
    ) -> Self {
        let bytes = Bytes::from(bytes);
        let length = bytes.len() as u64;
        let cut = |at: usize, last: BodyStep| {
            let at = at.min(bytes.len());
            let steps = VecDeque::from([BodyStep::Data(bytes.slice(..at)), BodyStep::Wait(FLUSH), last]);
            // Declares at least one byte more than is sent, even if the cut is at the end. Never completes.
            (steps, Some(length.max(at as u64 + 1)), None)
        };
        let (steps, length, on_complete) = match delivery {
            Some(Effect::CutBody(at)) => cut(*at, BodyStep::Close),
            Some(Effect::ResetBody(at)) => cut(*at, BodyStep::Reset),
            Some(Effect::HangBody(at)) => cut(*at, BodyStep::Hang),
            Some(Effect::Drip(interval)) => {
                let byte = |i| [BodyStep::Wait(*interval), BodyStep::Data(bytes.slice(i..=i))];
                ((0..bytes.len()).flat_map(byte).collect(), Some(length), on_complete)
            }
            Some(Effect::Oversized { bytes: spaces, declared }) => {
                let steps = VecDeque::from([BodyStep::Spaces(*spaces), BodyStep::Data(bytes)]);
                (steps, declared.then_some(length + spaces), None)
            }
            _ if bytes.is_empty() => (VecDeque::new(), Some(0), None),
            _ => (VecDeque::from([BodyStep::Data(bytes)]), Some(length), on_complete),
        };
        Self { steps, timer: None, length, on_complete, reset: Arc::clone(reset) }
    }

    fn fail(&mut self) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.steps.clear();
        self.on_complete = None;
        Poll::Ready(Some(Err(io::Error::other("fault: body cut"))))
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        loop {
            if let Some(timer) = &mut this.timer {
                ready!(timer.as_mut().poll(cx));
                this.timer = None;
            }
            match this.steps.pop_front() {
                Some(BodyStep::Data(bytes)) => {
                    // Recorded before the bytes are sent, so that no client can read them earlier.
                    if this.steps.is_empty()
                        && let Some(on_complete) = this.on_complete.take()
                    {
                        on_complete();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(BodyStep::Spaces(0)) => {}
                Some(BodyStep::Spaces(n)) => {
                    let now = n.min(SPACES.len() as u64);
                    this.steps.push_front(BodyStep::Spaces(n - now));
                    let chunk = Bytes::from_static(SPACES).slice(..usize::try_from(now).unwrap_or(0));
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                Some(BodyStep::Wait(duration)) => this.timer = Some(Box::pin(sleep(duration))),
                Some(BodyStep::Hang) => {
                    this.steps.push_front(BodyStep::Hang);
                    return Poll::Pending;
                }
                Some(BodyStep::Close) => return this.fail(),
                Some(BodyStep::Reset) => {
                    this.reset.store(true, Ordering::Relaxed);
                    return this.fail();
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.timer.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
