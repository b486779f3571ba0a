//! The vendor's credentials file, `~/.alibabacloud/credentials`: text in, a profile out.
//!
//! Owns: its format. A line that begins with `#` or `;` is a comment, and so is what follows a `#` with white
//! space before it: a `#` within a word is a part of the value, as keys may hold one. Refuses: key pairs, by
//! their name.

use zeroize::Zeroizing;

use super::{
    Credentials,
    profile::CredentialProfile,
    sts::{AssumedRole, StsLocation},
};

/// The section of a name, else `default`.
pub(super) fn parse(text: &str, name: Option<&str>) -> Result<CredentialProfile, String> {
    let name = name.unwrap_or("default");
    let section = section(text, name).ok_or_else(|| format!("it has no section {name:?}"))?;
    let value = |key: &str| section.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let value = |key: &str| value(key).filter(|value| !value.is_empty());
    let needed = |key: &str| value(key).ok_or_else(|| format!("section {name:?}: {key} is missing"));
    let role = || {
        let mut role =
            AssumedRole::new(needed("role_arn")?.to_owned(), value("role_session_name").map(str::to_owned));
        role.policy = value("policy").map(str::to_owned);
        Ok::<_, String>(role)
    };
    let key = || {
        Credentials::new(needed("access_key_id")?, needed("access_key_secret")?, None)
            .map(CredentialProfile::Key)
            .map_err(|error| format!("section {name:?}: {error}"))
    };
    match needed("type")? {
        "access_key" => key(),
        "ram_role_arn" => Ok(CredentialProfile::Role {
            base: Box::new(key()?),
            role: role()?,
            place: StsLocation::default(),
        }),
        "oidc_role_arn" => Ok(CredentialProfile::Oidc {
            provider_arn: needed("oidc_provider_arn")?.to_owned(),
            token_file: needed("oidc_token_file_path")?.into(),
            role: role()?,
            place: StsLocation::default(),
        }),
        "ecs_ram_role" => Ok(CredentialProfile::Machine { role: value("role_name").map(str::to_owned) }),
        other @ ("rsa_key_pair" | "bearer" | "credentials_uri" | "sts") => {
            Err(format!("section {name:?}: type {other:?} cannot be used here"))
        }
        // It may be anything that was pasted there.
        _ => Err(format!("section {name:?}: its type is none that is known")),
    }
}

type Lines = Vec<(String, Zeroizing<String>)>;

/// The keys and values of a section, all of its parts together; `None` if it is not there.
fn section(text: &str, name: &str) -> Option<Lines> {
    let mut found: Option<Lines> = None;
    let mut is_inside = false;
    for line in text.lines() {
        let line = without_comment(line).trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = header.trim() == name;
            if is_inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some(lines), Some((key, value))) = (is_inside, &mut found, line.split_once('='))
        {
            lines.push((key.trim().to_lowercase(), Zeroizing::new(value.trim().to_owned())));
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let cut = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| line.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace)));
    cut.and_then(|at| line.get(..at)).unwrap_or(line)
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
        let Ok(CredentialProfile::Role { base, role, .. }) = parse(FILE, Some("role")) else {
            panic!("no role")
        };
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
            matches!(parse(FILE, Some("machine")), Ok(CredentialProfile::Machine { role: Some(name) }) if name == "exporter")
        );
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let error = |name| parse(FILE, Some(name)).map(|_| ()).unwrap_err();
        assert_eq!(error("pair"), r#"section "pair": type "rsa_key_pair" cannot be used here"#);
        assert_eq!(error("half"), r#"section "half": access_key_secret is missing"#);
        assert_eq!(error("typeless"), r#"section "typeless": type is missing"#);
        assert_eq!(error("nobody"), r#"it has no section "nobody""#);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[\\[\\]=#; a-z\n]{0,80}") {
            _ = parse(&text, Some("a"));
        }
    }
}
