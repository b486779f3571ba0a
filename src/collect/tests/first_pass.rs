//! Duration of the first pass over a large fleet at the quota of the API.

use super::*;

/// Rate limit of each action, in calls per second.
const QUOTA: f64 = 100.0;
/// Items per list page.
const PAGE_SIZE: usize = 100;
const LATENCY: Duration = Duration::from_millis(50);

/// API that delays calls like the rate limiter of the client, and splits lists like the real one.
#[derive(Clone)]
struct RateLimitedApi {
    instances: usize,
    /// Number of topics, and of groups, per instance.
    objects: usize,
    next: Arc<Mutex<BTreeMap<Action, Instant>>>,
}

impl RateLimitedApi {
    fn new(instances: usize, objects: usize) -> Self {
        Self { instances, objects, next: Arc::default() }
    }

    async fn call(&self, action: Action) {
        let slot = {
            let mut next = self.next.lock().unwrap();
            let next = next.entry(action).or_insert_with(Instant::now);
            let slot = (*next).max(Instant::now());
            // The client spaces calls 5 % wider than the rate.
            *next = slot + Duration::from_secs_f64(1.05 / QUOTA);
            slot
        };
        tokio::time::sleep_until(slot + LATENCY).await;
    }

    async fn list<T>(
        &self,
        action: Action,
        of: usize,
        item: impl Fn(&str) -> T,
    ) -> Result<Observed<Listing<T>>, ApiError> {
        for _ in 0..of.div_ceil(PAGE_SIZE) {
            self.call(action).await;
        }
        let items = (0..of).map(|n| item(&format!("t{n}"))).collect();
        Ok(Observed { value: complete(items), anomalies: Vec::new() })
    }
}

impl CloudApi for RateLimitedApi {
    fn rate(&self, _: Action) -> f64 {
        QUOTA
    }

    async fn regions(&self, _: Instant) -> Result<Observed<Listing<RegionId>>, ApiError> {
        Err(error(Action::GetAllInstanceIdList, ErrorKind::Auth { key: true }))
    }

    async fn instances(&self, _: Instant) -> Result<Observed<Listing<Instance>>, ApiError> {
        let running = |name: &str| instance(name, InstanceState::Running);
        self.list(Action::GetInstanceList, self.instances, running).await
    }

    async fn topics(&self, _: &InstanceId, _: Instant) -> Result<Observed<Listing<Topic>>, ApiError> {
        self.list(Action::GetTopicList, self.objects, topic).await
    }

    async fn groups(&self, _: &InstanceId, _: Instant) -> Result<Observed<Listing<GroupId>>, ApiError> {
        self.list(Action::GetConsumerList, self.objects, group).await
    }

    async fn topic_status(
        &self,
        _: &InstanceId,
        _: &TopicName,
        _: Instant,
    ) -> Result<(Observed<TopicStatus>, ResponseOrigin), ApiError> {
        self.call(Action::GetTopicStatus).await;
        Ok((Observed { value: status(7), anomalies: Vec::new() }, origin()))
    }

    async fn group_progress(
        &self,
        _: &InstanceId,
        _: &GroupId,
        _: MessageTimestamps,
        _: Instant,
    ) -> Result<(Observed<GroupProgress>, ResponseOrigin), ApiError> {
        self.call(Action::GetConsumerProgress).await;
        Ok((Observed { value: progress(7), anomalies: Vec::new() }, origin()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_pass_takes_at_most_10_percent_longer_than_its_calls() {
    for (instances, objects) in [(1, 1000), (2, 500), (10, 100), (50, 20)] {
        let cloud = RateLimitedApi::new(instances, objects);
        let began = Instant::now();
        let running = RunningAccount::over(&cloud, hangzhou(), Filters::default(), QUOTA);
        while !running.region().is_some_and(|region| region.first_pass_ended) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = began.elapsed().as_secs_f64();
        // In sequence: the instance list, the group list of one instance, and all groups.
        let calls = 1 + objects.div_ceil(PAGE_SIZE) + 1000;
        let least = calls as f64 / QUOTA;
        assert!(took <= 1.1 * least, "{instances} instances: {took} s, at least {least} s");
        let view = running.region().unwrap();
        let known = |i: &InstanceView| {
            i.groups.iter().all(|g| g.lag.is_some()) && i.topics.iter().all(|t| t.status.is_some())
        };
        assert!(view.instances.iter().all(|i| known(i)) && view.objects.groups == 1000);
        running.stop().await;
    }
}
