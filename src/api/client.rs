//! API client of one region of one account: one function per action, all over the same path.
//!
//! Owns: the steps of a call. Credentials, a slot of the rate limiter, a fresh nonce and time, the signature, the HTTP
//! exchange, decoding, and retries. Every call ends by its deadline, and nothing is sent after it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::{
    Action, ApiObserver, Attempt, CloudApi, Credentials, DetailResult, ErrorKind, ListResult,
    ProvideCredentials,
    budget::RequestBudget,
    decode::{self, Decoded},
    envelope::{CallFailure, RawResponse},
    paginator::{NextStep, PAGE_SIZE, Paginator},
    redact::Redactor,
    retry,
    server_clock::{ServerClock, TimedExchange},
    sign::{self, SigningContext},
    transport::{ClientBuildError, HttpTransport, SignedRequest, TransportOptions, in_millis},
    wire::{Anomalies, ListPage},
};
use crate::clock::WallClock;
use crate::model::{
    AccountName, GroupId, GroupProgress, Instance, InstanceId, MessageTimestamps, Observed, ProxySetting,
    RegionId, ResponseOrigin, SignatureVersion, Topic, TopicName, TopicStatus,
};

/// Source of 128 random bits; `None` if the system has none.
pub type EntropySource = fn() -> Option<u128>;

/// Returns random bits of the operating system.
#[must_use]
pub fn os_entropy() -> Option<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(u128::from_ne_bytes(bytes))
}

/// Largest difference to the cloud's clock that is corrected.
const MAX_SKEW_MILLIS: u64 = 24 * 3600 * 1000;

/// `Date` has a resolution of one second, so the best estimate is the middle of the second.
const HALF_SECOND_MILLIS: i64 = 500;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The configured account, if accounts are named.
    pub account: Option<AccountName>,
    /// The region of all requests.
    pub region: RegionId,
    /// Scheme, host and port, e.g. `https://alikafka.cn-hangzhou.aliyuncs.com`. Plain `http` only for loopback.
    pub endpoint: String,
    /// Signature version of requests.
    pub signature: SignatureVersion,
    /// Maximum duration of one attempt, including connecting and reading the body.
    pub request_timeout: Duration,
    /// Maximum duration of connecting, including TLS.
    pub connect_timeout: Duration,
    /// Request budget, shared by all clients of the same region and account.
    pub budget: Arc<RequestBudget>,
    /// Proxy for requests.
    pub proxy: ProxySetting,
}

/// API client of one region of one account.
pub struct ApiClient {
    settings: ClientSettings,
    transport: HttpTransport,
    credentials: Arc<dyn ProvideCredentials>,
    observer: Arc<dyn ApiObserver>,
    clock: WallClock,
    entropy: EntropySource,
    /// Added to the local clock when signing. 0 until the cloud rejects the local time.
    clock_correction_millis: AtomicI64,
    /// Held during a forced refresh, so that calls rejected together refresh the credentials once.
    forced_refresh: tokio::sync::Mutex<()>,
    /// Zero point of the steady clock.
    started: Instant,
    server_clock: Mutex<ServerClock>,
    /// Whether the cloud has rejected the optional parameter and responded without it.
    omits_optional_parameter: AtomicBool,
}

/// Action and parameters of a call.
struct ApiRequest {
    action: Action,
    parameters: Vec<(&'static str, String)>,
    /// A parameter that some clouds do not support and that the response does not depend on.
    optional_parameter: Option<(&'static str, String)>,
}

impl ApiClient {
    /// Returns a client. Outside of tests, `clock` is [`crate::clock::unix_now`] and `entropy` is [`os_entropy`].
    ///
    /// # Errors
    /// [`ClientBuildError`] for an invalid endpoint or proxy, or if TLS cannot be set up.
    pub fn new(
        settings: ClientSettings,
        credentials: Arc<dyn ProvideCredentials>,
        observer: Arc<dyn ApiObserver>,
        clock: WallClock,
        entropy: EntropySource,
    ) -> Result<Self, ClientBuildError> {
        let options = TransportOptions { connect_timeout: settings.connect_timeout, proxy: &settings.proxy };
        Ok(Self {
            transport: HttpTransport::new(&settings.endpoint, &options)?,
            settings,
            credentials,
            observer,
            clock,
            entropy,
            clock_correction_millis: AtomicI64::new(0),
            forced_refresh: tokio::sync::Mutex::new(()),
            started: Instant::now(),
            server_clock: Mutex::default(),
            omits_optional_parameter: AtomicBool::new(false),
        })
    }

    /// Makes attempts until one succeeds, a retry cannot help, or the time or the retry budget is used up.
    ///
    /// If the cloud may have rejected a parameter, one attempt omits the optional parameter. If that fails too, the
    /// first rejection is the error.
    async fn call<T>(
        &self,
        request: ApiRequest,
        deadline: Instant,
        decode: impl Fn(&RawResponse<'_>) -> Decoded<T> + Sync,
    ) -> DetailResult<T> {
        let ApiRequest { action, mut parameters, optional_parameter } = request;
        let mut optional_parameter =
            optional_parameter.filter(|_| !self.omits_optional_parameter.load(Ordering::Relaxed));
        let required_parameters = parameters.len();
        parameters.extend(optional_parameter.clone());
        let mut attempts = 0;
        let (mut refreshed, mut has_refreshed, mut has_corrected_clock) = (None, false, false);
        // Preferred over the error that there is no time for another attempt, because it names the cause.
        let mut last_failure = None;
        // Rejection of the optional parameter, and its name.
        let mut rejection = None;
        let failure = loop {
            let credentials = match self.credentials_and_slot(action, refreshed.take(), deadline).await {
                Ok(credentials) => credentials,
                Err(failure) => break last_failure.unwrap_or(failure),
            };
            // Only requests that are sent earn retries.
            if attempts == 0 {
                self.settings.budget.retries().earn();
            }
            let attempt = self.attempt(action, &parameters, &credentials, deadline, attempts > 0, &decode);
            let (mut failure, skew) = match attempt.await {
                Ok(response) => {
                    if let Some((_, parameter)) = rejection
                        && !self.omits_optional_parameter.swap(true, Ordering::Relaxed)
                    {
                        tracing::info!(
                            account = self.settings.account.as_ref().map(tracing::field::display),
                            region = self.settings.region.as_str(),
                            action = action.name(),
                            parameter,
                            "the API does not support a parameter, omitting it from now on"
                        );
                    }
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            attempts += 1;
            let may_succeed = if failure.kind == ErrorKind::Clock {
                let may_help = self.correct_clock(&mut failure, skew);
                may_help && !std::mem::replace(&mut has_corrected_clock, true)
            } else if failure.is_expired_token() && !has_refreshed {
                has_refreshed = true;
                refreshed = self.refresh_credentials(&credentials, deadline).await;
                refreshed.is_some()
            } else if let Some((parameter, _)) =
                optional_parameter.take_if(|(name, _)| failure.may_be_about_parameter(name))
            {
                parameters.truncate(required_parameters);
                rejection = Some((failure.clone(), parameter));
                true
            } else {
                failure.kind.is_retryable()
            };
            if !may_succeed || attempts >= retry::MAX_ATTEMPTS {
                break failure;
            }
            // A corrected request is sent immediately; any other retry waits.
            let pause = match failure.kind {
                ErrorKind::Clock | ErrorKind::Auth { .. } | ErrorKind::Business => Some(Duration::ZERO),
                _ => {
                    let remaining = deadline.saturating_duration_since(Instant::now());
                    let jitter = retry::uniform((self.entropy)());
                    retry::pause(attempts, jitter, failure.retry_after, remaining)
                }
            };
            match pause {
                Some(pause) if self.settings.budget.retries().spend() => sleep(pause).await,
                _ => break failure,
            }
            last_failure = Some(failure);
        };
        Err(rejection.map_or(failure, |(first, _)| first).into_error(action))
    }

    /// Adopts the cloud's time after it rejected the local one, and adds the difference to the failure. Returns whether
    /// a new signature may help.
    fn correct_clock(&self, failure: &mut CallFailure, skew: Option<i64>) -> bool {
        if failure.is_used_nonce() {
            return true;
        }
        let Some(skew) = skew else { return false };
        let seconds = (skew.unsigned_abs() + 500) / 1000;
        let side = if skew < 0 { "behind" } else { "ahead of" };
        let is_plausible = skew.unsigned_abs() <= MAX_SKEW_MILLIS;
        let doubt = if is_plausible { "" } else { ", too much to correct" };
        failure.detail.push_str(&format!(
            "; the clock of the cloud is {seconds} seconds {side} the clock of this host{doubt}"
        ));
        if is_plausible {
            self.clock_correction_millis.store(skew, Ordering::Relaxed);
        }
        is_plausible
    }

    async fn credentials(
        &self,
        force_refresh: bool,
        deadline: Instant,
    ) -> Result<Arc<Credentials>, CallFailure> {
        // The deadline of a list is minutes away; a source that hangs is reported earlier.
        let end = deadline.min(Instant::now() + self.settings.request_timeout);
        let error = match timeout_at(end, self.credentials.credentials(force_refresh)).await {
            Ok(Ok(credentials)) => return Ok(credentials),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the source of the credentials does not respond".to_owned(),
        };
        Err(CallFailure::new(ErrorKind::Auth { key: true }, format!("not sent: {error}")))
    }

    /// Returns other credentials than the rejected ones. Another call may have refreshed them already.
    async fn refresh_credentials(
        &self,
        rejected: &Credentials,
        deadline: Instant,
    ) -> Option<Arc<Credentials>> {
        let _guard = timeout_at(deadline, self.forced_refresh.lock()).await.ok()?;
        for force_refresh in [false, true] {
            let credentials = self.credentials(force_refresh, deadline).await.ok()?;
            if !credentials.is_same_as(rejected) {
                return Some(credentials);
            }
        }
        None
    }

    /// Returns valid credentials once the rate limiter has a slot. Checks the credentials before the wait, because
    /// without them there is nothing to wait for, and after it, because they may have expired.
    async fn credentials_and_slot(
        &self,
        action: Action,
        refreshed: Option<Arc<Credentials>>,
        deadline: Instant,
    ) -> Result<Arc<Credentials>, CallFailure> {
        if let Some(refreshed) = refreshed {
            return self.slot(action, deadline).await.map(|()| refreshed);
        }
        self.credentials(false, deadline).await?;
        self.slot(action, deadline).await?;
        self.credentials(false, deadline).await
    }

    /// Waits for a slot of the rate limiter that leaves at least a tenth of the timeout for the response. A later
    /// request would be wasted and reported as a timeout of the cloud.
    async fn slot(&self, action: Action, deadline: Instant) -> Result<(), CallFailure> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let last_start = deadline - remaining.min(self.settings.request_timeout) / 10;
        let slot = timeout_at(last_start, self.settings.budget.take(action)).await;
        if slot.is_ok() && Instant::now() < deadline {
            return Ok(());
        }
        let kind =
            if self.settings.budget.is_slowed(action) { ErrorKind::Throttled } else { ErrorKind::Timeout };
        let rate = (self.settings.budget.rate(action) * 1000.0).round() / 1000.0;
        let detail =
            format!("not sent: the budget of {rate} requests per second had no slot before the deadline");
        Err(CallFailure::new(kind, detail))
    }

    /// Makes one attempt. A failure comes with the clock skew of the cloud in milliseconds, if it sent a `Date`.
    async fn attempt<T>(
        &self,
        action: Action,
        parameters: &[(&'static str, String)],
        credentials: &Credentials,
        deadline: Instant,
        is_retry: bool,
        decode: &(impl Fn(&RawResponse<'_>) -> Decoded<T> + Sync),
    ) -> Result<(Observed<T>, ResponseOrigin), (CallFailure, Option<i64>)> {
        let signed = self.sign(action, parameters, credentials).map_err(|failure| (failure, None))?;
        let began = Instant::now();
        let end = deadline.min(began + self.settings.request_timeout);
        let exchange = timeout_at(end, self.transport.exchange(&signed)).await.unwrap_or_else(|_| {
            let detail = format!("no complete response within {:?}", in_millis(end - began));
            Err(CallFailure::new(ErrorKind::Timeout, detail))
        });
        let duration = began.elapsed();
        let half_duration = i64::try_from(duration.as_millis() / 2).unwrap_or(i64::MAX);
        let wall = (self.clock)();
        let local = wall.get().saturating_sub(half_duration);
        let date_millis = exchange.as_ref().ok().and_then(|response| response.date_millis);
        let skew = date_millis.map(|date| date.saturating_add(HALF_SECOND_MILLIS).saturating_sub(local));

        let result = exchange.and_then(|response| decode(&response));
        let outcome = result.as_ref().map(|_| ()).map_err(|failure| failure.kind);
        let retry_after = result.as_ref().err().and_then(|failure| failure.retry_after);
        self.settings.budget.record_outcome(action, began, outcome, retry_after);
        self.observer.attempt(&Attempt {
            account: self.settings.account.as_ref(),
            region: &self.settings.region,
            action,
            result: outcome,
            duration,
            is_retry,
            clock_skew_millis: skew,
        });
        let redactor = Redactor::for_key(credentials.key(), &signed.signature());
        let response = result.map_err(|failure| {
            if let Some(anomaly) = &failure.discarded {
                self.observer.discarded(action, anomaly);
            }
            let failure = CallFailure {
                code: failure.code.map(|code| redactor.redact(&code)),
                request_id: failure.request_id.map(|id| redactor.redact(&id)),
                detail: redactor.redact(&failure.detail),
                ..failure
            };
            (failure, skew)
        })?;
        // Only responses of the cloud show its clock: a proxy has its own.
        let sent = began - self.started;
        let exchange = TimedExchange { sent, received: sent + duration, date_millis, wall };
        let span = self.server_clock.lock().unwrap_or_else(PoisonError::into_inner).locate(exchange);
        let request_id = response.request_id.and_then(|id| redactor.request_id(&id));
        Ok((response.payload, ResponseOrigin { span, request_id }))
    }

    /// Signs a request with a fresh nonce and the current time.
    fn sign(
        &self,
        action: Action,
        parameters: &[(&'static str, String)],
        credentials: &Credentials,
    ) -> Result<SignedRequest, CallFailure> {
        let no_nonce =
            || CallFailure::new(ErrorKind::Business, "not sent: the system has no random bits for a nonce");
        let nonce = format!("{:032x}", (self.entropy)().ok_or_else(no_nonce)?);
        let correction = self.clock_correction_millis.load(Ordering::Relaxed);
        let timestamp = jiff::Timestamp::from_second((self.clock)().get().saturating_add(correction) / 1000)
            .map_err(|_| CallFailure::new(ErrorKind::Clock, "not sent: the local time is out of range"))?
            .to_string();
        let context = SigningContext { timestamp: &timestamp, nonce: &nonce };
        let (action, key) = (action.name(), credentials.key());
        Ok(match self.settings.signature {
            SignatureVersion::V1 => {
                SignedRequest::Form(sign::v1_form(sign::API_VERSION, action, parameters, key, context))
            }
            SignatureVersion::Acs3 => {
                SignedRequest::Headers(sign::acs3(action, self.transport.host(), parameters, key, context))
            }
        })
    }

    /// Returns a request for this region.
    fn request(&self, action: Action, parameters: &[(&'static str, &str)]) -> ApiRequest {
        let region = [("RegionId", self.settings.region.as_str())];
        let all = region.iter().chain(parameters);
        let parameters = all.map(|(name, value)| (*name, (*value).to_owned())).collect();
        ApiRequest { action, parameters, optional_parameter: None }
    }

    /// Fetches all pages of a list.
    async fn fetch_list<T>(
        &self,
        action: Action,
        instance: &InstanceId,
        deadline: Instant,
        mut paginator: Paginator<T>,
        decode: impl Fn(&RawResponse<'_>, &InstanceId) -> Decoded<ListPage<T>> + Sync,
    ) -> ListResult<T> {
        let mut anomalies = Anomalies::default();
        let mut page_number = 1;
        loop {
            let parameters = [
                ("InstanceId", instance.as_str()),
                ("CurrentPage", &page_number.to_string()),
                ("PageSize", &PAGE_SIZE.to_string()),
            ];
            let request = self.request(action, &parameters);
            let (list_page, _) = self.call(request, deadline, |response| decode(response, instance)).await?;
            anomalies.append(list_page.anomalies);
            match paginator.add_page(list_page.value, &mut anomalies) {
                NextStep::Fetch(next) => page_number = next,
                NextStep::Done(value) => return Ok(Observed { value, anomalies: anomalies.into_vec() }),
            }
        }
    }
}

impl CloudApi for ApiClient {
    fn rate(&self, action: Action) -> f64 {
        self.settings.budget.rate(action)
    }

    async fn regions(&self, deadline: Instant) -> ListResult<RegionId> {
        let request = self.request(Action::GetAllInstanceIdList, &[]);
        self.call(request, deadline, decode::regions).await.map(|(regions, _)| regions)
    }

    async fn instances(&self, deadline: Instant) -> ListResult<Instance> {
        let request = self.request(Action::GetInstanceList, &[]);
        let call =
            self.call(request, deadline, |response| decode::instances(response, &self.settings.region));
        call.await.map(|(instances, _)| instances)
    }

    async fn topics(&self, instance: &InstanceId, deadline: Instant) -> ListResult<Topic> {
        let paginator = Paginator::new(|topic: &Topic| topic.name.as_str(), false);
        self.fetch_list(Action::GetTopicList, instance, deadline, paginator, decode::topics).await
    }

    async fn topic_status(
        &self,
        instance: &InstanceId,
        topic: &TopicName,
        deadline: Instant,
    ) -> DetailResult<TopicStatus> {
        let parameters = [("InstanceId", instance.as_str()), ("Topic", topic.as_str())];
        let request = self.request(Action::GetTopicStatus, &parameters);
        self.call(request, deadline, |response| decode::topic_status(response, topic)).await
    }

    async fn groups(&self, instance: &InstanceId, deadline: Instant) -> ListResult<GroupId> {
        let paginator = Paginator::new(GroupId::as_str, true);
        self.fetch_list(Action::GetConsumerList, instance, deadline, paginator, decode::groups).await
    }

    async fn group_progress(
        &self,
        instance: &InstanceId,
        group: &GroupId,
        timestamps: MessageTimestamps,
        deadline: Instant,
    ) -> DetailResult<GroupProgress> {
        let parameters = [("InstanceId", instance.as_str()), ("ConsumerId", group.as_str())];
        let hides_timestamps = (timestamps == MessageTimestamps::NotRequested).to_string();
        let request = ApiRequest {
            optional_parameter: Some(("HideLastTimestamp", hides_timestamps)),
            ..self.request(Action::GetConsumerProgress, &parameters)
        };
        self.call(request, deadline, |response| decode::group_progress(response, group)).await
    }
}
