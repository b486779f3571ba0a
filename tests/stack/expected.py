"""What is to be seen in the failure scenarios: which alerts fire for which of them, and what has nothing to show."""

ORDERS, LOGS, DEVICES = "alikafka_pre-cn-orders01", "alikafka_post-cn-logs02", "alikafka_serverless-cn-devices03"
LEGACY, DEPOT = "alikafka_pre-cn-legacy04", "alikafka_pre-eu-depot05"
EXPIRED, STOPPED = "alikafka_pre-eu-expired06", "alikafka_post-eu-stopped07"
IN_SERVICE = (ORDERS, LOGS, DEVICES, LEGACY, DEPOT)
REGIONS = ("cn-hangzhou", "eu-central-1")
TEAMS = {ORDERS: "trade", LOGS: "platform", DEVICES: "iot", DEPOT: "logistics", EXPIRED: "logistics",
         STOPPED: "logistics"}

LATE = {"AliKafkaGroupLate", "AliKafkaGroupPossiblyLate"}
# Of these the cloud tells no time of what was read last, or it is not held any more: there is no ceiling.
CERTAINLY = {"AliKafkaGroupLate"}
HIGH, GROWING = {"AliKafkaGroupLagHigh"}, {"AliKafkaGroupLagGrowing"}
STALLED, STOPPED_GROUP = {"AliKafkaGroupStalled"}, {"AliKafkaGroupStopped"}

# (instance, group, topic or nothing): the alerts that fire for it, and no others. What is not here has none.
# The threshold of this run is 30 seconds; that of a group and of an instance are set apart, see THRESHOLDS.
ALERTS = {
    (ORDERS, "order-search"): LATE | GROWING,
    (ORDERS, "order-mail"): LATE | GROWING | HIGH | STALLED,
    # It is excepted from being late.
    (ORDERS, "order-report"): GROWING | HIGH | STOPPED_GROUP,
    # Somebody's threshold is for a group that is gone.
    (ORDERS, "order-gone"): {"AliKafkaThresholdUnused"},
    (ORDERS, "order-replay"): LATE | {"AliKafkaGroupRewound"},
    # Nothing is written any more, so its lag does not grow.
    (ORDERS, "invoice-print"): LATE | STALLED,
    (LOGS, "click-indexer"): LATE | GROWING | STALLED | {"AliKafkaPartitionSkew"},
    (LOGS, "click-stats"): LATE | {"AliKafkaPartitionSkew"},
    # More of what it has not read is lost all the time.
    (LOGS, "audit-archive"): CERTAINLY | GROWING | HIGH | {"AliKafkaMessagesLost", "AliKafkaDataLossAhead",
                                                           "AliKafkaDataLossNear"},
    (LOGS, "audit-warehouse"): LATE | GROWING | HIGH | {"AliKafkaDataLossAhead"},
    (LOGS, "audit-export"): LATE | GROWING | HIGH | {"AliKafkaDataLossAhead", "AliKafkaDataLossNear"},
    (LOGS, "metrics-reload"): LATE | HIGH,
    (LOGS, "debug-log"): {"AliKafkaTopicUnread"},
    # Its instance is excepted from being late.
    (DEVICES, "设备影子"): GROWING,
    (LEGACY, "session-cleaner"): CERTAINLY | GROWING | STALLED,
    (LEGACY, ""): {"AliKafkaTopicQuotaNear", "AliKafkaInstanceExpiring"},
    (DEPOT, ""): {"AliKafkaInstanceExpiring", "AliKafkaInstanceExpiryNear"},
    (DEPOT, "parcel-tracker"): {"AliKafkaGroupRebalancing"},
    (DEPOT, "customs-office"): LATE | STALLED,
    (DEPOT, "route-planner"): {"AliKafkaGroupRewound"},
    # The first mutes the others in config/alertmanager.yml.
    (EXPIRED, ""): {"AliKafkaInstanceExpired", "AliKafkaInstanceExpiryNear", "AliKafkaInstanceExpiring"},
    (STOPPED, ""): {"AliKafkaInstanceOutOfService"},
}
# What may fire or not, and why: nothing is held of it.
MAYBE = {
    ("", ""): {"AliKafkaExporterDown": "before the first scrape there is none, and this rule waits 2s"},
    (LOGS, "audit-archive"): {
        "AliKafkaGroupStalled": "once the oldest offsets are unknown, that it stands still is all there is to say",
    },
    (LOGS, "click-stats"): {
        "AliKafkaGroupLagGrowing": "its lag moves by a commit up and down, which is growth to a rule that waits 2s",
    },
}
# What is wrong with this run and not with its world: a threshold is a line in a file, so the alert about it has no
# team, and it ends while nobody knows which groups there are.
NOT_OF_THE_WORLD = {(ORDERS, "order-gone")}
ABOUT_FILES = {"AliKafkaThresholdUnused"}
# Scenarios without an alert: dashboards show them.
NO_ALERT = {
    "unwritten": "a topic that nobody writes any more may have come to its end",
    "hot_partition": "it costs nothing until a group falls behind: AliKafkaPartitionSkew",
    "no_team": "the alerts of the instance have no label team",
    "abandoned": "a topic that is neither written nor read costs nothing",
    "dead": "a group that reads nothing has nothing to read",
}
# A group, and an instance, that may be as late as they are.
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

# One instance cannot be read: it alone.
ONE_DOWN = {(DEVICES, ""): {"AliKafkaInstanceDown"}}
# The whole cloud is gone. (instance, or region, "").
ALL_DOWN = {
    **{(instance, ""): {"AliKafkaInstanceDown", "AliKafkaDataStale"} for instance in IN_SERVICE},
    **{(region, ""): {"AliKafkaRegionDown"} for region in REGIONS},
}

# Alerts that a page of groups alone cannot have.
OF_TOPICS = {"AliKafkaPartitionSkew", "AliKafkaTopicUnread", "AliKafkaDataLossAhead", "AliKafkaDataLossNear"}

# What two exporters, which poll at different moments, need not say alike at any one moment: forecasts and trends.
OF_ITS_OWN = r"(catch_up_seconds|data_loss_eta_seconds|group_status)\b"
# What must have something to show once the cloud is gone; what it has before is no matter.
LATER_ON_DASHBOARDS = {("fleet.json", "annotation Region incomplete")}
LATER_IN_RULES = {("alerting", name) for name in ("AliKafkaInstanceDown", "AliKafkaDataStale", "AliKafkaRegionDown")}

# Expressions of dashboards that have nothing to show in this world: (dashboard, panel and target), and why.
NOTHING_ON_DASHBOARDS = {
    ("exporter.json", "Time to credential expiry A"): "the key is a lasting one",
    ("exporter.json", "annotation Exporter started"): "none was started again",
}
# The same for rules, by type and name. What becomes of each is in config/rules/tests.
WELL = "the exporter is well"
NOTHING_IN_RULES = {
    ("alerting", name): WELL for name in (
        "AliKafkaApiThrottled", "AliKafkaApiThrottled without its threshold", "AliKafkaBudgetShort",
        "AliKafkaRegionSearchFailing", "AliKafkaRegionSearchFailing without its threshold", "AliKafkaExporterDown",
        "AliKafkaNoRegion", "AliKafkaSeriesDropped", "AliKafkaReloadFailed", "AliKafkaCredentialsExpiring",
        "AliKafkaCredentialsExpiring without its threshold", "AliKafkaCredentialsFailing", "AliKafkaClockSkewed",
        "AliKafkaAnswersOdd", "AliKafkaExporterPanicked", "AliKafkaLogLinesLost", "AliKafkaInstanceUnwatched",
    )
}
