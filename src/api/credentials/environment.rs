//! Credentials from environment variables, under the names that the vendor's own tools read.

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, FetchedCredentials,
    context::{VariableLookup, variable},
};

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// Credentials from variables that are looked up at every fetch.
pub(super) struct EnvironmentSource(pub(super) VariableLookup);

impl EnvironmentSource {
    fn read(&self) -> Result<Credentials, CredentialsError> {
        let value = |name| variable(&self.0, name);
        match (value(ID), value(SECRET)) {
            (Some(id), Some(secret)) => {
                Credentials::new(&id, &secret, value(TOKEN).as_ref().map(|token| token.as_str()))
            }
            (Some(_), None) => Err(CredentialsError::Unusable(format!("{SECRET} is missing beside {ID}"))),
            (None, Some(_)) => Err(CredentialsError::Unusable(format!("{ID} is missing beside {SECRET}"))),
            (None, None) => Err(CredentialsError::Missing(format!(
                "the variables {ID} and {SECRET}, or the keys credentials.access_key_id_file and \
                 credentials.access_key_secret_file"
            ))),
        }
    }
}

impl CredentialSource for EnvironmentSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        let read = self.read().map(|credentials| FetchedCredentials::lasting(credentials, "environment"));
        Box::pin(std::future::ready(read))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn from(variables: &'static [(&str, &str)]) -> Result<Credentials, CredentialsError> {
        EnvironmentSource(Arc::new(move |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        }))
        .read()
    }

    #[test]
    fn the_vendor_s_variables_make_credentials() {
        let read = from(&[(ID, "id\n"), (SECRET, "secret"), (TOKEN, "token")]).unwrap();
        let key = read.key();
        assert_eq!((key.id, key.secret, key.token), ("id", "secret", Some("token")));
        assert_eq!(from(&[(ID, "id"), (SECRET, "secret"), (TOKEN, "")]).unwrap().key().token, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let nothing = from(&[]).unwrap_err().to_string();
        for name in [ID, SECRET, "access_key_id_file", "access_key_secret_file"] {
            assert!(nothing.contains(name), "{nothing}");
        }
        let half = from(&[(ID, "id")]).unwrap_err().to_string();
        assert_eq!(half, format!("unusable credentials: {SECRET} is missing beside {ID}"));
    }
}
