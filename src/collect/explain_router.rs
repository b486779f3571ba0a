//! Routes requests to explain a group to the pollers of all regions.
//!
//! Owns: the running pollers, which come and go with regions and reloads, and the time limit for their replies. Out of
//! scope: the details of a group, see [`super::state`], and how they are presented.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Duration, Instant, timeout_at},
};

use super::state::details::{GroupDetails, KnownObjects};
use crate::{
    model::{AccountName, GroupId, InstanceId, RegionId, TopicName},
    snapshot::region_name,
};

/// Time limit for the replies of all pollers.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of requests that wait for one poller. The server allows fewer at a time, unless a poller is stuck.
const MAX_WAITING: usize = 8;

/// Request to explain a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainRequest {
    /// Instance of the group.
    pub instance: InstanceId,
    /// Group to explain.
    pub group: GroupId,
    /// Topic to limit the explanation to.
    pub topic: Option<TopicName>,
    /// Region to limit the search to.
    pub region: Option<RegionId>,
    /// Account to limit the search to.
    pub account: Option<AccountName>,
}

/// Reply of one poller.
#[derive(Debug)]
pub enum ExplainReply {
    /// Details of the group.
    Found(Box<GroupDetails>),
    /// The region does not know the group or its topic.
    Unknown(KnownObjects),
}

/// Replies of all pollers.
#[derive(Debug, Default)]
pub struct ExplainReplies {
    /// Names of all polled regions.
    pub polled: Vec<String>,
    /// Details from each account and region that knows the group.
    pub found: Vec<GroupDetails>,
    /// Regions that do not know the group.
    pub unknown: Vec<(String, KnownObjects)>,
    /// Regions that did not reply in time.
    pub timed_out: Vec<String>,
}

/// Request that waits for the reply of one poller.
#[derive(Debug)]
pub struct PendingRequest {
    request: Arc<ExplainRequest>,
    reply: oneshot::Sender<ExplainReply>,
}

impl PendingRequest {
    /// Replies, unless the client has disconnected.
    pub(super) fn reply(self, explain: impl FnOnce(&ExplainRequest) -> ExplainReply) {
        if !self.reply.is_closed() {
            // Fails if the client disconnects now.
            _ = self.reply.send(explain(&self.request));
        }
    }
}

/// Routes requests to the running pollers.
#[derive(Debug, Clone, Default)]
pub struct ExplainRouter(Arc<watch::Sender<Vec<PollerRoute>>>);

/// Route to one poller, which has stopped if the channel is closed.
#[derive(Debug, Clone)]
struct PollerRoute {
    account: Option<AccountName>,
    region: RegionId,
    requests: mpsc::Sender<PendingRequest>,
}

impl ExplainRouter {
    /// Adds the poller of a region until it drops the receiver.
    pub(super) fn register(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
    ) -> mpsc::Receiver<PendingRequest> {
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let route = PollerRoute { account: account.cloned(), region: region.clone(), requests };
        self.0.send_modify(|routes| {
            routes.retain(PollerRoute::is_running);
            routes.push(route);
        });
        receiver
    }

    /// Sends a request to every poller that may know the group. If none is running, e.g. during a reload, waits for the
    /// first; returns `None` if none starts.
    pub async fn explain(&self, request: ExplainRequest) -> Option<ExplainReplies> {
        let deadline = Instant::now() + TIMEOUT;
        let routes = self.running(deadline).await?;
        let request = Arc::new(request);
        // Send all requests before waiting for the first reply.
        let pending: Vec<_> =
            routes.iter().filter(|route| route.matches(&request)).map(|route| route.send(&request)).collect();
        let mut replies = ExplainReplies {
            polled: routes.iter().map(PollerRoute::name).collect(),
            ..ExplainReplies::default()
        };
        for (name, reply) in pending {
            let reply = match reply {
                Some(reply) => timeout_at(deadline, reply).await.ok().and_then(Result::ok),
                None => None,
            };
            match reply {
                Some(ExplainReply::Found(details)) => replies.found.push(*details),
                Some(ExplainReply::Unknown(known)) => replies.unknown.push((name, known)),
                None => replies.timed_out.push(name),
            }
        }
        Some(replies)
    }

    async fn running(&self, deadline: Instant) -> Option<Vec<PollerRoute>> {
        let mut routes = self.0.subscribe();
        let any_running = routes.wait_for(|routes| routes.iter().any(PollerRoute::is_running));
        let routes = timeout_at(deadline, any_running).await.ok()?.ok()?;
        // The borrowed value is locked, so copy it.
        Some(routes.iter().filter(|route| route.is_running()).cloned().collect())
    }
}

impl PollerRoute {
    fn is_running(&self) -> bool {
        !self.requests.is_closed()
    }

    fn name(&self) -> String {
        region_name(self.account.as_ref(), &self.region)
    }

    fn matches(&self, request: &ExplainRequest) -> bool {
        request.region.as_ref().is_none_or(|region| *region == self.region)
            && request.account.as_ref().is_none_or(|account| Some(account) == self.account.as_ref())
    }

    /// Sends a request. Returns the name of the region and the pending reply; `None` if too many requests wait.
    fn send(&self, request: &Arc<ExplainRequest>) -> (String, Option<oneshot::Receiver<ExplainReply>>) {
        let (reply, receiver) = oneshot::channel();
        let sent = self.requests.try_send(PendingRequest { request: Arc::clone(request), reply });
        (self.name(), sent.ok().map(|()| receiver))
    }
}
