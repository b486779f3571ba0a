//! The table of keys: the single source of what may be written, and of the reference file.

use super::problem::nearest;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Text,
    /// A list of values; from the environment with commas between them.
    List,
    /// `auto`, or a list of values.
    AutoOrList,
    /// A map of free keys to values; from the environment as `key=value` with commas between them, or as
    /// one variable a key.
    Map,
    /// The list of accounts.
    Accounts,
}

/// How a key stands in the reference file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// As this value.
    Value(&'static str),
    /// Commented out, with this value as the example.
    Example(&'static str),
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The path, dots between its parts.
    pub path: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// Whether an account may have its own; the top level is then the default for all accounts.
    pub per_account: bool,
    /// What to write, for messages.
    pub expects: &'static str,
    /// What counts when it is not written, for people.
    pub default: &'static str,
    /// How it stands in the reference file.
    pub written: Written,
    /// What it means, in lines of the reference file.
    pub doc: &'static str,
}

/// What goes before the name of a key in the environment.
pub const VARIABLE_PREFIX: &str = "ALIKAFKA_EXPORTER_";

/// The names that `request_rates` takes. A test holds them equal to the actions that can be sent.
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
    ($($path:literal, $shape:ident, $scope:ident, $expects:expr, $default:literal, $written:ident($shown:literal), $doc:literal;)*) => {
        /// Every key, in the order of the reference file; keys of one section stand together.
        pub const KEYS: &[Key] = &[$(Key {
            path: $path, shape: Shape::$shape, per_account: $scope, expects: $expects, default: $default,
            written: Written::$written($shown), doc: $doc,
        }),*];
    };
}

keys! {
    "regions", AutoOrList, ACCOUNT, "auto, or a list of region ids such as [cn-hangzhou, cn-shanghai]",
        "required", Value("[cn-hangzhou]"),
        "Region ids to read, or auto: every region in which the account has instances.";
    "credentials.type", Text, ACCOUNT, TYPES, "chain", Value("chain"),
        "Where the access key comes from: chain, environment, oidc, cli_profile, ini_profile,\necs_ram_role or uri. chain tries the others in this order, each only if what it needs is there, and\nstays with the first that gives a key. Leave it out to give the files or the keys below instead.";
    "credentials.access_key_id_file", Text, ACCOUNT, "the path of a file", "none",
        Example("/etc/alikafka-exporter/access-key-id"),
        "File that holds the access key id and nothing else. Files are better than inline keys.";
    "credentials.access_key_secret_file", Text, ACCOUNT, "the path of a file", "none",
        Example("/etc/alikafka-exporter/access-key-secret"), "File that holds the access key secret.";
    "credentials.security_token_file", Text, ACCOUNT, "the path of a file", "none",
        Example("/etc/alikafka-exporter/security-token"),
        "File that holds the security token of a temporary key.";
    "credentials.access_key_id", Text, ACCOUNT, "the access key id", "none", Example("LTAI..."),
        "The access key id itself.";
    "credentials.access_key_secret", Text, ACCOUNT, "the access key secret", "none", Example("..."),
        "The access key secret itself.";
    "credentials.security_token", Text, ACCOUNT, "the security token", "none", Example("..."),
        "The security token of a temporary key itself.";
    "credentials.role_arn", Text, ACCOUNT, ROLE, "ALIBABA_CLOUD_ROLE_ARN",
        Example("acs:ram::1234567890123456:role/alikafka-exporter"),
        "oidc: the role whose key is asked for with a token, as RRSA gives it to pods.";
    "credentials.oidc_provider_arn", Text, ACCOUNT,
        "an ARN such as acs:ram::1234567890123456:oidc-provider/ack-rrsa-c123", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        Example("acs:ram::1234567890123456:oidc-provider/ack-rrsa-c123"), "oidc: who vouches for the token.";
    "credentials.oidc_token_file", Text, ACCOUNT, "the path of a file", "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
        Example("/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token"),
        "oidc: file that holds the token; it is read again for every renewal.";
    "credentials.session_name", Text, ACCOUNT, SESSION,
        "ALIBABA_CLOUD_ROLE_SESSION_NAME, else alikafka-exporter", Example("alikafka-exporter"),
        "oidc: what the session is called in the cloud's audit log.";
    "credentials.profile", Text, ACCOUNT, "the name of a profile", "ALIBABA_CLOUD_PROFILE, else that of the file",
        Example("default"),
        "cli_profile and ini_profile: the profile to take. Without either name it is the current one of the\ncommand line tool's file, and the section default of the ini file.";
    "credentials.profile_file", Text, ACCOUNT, "the path of a file", "where the vendor's tools have it",
        Example("/etc/alikafka-exporter/credentials.ini"),
        "cli_profile: the file, else ~/.aliyun/config.json. ini_profile: the file, else that of\nALIBABA_CLOUD_CREDENTIALS_FILE, else ~/.alibabacloud/credentials, with or without .ini.";
    "credentials.role_name", Text, ACCOUNT, "the name of a RAM role", "ALIBABA_CLOUD_ECS_METADATA, else the machine's own",
        Example("alikafka-exporter"), "ecs_ram_role: the role that is attached to the machine.";
    "credentials.uri", Text, ACCOUNT, "a URL such as http://127.0.0.1:6666/credentials", "ALIBABA_CLOUD_CREDENTIALS_URI",
        Example("http://127.0.0.1:6666/credentials"),
        "uri: the address that hands out keys. https only, plain http to loopback only.";
    "credentials.assume_role.role_arn", Text, ACCOUNT, ROLE, "none",
        Example("acs:ram::1234567890123456:role/alikafka-exporter"),
        "A role to assume with the key of any of the sources, such as one of another account. Its temporary\nkey is then the one that signs.";
    "credentials.assume_role.session_name", Text, ACCOUNT, SESSION, "alikafka-exporter", Example("alikafka-exporter"),
        "What the session is called in the cloud's audit log.";
    "credentials.assume_role.external_id", Text, ACCOUNT, "2 to 1224 letters, digits and any of =,.@:/_-", "none",
        Example("..."), "What the owner of the role agreed on with you, if anything.";
    "credentials.assume_role.policy", Text, ACCOUNT, "a policy as JSON, of 2048 characters at most", "none",
        Example("'{\"Version\": \"1\", \"Statement\": []}'"), "A policy that narrows what the role may do.";
    "credentials.assume_role.duration", Text, ACCOUNT, "a duration such as 1h", "1h", Example("1h"),
        "How long each temporary key lives, from 15m to 12h; the role may allow less.";
    "credentials.sts_endpoint", Text, ACCOUNT, "a URL such as https://sts.cn-hangzhou.aliyuncs.com",
        "https://sts.aliyuncs.com", Example("https://sts.cn-hangzhou.aliyuncs.com"),
        "The token service that oidc, assume_role and some profiles ask. Without it,\nALIBABA_CLOUD_STS_REGION makes it that of a region, and ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED=true the\none inside its VPCs. https only, plain http to loopback only.";
    "credentials.metadata_endpoint", Text, ACCOUNT, "http://100.100.100.200", "http://100.100.100.200",
        Example("http://127.0.0.1:8080"),
        "The metadata service that ecs_ram_role asks: no other than this, or what stands in for it on loopback.";
    "network", Text, ACCOUNT, "public or vpc", "public", Value("public"),
        "public or vpc: whether a region is called as alikafka.<region>.aliyuncs.com or as\nalikafka-vpc.<region>.aliyuncs.com.";
    "endpoint", Text, ACCOUNT, "a URL such as https://alikafka.{region}.aliyuncs.com", "built from region and network",
        Example("https://alikafka.{region}.aliyuncs.com"),
        "URL to call instead; {region} stands for the region id. https only, plain http to loopback only.\nWhere it is given, network does not count.";
    "signature", Text, ACCOUNT, "acs3 or v1", "acs3", Value("acs3"),
        "How requests are signed. acs3: ACS3-HMAC-SHA256, in headers. v1: HMAC-SHA1, in the body.";
    "proxy", Text, ACCOUNT, "none, environment, or a URL such as http://proxy.example:3128", "none", Value("none"),
        "HTTP proxy for calls to the cloud: none, a URL (user and password may be part of it), or\nenvironment: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which are ignored otherwise.";
    "requests_per_second", Text, ACCOUNT, "a number above 0, such as 20", "20", Value("20"),
        "Calls per second allowed to each action in each region. The cloud allows 100 for most actions,\nshared by everything that uses the account.";
    "request_rates", Map, ACCOUNT, "a map of actions to rates such as {GetTopicStatus: 5}", "none", Value("{}"),
        "Actions that need another rate, such as {GetTopicStatus: 5}.";
    "filters.regions.include", List, ACCOUNT, PATTERNS, "all", Value("[]"),
        "Regions to look at: regular expressions for the whole id, here and below for the whole name. An\nempty list means all, and exclude wins over include. No call is spent on what is left out.";
    "filters.regions.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Regions to leave out.";
    "filters.instances.include", List, ACCOUNT, PATTERNS, "all", Value("[]"),
        "Instances to look at, by id or name.";
    "filters.instances.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Instances to leave out, by id or name.";
    "filters.topics.include", List, ACCOUNT, PATTERNS, "all", Value("[]"), "Topics to look at.";
    "filters.topics.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Topics to leave out.";
    "filters.groups.include", List, ACCOUNT, PATTERNS, "all", Value("[]"), "Consumer groups to look at.";
    "filters.groups.exclude", List, ACCOUNT, PATTERNS, "none", Value("[]"), "Consumer groups to leave out.";
    "filters.tags", Map, ACCOUNT, "a map of tags to regular expressions such as {env: prod}", "none", Value("{}"),
        "Tags that an instance must have, each with a regular expression for its value: {env: prod|stage}.";
    "accounts", Accounts, GLOBAL, "a list of accounts, each with a name", "none",
        Example("[{name: production}, {name: test, regions: auto}]"),
        "Several accounts, each with a name (the label account) and any of the keys above. What an\naccount leaves out it takes from above; its credentials replace those above as a whole.";
    "discovery_interval", Text, GLOBAL, "a duration such as 5m", "5m", Value("5m"),
        "How often instances, topics and groups are listed.";
    "poll_interval", Text, GLOBAL, "a duration such as 60s", "60s", Value("60s"),
        "How often the offsets of every group are read; less often while nothing of it moves.";
    "topic_poll_interval", Text, GLOBAL, "a duration such as 60s", "poll_interval", Example("60s"),
        "How often the offsets of every topic are read; less often while nothing of it moves. At least\npoll_interval, which is the default.";
    "idle_poll_interval", Text, GLOBAL, "a duration such as 90s", "half of stale_after, at most 150s, at least poll_interval",
        Example("90s"),
        "How often groups and topics are read of which nothing moves, and topics whose end offsets are told by\nthe groups that read them. At least poll_interval; one more poll_interval must pass before stale_after.";
    "stale_after", Text, GLOBAL, "a duration such as 3m", "3 x poll_interval, of topics 3 x topic_poll_interval", Example("3m"),
        "How long a value that could not be refreshed is kept; at least twice poll_interval and twice\ntopic_poll_interval. What lists tell is kept for three times discovery_interval, if that is longer.";
    "status_window", Text, GLOBAL, "a duration such as 10m", "10m, or 5 x poll_interval if 10m is too short", Example("10m"),
        "How far back the status, the rates and the forecasts of a group look; at least five polls are needed,\nso at least four times poll_interval.";
    "last_timestamps", Text, GLOBAL, "lagging, always or never", "lagging", Value("lagging"),
        "When GetConsumerProgress is asked for LastTimestamp, which is heavy for the cloud: lagging (of groups\nthat lag), always, or never.";
    "request_timeout", Text, GLOBAL, "a duration such as 15s", "15s", Value("15s"),
        "How long one call may take, its answer included.";
    "metrics.granularity", Text, GLOBAL, "partition, topic or group", "partition", Value("partition"),
        "The finest level that gets series: partition, topic or group.";
    "metrics.naming", Text, GLOBAL, "native or kafka_exporter", "native", Value("native"),
        "native, or kafka_exporter: families that kafka_exporter has too take its names and labels.";
    "metrics.max_series", Text, GLOBAL, "a whole number above 0, such as 100000", "no limit", Example("100000"),
        "Hard limit on series about the cloud. What is cut is counted and logged.";
    "metrics.labels", Map, GLOBAL, "a map of label names to values such as {team: payments}", "none", Value("{}"),
        "Constant labels for every series, such as {team: payments}.";
    "metrics.instance_tags", List, GLOBAL, "a list of tag keys such as [env]", "none", Value("[]"),
        "Instance tags that are exported on alikafka_instance_tags.";
}

impl Key {
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

/// The key of a path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

/// Whether a path is a section: a part of the path of other keys.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|k| k.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// What may stand directly in a section; the empty path is the top level, or an account.
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

/// What an unknown key was most likely meant to be: a neighbour spelled alike, or the same word in
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
    below.all(|key| matches!(key.written, Written::Example(_)))
}

/// The reference file: every key with its meaning and default. Loads as the defaults.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Every key of alikafka-exporter, with its meaning and its default.\n\
         # Only regions is required. A key is also read from the environment: ALIKAFKA_EXPORTER_ and its path\n\
         # in upper case, with __ for each dot, such as ALIKAFKA_EXPORTER_METRICS__GRANULARITY=topic; lists with\n\
         # commas between their values. The environment wins over the file.\n\
         # Durations are written as 30s, 5m or 1m30s. Check a file: alikafka-exporter check-config --config.file=F\n",
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
            // A section without a value is an error, so it goes the way of its keys.
            let mark = if is_all_examples(&path) { "# " } else { "" };
            text.push_str(&format!("{:indent$}{mark}{section}:\n", "", indent = depth * 2));
        }
        open = sections.to_vec();
        let indent = " ".repeat(sections.len() * 2);
        for line in key.doc.lines() {
            text.push_str(&format!("{indent}# {line}\n"));
        }
        let (mark, value) = match key.written {
            Written::Value(value) => ("", value),
            Written::Example(value) => ("# ", value),
        };
        let default = match key.default {
            "required" => "Required".to_owned(),
            default => format!("Default: {default}"),
        };
        text.push_str(&format!("{indent}# {default}.\n{indent}{mark}{name}: {value}\n"));
    }
    text
}
