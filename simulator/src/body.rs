//! Answer bodies that misbehave as told: whole, dripping, hanging, cut, reset, or without end.

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

/// One step of a body.
pub(crate) enum BodyStep {
    Data(Bytes),
    /// So many bytes of blanks.
    Blanks(u64),
    Wait(Duration),
    Hang,
    /// Ends the connection, before the length that was declared.
    Close,
    /// The same, with a reset.
    Reset,
}

/// What happens once the last byte is handed over.
type AtEnd = Box<dyn FnOnce() + Send>;

/// A body as a list of steps.
pub(crate) struct ScriptedBody {
    steps: VecDeque<BodyStep>,
    waiting: Option<Pin<Box<Sleep>>>,
    exact: Option<u64>,
    at_end: Option<AtEnd>,
    /// Tells the connection to end with a reset.
    reset: Arc<AtomicBool>,
}

const BLANKS: &[u8] = &[b' '; 64 * 1024];
/// Lets what was written reach the peer before the connection ends.
const FLUSH: Duration = Duration::from_millis(20);

impl ScriptedBody {
    /// A whole body.
    pub(crate) fn whole(bytes: Vec<u8>, at_end: Option<AtEnd>) -> Self {
        let exact = Some(bytes.len() as u64);
        let steps =
            if bytes.is_empty() { VecDeque::new() } else { VecDeque::from([BodyStep::Data(bytes.into())]) };
        Self { steps, waiting: None, exact, at_end, reset: Arc::default() }
    }

    /// A body of steps. If it does not declare its length, it is chunked.
    pub(crate) fn stepped(
        steps: VecDeque<BodyStep>,
        exact: Option<u64>,
        at_end: Option<AtEnd>,
        reset: Arc<AtomicBool>,
    ) -> Self {
        Self { steps, waiting: None, exact, at_end, reset }
    }

    fn fail(&mut self) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.steps.clear();
        self.at_end = None;
        Poll::Ready(Some(Err(io::Error::other("fault: the answer is cut"))))
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
            if let Some(timer) = &mut this.waiting {
                ready!(timer.as_mut().poll(cx));
                this.waiting = None;
            }
            match this.steps.pop_front() {
                Some(BodyStep::Data(bytes)) => {
                    // ResponseTruth before the bytes go out, so that nobody can have read them and not find it told.
                    if this.steps.is_empty()
                        && let Some(at_end) = this.at_end.take()
                    {
                        at_end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(BodyStep::Blanks(0)) => {}
                Some(BodyStep::Blanks(n)) => {
                    let now = n.min(BLANKS.len() as u64);
                    this.steps.push_front(BodyStep::Blanks(n - now));
                    let chunk = Bytes::from_static(BLANKS).slice(..usize::try_from(now).unwrap_or(0));
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                Some(BodyStep::Wait(long)) => this.waiting = Some(Box::pin(sleep(long))),
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
        self.steps.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// How a body is delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Delivery {
    Whole,
    CloseFirst,
    ResetFirst,
    HangFirst,
    CloseAfter(usize),
    ResetAfter(usize),
    HangAfter(usize),
    Drip(Duration),
    Flood { bytes: u64, declared: bool },
}

impl Delivery {
    /// The body, delivered so. `None` if nothing at all is to be answered.
    pub(crate) fn body(
        self,
        bytes: Vec<u8>,
        at_end: Option<AtEnd>,
        reset: &Arc<AtomicBool>,
    ) -> Option<ScriptedBody> {
        let length = bytes.len() as u64;
        let bytes = Bytes::from(bytes);
        let part = |at: usize, last: BodyStep| {
            let data = BodyStep::Data(bytes.slice(..at.min(bytes.len())));
            let steps = VecDeque::from([data, BodyStep::Wait(FLUSH), last]);
            // One byte more than will come, should the cut be at the end.
            let declared = length.max(at.min(bytes.len()) as u64 + 1);
            Some(ScriptedBody::stepped(steps, Some(declared), None, Arc::clone(reset)))
        };
        match self {
            Self::Whole => Some(ScriptedBody::whole(bytes.to_vec(), at_end)),
            Self::CloseFirst | Self::ResetFirst | Self::HangFirst => None,
            Self::CloseAfter(at) => part(at, BodyStep::Close),
            Self::ResetAfter(at) => part(at, BodyStep::Reset),
            Self::HangAfter(at) => part(at, BodyStep::Hang),
            Self::Drip(every) => {
                let steps = (0..bytes.len())
                    .flat_map(|i| [BodyStep::Wait(every), BodyStep::Data(bytes.slice(i..=i))]);
                Some(ScriptedBody::stepped(steps.collect(), Some(length), at_end, Arc::clone(reset)))
            }
            Self::Flood { bytes: blanks, declared } => {
                let steps = VecDeque::from([BodyStep::Blanks(blanks), BodyStep::Data(bytes)]);
                Some(ScriptedBody::stepped(
                    steps,
                    declared.then_some(length + blanks),
                    None,
                    Arc::clone(reset),
                ))
            }
        }
    }
}
