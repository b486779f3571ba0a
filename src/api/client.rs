//! The signed client of one region of one account: one function per action over one path for every call.
//!
//! Owns: the order of things. Credentials, then a slot of the budget, then a fresh nonce and time, the
//! signature, the exchange, the reading of the answer, and perhaps a retry. Everything ends by the
//! deadline, and nothing is sent after it. Refuses: actions that are not in [`Action`].

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::{
    Action, ApiError, ApiObserver, Attempt, CloudApi, Credentials, ErrorKind, ProvideCredentials,
    budget::RequestBudget,
    envelope::{self, ApiResponse, CallFailure, RawResponse},
    paginator::{NextStep, PAGE_SIZE, Paginator},
    redact::Redactor,
    retry,
    server_clock::{ServerClock, TimedExchange},
    sign::{self, SigningContext},
    transport::{ClientBuildError, HttpTransport, SignedRequest, TransportOptions, in_millis},
    wire::{
        Anomalies, GroupListResponse, InstanceIdsResponse, InstanceListResponse, ListPage, ProgressResponse,
        TopicListResponse, TopicStatusResponse,
    },
};
use crate::clock::WallClock;
use crate::model::{
    AccountName, GroupId, GroupProgress, Instance, InstanceId, Listing, MessageTimestamps, Observed,
    ProxySetting, RegionId, ResponseOrigin, SignatureVersion, Topic, TopicName, TopicStatus,
};

/// A source of 128 random bits; `None` if the system has none to give.
pub type EntropySource = fn() -> Option<u128>;

/// Random bits of the operating system.
#[must_use]
pub fn os_entropy() -> Option<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(u128::from_ne_bytes(bytes))
}

/// The largest correction of the local clock that is believed of a server.
const MAX_SKEW_MILLIS: u64 = 24 * 3600 * 1000;

/// `Date` has whole seconds: the true time is half a second later, give or take another half.
const MIDDLE_OF_SECOND_MILLIS: i64 = 500;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The configured account, if accounts are named.
    pub account: Option<AccountName>,
    /// The region that is asked.
    pub region: RegionId,
    /// Scheme, host and port, such as `https://alikafka.cn-hangzhou.aliyuncs.com`. Plain `http` is taken for
    /// loopback only.
    pub endpoint: String,
    /// How calls are signed.
    pub signature: SignatureVersion,
    /// Longest time of one attempt, connecting and reading the body included.
    pub request_timeout: Duration,
    /// Longest time of connecting, TLS included.
    pub connect_timeout: Duration,
    /// What may be spent. Clients of the same region of the same account share it.
    pub budget: Arc<RequestBudget>,
    /// The proxy to go through.
    pub proxy: ProxySetting,
}

/// The signed client of one region of one account.
pub struct ApiClient {
    account: Option<AccountName>,
    region: RegionId,
    signature: SignatureVersion,
    request_timeout: Duration,
    budget: Arc<RequestBudget>,
    transport: HttpTransport,
    credentials: Arc<dyn ProvideCredentials>,
    observer: Arc<dyn ApiObserver>,
    clock: WallClock,
    entropy: EntropySource,
    /// What is added to the local clock when signing: 0 until the server refuses our time.
    correction_millis: AtomicI64,
    /// Held while credentials that were refused are renewed: calls that were refused together renew once.
    renewing: tokio::sync::Mutex<()>,
    /// What the steady clock counts from.
    started: Instant,
    server_clock: Mutex<ServerClock>,
    /// Whether the cloud has refused the optional parameter of a question, and answered without it.
    leaves_out_optional: AtomicBool,
}

/// What is asked.
struct ApiRequest {
    action: Action,
    parameters: Vec<(&'static str, String)>,
    /// A parameter that not every cloud knows, and without which the answer serves too.
    optional: Option<(&'static str, String)>,
}

impl ApiClient {
    /// A client that has sent nothing yet. `clock` and `entropy` are [`crate::clock::unix_now`] and
    /// [`os_entropy`] outside of tests.
    ///
    /// # Errors
    /// [`ClientBuildError`] for an endpoint, proxy or CA file that cannot be used.
    pub fn new(
        settings: ClientSettings,
        credentials: Arc<dyn ProvideCredentials>,
        observer: Arc<dyn ApiObserver>,
        clock: WallClock,
        entropy: EntropySource,
    ) -> Result<Self, ClientBuildError> {
        let limits = TransportOptions { connect_timeout: settings.connect_timeout, proxy: &settings.proxy };
        Ok(Self {
            transport: HttpTransport::new(&settings.endpoint, &limits)?,
            budget: settings.budget,
            account: settings.account,
            region: settings.region,
            signature: settings.signature,
            request_timeout: settings.request_timeout,
            credentials,
            observer,
            clock,
            entropy,
            correction_millis: AtomicI64::new(0),
            renewing: tokio::sync::Mutex::new(()),
            started: Instant::now(),
            server_clock: Mutex::default(),
            leaves_out_optional: AtomicBool::new(false),
        })
    }

    /// Asks until there is an answer, a failure that no retry can mend, or no time or budget left.
    ///
    /// If a parameter may be what the cloud refuses, it is asked once more without the optional one. What
    /// fails all the same has failed for what was refused first.
    async fn call<T>(
        &self,
        question: ApiRequest,
        deadline: Instant,
        read: impl Fn(&RawResponse<'_>) -> Result<ApiResponse<T>, CallFailure> + Sync,
    ) -> Result<(T, ResponseOrigin), ApiError> {
        let ApiRequest { action, mut parameters, optional } = question;
        let mut optional = optional.filter(|_| !self.leaves_out_optional.load(Ordering::Relaxed));
        let needed = parameters.len();
        parameters.extend(optional.clone());
        let mut attempts = 0;
        let (mut renewed, mut is_renewed, mut is_resigned) = (None, false, false);
        // What the last attempt failed of says more than that there is no time for another.
        let mut last = None;
        // The refusal of the optional parameter, and its name, while it is left out.
        let mut refused = None;
        let failure = loop {
            let credentials = match self.key_and_slot(action, renewed.take(), deadline).await {
                Ok(credentials) => credentials,
                Err(failure) => break last.unwrap_or(failure),
            };
            // What is not sent earns nothing.
            if attempts == 0 {
                self.budget.retries().earn();
            }
            let attempt = self.attempt(action, &parameters, &credentials, deadline, attempts > 0, &read);
            let (mut failure, skew) = match attempt.await {
                Ok(answer) => {
                    if let Some((_, name)) = refused {
                        self.leave_out(action, name);
                    }
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            attempts += 1;
            let may_mend = if failure.kind == ErrorKind::Clock {
                let may_help = self.correct(&mut failure, skew);
                may_help && !std::mem::replace(&mut is_resigned, true)
            } else if failure.is_expired_token() && !is_renewed {
                is_renewed = true;
                // Credentials that are still the same would be refused again.
                renewed = self.renew(&credentials, deadline).await;
                renewed.is_some()
            } else if let Some((name, _)) = optional.take_if(|(name, _)| failure.is_about_parameter(name)) {
                parameters.truncate(needed);
                refused = Some((failure.clone(), name));
                true
            } else {
                failure.kind.is_retryable()
            };
            if !may_mend || attempts >= retry::MAX_ATTEMPTS {
                break failure;
            }
            // A question that is mended is sent at once; nothing else tells when the cloud will be.
            let pause = match failure.kind {
                ErrorKind::Clock | ErrorKind::Auth { .. } | ErrorKind::Business => Some(Duration::ZERO),
                _ => {
                    let remaining = deadline.saturating_duration_since(Instant::now());
                    retry::pause(attempts, self.jitter(), failure.retry_after, remaining)
                }
            };
            match pause {
                Some(pause) if self.budget.retries().spend() => sleep(pause).await,
                _ => break failure,
            }
            last = Some(failure);
        };
        Err(refused.map_or(failure, |(first, _)| first).into_error(action))
    }

    /// Does not send a parameter any more that the cloud does not know.
    fn leave_out(&self, action: Action, parameter: &'static str) {
        if !self.leaves_out_optional.swap(true, Ordering::Relaxed) {
            tracing::info!(
                account = self.account.as_ref().map(tracing::field::display),
                region = self.region.as_str(),
                action = action.name(),
                parameter,
                "the cloud does not know a parameter, which is left out from now on"
            );
        }
    }

    /// Takes the cloud's word for the time, as it refuses ours, and says in the failure by how much both
    /// differ. Whether signing anew may help.
    fn correct(&self, failure: &mut CallFailure, skew: Option<i64>) -> bool {
        if failure.is_used_nonce() {
            return true;
        }
        let Some(skew) = skew else { return false };
        let seconds = (skew.unsigned_abs() + 500) / 1000;
        let side = if skew < 0 { "behind" } else { "ahead of" };
        let is_believed = skew.unsigned_abs() <= MAX_SKEW_MILLIS;
        let doubt = if is_believed { "" } else { ", which is more than is corrected" };
        failure.detail.push_str(&format!(
            "; the clock of the cloud is {seconds} seconds {side} the clock of this host{doubt}"
        ));
        if is_believed {
            self.correction_millis.store(skew, Ordering::Relaxed);
        }
        is_believed
    }

    async fn credentials(&self, force: bool, deadline: Instant) -> Result<Arc<Credentials>, CallFailure> {
        // The deadline of a list is minutes away; a source that hangs is to be told of before.
        let end = deadline.min(Instant::now() + self.request_timeout);
        match timeout_at(end, self.credentials.credentials(force)).await {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => {
                Err(CallFailure::new(ErrorKind::Auth { key: true }, format!("not sent: {error}")))
            }
            Err(_) => Err(CallFailure::new(
                ErrorKind::Auth { key: true },
                "not sent: the source of the credentials does not answer",
            )),
        }
    }

    /// Other credentials than those that were refused. Another call may have renewed them already.
    async fn renew(&self, refused: &Credentials, deadline: Instant) -> Option<Arc<Credentials>> {
        let _renewing = timeout_at(deadline, self.renewing.lock()).await.ok()?;
        for force in [false, true] {
            let credentials = self.credentials(force, deadline).await.ok()?;
            if !credentials.is_same_as(refused) {
                return Some(credentials);
            }
        }
        None
    }

    /// Waits for a slot that leaves time for an answer. What is sent in the last moment is a wasted call,
    /// and would be told as a timeout of the cloud.
    /// The key to sign with, and a slot to send in. The wait for a slot may be long, so the key is looked at
    /// before it, as without one there is nothing to wait for, and again after it, as it may have ended.
    async fn key_and_slot(
        &self,
        action: Action,
        renewed: Option<Arc<Credentials>>,
        deadline: Instant,
    ) -> Result<Arc<Credentials>, CallFailure> {
        if let Some(renewed) = renewed {
            return self.slot(action, deadline).await.map(|()| renewed);
        }
        self.credentials(false, deadline).await?;
        self.slot(action, deadline).await?;
        self.credentials(false, deadline).await
    }

    async fn slot(&self, action: Action, deadline: Instant) -> Result<(), CallFailure> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let last = deadline - remaining.min(self.request_timeout) / 10;
        let got = timeout_at(last, self.budget.take(action)).await;
        if got.is_ok() && Instant::now() < deadline {
            return Ok(());
        }
        let kind = if self.budget.is_slowed(action) { ErrorKind::Throttled } else { ErrorKind::Timeout };
        let rate = (self.budget.rate(action) * 1000.0).round() / 1000.0;
        Err(CallFailure::new(
            kind,
            format!("not sent: the budget of {rate} requests per second had no slot before the deadline"),
        ))
    }

    /// One attempt. A failure comes with how far the cloud's clock is ahead, in milliseconds, if it is told.
    async fn attempt<T>(
        &self,
        action: Action,
        parameters: &[(&'static str, String)],
        credentials: &Credentials,
        deadline: Instant,
        is_retry: bool,
        read: &(impl Fn(&RawResponse<'_>) -> Result<ApiResponse<T>, CallFailure> + Sync),
    ) -> Result<(T, ResponseOrigin), (CallFailure, Option<i64>)> {
        let signed = self.sign(action, parameters, credentials).map_err(|failure| (failure, None))?;
        let began = Instant::now();
        let end = deadline.min(began + self.request_timeout);
        let exchange = timeout_at(end, self.transport.exchange(&signed)).await.unwrap_or_else(|_| {
            Err(CallFailure::new(
                ErrorKind::Timeout,
                format!("no whole answer within {:?}", in_millis(end - began)),
            ))
        });
        let duration = began.elapsed();
        let middle = i64::try_from(duration.as_millis() / 2).unwrap_or(i64::MAX);
        let wall = (self.clock)();
        let local = wall.get().saturating_sub(middle);
        let date = exchange.as_ref().ok().and_then(|reply| reply.date_millis);
        let skew = date.map(|date| date.saturating_add(MIDDLE_OF_SECOND_MILLIS).saturating_sub(local));

        let result = exchange.and_then(|reply| read(&reply));
        let ended = result.as_ref().map(|_| ()).map_err(|failure| failure.kind);
        let wish = result.as_ref().err().and_then(|failure| failure.retry_after);
        self.budget.learn(action, began, ended, wish);
        self.observer.attempt(&Attempt {
            account: self.account.as_ref(),
            region: &self.region,
            action,
            result: ended,
            duration,
            is_retry,
            clock_skew_millis: skew,
        });
        let quote = Redactor::without(credentials.key(), &signed.signature());
        let answer = result.map_err(|failure| {
            if let Some(anomaly) = &failure.discarded {
                self.observer.discarded(action, anomaly);
            }
            let failure = CallFailure {
                code: failure.code.map(|code| quote.text(&code)),
                request_id: failure.request_id.map(|id| quote.text(&id)),
                detail: quote.text(&failure.detail),
                ..failure
            };
            (failure, skew)
        })?;
        // Only what is an answer of the cloud tells of its clock: a proxy has one of its own.
        let sent = began - self.started;
        let exchange = TimedExchange { sent, received: sent + duration, date_millis: date, wall };
        let span = self.server_clock.lock().unwrap_or_else(PoisonError::into_inner).place(exchange);
        let request_id = answer.request_id.and_then(|id| quote.request_id(&id));
        Ok((answer.payload, ResponseOrigin { span, request_id }))
    }

    /// Signs with a fresh nonce and the time now.
    fn sign(
        &self,
        action: Action,
        parameters: &[(&'static str, String)],
        credentials: &Credentials,
    ) -> Result<SignedRequest, CallFailure> {
        let no_nonce =
            || CallFailure::new(ErrorKind::Business, "not sent: the system has no random bits for a nonce");
        let nonce = format!("{:032x}", (self.entropy)().ok_or_else(no_nonce)?);
        let millis = (self.clock)().get().saturating_add(self.correction_millis.load(Ordering::Relaxed));
        let timestamp = jiff::Timestamp::from_second(millis / 1000)
            .map_err(|_| CallFailure::new(ErrorKind::Clock, "not sent: the clock is beyond the calendar"))?
            .to_string();
        let moment = SigningContext { timestamp: &timestamp, nonce: &nonce };
        Ok(match self.signature {
            SignatureVersion::V1 => {
                SignedRequest::Form(sign::v1_form(action.name(), parameters, credentials.key(), moment))
            }
            SignatureVersion::Acs3 => SignedRequest::Headers(sign::acs3(
                action.name(),
                self.transport.host(),
                parameters,
                credentials.key(),
                moment,
            )),
        })
    }

    /// Uniform in 0..1; the middle where the system has no random bits.
    fn jitter(&self) -> f64 {
        retry::uniform((self.entropy)())
    }

    /// A question about this region.
    fn question(&self, action: Action, more: &[(&'static str, &str)]) -> ApiRequest {
        let mut parameters = vec![("RegionId", self.region.to_string())];
        parameters.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        ApiRequest { action, parameters, optional: None }
    }

    /// Asks for every page of a list.
    async fn pages<T>(
        &self,
        action: Action,
        instance: &InstanceId,
        deadline: Instant,
        mut walk: Paginator<T>,
        read: impl Fn(&RawResponse<'_>, &mut Anomalies) -> Result<ApiResponse<ListPage<T>>, CallFailure> + Sync,
    ) -> Result<Observed<Listing<T>>, ApiError> {
        let mut anomalies = Anomalies::default();
        let mut number = 1;
        loop {
            let parameters = [
                ("InstanceId", instance.as_str()),
                ("CurrentPage", &number.to_string()),
                ("PageSize", &PAGE_SIZE.to_string()),
            ];
            let question = self.question(action, &parameters);
            let ((page, of_page), _) = self
                .call(question, deadline, |reply| {
                    let mut of_page = Anomalies::default();
                    Ok(read(reply, &mut of_page)?.map(|page| (page, of_page)))
                })
                .await?;
            anomalies.append(of_page);
            match walk.take(page, &mut anomalies) {
                NextStep::Fetch(next) => number = next,
                NextStep::Done(value) => return Ok(Observed { value, anomalies: anomalies.into_vec() }),
            }
        }
    }
}

impl CloudApi for ApiClient {
    fn rate(&self, action: Action) -> f64 {
        self.budget.rate(action)
    }

    async fn regions(&self, deadline: Instant) -> Result<Observed<Listing<RegionId>>, ApiError> {
        let question = self.question(Action::GetAllInstanceIdList, &[]);
        let answer = self.call(question, deadline, |reply| {
            Ok(envelope::answer::<InstanceIdsResponse<'_>>(reply)?.map(InstanceIdsResponse::into_regions))
        });
        answer.await.map(|(regions, _)| regions)
    }

    async fn instances(&self, deadline: Instant) -> Result<Observed<Listing<Instance>>, ApiError> {
        let question = self.question(Action::GetInstanceList, &[]);
        let answer = self.call(question, deadline, |reply| {
            let answer = envelope::answer::<InstanceListResponse<'_>>(reply)?;
            Ok(answer.map(|list| list.into_instances(&self.region)))
        });
        answer.await.map(|(instances, _)| instances)
    }

    async fn topics(
        &self,
        instance: &InstanceId,
        deadline: Instant,
    ) -> Result<Observed<Listing<Topic>>, ApiError> {
        let walk = Paginator::new(|topic: &Topic| topic.name.as_str(), false);
        self.pages(Action::GetTopicList, instance, deadline, walk, |reply, anomalies| {
            let answer = envelope::answer::<TopicListResponse<'_>>(reply)?;
            Ok(answer.map(|list| list.into_page(instance, anomalies)))
        })
        .await
    }

    async fn topic_status(
        &self,
        instance: &InstanceId,
        topic: &TopicName,
        deadline: Instant,
    ) -> Result<(Observed<TopicStatus>, ResponseOrigin), ApiError> {
        let parameters = [("InstanceId", instance.as_str()), ("Topic", topic.as_str())];
        let question = self.question(Action::GetTopicStatus, &parameters);
        self.call(question, deadline, |reply| {
            envelope::answer::<TopicStatusResponse<'_>>(reply)?.try_map(|status| status.into_status(topic))
        })
        .await
    }

    async fn groups(
        &self,
        instance: &InstanceId,
        deadline: Instant,
    ) -> Result<Observed<Listing<GroupId>>, ApiError> {
        let walk = Paginator::new(GroupId::as_str, true);
        self.pages(Action::GetConsumerList, instance, deadline, walk, |reply, anomalies| {
            let answer = envelope::answer::<GroupListResponse<'_>>(reply)?;
            Ok(answer.map(|list| list.into_page(instance, anomalies)))
        })
        .await
    }

    async fn group_progress(
        &self,
        instance: &InstanceId,
        group: &GroupId,
        times: MessageTimestamps,
        deadline: Instant,
    ) -> Result<(Observed<GroupProgress>, ResponseOrigin), ApiError> {
        let parameters = [("InstanceId", instance.as_str()), ("ConsumerId", group.as_str())];
        let is_hidden = (times == MessageTimestamps::NotRequested).to_string();
        let question = ApiRequest {
            optional: Some(("HideLastTimestamp", is_hidden)),
            ..self.question(Action::GetConsumerProgress, &parameters)
        };
        self.call(question, deadline, |reply| {
            envelope::answer::<ProgressResponse<'_>>(reply)?.try_map(|progress| progress.into_progress(group))
        })
        .await
    }
}
