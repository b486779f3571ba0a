//! Where questions about a group are put to the loops that run, and answered without holding any of them up.
//!
//! Owns: who can be asked now (loops come and go with regions and with reloads), and how long an answer is waited
//! for. Refuses: what the answer is, which is the fleet's; rendering.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Duration, Instant, timeout_at},
};

use super::state::explain::{Explained, Known};
use crate::{
    model::{AccountName, GroupId, InstanceId, InvalidName, RegionId, TopicName},
    snapshot::region_name,
};

/// An answer is waited for this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that wait for a loop. Those who ask are fewer, unless it stands still.
const WAITING: usize = 8;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The instance.
    pub instance: InstanceId,
    /// The group.
    pub group: GroupId,
    /// One of its topics, if not all.
    pub topic: Option<TopicName>,
    /// The only region to be asked.
    pub region: Option<RegionId>,
    /// The only account to be asked.
    pub account: Option<AccountName>,
}

impl Question {
    /// A question about these names.
    ///
    /// # Errors
    /// [`InvalidName`] where nothing can be called so.
    pub fn new(
        instance: &str,
        group: &str,
        topic: Option<&str>,
        region: Option<&str>,
        account: Option<&str>,
    ) -> Result<Self, InvalidName> {
        Ok(Self {
            instance: InstanceId::new(instance)?,
            group: GroupId::new(group)?,
            topic: topic.map(TopicName::new).transpose()?,
            region: region.map(RegionId::new).transpose()?,
            account: account.map(AccountName::new).transpose()?,
        })
    }
}

/// What one loop says.
#[derive(Debug)]
pub enum Answer {
    /// All about the group.
    Found(Box<Explained>),
    /// The group, or its topic, is not known there.
    Unknown(Known),
}

/// What all loops that were asked say.
#[derive(Debug, Default)]
pub struct Answers {
    /// The names of all regions that are polled.
    pub polled: Vec<String>,
    /// One for each account and region that knows the group.
    pub found: Vec<Explained>,
    /// What is known where the group is not, by the name of the region.
    pub unknown: Vec<(String, Known)>,
    /// Regions whose loop did not answer in time.
    pub silent: Vec<String>,
}

/// A question on its way to one loop.
#[derive(Debug)]
struct Put {
    question: Arc<Question>,
    answer: oneshot::Sender<Answer>,
}

/// The loops that run.
#[derive(Debug, Clone, Default)]
pub struct Desk(Arc<watch::Sender<Vec<Seat>>>);

/// Where one loop is reached.
#[derive(Debug, Clone)]
struct Seat {
    account: Option<AccountName>,
    region: RegionId,
    put: mpsc::Sender<Put>,
}

/// What is put to one loop; it can be reached until this is dropped.
pub(super) struct Mailbox {
    desk: Desk,
    put: mpsc::Receiver<Put>,
}

impl Desk {
    /// Makes the loop of a region reachable.
    pub(super) fn seat(&self, account: Option<&AccountName>, region: &RegionId) -> Mailbox {
        let (sender, put) = mpsc::channel(WAITING);
        let seat = Seat { account: account.cloned(), region: region.clone(), put: sender };
        self.0.send_modify(|seats| seats.push(seat));
        Mailbox { desk: self.clone(), put }
    }

    /// Asks all loops that may know. While none runs, as in the middle of a reload, the first is waited for;
    /// `None` if it does not come.
    pub async fn ask(&self, question: Question) -> Option<Answers> {
        let until = Instant::now() + PATIENCE;
        let seats = self.seats(until).await?;
        let polled = seats.iter().map(Seat::name).collect();
        let mut answers = Answers { polled, ..Answers::default() };
        let question = Arc::new(question);
        let is_asked = |seat: &&Seat| {
            question.region.as_ref().is_none_or(|region| *region == seat.region)
                && question.account.as_ref().is_none_or(|account| Some(account) == seat.account.as_ref())
        };
        let ask = |seat: &Seat| {
            let (answer, answered) = oneshot::channel();
            let put = seat.put.try_send(Put { question: Arc::clone(&question), answer });
            (seat.name(), put.ok().map(|()| answered))
        };
        // All are asked before the first answer is waited for.
        let asked: Vec<_> = seats.iter().filter(is_asked).map(ask).collect();
        for (name, answered) in asked {
            let answer = match answered {
                Some(answered) => timeout_at(until, answered).await.ok().and_then(Result::ok),
                None => None,
            };
            match answer {
                Some(Answer::Found(explained)) => answers.found.push(*explained),
                Some(Answer::Unknown(known)) => answers.unknown.push((name, known)),
                None => answers.silent.push(name),
            }
        }
        Some(answers)
    }

    async fn seats(&self, until: Instant) -> Option<Vec<Seat>> {
        let mut seats = self.0.subscribe();
        let seats = timeout_at(until, seats.wait_for(|seats| !seats.is_empty())).await.ok()?.ok()?;
        // What is borrowed is locked.
        Some(seats.clone())
    }
}

impl Seat {
    fn name(&self) -> String {
        region_name(self.account.as_ref(), &self.region)
    }
}

impl Mailbox {
    /// Waits for a question. Nothing is lost by not waiting to the end.
    pub(super) async fn next(&mut self) -> Option<Asked> {
        self.put.recv().await.map(Asked)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.put.close();
        self.desk.0.send_modify(|seats| seats.retain(|seat| !seat.put.is_closed()));
    }
}

/// A question that waits for its answer.
pub(super) struct Asked(Put);

impl Asked {
    /// Answers, unless whoever asked has gone.
    pub(super) fn answer(self, answer: impl FnOnce(&Question) -> Answer) {
        let Put { question, answer: to } = self.0;
        if !to.is_closed() {
            // It may have gone meanwhile.
            _ = to.send(answer(&question));
        }
    }
}
