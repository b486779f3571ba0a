//! OIDC token that is exchanged for the key of a role (RRSA on ACK).

use std::path::PathBuf;

use secrecy::ExposeSecret as _;

use super::{
    CredentialsError, FetchResult,
    context::SourceContext,
    sts::{self, AssumedRole},
};
use crate::model::credentials::OidcSettings;

const ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER_ARN: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

/// Name of this source.
pub(super) const NAME: &str = "oidc";

/// Exchanges the token for the key of a role.
pub(super) async fn fetch(context: &SourceContext, settings: &OidcSettings) -> FetchResult {
    let required = |variable: &str, key: &str| {
        let missing =
            || CredentialsError::Missing(format!("the variable {variable} or the key credentials.{key}"));
        context.plain_variable(variable).ok_or_else(missing)
    };
    let role_arn = settings.role_arn.clone().map_or_else(|| required(ROLE_ARN, "role_arn"), Ok)?;
    let provider_arn =
        settings.provider_arn.clone().map_or_else(|| required(PROVIDER_ARN, "oidc_provider_arn"), Ok)?;
    let token_file = match &settings.token_file {
        Some(path) => path.clone(),
        None => required(TOKEN_FILE, "oidc_token_file")?.into(),
    };
    let session_name = settings.session_name.clone().or_else(|| context.plain_variable(SESSION_NAME));
    exchange(context, &provider_arn, token_file, &AssumedRole::new(role_arn, session_name), NAME).await
}

/// Exchanges the current token of a file. Its issuer replaces the token before it expires.
pub(super) async fn exchange(
    context: &SourceContext,
    provider_arn: &str,
    token_file: PathBuf,
    role: &AssumedRole,
    source: &str,
) -> FetchResult {
    let read = context.files.run(move |reader| {
        let token = reader.read_any_mode(&token_file)?;
        if token.expose_secret().trim().bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(token);
        }
        Err(CredentialsError::unusable(format!("{} does not contain a token", token_file.display())))
    });
    let token = read.await.map_err(|error| match error {
        // Everything else is set, so the source is configured.
        CredentialsError::Missing(what) => CredentialsError::Unusable(format!("set {what}")),
        other => other,
    })?;
    sts::assume_role_with_oidc(context, provider_arn, &token, role, source).await
}
