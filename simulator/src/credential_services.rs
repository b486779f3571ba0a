//! Credential services, which issue temporary keys: the token service (STS), the metadata service of an ECS
//! instance, and a credentials URI.

mod metadata;
mod service;
mod sts;
mod uri;

pub use metadata::{MetadataRules, MetadataService, TokenMode};
pub use service::CredentialService;
pub use sts::{StsRole, StsRules, StsService};
pub use uri::{UriRules, UriService};
