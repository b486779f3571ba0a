//! Reads the section `credentials`: which source is meant, and that no key stands beside it in vain.

use std::time::Duration;

use secrecy::SecretString;

use super::{AccessKey, AccessKeyFiles, AssumeRole, Credentials, CredentialsSource, Oidc, Profile};
use crate::config::{
    endpoint,
    problem::Problem,
    read::{Place, Reader, expects},
    yaml::Value,
};

const SECTION: &str = "credentials";
const ROLE_SECTION: &str = "credentials.assume_role";
const SESSION_NAME: &str = "alikafka-exporter";

/// What the cloud allows. A role may allow less; the cloud then says so.
const DURATION: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(12 * 3600));
const DEFAULT_DURATION: Duration = Duration::from_secs(3600);

/// The keys that give an access key themselves, and whether they are required beside each other.
const OWN: [(&str, bool); 3] =
    [("access_key_id", true), ("access_key_secret", true), ("security_token", false)];

/// What `type` may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Chain,
    Environment,
    Oidc,
    CliProfile,
    IniProfile,
    EcsRamRole,
    Uri,
}

const TYPES: [(&str, Type); 7] = [
    ("chain", Type::Chain),
    ("environment", Type::Environment),
    ("oidc", Type::Oidc),
    ("cli_profile", Type::CliProfile),
    ("ini_profile", Type::IniProfile),
    ("ecs_ram_role", Type::EcsRamRole),
    ("uri", Type::Uri),
];

/// Which types a key belongs to. A key that would not be read is a mistake that nobody would notice.
const BELONGS: [(&str, &[Type]); 8] = [
    ("role_arn", &[Type::Oidc]),
    ("oidc_provider_arn", &[Type::Oidc]),
    ("oidc_token_file", &[Type::Oidc]),
    ("session_name", &[Type::Oidc]),
    ("profile", &[Type::CliProfile, Type::IniProfile]),
    ("profile_file", &[Type::CliProfile, Type::IniProfile]),
    ("role_name", &[Type::EcsRamRole]),
    ("uri", &[Type::Uri]),
];

/// Sources that may ask the token service, and the metadata service.
const ASKS_STS: [Type; 4] = [Type::Chain, Type::Oidc, Type::CliProfile, Type::IniProfile];
const ASKS_METADATA: [Type; 4] = [Type::Chain, Type::EcsRamRole, Type::CliProfile, Type::IniProfile];

/// The credentials of one level; `None` if the section is not there, or something is wrong with it.
pub(in crate::config) fn read(reader: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<Credentials> {
    let section = Section { place: reader.place(SECTION)?, reader };
    let Value::Map(entries) = &section.place.node.value else { return None };
    let before = problems.len();
    if entries.is_empty() {
        problems.push(section.place.wrong("is empty", &expects(SECTION_TYPE)));
    }
    let given = section.given(problems);
    section.check_keys(given, problems);
    let source = section.source(given, problems);
    let assume_role = section.assume_role(problems);
    let sts_endpoint = section.parsed("sts_endpoint", endpoint::token_service, problems);
    let metadata_endpoint = section.parsed("metadata_endpoint", endpoint::metadata_service, problems);
    (problems.len() == before).then_some(Credentials {
        source: source?,
        assume_role,
        sts_endpoint,
        metadata_endpoint,
    })
}

const SECTION_TYPE: &str = "credentials.type";

/// How the source was given. `None` stands for a type that is not one.
#[derive(Clone, Copy)]
enum Given {
    Type { of: Option<Type>, written: bool },
    Keys,
    Files,
}

struct Section<'a, 'r> {
    place: Place<'a>,
    reader: &'r Reader<'a>,
}

impl<'a> Section<'a, '_> {
    fn key(name: &str) -> String {
        format!("{SECTION}.{name}")
    }

    fn written(&self, name: &str) -> Option<Place<'a>> {
        self.reader.place(&Self::key(name))
    }

    fn text(&self, name: &str) -> Option<(Place<'a>, &'a str)> {
        self.reader.text(&Self::key(name))
    }

    fn given(&self, problems: &mut Vec<Problem>) -> Given {
        let any =
            |suffix: &str| OWN.iter().any(|(name, _)| self.written(&format!("{name}{suffix}")).is_some());
        let (keys, files) = (any(""), any("_file"));
        let written = self.written("type").is_some();
        if written && (keys || files) {
            let what = match self.text("type") {
                Some((_, text)) if TYPES.iter().any(|(name, _)| *name == text) => {
                    format!("type: {text} stands beside keys or files")
                }
                _ => "a type stands beside keys or files".to_owned(),
            };
            problems.push(self.place.wrong(what, "remove the type, or the others"));
        } else if keys && files {
            problems.push(self.place.wrong("keys and files are mixed", "write all of them in one way"));
        }
        let chosen = self.reader.choice(SECTION_TYPE, &TYPES, problems);
        match (keys, files) {
            (true, _) => Given::Keys,
            (false, true) => Given::Files,
            (false, false) => Given::Type { of: if written { chosen } else { Some(Type::Chain) }, written },
        }
    }

    /// Refuses keys that would not be read.
    fn check_keys(&self, given: Given, problems: &mut Vec<Problem>) {
        let (of, beside) = match given {
            // Where the type is wrong, nothing sensible can be said of the others.
            Given::Type { of: None, .. } => return,
            Given::Type { of: Some(of), written } => {
                let name = TYPES.iter().find(|(_, t)| *t == of).map_or("chain", |(name, _)| *name);
                (Some(of), if written { format!("beside type: {name}") } else { "without a type".to_owned() })
            }
            Given::Keys => (None, "beside an access key".to_owned()),
            Given::Files => (None, "beside the files of an access key".to_owned()),
        };
        let unread = format!("is not read {beside}");
        for (name, types) in BELONGS {
            let Some(place) = self.written(name) else { continue };
            if !of.is_some_and(|of| types.contains(&of)) {
                let names = TYPES.iter().filter(|(_, t)| types.contains(t)).map(|(name, _)| *name);
                let names = names.collect::<Vec<_>>().join(" or ");
                problems.push(place.wrong(&unread, &format!("write type: {names}, or remove the key")));
            }
        }
        let assumes = self.written("assume_role").is_some();
        let asks = |types: &[Type]| of.is_some_and(|of| types.contains(&of));
        if let Some(place) = self.written("sts_endpoint").filter(|_| !assumes && !asks(&ASKS_STS)) {
            problems.push(
                place.wrong(format!("{unread} without assume_role"), "remove the key, or write assume_role"),
            );
        }
        if let Some(place) = self.written("metadata_endpoint").filter(|_| !asks(&ASKS_METADATA)) {
            problems.push(place.wrong(&unread, "write type: ecs_ram_role or chain, or remove the key"));
        }
    }

    fn source(&self, given: Given, problems: &mut Vec<Problem>) -> Option<CredentialsSource> {
        let source = match given {
            Given::Keys => {
                self.require("", problems);
                let [id, secret, token] = OWN.map(|(name, _)| self.secret(name, problems));
                let (id, secret) = id.zip(secret)?;
                CredentialsSource::Inline(AccessKey { id, secret, security_token: token })
            }
            Given::Files => {
                self.require("_file", problems);
                let [id, secret, token] = OWN.map(|(name, _)| self.file(&format!("{name}_file"), problems));
                let (id, secret) = id.zip(secret)?;
                CredentialsSource::Files(AccessKeyFiles { id, secret, security_token: token })
            }
            Given::Type { of, .. } => match of? {
                Type::Chain => CredentialsSource::Chain,
                Type::Environment => CredentialsSource::Environment,
                Type::Oidc => CredentialsSource::Oidc(Oidc {
                    role_arn: self.checked("role_arn", is_role, problems),
                    provider_arn: self.checked("oidc_provider_arn", is_provider, problems),
                    token_file: self.file("oidc_token_file", problems),
                    session_name: self.checked("session_name", is_session_name, problems),
                }),
                Type::CliProfile => CredentialsSource::CliProfile(self.profile(problems)),
                Type::IniProfile => CredentialsSource::IniProfile(self.profile(problems)),
                Type::EcsRamRole => CredentialsSource::EcsRamRole {
                    role_name: self.checked("role_name", is_role_name, problems),
                },
                Type::Uri => {
                    CredentialsSource::Uri { uri: self.parsed("uri", endpoint::key_service, problems) }
                }
            },
        };
        Some(source)
    }

    /// Both the id and the secret, or neither.
    fn require(&self, suffix: &str, problems: &mut Vec<Problem>) {
        // Where keys and files are mixed, that has been told.
        let other = if suffix.is_empty() { "_file" } else { "" };
        if OWN.iter().any(|(name, _)| self.written(&format!("{name}{other}")).is_some()) {
            return;
        }
        for (name, _) in OWN.iter().filter(|(_, required)| *required) {
            let name = format!("{name}{suffix}");
            if self.written(&name).is_none() {
                let path = self.reader.path(&Self::key(&name));
                let instead = "write both the id and the secret";
                problems.push(Problem::new(
                    &self.place.node.origin,
                    path,
                    "is missing beside the other",
                    instead,
                ));
            }
        }
    }

    fn profile(&self, problems: &mut Vec<Problem>) -> Profile {
        Profile {
            name: self.checked("profile", |text| !text.trim().is_empty(), problems),
            file: self.file("profile_file", problems),
        }
    }

    fn assume_role(&self, problems: &mut Vec<Problem>) -> Option<AssumeRole> {
        let section = self.written("assume_role")?;
        if !matches!(section.node.value, Value::Map(_)) {
            return None;
        }
        let key = |name: &str| format!("{ROLE_SECTION}.{name}");
        if self.reader.place(&key("role_arn")).is_none() {
            let path = self.reader.path(&key("role_arn"));
            problems.push(Problem::new(&section.node.origin, path, "is missing", expects(&key("role_arn"))));
        }
        let mut checked = |name: &str, is_good: fn(&str) -> bool| {
            self.checked(&format!("assume_role.{name}"), is_good, problems)
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

    /// A text that is as its key expects it. Refusals do not quote it: a secret may have been pasted there.
    fn checked(&self, name: &str, is_good: fn(&str) -> bool, problems: &mut Vec<Problem>) -> Option<String> {
        let (place, text) = self.text(name)?;
        if is_good(text) {
            return Some(text.to_owned());
        }
        let what = if text.is_empty() { "is empty" } else { "is not one" };
        problems.push(place.wrong(what, &expects(&Self::key(name))));
        None
    }

    /// A text whose refusals never quote it, as it may hold a secret.
    fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, endpoint::Refusal>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let (place, text) = self.text(name)?;
        parse(text).map_err(|(what, instead)| problems.push(place.wrong(what, instead))).ok()
    }

    fn file(&self, name: &str, problems: &mut Vec<Problem>) -> Option<std::path::PathBuf> {
        let (place, text) = self.text(name)?;
        if text.trim().is_empty() {
            problems.push(place.wrong("is empty", "write the path of a file"));
        }
        Some(text.into())
    }

    fn secret(&self, name: &str, problems: &mut Vec<Problem>) -> Option<SecretString> {
        let (place, text) = self.text(name)?;
        if text.is_empty() {
            problems.push(place.wrong("is empty", "write the value"));
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            let what = "has spaces, line ends or characters that no key has";
            problems.push(place.wrong(what, "copy the value again"));
        }
        Some(SecretString::from(text.to_owned()))
    }
}

/// `acs:ram::<account id>:<kind>/<name>`.
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
