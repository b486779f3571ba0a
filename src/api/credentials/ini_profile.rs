//! Parser of `~/.alibabacloud/credentials`, the credentials file of Alibaba Cloud's tools.
//!
//! A line that starts with `#` or `;` is a comment, and so is the rest of a line from a `#` after white space. Any
//! other `#` is a part of the value, because keys may contain it. Rejects: key pairs, by name.

use zeroize::Zeroizing;

use super::{Credentials, profile::CredentialProfile, sts::AssumedRole};

/// Parses the section with this name, or `default`.
pub(super) fn parse(text: &str, name: Option<&str>) -> Result<CredentialProfile, String> {
    let name = name.unwrap_or("default");
    let section = IniSection::parse(text, name).ok_or_else(|| format!("it has no section {name:?}"))?;
    match section.required("type")? {
        "access_key" => section.key(),
        "ram_role_arn" => {
            Ok(CredentialProfile::Role { base: Box::new(section.key()?), role: section.role()? })
        }
        "oidc_role_arn" => Ok(CredentialProfile::Oidc {
            provider_arn: section.required("oidc_provider_arn")?.to_owned(),
            token_file: section.required("oidc_token_file_path")?.into(),
            role: section.role()?,
        }),
        "ecs_ram_role" => {
            Ok(CredentialProfile::EcsRole { name: section.value("role_name").map(str::to_owned) })
        }
        other @ ("rsa_key_pair" | "bearer" | "credentials_uri" | "sts") => {
            Err(format!("section {name:?}: type {other:?} is not supported"))
        }
        // Not shown, because a secret may have been pasted there.
        _ => Err(format!("section {name:?}: its type is unknown")),
    }
}

/// One section of the file.
struct IniSection<'a> {
    name: &'a str,
    entries: Vec<(String, Zeroizing<String>)>,
}

impl<'a> IniSection<'a> {
    /// Parses a section, which may occur several times; `None` if it does not exist.
    fn parse(text: &str, name: &'a str) -> Option<Self> {
        let mut section = None;
        let mut is_inside = false;
        for line in text.lines() {
            let line = without_comment(line).trim();
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                is_inside = header.trim() == name;
                if is_inside {
                    section.get_or_insert(Self { name, entries: Vec::new() });
                }
            } else if let (true, Some(section), Some((key, value))) =
                (is_inside, &mut section, line.split_once('='))
            {
                let value = Zeroizing::new(value.trim().to_owned());
                section.entries.push((key.trim().to_lowercase(), value));
            }
        }
        section
    }

    /// Returns the last value of a key, unless it is empty.
    fn value(&self, key: &str) -> Option<&str> {
        let (_, value) = self.entries.iter().rev().find(|(k, _)| k == key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    fn required(&self, key: &str) -> Result<&str, String> {
        self.value(key).ok_or_else(|| format!("section {:?}: {key} is missing", self.name))
    }

    fn key(&self) -> Result<CredentialProfile, String> {
        let (id, secret) = (self.required("access_key_id")?, self.required("access_key_secret")?);
        Credentials::new(id, secret, None)
            .map(CredentialProfile::Key)
            .map_err(|error| format!("section {:?}: {error}", self.name))
    }

    fn role(&self) -> Result<AssumedRole, String> {
        let arn = self.required("role_arn")?.to_owned();
        let mut role = AssumedRole::new(arn, self.value("role_session_name").map(str::to_owned));
        role.policy = self.value("policy").map(str::to_owned);
        Ok(role)
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| line.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace)));
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "
# a comment
[default]                      # the usual one
type = access_key
access_key_id = first
access_key_id=id               # of the exporter
access_key_secret = se#cr;et=
enable = true
[ role ]
type = ram_role_arn
ACCESS_KEY_ID = id
access_key_secret = secret
role_arn = acs:ram::1:role/a
; role_session_name = not this
policy = {\"Version\": \"1\"}
[pod]
type = oidc_role_arn
oidc_provider_arn = acs:ram::1:oidc-provider/p
oidc_token_file_path = /token
role_arn = acs:ram::1:role/b
role_session_name = me
[machine]
type = ecs_ram_role
role_name = exporter
[pair]
type = rsa_key_pair
public_key_id = Canary
[half]
type = access_key
access_key_id = Canary
access_key_secret =
[typeless]
access_key_id = Canary
";

    #[test]
    fn each_type_is_read() {
        let Ok(CredentialProfile::Key(key)) = parse(FILE, None) else { panic!("no key") };
        assert_eq!((key.key().id, key.key().secret), ("id", "se#cr;et="));
        let Ok(CredentialProfile::Role { base, role }) = parse(FILE, Some("role")) else { panic!("no role") };
        assert!(matches!(*base, CredentialProfile::Key(_)));
        assert_eq!(
            (role.arn.as_str(), role.session_name.as_str()),
            ("acs:ram::1:role/a", "alikafka-exporter")
        );
        assert_eq!(role.policy.as_deref(), Some("{\"Version\": \"1\"}"));
        let Ok(CredentialProfile::Oidc { token_file, role, .. }) = parse(FILE, Some("pod")) else {
            panic!("no token")
        };
        assert_eq!((token_file.to_str(), role.session_name.as_str()), (Some("/token"), "me"));
        assert!(
            matches!(parse(FILE, Some("machine")), Ok(CredentialProfile::EcsRole { name: Some(name) }) if name == "exporter")
        );
    }

    #[test]
    fn unsupported_sections_are_named_without_secrets() {
        let error = |name| parse(FILE, Some(name)).map(|_| ()).unwrap_err();
        assert_eq!(error("pair"), r#"section "pair": type "rsa_key_pair" is not supported"#);
        assert_eq!(error("half"), r#"section "half": access_key_secret is missing"#);
        assert_eq!(error("typeless"), r#"section "typeless": type is missing"#);
        assert_eq!(error("nobody"), r#"it has no section "nobody""#);
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "[\\[\\]=#; a-z\n]{0,80}") {
            _ = parse(&text, Some("a"));
        }
    }
}
