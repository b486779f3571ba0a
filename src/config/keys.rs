//! Table of all configuration keys. To add a key, add a row here and read it in `settings.rs`, `account.rs` or
//! `credentials.rs`.
//!
//! The checks of key names, the environment variables, the reference file, docs/configuration.md and the schema of
//! the Helm chart derive from this table.

use super::problem::nearest;

/// Shape of the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Text,
    /// List of values; comma-separated in an environment variable.
    List,
    /// `auto`, or a list of values.
    AutoOrList,
    /// Map of free keys to values; in the environment `key=value,key=value`, or one variable per key.
    Map,
    /// List of accounts.
    Accounts,
}

/// Value of a key in the reference file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceValue {
    /// This value.
    Value(&'static str),
    /// Commented out, with this example.
    Example(&'static str),
}

/// Configuration key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigKey {
    /// Path, with dots between its parts.
    pub path: &'static str,
    /// Shape of the value.
    pub shape: Shape,
    /// Whether an account may set it; the top level is then the default for all accounts.
    pub per_account: bool,
    /// Accepted values, for messages.
    pub expects: &'static str,
    /// Default, for people.
    pub default: &'static str,
    /// Value in the reference file.
    pub reference: ReferenceValue,
    /// Description, in lines of the reference file.
    pub doc: &'static str,
}

/// Prefix of environment variables that set keys.
pub const VARIABLE_PREFIX: &str = "ALIKAFKA_EXPORTER_";

/// Keys of `request_rates`. A test compares them with the actions of the API client.
pub const ACTIONS: [&str; 6] = [
    "GetAllInstanceIdList",
    "GetInstanceList",
    "GetTopicList",
    "GetTopicStatus",
    "GetConsumerList",
    "GetConsumerProgress",
];

const ACCOUNT: bool = true;
const GLOBAL: bool = false;
const TYPES: &str = "chain, environment, oidc, cli_profile, ini_profile, ecs_ram_role or uri, or leave the \
     key out and give an access key or its files";
const ROLE: &str = "an ARN such as acs:ram::1234567890123456:role/alikafka-exporter";
const SESSION: &str = "2 to 64 letters, digits and any of .@_-";
const PATTERNS: &str = "a list of regular expressions such as [\"orders-.*\"]";

macro_rules! keys {
    ($($path:literal, $shape:ident, $scope:ident, $expects:expr, $default:literal, $reference:ident($example:literal), $doc:literal;)*) => {
        /// All keys, grouped by section, in the order of the reference file.
        pub const KEYS: &[ConfigKey] = &[$(ConfigKey {
            path: $path, shape: Shape::$shape, per_account: $scope, expects: $expects, default: $default,
            reference: ReferenceValue::$reference($example), doc: $doc,
        }),*];
    };
}

keys! {
    "regions", AutoOrList, ACCOUNT, "auto, or a list of region ids such as [cn-hangzhou, cn-shanghai]",
        "required", Value("[cn-hangzhou]"),
        "Regions to monitor, or auto: all regions in which the account has instances.";
    "credentials.type", Text, ACCOUNT, TYPES, "chain", Value("chain"),
        "Source of the access key: chain, environment, oidc, cli_profile, ini_profile, ecs_ram_role or uri.\nchain tries the others in this order, each only if its settings are present, and keeps the first one\nthat returns a key. Leave it out to use the files or the keys below instead.";
    "credentials.access_key_id_file", Text, ACCOUNT, "the path of a file", "none",
        Example("/etc/alikafka-exporter/access-key-id"),
        "File that contains the access key id and nothing else. Prefer files to inline keys.";
    "credentials.access_key_secret_file", Text, ACCOUNT, "the path of a file", "none",
        Example("/etc/alikafka-exporter/access-key-secret"), "File that contains the access key secret.";
    "credentials.security_token_file", Text, ACCOUNT, "the path of a file", "none",
        Example("/etc/alikafka-exporter/security-token"),
        "File that contains the security token of a temporary key.";
    "credentials.access_key_id", Text, ACCOUNT, "the access key id", "none", Example("LTAI..."),
        "Inline access key id.";
    "credentials.access_key_secret", Text, ACCOUNT, "the access key secret", "none", Example("..."),
        "Inline access key secret.";
    "credentials.security_token", Text, ACCOUNT, "the security token", "none", Example("..."),
        "Inline security token of a temporary key.";
    "credentials.role_arn", Text, ACCOUNT, ROLE, "ALIBABA_CLOUD_ROLE_ARN",
        Example("acs:ram::1234567890123456:role/alikafka-exporter"),
        "oidc: the role to assume with an OIDC token, e.g. the one that RRSA mounts into pods.";
    "credentials.oidc_provider_arn", Text, ACCOUNT,
        "an ARN such as acs:ram::1234567890123456:oidc-provider/ack-rrsa-c123", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        Example("acs:ram::1234567890123456:oidc-provider/ack-rrsa-c123"), "oidc: the identity provider that issued the token.";
    "credentials.oidc_token_file", Text, ACCOUNT, "the path of a file", "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
        Example("/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token"),
        "oidc: file that contains the token. The exporter reads it again for each refresh.";
    "credentials.session_name", Text, ACCOUNT, SESSION,
        "ALIBABA_CLOUD_ROLE_SESSION_NAME, else alikafka-exporter", Example("alikafka-exporter"),
        "oidc: name of the session in the audit log (ActionTrail).";
    "credentials.profile", Text, ACCOUNT, "the name of a profile", "ALIBABA_CLOUD_PROFILE, else that of the file",
        Example("default"),
        "cli_profile and ini_profile: the profile to use. Without a name, the current profile of the CLI, or the\nsection default of the ini file.";
    "credentials.profile_file", Text, ACCOUNT, "the path of a file", "where the vendor's tools have it",
        Example("/etc/alikafka-exporter/credentials.ini"),
        "cli_profile: the file, else ~/.aliyun/config.json. ini_profile: the file, else that of\nALIBABA_CLOUD_CREDENTIALS_FILE, else ~/.alibabacloud/credentials, with or without .ini.";
    "credentials.role_name", Text, ACCOUNT, "the name of a RAM role", "ALIBABA_CLOUD_ECS_METADATA, else the role of the instance",
        Example("alikafka-exporter"), "ecs_ram_role: the RAM role that is attached to the ECS instance.";
    "credentials.uri", Text, ACCOUNT, "a URL such as http://127.0.0.1:6666/credentials", "ALIBABA_CLOUD_CREDENTIALS_URI",
        Example("http://127.0.0.1:6666/credentials"),
        "uri: the address of a service that returns keys. https only; plain http to loopback only.";
    "credentials.assume_role.role_arn", Text, ACCOUNT, ROLE, "none",
        Example("acs:ram::1234567890123456:role/alikafka-exporter"),
        "Role to assume with the key of the source, e.g. a role of another account. Its temporary key then\nsigns the requests.";
    "credentials.assume_role.session_name", Text, ACCOUNT, SESSION, "alikafka-exporter", Example("alikafka-exporter"),
        "Name of the session in the audit log (ActionTrail).";
    "credentials.assume_role.external_id", Text, ACCOUNT, "2 to 1224 letters, digits and any of =,.@:/_-", "none",
        Example("..."), "External id that the owner of the role requires, if any.";
    "credentials.assume_role.policy", Text, ACCOUNT, "a policy as JSON, of 2048 characters at most", "none",
        Example("'{\"Version\": \"1\", \"Statement\": []}'"), "Policy that restricts the permissions of the role.";
    "credentials.assume_role.duration", Text, ACCOUNT, "a duration such as 1h", "1h", Example("1h"),
        "Lifetime of each temporary key, from 15m to 12h. The role may allow less.";
    "credentials.sts_endpoint", Text, ACCOUNT, "a URL such as https://sts.cn-hangzhou.aliyuncs.com",
        "https://sts.aliyuncs.com", Example("https://sts.cn-hangzhou.aliyuncs.com"),
        "Security token service for oidc, assume_role and some profiles. Without it, ALIBABA_CLOUD_STS_REGION\nselects the service of a region, and ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED=true the one inside its VPCs.\nhttps only; plain http to loopback only.";
    "credentials.metadata_endpoint", Text, ACCOUNT, "http://100.100.100.200", "http://100.100.100.200",
        Example("http://127.0.0.1:8080"),
        "Metadata service for ecs_ram_role: this address, or a substitute on loopback.";
    "network", Text, ACCOUNT, "public or vpc", "public", Value("public"),
        "public or vpc: whether to call alikafka.<region>.aliyuncs.com or alikafka-vpc.<region>.aliyuncs.com.";
    "endpoint", Text, ACCOUNT, "a URL such as https://alikafka.{region}.aliyuncs.com", "built from region and network",
        Example("https://alikafka.{region}.aliyuncs.com"),
        "URL to call instead; {region} is replaced by the region id. https only; plain http to loopback only.\nIt overrides network.";
    "signature", Text, ACCOUNT, "acs3 or v1", "acs3", Value("acs3"),
        "Signature method of requests. acs3: ACS3-HMAC-SHA256, in headers. v1: HMAC-SHA1, in the body.";
    "proxy", Text, ACCOUNT, "none, environment, or a URL such as http://proxy.example:3128", "none", Value("none"),
        "HTTP proxy for API calls: none, a URL (optionally with user and password), or environment:\nHTTPS_PROXY, HTTP_PROXY and NO_PROXY, which are ignored otherwise.";
    "requests_per_second", Text, ACCOUNT, "a number above 0, such as 20", "20", Value("20"),
        "Maximum calls per second of each action in each region. The service allows 100 for most actions,\nshared by all clients of the account.";
    "request_rates", Map, ACCOUNT, "a map of actions to rates such as {GetTopicStatus: 5}", "none", Value("{}"),
        "Rates of single actions, e.g. {GetTopicStatus: 5}.";
    "filters.regions.include", List, ACCOUNT, PATTERNS, "all", Value("[]"),
        "Regions to include. All filters are regular expressions that must match the entire id or name. An\nempty list includes everything, and exclude wins over include. Excluded objects cost no API calls.";
    "filters.regions.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Regions to exclude.";
    "filters.instances.include", List, ACCOUNT, PATTERNS, "all", Value("[]"),
        "Instances to include, by id or name.";
    "filters.instances.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Instances to exclude, by id or name.";
    "filters.topics.include", List, ACCOUNT, PATTERNS, "all", Value("[]"), "Topics to include.";
    "filters.topics.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Topics to exclude.";
    "filters.groups.include", List, ACCOUNT, PATTERNS, "all", Value("[]"), "Consumer groups to include.";
    "filters.groups.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Consumer groups to exclude.";
    "filters.tags", Map, ACCOUNT, "a map of tags to regular expressions such as {env: prod}", "none", Value("{}"),
        "Tags that an instance must have, each with a regular expression for its value, e.g. {env: prod|stage}.";
    "accounts", Accounts, GLOBAL, "a list of accounts, each with a name", "none",
        Example("[{name: production}, {name: test, regions: auto}]"),
        "Several accounts, each with a name (the label account) and any of the keys that may be set per account.\nAn account inherits the keys that it omits from the top level. Its own credentials replace all of those of\nthe top level.";
    "discovery_interval", Text, GLOBAL, "a duration such as 5m", "5m", Value("5m"),
        "Interval between two discoveries of instances, topics and groups.";
    "poll_interval", Text, GLOBAL, "a duration such as 60s", "60s", Value("60s"),
        "Poll interval of the offsets of active consumer groups.";
    "topic_poll_interval", Text, GLOBAL, "a duration such as 60s", "poll_interval", Example("60s"),
        "Poll interval of the offsets of active topics; at least poll_interval.";
    "idle_poll_interval", Text, GLOBAL, "a duration such as 90s", "half of stale_after, at most 150s, at least poll_interval",
        Example("90s"),
        "Poll interval for idle groups and topics, and for topics whose end offsets are already reported by their\nconsumer groups. At least poll_interval; idle_poll_interval plus poll_interval must not exceed stale_after.";
    "stale_after", Text, GLOBAL, "a duration such as 3m", "3 x poll_interval, of topics 3 x topic_poll_interval", Example("3m"),
        "Maximum age of a value that cannot be refreshed; at least twice poll_interval and twice\ntopic_poll_interval. Discovered objects are kept for three times discovery_interval, if that is longer.";
    "status_window", Text, GLOBAL, "a duration such as 10m", "10m, or 5 x poll_interval if 10m is too short", Example("10m"),
        "Period over which the status, rates and forecasts of a group are computed. It must contain five polls,\nso it is at least four times poll_interval.";
    "last_timestamps", Text, GLOBAL, "lagging, always or never", "lagging", Value("lagging"),
        "Groups for which GetConsumerProgress requests LastTimestamp, which is expensive for the service:\nlagging (groups with lag), always, or never.";
    "request_timeout", Text, GLOBAL, "a duration such as 15s", "15s", Value("15s"),
        "Timeout of one API call, including its response.";
    "metrics.granularity", Text, GLOBAL, "partition, topic or group", "partition", Value("partition"),
        "Finest level of detail that gets series: partition, topic or group.";
    "metrics.naming", Text, GLOBAL, "native or kafka_exporter", "native", Value("native"),
        "native, or kafka_exporter: metrics that kafka_exporter has too use its names and labels.";
    "metrics.max_series", Text, GLOBAL, "an integer above 0, such as 100000", "no limit", Example("100000"),
        "Hard limit on the number of series about the cloud. Dropped series are counted and logged.";
    "metrics.labels", Map, GLOBAL, "a map of label names to values such as {team: payments}", "none", Value("{}"),
        "Constant labels of every series, e.g. {team: payments}.";
    "metrics.instance_tags", List, GLOBAL, "a list of tag keys such as [env]", "none", Value("[]"),
        "Instance tags to export on alikafka_instance_tags.";
}

impl ConfigKey {
    /// Returns the environment variable that sets the key; `None` for the list of accounts.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        (self.shape != Shape::Accounts).then(|| format!("{VARIABLE_PREFIX}{}", self.variable_suffix()))
    }

    /// Returns the name of the variable without its prefix.
    pub(super) fn variable_suffix(&self) -> String {
        self.path.replace('.', "__").to_uppercase()
    }
}

/// Returns the key of a path.
pub(super) fn find(path: &str) -> Option<&'static ConfigKey> {
    KEYS.iter().find(|k| k.path == path)
}

/// Whether a path is a section, i.e. the parent of other keys.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|k| k.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Returns the names that a section may contain. The empty path is the top level, or an account.
pub(super) fn children(section: &str, per_account: bool) -> Vec<&'static str> {
    let mut names: Vec<&str> = if per_account && section.is_empty() { vec!["name"] } else { Vec::new() };
    for key in KEYS.iter().filter(|k| k.per_account || !per_account) {
        let below = match section {
            "" => Some(key.path),
            section => key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(below) = below else { continue };
        let name = below.split('.').next().unwrap_or(below);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the most likely intended key for an unknown one: a similar name of the same section, or the same name in
/// another section.
pub(super) fn suggestion(section: &str, typed: &str, per_account: bool) -> Option<String> {
    if let Some(name) = nearest(typed, children(section, per_account)) {
        return Some(name.to_owned());
    }
    let typed = typed.to_lowercase();
    let elsewhere = KEYS.iter().filter(|k| k.per_account || !per_account).map(|k| k.path);
    elsewhere
        .flat_map(|path| path.match_indices('.').map(|(at, _)| &path[..at]).chain([path]))
        .find(|path| path.rsplit('.').next() == Some(typed.as_str()))
        .map(str::to_owned)
}

fn is_all_examples(section: &str) -> bool {
    let mut below = KEYS.iter().filter(|k| k.path.strip_prefix(section).is_some_and(|r| r.starts_with('.')));
    below.all(|key| matches!(key.reference, ReferenceValue::Example(_)))
}

/// Returns the reference file: every key with its description and default. Loading it yields the defaults.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# All configuration keys of alikafka-exporter, with their descriptions and defaults.\n\
         # Only regions is required. Environment variables override the file: ALIKAFKA_EXPORTER_ and the path of\n\
         # the key in upper case, with __ for each dot, e.g. ALIKAFKA_EXPORTER_METRICS__GRANULARITY=topic. Lists\n\
         # are comma-separated. Durations are written as 30s, 5m or 1m30s.\n\
         # To check a file: alikafka-exporter check-config --config.file=FILE\n",
    );
    let mut open: Vec<&str> = Vec::new();
    for key in KEYS {
        let parts: Vec<&str> = key.path.split('.').collect();
        let Some((name, sections)) = parts.split_last() else { continue };
        let shared = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        if shared == 0 {
            text.push('\n');
        }
        for (depth, section) in sections.iter().enumerate().skip(shared) {
            let path = parts.get(..=depth).unwrap_or_default().join(".");
            // An empty section is an error, so comment it out with its keys.
            let mark = if is_all_examples(&path) { "# " } else { "" };
            text.push_str(&format!("{:indent$}{mark}{section}:\n", "", indent = depth * 2));
        }
        open = sections.to_vec();
        let indent = " ".repeat(sections.len() * 2);
        for line in key.doc.lines() {
            text.push_str(&format!("{indent}# {line}\n"));
        }
        let (mark, value) = match key.reference {
            ReferenceValue::Value(value) => ("", value),
            ReferenceValue::Example(value) => ("# ", value),
        };
        let default = match key.default {
            "required" => "Required".to_owned(),
            default => format!("Default: {default}"),
        };
        text.push_str(&format!("{indent}# {default}.\n{indent}{mark}{name}: {value}\n"));
    }
    text
}
