//! What a build asks of the client's machine.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use oriel_builder::{BaseSource, DescribedImage, Fetched, HostError, SecretSource};
use oriel_buildkit::{Session, Status};
use oriel_distribution::{Credentials, Transfers};
use oriel_hcs::Class;
use oriel_image::{Descriptor, DiffId, Layer, Reference};
use tokio::sync::{OnceCell, mpsc};

use super::memory::Memory;
use crate::routes::transfers::{Logins, RegistrySource};

/// What clients call Docker's registry.
const DOCKER: &str = "registry-1.docker.io";

/// Base images, with the client's credentials.
pub(super) struct Bases {
    pub(super) transfers: Transfers,
    pub(super) session: Arc<Session>,
}

impl Bases {
    /// The registry of an image, as the client sees it.
    async fn registry(&self, name: &Reference) -> Result<RegistrySource, HostError> {
        let logins = Logins::for_one(name.domain(), self.credentials(name).await?);
        Ok(RegistrySource { transfers: self.transfers.clone(), logins })
    }

    async fn credentials(&self, name: &Reference) -> Result<Credentials, HostError> {
        let host = match name.domain() {
            "docker.io" => DOCKER,
            domain => domain,
        };
        let answer = self.session.credentials(host).await.map_err(failed)?;
        // With no account, the secret is an identity token (`session/auth/authprovider`).
        Ok(match answer.username.as_str() {
            "" => Credentials { identity_token: answer.secret, ..Credentials::default() },
            _ => Credentials {
                username: answer.username,
                password: answer.secret,
                ..Credentials::default()
            },
        })
    }
}

#[async_trait]
impl BaseSource for Bases {
    async fn pull(&self, name: &Reference, output: mpsc::Sender<Vec<u8>>) -> Result<(), HostError> {
        self.registry(name).await?.pull(name, output).await
    }

    async fn describe(&self, name: &Reference) -> Result<DescribedImage, HostError> {
        self.registry(name).await?.describe(name).await
    }

    async fn take_layer(
        &self,
        name: &Reference,
        layer: (DiffId, Descriptor),
        onto: Vec<Layer>,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<Layer, HostError> {
        self.registry(name).await?.take_layer(name, layer, onto, output).await
    }

    async fn fetch(&self, url: &str, pieces: mpsc::Sender<Vec<u8>>) -> Result<Fetched, HostError> {
        let logins = Logins::default();
        RegistrySource { transfers: self.transfers.clone(), logins }.fetch(url, pieces).await
    }
}

/// Secrets of the client.
pub(super) struct Secrets {
    session: Arc<Session>,
    /// Where directories in memory may be.
    parent: PathBuf,
    memory: OnceCell<Memory>,
}

impl Secrets {
    pub(super) fn new(session: Arc<Session>, parent: &Path) -> Self {
        Self { session, parent: parent.to_owned(), memory: OnceCell::new() }
    }
}

#[async_trait]
impl SecretSource for Secrets {
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.session.secret(id).await.map_err(failed)
    }

    async fn folder(&self) -> Result<PathBuf, HostError> {
        let memory = self.memory.get_or_try_init(|| async { Memory::new(&self.parent) }).await;
        let failed = |error| {
            let message = format!("cannot make room in memory for secrets: {error}");
            HostError { class: Class::Host, message }
        };
        memory.map(|memory| memory.path().to_owned()).map_err(failed)
    }
}

fn failed(status: Status) -> HostError {
    HostError { class: Class::Unavailable, message: status.message }
}
