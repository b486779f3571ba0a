//! Monitored objects: regions, accounts, filters, granularity and the limit on series; and failures of one of them.

use super::*;

/// Whether any call named this region, instance, topic or group.
fn was_called_for(sim: &Simulator, name: &str) -> bool {
    sim.with_call_log(|l| {
        l.entries().any(|e| {
            [e.instance.as_deref(), e.object.as_deref(), Some(e.region.as_str())].contains(&Some(name))
        })
    })
}

fn calls(sim: &Simulator, action: &str) -> usize {
    sim.with_call_log(|l| l.entries().filter(|e| e.action == action).count())
}

#[tokio::test]
async fn filtered_objects_have_no_calls_and_no_series() {
    let sim = empty_cloud(&[REGION, "cn-beijing"]).await;
    sim.with_world(|w| {
        for id in [A, B] {
            add_instance(w, REGION, id);
        }
        add_instance(w, "cn-beijing", "elsewhere");
        w.rename_instance(B, "test-two").unwrap();
    });
    let settings = [
        ("REGIONS", "auto"),
        ("FILTERS__REGIONS__EXCLUDE", "cn-bei.*"),
        ("FILTERS__INSTANCES__EXCLUDE", "test-.*"),
        ("FILTERS__TOPICS__INCLUDE", "orders"),
        ("FILTERS__GROUPS__EXCLUDE", "ship.*"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("the monitored group", |p| p.lag(A, "billing") == Some(LAG_BEFORE)).await;
    let scrape = daemon.until("more discoveries", |p| p.api_calls("GetInstanceList", "ok") >= 3.0).await;
    for hidden in ["cn-beijing", "elsewhere", B, "audit", "shipping"] {
        assert!(!was_called_for(&sim, hidden), "a call for {hidden}");
        assert!(scrape.cloud_series(&[]).iter().all(|s| !s.contains(&format!("\"{hidden}\""))), "{hidden}");
    }
    assert_eq!(
        scrape.count("alikafka_topic_groups", &[]),
        0,
        "unknown because hidden groups may consume the topic"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn an_instance_not_in_service_has_info_but_no_detail_calls() {
    let sim = cloud().await;
    let idle = [("pending", 0, Some(0)), ("expired", 15, None), ("of-tomorrow", 77, Some(99))];
    sim.with_world(|w| {
        for (id, service_status, view_status) in idle {
            w.add_instance(REGION, InstanceSpec { service_status, view_status, ..InstanceSpec::new(id) });
        }
    });
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    let scrape = daemon.until("more discoveries", |p| p.api_calls("GetInstanceList", "ok") >= 4.0).await;
    for (id, ..) in idle {
        let labels = [("instance_id", id)];
        assert_eq!(scrape.count("alikafka_instance_info", &labels), 1, "{id}");
        assert!(scrape.cloud_series(&labels).iter().all(|s| s.starts_with("alikafka_instance_")), "{id}");
        assert_eq!(scrape.instance_up(id), None, "{id}");
        assert!(!was_called_for(&sim, id), "{id}");
    }
    assert_eq!(scrape.region_up(REGION), Some(1.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_coarser_granularity_has_fewer_series_but_polls_the_same() {
    for (granularity, topics, partitions) in [("topic", true, false), ("group", false, false)] {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[("METRICS__GRANULARITY", granularity)]).await;
        daemon.until_known().await;
        sim.with_world(write_more);
        let scrape = daemon.until("refreshed values", |p| all_lag_by(p, LAG_AFTER)).await;
        let has = |part: &str| scrape.cloud_series(&[]).iter().any(|s| s.contains(part));
        assert_eq!((has("topic=\""), has("partition=\"")), (topics, partitions), "{granularity}");
        // Group series may depend on topic offsets, e.g. lost messages.
        for action in ["GetTopicList", "GetTopicStatus"] {
            assert!(calls(&sim, action) > 0, "{action} at {granularity}");
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn max_series_holds_and_keeps_the_oldest_objects() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[("METRICS__MAX_SERIES", "400")]).await;
    let first = daemon.until_known().await;
    let dropped = |p: &Scrape| p.sum("alikafka_exporter_dropped_series_total", &[]);
    assert_eq!(dropped(&first), 0.0, "the limit is not reached");
    sim.with_world(|w| {
        for n in 0..60 {
            add_group(w, A, &format!("g{n:02}"), "orders");
        }
        write_more(w);
    });
    let scrape = daemon
        .until("some series are dropped", |p| {
            let series = p.value("alikafka_exporter_series", &[]).unwrap();
            assert!(series <= 400.0, "{series}");
            assert!(p.cloud_series(&[]).len() <= 400, "{}", p.cloud_series(&[]).len());
            dropped(p) > 0.0 && all_lag_by(p, LAG_AFTER)
        })
        .await;
    assert_eq!(scrape.region_up(REGION), Some(1.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_failing_discovered_region_does_not_affect_the_other() {
    let (east, west) = ("cn-shanghai", "us-west-1");
    let sim = empty_cloud(&[REGION, east, west]).await;
    sim.with_world(|w| {
        add_instance(w, east, "e");
        add_instance(w, west, "w");
    });
    let daemon = Daemon::start(&sim, &[("REGIONS", "auto")]).await;
    let lag = |p: &Scrape, e, w| p.lag("e", "billing") == e && p.lag("w", "billing") == w;
    let scrape = daemon.until("both are discovered", |p| lag(p, Some(LAG_BEFORE), Some(LAG_BEFORE))).await;
    assert_eq!(
        (scrape.region_up(east), scrape.region_up(REGION)),
        (Some(1.0), None),
        "none for a region without instances"
    );
    sim.faults(|f| f.add(Fault::new(Effect::Hang).region(east)));
    sim.with_world(write_more);
    daemon
        .until("one has expired, the other one is fresh", |p| {
            lag(p, None, Some(LAG_AFTER)) && p.region_up(east) == Some(0.0) && p.region_up(west) == Some(1.0)
        })
        .await;
    sim.faults(alikafka_simulator::Faults::clear);
    sim.with_world(|w| w.delete_instance("w").unwrap());
    let scrape = daemon
        .until("one is back, the other one is removed", |p| {
            p.lag("e", "billing") == Some(LAG_AFTER) && p.region_up(west).is_none()
        })
        .await;
    assert_eq!(scrape.cloud_series(&[("region", west)]).len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn an_unknown_region_does_not_stop_the_others() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[("REGIONS", "cn-hangzhou,cn-nowhere")]).await;
    let scrape = daemon
        .until("one up, one down", |p| {
            all_lag_by(p, LAG_BEFORE)
                && p.region_up(REGION) == Some(1.0)
                && p.region_up("cn-nowhere") == Some(0.0)
        })
        .await;
    assert!(scrape.api_calls("GetInstanceList", "business") > 0.0);
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(
        (&lines[0]["region"], &lines[0]["code"]),
        (&"cn-nowhere".into(), &"BIZ_REGION_NOT_FOUND".into())
    );
    daemon.stop().await;
}

#[tokio::test]
async fn an_unreachable_cloud_is_logged_once_and_recovers() {
    let sim = cloud().await;
    let address = sim.addr();
    let world = sim.with_world(|w| w.now_ms());
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.shutdown().await;
    let scrape = daemon
        .until("all values have expired", |p| {
            p.region_up(REGION) == Some(0.0) && p.count("alikafka_group_lag_messages", &[]) == 0
        })
        .await;
    assert!(scrape.api_calls("GetConsumerProgress", "connect") > 0.0);
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "one line for the region, not one per instance: {lines:#?}");
    assert_eq!(
        daemon.body("/-/healthy").await.trim(),
        "ok",
        "an outage of the cloud does not make the exporter unhealthy"
    );
    let behaviour = ServiceBehaviour { keys: vec![key()], ..ServiceBehaviour::default() };
    let world = WorldOptions { epoch_ms: Some(world), ..WorldOptions::empty([REGION]) };
    let options = SimulatorOptions { listen: address, world, behaviour, ..SimulatorOptions::default() };
    let again = Simulator::start(options).await.unwrap();
    again.with_world(|w| {
        for id in [A, B] {
            add_instance(w, REGION, id);
        }
        write_more(w);
    });
    daemon
        .until("everything is fresh", |p| all_lag_by(p, LAG_AFTER) && p.region_up(REGION) == Some(1.0))
        .await;
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn sigterm_ends_a_pass_with_hanging_calls() {
    for hanging in ["GetInstanceList", "GetTopicList", "GetConsumerProgress"] {
        let sim = cloud().await;
        sim.faults(|f| f.add(Fault::new(Effect::Hang).action(hanging)));
        let daemon = Daemon::start(&sim, &[("REQUEST_TIMEOUT", "5m")]).await;
        daemon.until("a call hangs", |_| calls(&sim, hanging) > 0).await;
        assert_eq!(daemon.scrape().await.api_calls(hanging, "timeout"), 0.0);
        // Checks exit code 0 within five seconds.
        daemon.stop().await;
    }
}
