//! Lag in seconds on the page, over the wire, against the true ages of the simulated world.

use alikafka_simulator::ObjectKey;

use super::*;

/// Waits until every group has been asked for twice more: the world stands still, so the page is of now then.
async fn asked_twice(pair: &Pair) {
    let times = || -> BTreeMap<ObjectKey, u64> {
        pair.cloud.served().groups.into_iter().map(|(key, last)| (key, last.times)).collect()
    };
    let truth = pair.cloud.truth();
    // Of those that there are: some of what was served is gone.
    let exists = |(_, id, group): &ObjectKey| {
        truth.instance(id).is_some_and(|instance| instance.groups.contains_key(group))
    };
    let before: BTreeMap<_, _> = times().into_iter().filter(|(key, _)| exists(key)).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_behind = |now: &BTreeMap<ObjectKey, u64>| before.iter().any(|(key, n)| now[key] < n + 2);
    while is_behind(&times()) {
        assert!(Instant::now() < deadline, "every group is asked for");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Checks each bracket of a page; returns how many with lag have both bounds.
fn check(page: &SeriesSet, cloud: &Simulator) -> usize {
    let mut both = 0;
    let mut hold = |name: &str, labels: &[(&str, &str)], age: i64| {
        let bound = |what: &str| page.value(&format!("alikafka_group_{name}{what}_seconds"), labels);
        let (floor, ceiling, age) = (bound("lag_floor"), bound("lag"), age as f64 / 1000.0);
        assert!(floor.is_none_or(|floor| floor <= age), "{labels:?}: {floor:?} <= {age}");
        assert!(ceiling.is_none_or(|ceiling| ceiling >= age), "{labels:?}: {age} <= {ceiling:?}");
        both += usize::from(age > 0.0 && floor.is_some() && ceiling.is_some());
    };
    for (region, truth) in &cloud.truth().regions {
        for (id, instance) in &truth.instances {
            for (group, truth) in &instance.groups {
                let of_group = [("region", region.as_str()), ("instance_id", id), ("group", group)];
                truth.oldest_unread_age_ms.into_iter().for_each(|age| hold("", &of_group, age));
                for (topic, truth) in &truth.topics {
                    for p in &truth.partitions {
                        let number = p.partition.to_string();
                        let [r, i, g] = of_group;
                        let labels = [r, i, g, ("topic", topic.as_str()), ("partition", &number)];
                        p.oldest_unread_age_ms.into_iter().for_each(|age| hold("partition_", &labels, age));
                    }
                }
            }
        }
    }
    both
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_in_seconds_is_within_its_bounds() {
    let pair = Pair::start(varied(23), &format!("{FAST}requests_per_second: 400\n")).await;
    let mut both = 0;
    for step in 0..3u64 {
        settle(&pair).await;
        asked_twice(&pair).await;
        both += check(&pair.scrape().await, &pair.cloud);
        pair.cloud.advance(Duration::from_secs(7 + step * 31));
    }
    assert!(both > 120, "only {both} brackets with both bounds were seen");
    pair.stop().await;
}
