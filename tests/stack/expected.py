"""Expected results for the failure scenarios: firing alerts by object, and expressions without data."""

ORDERS, LOGS, DEVICES = "alikafka_pre-cn-orders01", "alikafka_post-cn-logs02", "alikafka_serverless-cn-devices03"
LEGACY, DEPOT = "alikafka_pre-cn-legacy04", "alikafka_pre-eu-depot05"
EXPIRED, STOPPED = "alikafka_pre-eu-expired06", "alikafka_post-eu-stopped07"
IN_SERVICE = (ORDERS, LOGS, DEVICES, LEGACY, DEPOT)
REGIONS = ("cn-hangzhou", "eu-central-1")
TEAMS = {ORDERS: "trade", LOGS: "platform", DEVICES: "iot", DEPOT: "logistics", EXPIRED: "logistics",
         STOPPED: "logistics"}

LATE = {"AliKafkaGroupLate", "AliKafkaGroupPossiblyLate"}
# These have no upper bound, because the cloud reports no time of the last consumed message, or retention has deleted it.
LATE_BY_LOWER_BOUND = {"AliKafkaGroupLate"}
HIGH, GROWING = {"AliKafkaGroupLagHigh"}, {"AliKafkaGroupLagGrowing"}
STALLED, STOPPED_GROUP = {"AliKafkaGroupStalled"}, {"AliKafkaGroupStopped"}

# (instance, group or topic or ""): exactly the alerts that fire for it. Objects not listed have none. The threshold of this
# run is 30 seconds; THRESHOLDS has overrides for groups and an instance.
ALERTS = {
    (ORDERS, "order-search"): LATE | GROWING,
    (ORDERS, "order-mail"): LATE | GROWING | HIGH | STALLED,
    # Its threshold is Inf.
    (ORDERS, "order-report"): GROWING | HIGH | STOPPED_GROUP,
    # There is a threshold for a deleted group.
    (ORDERS, "order-gone"): {"AliKafkaThresholdUnused"},
    (ORDERS, "order-replay"): LATE | {"AliKafkaGroupRewound"},
    # Producers have stopped, so its lag does not grow.
    (ORDERS, "invoice-print"): LATE | STALLED,
    (LOGS, "click-indexer"): LATE | GROWING | STALLED | {"AliKafkaPartitionSkew"},
    (LOGS, "click-stats"): LATE | {"AliKafkaPartitionSkew"},
    # It continuously loses unread messages.
    (LOGS, "audit-archive"): LATE_BY_LOWER_BOUND | GROWING | HIGH | {"AliKafkaMessagesLost", "AliKafkaDataLossAhead",
                                                           "AliKafkaDataLossNear"},
    (LOGS, "audit-warehouse"): LATE | GROWING | HIGH | {"AliKafkaDataLossAhead"},
    (LOGS, "audit-export"): LATE | GROWING | HIGH | {"AliKafkaDataLossAhead", "AliKafkaDataLossNear"},
    (LOGS, "metrics-reload"): LATE | HIGH,
    (LOGS, "debug-log"): {"AliKafkaTopicUnread"},
    # Its instance has a high threshold.
    (DEVICES, "设备影子"): GROWING,
    (LEGACY, "session-cleaner"): LATE_BY_LOWER_BOUND | GROWING | STALLED,
    (LEGACY, ""): {"AliKafkaTopicQuotaNear", "AliKafkaInstanceExpiring"},
    (DEPOT, ""): {"AliKafkaInstanceExpiring", "AliKafkaInstanceExpiryNear"},
    (DEPOT, "parcel-tracker"): {"AliKafkaGroupRebalancing"},
    (DEPOT, "customs-office"): LATE | STALLED,
    (DEPOT, "route-planner"): {"AliKafkaGroupRewound"},
    # config/alertmanager.yml inhibits the others by the first.
    (EXPIRED, ""): {"AliKafkaInstanceExpired", "AliKafkaInstanceExpiryNear", "AliKafkaInstanceExpiring"},
    (STOPPED, ""): {"AliKafkaInstanceOutOfService"},
}
# Alerts that may fire or not, with the reason.
MAYBE = {
    ("", ""): {"AliKafkaExporterDown": "no data before the first scrape, and this rule has `for: 2s` here"},
    (LOGS, "audit-archive"): {
        "AliKafkaGroupStalled": "without known start offsets, a stall is all that can be detected",
    },
    (LOGS, "click-stats"): {
        "AliKafkaGroupLagGrowing": "its lag fluctuates by one commit, which is growth for a rule with `for: 2s`",
    },
}
# A problem of this run's rule files, not of the simulated world. A threshold is a line in a file, so its alert has no team,
# and resolves while the list of groups is unknown.
NOT_SIMULATED = {(ORDERS, "order-gone")}
ABOUT_FILES = {"AliKafkaThresholdUnused"}
# Scenarios without an alert: dashboards show them.
NO_ALERT = {
    "unwritten": "a topic without producers may be intentional",
    "hot_partition": "harmless until a group falls behind: AliKafkaPartitionSkew",
    "no_team": "alerts of the instance have no label team",
    "abandoned": "a topic without producers and consumers is harmless",
    "dead": "a group without topics has no lag",
}
# Threshold overrides for two groups and an instance.
THRESHOLDS = f"""groups:
  - name: alikafka-thresholds
    rules:
      - record: alikafka:group_lag_threshold_seconds:default
        expr: 30
      - record: alikafka:group_lag_threshold_messages:default
        expr: 100000
      - record: alikafka:group_lag_threshold_seconds
        expr: Inf
        labels: {{instance_id: {ORDERS}, group: order-report}}
      - record: alikafka:group_lag_threshold_seconds
        expr: 60
        labels: {{instance_id: {ORDERS}, group: order-gone}}
      - record: alikafka:group_lag_threshold_seconds
        expr: 86400
        labels: {{instance_id: {DEVICES}}}
"""

# One unreadable instance.
ONE_DOWN = {(DEVICES, ""): {"AliKafkaInstanceDown"}}
# The cloud is unreachable. Keys: (instance or region, "").
ALL_DOWN = {
    **{(instance, ""): {"AliKafkaInstanceDown", "AliKafkaDataStale"} for instance in IN_SERVICE},
    **{(region, ""): {"AliKafkaRegionDown"} for region in REGIONS},
}

# Alerts that cannot fire with granularity group.
OF_TOPICS = {"AliKafkaPartitionSkew", "AliKafkaTopicUnread", "AliKafkaDataLossAhead", "AliKafkaDataLossNear"}

# Metrics that may differ between two exporters because they poll at different times: forecasts and trends.
TIME_DEPENDENT = r"(catch_up_seconds|data_loss_eta_seconds|group_status)\b"
# Expressions that must have data once the cloud is unreachable; before, either is fine.
LATER_ON_DASHBOARDS = {("fleet.json", "annotation Region incomplete")}
LATER_IN_RULES = {("alerting", name) for name in ("AliKafkaInstanceDown", "AliKafkaDataStale", "AliKafkaRegionDown")}

# Dashboard expressions without data in this world: (dashboard, panel and target), with the reason.
NOTHING_ON_DASHBOARDS = {
    ("exporter.json", "Time to credential expiry A"): "the key is permanent",
    ("exporter.json", "annotation Exporter started"): "no exporter was restarted",
}
# Rules without data, by type and name. config/rules/tests tests each.
HEALTHY = "the exporter is healthy"
NOTHING_IN_RULES = {
    ("alerting", name): HEALTHY for name in (
        "AliKafkaApiThrottled", "AliKafkaApiThrottled without its threshold", "AliKafkaBudgetShort",
        "AliKafkaRegionSearchFailing", "AliKafkaRegionSearchFailing without its threshold", "AliKafkaExporterDown",
        "AliKafkaNoRegion", "AliKafkaSeriesDropped", "AliKafkaReloadFailed", "AliKafkaCredentialsExpiring",
        "AliKafkaCredentialsExpiring without its threshold", "AliKafkaCredentialsFailing", "AliKafkaClockSkewed",
        "AliKafkaAnswersOdd", "AliKafkaExporterPanicked", "AliKafkaLogLinesLost", "AliKafkaInstanceUnwatched",
    )
}
