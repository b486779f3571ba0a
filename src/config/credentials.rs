//! Configuration of the source of the access key: the section `credentials`. Rejects keys that the selected source would
//! ignore. Out of scope: reading files, variables and services, which the credentials provider does.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{
    endpoint,
    problem::Problem,
    read::{ConfigField, LevelReader, expects},
    value::{source, table},
};
use crate::model::credentials::{AccessKey, KeyFilePaths, OidcSettings, ProfileSettings, SourceSelection};

/// Source of the access key of an account.
#[derive(Debug, Clone, Default)]
pub struct CredentialsConfig {
    /// Source of the key.
    pub source: SourceSelection,
    /// Role to assume with that key. Its temporary key then signs the requests.
    pub assume_role: Option<AssumeRole>,
    /// Scheme, host and optional port of the security token service; `None` for the default.
    pub sts_endpoint: Option<String>,
    /// Scheme, host and optional port of the metadata service; `None` for the default.
    pub metadata_endpoint: Option<String>,
}

impl fmt::Display for CredentialsConfig {
    /// Writes the source in one word, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.source, if self.assume_role.is_some() { "+assume_role" } else { "" })
    }
}

impl CredentialsConfig {
    /// Whether both use the same source. Its key may differ, because keys are rotated.
    #[must_use]
    pub fn is_same_source_as(&self, other: &Self) -> bool {
        let role = |of: &Self| of.assume_role.as_ref().map(|role| role.role_arn.clone());
        role(self) == role(other) && self.source.is_same_source_as(&other.source)
    }

    /// Whether both are equal, so that the credentials of one are valid for the other.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let key = |of: &Self| match &of.source {
            SourceSelection::Inline(AccessKey { id, secret, security_token }) => {
                Some([Some(exposed(id)), Some(exposed(secret)), security_token.as_ref().map(exposed)])
            }
            _ => None,
        };
        let role = |of: &Self| {
            of.assume_role.clone().map(
                |AssumeRole { session_name, external_id, policy, duration, .. }| {
                    (session_name, external_id.as_ref().map(exposed), policy, duration)
                },
            )
        };
        self.is_same_source_as(other)
            && (key(self), role(self)) == (key(other), role(other))
            && (&self.sts_endpoint, &self.metadata_endpoint)
                == (&other.sts_endpoint, &other.metadata_endpoint)
    }
}

fn exposed(secret: &SecretString) -> Zeroizing<String> {
    Zeroizing::new(secret.expose_secret().to_owned())
}

/// Role to assume, usually one of another account.
#[derive(Debug, Clone)]
pub struct AssumeRole {
    /// ARN of the role.
    pub role_arn: String,
    /// Name of the session in the audit log.
    pub session_name: String,
    /// External id that the owner of the role requires.
    pub external_id: Option<SecretString>,
    /// Policy that restricts the permissions of the role.
    pub policy: Option<String>,
    /// Lifetime of each key.
    pub duration: Duration,
}

const SECTION: &str = "credentials";
const ROLE_SECTION: &str = "credentials.assume_role";
const SESSION_NAME: &str = "alikafka-exporter";

/// Session durations that the service allows. A role may allow less, which the service then reports.
const DURATION: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(12 * 3600));
const DEFAULT_DURATION: Duration = Duration::from_secs(3600);

/// Keys that hold an access key, and whether they are required together.
const ACCESS_KEY: [(&str, bool); 3] =
    [("access_key_id", true), ("access_key_secret", true), ("security_token", false)];

/// Value of `type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceType {
    Chain,
    Environment,
    Oidc,
    CliProfile,
    IniProfile,
    EcsRamRole,
    Uri,
}

const TYPES: [(&str, SourceType); 7] = [
    ("chain", SourceType::Chain),
    ("environment", SourceType::Environment),
    ("oidc", SourceType::Oidc),
    ("cli_profile", SourceType::CliProfile),
    ("ini_profile", SourceType::IniProfile),
    ("ecs_ram_role", SourceType::EcsRamRole),
    ("uri", SourceType::Uri),
];

/// Source types that read a key. An ignored key is a mistake that nobody would notice.
const USED_BY: [(&str, &[SourceType]); 8] = [
    ("role_arn", &[SourceType::Oidc]),
    ("oidc_provider_arn", &[SourceType::Oidc]),
    ("oidc_token_file", &[SourceType::Oidc]),
    ("session_name", &[SourceType::Oidc]),
    ("profile", &[SourceType::CliProfile, SourceType::IniProfile]),
    ("profile_file", &[SourceType::CliProfile, SourceType::IniProfile]),
    ("role_name", &[SourceType::EcsRamRole]),
    ("uri", &[SourceType::Uri]),
];

/// Source types that may call the security token service.
const CALLS_STS: [SourceType; 4] =
    [SourceType::Chain, SourceType::Oidc, SourceType::CliProfile, SourceType::IniProfile];
/// Source types that may call the metadata service.
const CALLS_METADATA: [SourceType; 4] =
    [SourceType::Chain, SourceType::EcsRamRole, SourceType::CliProfile, SourceType::IniProfile];

/// Reads the credentials of one level. Returns nothing if the section is absent or has problems.
pub(super) fn read(reader: &LevelReader<'_>, problems: &mut Vec<Problem>) -> Option<CredentialsConfig> {
    let section = CredentialsReader { section: reader.field(SECTION)?, reader };
    let before = problems.len();
    if table(section.section.value)?.is_empty() {
        problems.push(section.section.problem("is empty", &expects(TYPE_KEY)));
    }
    let form = section.form(problems);
    section.check_keys(form, problems);
    let source = section.source(form, problems);
    let assume_role = section.assume_role(problems);
    let sts_endpoint = section.parsed("sts_endpoint", endpoint::token_service, problems);
    let metadata_endpoint = section.parsed("metadata_endpoint", endpoint::metadata_service, problems);
    (problems.len() == before).then_some(CredentialsConfig {
        source: source?,
        assume_role,
        sts_endpoint,
        metadata_endpoint,
    })
}

const TYPE_KEY: &str = "credentials.type";

/// Form in which the section selects a source.
#[derive(Clone, Copy)]
enum CredentialsForm {
    /// By `type`, which `is_written` or the default; `None` if it is not a known one.
    Type { source_type: Option<SourceType>, is_written: bool },
    /// By an access key.
    Keys,
    /// By the files of an access key.
    Files,
}

struct CredentialsReader<'a, 'r> {
    section: ConfigField<'a>,
    reader: &'r LevelReader<'a>,
}

impl<'a> CredentialsReader<'a, '_> {
    fn key(name: &str) -> String {
        format!("{SECTION}.{name}")
    }

    fn field(&self, name: &str) -> Option<ConfigField<'a>> {
        self.reader.field(&Self::key(name))
    }

    fn text(&self, name: &str) -> Option<(ConfigField<'a>, &'a str)> {
        self.reader.text(&Self::key(name))
    }

    fn has_access_key(&self, suffix: &str) -> bool {
        ACCESS_KEY.iter().any(|(name, _)| self.field(&format!("{name}{suffix}")).is_some())
    }

    fn form(&self, problems: &mut Vec<Problem>) -> CredentialsForm {
        let (keys, files) = (self.has_access_key(""), self.has_access_key("_file"));
        let is_written = self.field("type").is_some();
        if is_written && (keys || files) {
            let what = match self.text("type") {
                Some((_, text)) if TYPES.iter().any(|(name, _)| *name == text) => {
                    format!("type: {text} is combined with keys or files")
                }
                _ => "a type is combined with keys or files".to_owned(),
            };
            problems.push(self.section.problem(what, "remove the type, or the others"));
        } else if keys && files {
            problems.push(self.section.problem("keys and files are mixed", "write all of them in one way"));
        }
        let chosen = self.reader.choice(TYPE_KEY, &TYPES, problems);
        match (keys, files) {
            (true, _) => CredentialsForm::Keys,
            (false, true) => CredentialsForm::Files,
            (false, false) => {
                let source_type = if is_written { chosen } else { Some(SourceType::Chain) };
                CredentialsForm::Type { source_type, is_written }
            }
        }
    }

    /// Rejects keys that would be ignored.
    fn check_keys(&self, form: CredentialsForm, problems: &mut Vec<Problem>) {
        let (source_type, context) = match form {
            // If the type is wrong, nothing is known about the others.
            CredentialsForm::Type { source_type: None, .. } => return,
            CredentialsForm::Type { source_type: Some(chosen), is_written } => {
                let name = TYPES.iter().find(|(_, t)| *t == chosen).map_or("chain", |(name, _)| *name);
                let context =
                    if is_written { format!("with type: {name}") } else { "without a type".to_owned() };
                (Some(chosen), context)
            }
            CredentialsForm::Keys => (None, "with an access key".to_owned()),
            CredentialsForm::Files => (None, "with the files of an access key".to_owned()),
        };
        let what = format!("is not read {context}");
        let is_used_by = |types: &[SourceType]| source_type.is_some_and(|chosen| types.contains(&chosen));
        for (name, types) in USED_BY {
            let Some(field) = self.field(name).filter(|_| !is_used_by(types)) else { continue };
            let names = TYPES.iter().filter(|(_, t)| types.contains(t)).map(|(name, _)| *name);
            let names = names.collect::<Vec<_>>().join(" or ");
            problems.push(field.problem(&what, &format!("write type: {names}, or remove the key")));
        }
        let assumes_role = self.field("assume_role").is_some();
        if let Some(field) = self.field("sts_endpoint").filter(|_| !assumes_role && !is_used_by(&CALLS_STS)) {
            let what = format!("{what} without assume_role");
            problems.push(field.problem(what, "remove the key, or write assume_role"));
        }
        if let Some(field) = self.field("metadata_endpoint").filter(|_| !is_used_by(&CALLS_METADATA)) {
            problems.push(field.problem(&what, "write type: ecs_ram_role or chain, or remove the key"));
        }
    }

    fn source(&self, form: CredentialsForm, problems: &mut Vec<Problem>) -> Option<SourceSelection> {
        let source = match form {
            CredentialsForm::Keys => {
                self.require("", problems);
                let [id, secret, token] = ACCESS_KEY.map(|(name, _)| self.secret(name, problems));
                let (id, secret) = id.zip(secret)?;
                SourceSelection::Inline(AccessKey { id, secret, security_token: token })
            }
            CredentialsForm::Files => {
                self.require("_file", problems);
                let [id, secret, token] =
                    ACCESS_KEY.map(|(name, _)| self.file(&format!("{name}_file"), problems));
                let (id, secret) = id.zip(secret)?;
                SourceSelection::Files(KeyFilePaths {
                    access_key_id: id,
                    access_key_secret: secret,
                    security_token: token,
                })
            }
            CredentialsForm::Type { source_type, .. } => match source_type? {
                SourceType::Chain => SourceSelection::Chain,
                SourceType::Environment => SourceSelection::Environment,
                SourceType::Oidc => SourceSelection::Oidc(OidcSettings {
                    role_arn: self.checked("role_arn", is_role, problems),
                    provider_arn: self.checked("oidc_provider_arn", is_provider, problems),
                    token_file: self.file("oidc_token_file", problems),
                    session_name: self.checked("session_name", is_session_name, problems),
                }),
                SourceType::CliProfile => SourceSelection::CliProfile(self.profile(problems)),
                SourceType::IniProfile => SourceSelection::IniProfile(self.profile(problems)),
                SourceType::EcsRamRole => {
                    SourceSelection::EcsRamRole(self.checked("role_name", is_role_name, problems))
                }
                SourceType::Uri => SourceSelection::Uri(self.parsed("uri", endpoint::key_service, problems)),
            },
        };
        Some(source)
    }

    /// Requires both the id and the secret.
    fn require(&self, suffix: &str, problems: &mut Vec<Problem>) {
        // A mix of keys and files has been reported already.
        if self.has_access_key(if suffix.is_empty() { "_file" } else { "" }) {
            return;
        }
        for (name, _) in ACCESS_KEY.iter().filter(|(_, required)| *required) {
            let name = format!("{name}{suffix}");
            if self.field(&name).is_none() {
                let (source, path) = (source(self.section.value), self.reader.path(&Self::key(&name)));
                let instead = "write both the id and the secret";
                problems.push(Problem::new(&source, path, "is missing", instead));
            }
        }
    }

    fn profile(&self, problems: &mut Vec<Problem>) -> ProfileSettings {
        ProfileSettings {
            name: self.checked("profile", |text| !text.trim().is_empty(), problems),
            file: self.file("profile_file", problems),
        }
    }

    fn assume_role(&self, problems: &mut Vec<Problem>) -> Option<AssumeRole> {
        let section = self.field("assume_role")?;
        table(section.value)?;
        let key = |name: &str| format!("{ROLE_SECTION}.{name}");
        if self.reader.field(&key("role_arn")).is_none() {
            let path = self.reader.path(&key("role_arn"));
            problems.push(Problem::new(
                &source(section.value),
                path,
                "is missing",
                expects(&key("role_arn")),
            ));
        }
        let mut checked = |name: &str, is_valid: fn(&str) -> bool| {
            self.checked(&format!("assume_role.{name}"), is_valid, problems)
        };
        let role_arn = checked("role_arn", is_role);
        let session_name = checked("session_name", is_session_name);
        let external_id = checked("external_id", is_external_id);
        let policy = checked("policy", is_policy);
        let duration = self.reader.duration(&key("duration"), DURATION, problems);
        Some(AssumeRole {
            role_arn: role_arn?,
            session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
            external_id: external_id.map(SecretString::from),
            policy,
            duration: duration.unwrap_or(DEFAULT_DURATION),
        })
    }

    /// Reads a text that satisfies `is_valid`. Problems do not quote it because it may be a misplaced secret.
    fn checked(&self, name: &str, is_valid: fn(&str) -> bool, problems: &mut Vec<Problem>) -> Option<String> {
        let (field, text) = self.text(name)?;
        if is_valid(text) {
            return Some(text.to_owned());
        }
        let what = if text.is_empty() { "is empty" } else { "is not valid" };
        problems.push(field.problem(what, &expects(&Self::key(name))));
        None
    }

    fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, endpoint::Rejection>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        self.reader.parsed(&Self::key(name), parse, problems)
    }

    fn file(&self, name: &str, problems: &mut Vec<Problem>) -> Option<std::path::PathBuf> {
        let (field, text) = self.text(name)?;
        if text.trim().is_empty() {
            problems.push(field.problem("is empty", "write the path of a file"));
        }
        Some(text.into())
    }

    fn secret(&self, name: &str, problems: &mut Vec<Problem>) -> Option<SecretString> {
        let (field, text) = self.text(name)?;
        if text.is_empty() {
            problems.push(field.problem("is empty", "write the value"));
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            let what = "has spaces, line ends or characters that no key has";
            problems.push(field.problem(what, "copy the value again"));
        }
        Some(SecretString::from(text.to_owned()))
    }
}

/// Whether a text is an ARN of the form `acs:ram::<account id>:<kind>/<name>`.
fn is_arn(text: &str, kind: &str) -> bool {
    let account_and_name = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(':'));
    account_and_name.is_some_and(|(account, resource)| {
        let name = resource.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/'));
        !account.is_empty()
            && account.bytes().all(|b| b.is_ascii_digit())
            && name.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic()))
    })
}

fn is_role(text: &str) -> bool {
    is_arn(text, "role")
}

fn is_provider(text: &str) -> bool {
    is_arn(text, "oidc-provider")
}

fn is_word(text: &str, marks: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fn is_session_name(text: &str) -> bool {
    is_word(text, ".@-_", 2..=64)
}

fn is_role_name(text: &str) -> bool {
    is_word(text, ".-_", 1..=64)
}

fn is_external_id(text: &str) -> bool {
    is_word(text, "=,.@:/-_", 2..=1224)
}

fn is_policy(text: &str) -> bool {
    text.len() <= 2048 && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
}
