//! All registries, as one daemon reaches them.

use oriel_image::Reference;

use crate::{Credentials, DistributionError, RegistryOptions, Repository};

/// What a [`Repository`] is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading, from mirrors first.
    Pull,
    /// Writing and reading, on the registry itself.
    Push,
}

/// What a successful log-in gives.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// A token to keep in place of the password, if the registry gives one.
    pub identity_token: Option<String>,
}

/// Reaches registries. Cheap to clone; all clones share connections and tokens.
#[derive(Clone)]
pub struct Registries;

impl Registries {
    /// Prepares for `options`.
    ///
    /// # Errors
    /// [`DistributionError::Setting`].
    pub fn new(options: RegistryOptions) -> Result<Self, DistributionError> {
        let _ = options;
        Ok(Self)
    }

    /// Checks `credentials` with the registry, as `docker login` does. `registry` is a host, or
    /// the address of Docker's hub; empty means the latter.
    ///
    /// # Errors
    /// [`DistributionError::wants_login`] when they are refused; any other when they cannot be
    /// checked.
    pub async fn login(
        &self,
        registry: &str,
        credentials: &Credentials,
    ) -> Result<Login, DistributionError> {
        let _ = (registry, credentials);
        todo!()
    }

    /// Opens the repository of `reference`. Reads the registry's settings; asks it nothing yet.
    ///
    /// # Errors
    /// [`DistributionError::Setting`], [`DistributionError::SettingFile`] or
    /// [`DistributionError::Tls`].
    pub async fn repository(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Repository, DistributionError> {
        let _ = (reference, credentials, access);
        todo!()
    }
}
