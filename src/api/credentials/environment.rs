//! Credentials from environment variables, under the names that the vendor's own tools read.

use std::{fmt, sync::Arc};

use super::{BoxFuture, Credentials, CredentialsError, ProvideCredentials};

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// Credentials from variables that are looked up at every call.
pub struct Environment<L> {
    lookup: L,
}

impl<L: Fn(&str) -> Option<String> + Send + Sync> Environment<L> {
    /// Reads variables through `lookup`.
    pub fn new(lookup: L) -> Self {
        Self { lookup }
    }

    fn read(&self) -> Result<Credentials, CredentialsError> {
        let value = |name| (self.lookup)(name).filter(|value| !value.trim().is_empty());
        match (value(ID), value(SECRET)) {
            (Some(id), Some(secret)) => Credentials::new(&id, &secret, value(TOKEN).as_deref()),
            (Some(_), None) => Err(CredentialsError::Missing(format!("{SECRET} too, beside {ID}"))),
            (None, Some(_)) => Err(CredentialsError::Missing(format!("{ID} too, beside {SECRET}"))),
            (None, None) => Err(CredentialsError::Missing(format!(
                "the variables {ID} and {SECRET}, or the keys credentials.access_key_id_file and \
                 credentials.access_key_secret_file"
            ))),
        }
    }
}

impl<L: Fn(&str) -> Option<String> + Send + Sync> ProvideCredentials for Environment<L> {
    fn credentials(&self, _: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(std::future::ready(self.read().map(Arc::new)))
    }
}

impl<L> fmt::Debug for Environment<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &'static [(&str, &str)]) -> Result<Credentials, CredentialsError> {
        Environment::new(move |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
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
        assert_eq!(half, format!("no credentials: set {SECRET} too, beside {ID}"));
    }
}
