//! Parser of `~/.aliyun/config.json`, the file of Alibaba Cloud's command line tool.
//!
//! Rejects: modes that need a browser, a helper program or a key pair, by name.

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::time::Duration;

use super::{Credentials, profile::CredentialProfile, service_response::SecretField, sts::AssumedRole};

#[derive(Deserialize)]
struct CliConfigFile {
    current: Option<String>,
    #[serde(default)]
    profiles: Vec<CliProfileEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CliProfileEntry {
    name: Option<String>,
    mode: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<SecretField>,
    sts_token: Option<SecretField>,
    ram_role_name: Option<String>,
    ram_role_arn: Option<String>,
    ram_session_name: Option<String>,
    external_id: Option<SecretField>,
    policy: Option<String>,
    expired_seconds: Option<u64>,
    source_profile: Option<String>,
    oidc_provider_arn: Option<String>,
    oidc_token_file: Option<String>,
    sts_region: Option<String>,
    enable_vpc: Option<bool>,
}

/// Parses the profile with this name, or the current one.
pub(super) fn parse(text: &str, name: Option<&str>) -> Result<CredentialProfile, String> {
    // The text of the error may contain a value.
    let file: CliConfigFile = serde_json::from_str(text).map_err(|error| {
        format!("it is not a configuration file, at line {} column {}", error.line(), error.column())
    })?;
    let name = name.or(file.current.as_deref()).unwrap_or("default");
    resolve(&file, name, &mut Vec::new())
}

fn resolve<'f>(
    file: &'f CliConfigFile,
    name: &'f str,
    visited: &mut Vec<&'f str>,
) -> Result<CredentialProfile, String> {
    if visited.contains(&name) {
        return Err(format!("profile {name:?} is its own source_profile"));
    }
    visited.push(name);
    let entry = file.profiles.iter().find(|p| p.name.as_deref() == Some(name));
    let entry = entry.ok_or_else(|| format!("it has no profile {name:?}"))?;
    let in_profile = |reason: String| format!("profile {name:?}: {reason}");
    match entry.mode.as_deref().unwrap_or("AK") {
        "AK" => entry.key(None),
        "StsToken" => {
            let token = secret(entry.sts_token.as_ref()).ok_or_else(|| "sts_token is missing".to_owned());
            token.and_then(|token| entry.key(Some(token)))
        }
        "RamRoleArn" => entry.key(secret(entry.sts_token.as_ref())).and_then(|key| entry.role_over(key)),
        "ChainableRamRoleArn" => {
            let source = required(&entry.source_profile, "source_profile").map_err(in_profile)?;
            return resolve(file, source, visited).and_then(|base| entry.role_over(base).map_err(in_profile));
        }
        "EcsRamRole" => Ok(CredentialProfile::EcsRole { name: non_empty(&entry.ram_role_name) }),
        "OIDC" => entry.oidc(),
        mode
        @ ("CloudSSO" | "OAuth" | "External" | "RsaKeyPair" | "RamRoleArnWithEcs" | "CredentialsURI") => {
            Err(format!("mode {mode:?} is not supported"))
        }
        // Not shown, because a secret may have been pasted there.
        _ => Err("its mode is unknown".to_owned()),
    }
    .map_err(in_profile)
}

impl CliProfileEntry {
    fn key(&self, token: Option<&str>) -> Result<CredentialProfile, String> {
        let id = required(&self.access_key_id, "access_key_id")?;
        let secret = secret(self.access_key_secret.as_ref()).ok_or("access_key_secret is missing")?;
        Credentials::new(id, secret, token).map(CredentialProfile::Key).map_err(|error| error.to_string())
    }

    fn role(&self) -> Result<AssumedRole, String> {
        let arn = required(&self.ram_role_arn, "ram_role_arn")?.to_owned();
        let mut role = AssumedRole::new(arn, non_empty(&self.ram_session_name));
        role.external_id = secret(self.external_id.as_ref()).map(Into::into);
        role.policy = non_empty(&self.policy);
        if let Some(seconds) = self.expired_seconds.filter(|seconds| *seconds > 0) {
            role.duration = Duration::from_secs(seconds);
        }
        role.sts_region = non_empty(&self.sts_region);
        role.sts_in_vpc = self.enable_vpc.unwrap_or_default();
        Ok(role)
    }

    fn role_over(&self, base: CredentialProfile) -> Result<CredentialProfile, String> {
        Ok(CredentialProfile::Role { base: Box::new(base), role: self.role()? })
    }

    fn oidc(&self) -> Result<CredentialProfile, String> {
        Ok(CredentialProfile::Oidc {
            provider_arn: required(&self.oidc_provider_arn, "oidc_provider_arn")?.to_owned(),
            token_file: required(&self.oidc_token_file, "oidc_token_file")?.into(),
            role: self.role()?,
        })
    }
}

fn non_empty(value: &Option<String>) -> Option<String> {
    value.clone().filter(|value| !value.is_empty())
}

fn required<'v>(value: &'v Option<String>, key: &str) -> Result<&'v str, String> {
    value.as_deref().filter(|value| !value.is_empty()).ok_or_else(|| format!("{key} is missing"))
}

fn secret(field: Option<&SecretField>) -> Option<&str> {
    field.map(|field| field.0.expose_secret()).filter(|secret| !secret.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "current": "ak", "meta_path": "", "profiles": [
        {"name": "ak", "mode": "AK", "access_key_id": "id", "access_key_secret": "secret", "sts_token": "",
         "region_id": "cn-hangzhou", "output_format": "json", "retry_count": 0, "ram_role_name": null},
        {"name": "temporary", "mode": "StsToken", "access_key_id": "id", "access_key_secret": "secret",
         "sts_token": "token"},
        {"name": "role", "mode": "RamRoleArn", "access_key_id": "id", "access_key_secret": "secret",
         "ram_role_arn": "acs:ram::1:role/a", "ram_session_name": "me", "expired_seconds": 900,
         "external_id": "ext", "sts_region": "cn-beijing", "enable_vpc": true},
        {"name": "machine", "mode": "EcsRamRole", "ram_role_name": "exporter"},
        {"name": "any-machine", "mode": "EcsRamRole", "ram_role_name": ""},
        {"name": "pod", "mode": "OIDC", "oidc_provider_arn": "acs:ram::1:oidc-provider/p",
         "oidc_token_file": "/token", "ram_role_arn": "acs:ram::1:role/b", "ram_session_name": ""},
        {"name": "chained", "mode": "ChainableRamRoleArn", "source_profile": "role",
         "ram_role_arn": "acs:ram::2:role/c"},
        {"name": "loop", "mode": "ChainableRamRoleArn", "source_profile": "pool", "ram_role_arn": "r"},
        {"name": "pool", "mode": "ChainableRamRoleArn", "source_profile": "loop", "ram_role_arn": "r"},
        {"name": "sso", "mode": "CloudSSO", "access_key_id": "Canary"},
        {"name": "oauth", "mode": "OAuth"},
        {"name": "program", "mode": "External", "process_command": "Canary"},
        {"name": "half", "mode": "AK", "access_key_id": "Canary"},
        {"name": "sourceless", "mode": "ChainableRamRoleArn", "ram_role_arn": "r"}
    ]}"#;

    fn error(name: &str) -> String {
        parse(FILE, Some(name)).map(|_| ()).unwrap_err()
    }

    #[test]
    fn each_mode_is_read() {
        let Ok(CredentialProfile::Key(current)) = parse(FILE, None) else { panic!("no key") };
        assert_eq!((current.key().id, current.key().token), ("id", None));
        let Ok(CredentialProfile::Key(key)) = parse(FILE, Some("temporary")) else { panic!("no key") };
        assert_eq!((key.key().secret, key.key().token), ("secret", Some("token")));

        let Ok(CredentialProfile::Role { base, role }) = parse(FILE, Some("role")) else { panic!("no role") };
        assert!(matches!(*base, CredentialProfile::Key(_)));
        assert_eq!((role.arn.as_str(), role.session_name.as_str()), ("acs:ram::1:role/a", "me"));
        assert_eq!(role.duration, Duration::from_secs(900));
        assert_eq!(role.external_id.as_ref().unwrap().expose_secret(), "ext");
        assert_eq!((role.sts_region.as_deref(), role.sts_in_vpc), (Some("cn-beijing"), true));

        assert!(
            matches!(parse(FILE, Some("machine")), Ok(CredentialProfile::EcsRole { name: Some(name) }) if name == "exporter")
        );
        assert!(matches!(parse(FILE, Some("any-machine")), Ok(CredentialProfile::EcsRole { name: None })));

        let Ok(CredentialProfile::Oidc { token_file, role, .. }) = parse(FILE, Some("pod")) else {
            panic!("no token")
        };
        assert_eq!(token_file.to_str(), Some("/token"));
        assert_eq!(
            (role.session_name.as_str(), role.duration),
            ("alikafka-exporter", Duration::from_secs(3600))
        );

        let Ok(CredentialProfile::Role { base, role }) = parse(FILE, Some("chained")) else {
            panic!("no role")
        };
        assert_eq!(role.arn, "acs:ram::2:role/c");
        assert!(matches!(*base, CredentialProfile::Role { role, .. } if role.arn == "acs:ram::1:role/a"));
    }

    #[test]
    fn unsupported_profiles_are_named_without_secrets() {
        assert_eq!(error("sso"), r#"profile "sso": mode "CloudSSO" is not supported"#);
        assert_eq!(error("oauth"), r#"profile "oauth": mode "OAuth" is not supported"#);
        assert_eq!(error("program"), r#"profile "program": mode "External" is not supported"#);
        assert_eq!(error("half"), r#"profile "half": access_key_secret is missing"#);
        assert_eq!(error("loop"), r#"profile "loop" is its own source_profile"#);
        assert_eq!(error("sourceless"), r#"profile "sourceless": source_profile is missing"#);
        assert_eq!(error("nobody"), r#"it has no profile "nobody""#);
        let broken =
            parse(r#"{"profiles": [{"access_key_id": {"Canary": 1}}]}"#, None).map(|_| ()).unwrap_err();
        assert_eq!(broken, "it is not a configuration file, at line 1 column 32");
    }
}
