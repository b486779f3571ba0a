//! Exposed lag in seconds, compared with the true message ages of the simulated cloud.

use alikafka_simulator::ObjectKey;

use super::*;

/// Waits for two more polls of every group, after which the metrics are current.
async fn wait_for_two_polls(exporter: &InProcessExporter) {
    let times = || -> BTreeMap<ObjectKey, u64> {
        exporter.cloud.served().groups.into_iter().map(|(key, last)| (key, last.times)).collect()
    };
    let truth = exporter.cloud.truth();
    // Deleted groups are in `served` too.
    let exists = |(_, id, group): &ObjectKey| {
        truth.instance(id).is_some_and(|instance| instance.groups.contains_key(group))
    };
    let before: BTreeMap<_, _> = times().into_iter().filter(|(key, _)| exists(key)).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_behind = |now: &BTreeMap<ObjectKey, u64>| before.iter().any(|(key, n)| now[key] < n + 2);
    while is_behind(&times()) {
        assert!(Instant::now() < deadline, "not every group is polled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asserts that each true age is within its bounds. Returns the number of ages with both bounds.
fn check_bounds(scrape: &SeriesSet, cloud: &Simulator) -> usize {
    let mut both = 0;
    let mut check = |name: &str, labels: &[(&str, &str)], age: i64| {
        let bound = |bound: &str| scrape.value(&format!("alikafka_group_{name}{bound}_seconds"), labels);
        let (lower, upper, age) = (bound("lag_floor"), bound("lag"), age as f64 / 1000.0);
        assert!(lower.is_none_or(|lower| lower <= age), "{labels:?}: {lower:?} <= {age}");
        assert!(upper.is_none_or(|upper| upper >= age), "{labels:?}: {age} <= {upper:?}");
        both += usize::from(age > 0.0 && lower.is_some() && upper.is_some());
    };
    for (region, truth) in &cloud.truth().regions {
        for (id, instance) in &truth.instances {
            for (group, truth) in &instance.groups {
                let group_labels = [("region", region.as_str()), ("instance_id", id), ("group", group)];
                truth.oldest_unread_age_ms.into_iter().for_each(|age| check("", &group_labels, age));
                for (topic, truth) in &truth.topics {
                    for p in &truth.partitions {
                        let number = p.partition.to_string();
                        let [r, i, g] = group_labels;
                        let labels = [r, i, g, ("topic", topic.as_str()), ("partition", &number)];
                        p.oldest_unread_age_ms.into_iter().for_each(|age| check("partition_", &labels, age));
                    }
                }
            }
        }
    }
    both
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_in_seconds_is_within_its_bounds() {
    let exporter =
        InProcessExporter::start(varied_cloud(23), &format!("{FAST_SETTINGS}requests_per_second: 400\n"))
            .await;
    let mut both = 0;
    for step in 0..3u64 {
        wait_until_correct(&exporter).await;
        wait_for_two_polls(&exporter).await;
        both += check_bounds(&exporter.scrape().await, &exporter.cloud);
        exporter.cloud.advance(Duration::from_secs(7 + step * 31));
    }
    assert!(both > 120, "only {both} ages with both bounds");
    exporter.stop().await;
}
