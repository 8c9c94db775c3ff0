//! Creating and renaming containers.

use std::sync::Arc;

use oriel_image::{ImageId, SandboxSettings};

use crate::{
    Anonymous, CreateRequest, Engine, EngineError, Spec, command, container::Container, document,
    names, records::Record,
};

impl Engine {
    /// Creates a container and returns its id. On error nothing of it is left behind; a client
    /// that goes away does not stop it.
    ///
    /// # Errors
    /// `NotFound` for the image, `Conflict` for the name, `Invalid` for the rest of the request.
    pub async fn create(&self, request: CreateRequest) -> Result<String, EngineError> {
        let engine = self.clone();
        self.inner.tasks.complete(async move { engine.create_now(request).await }).await
    }

    async fn create_now(&self, mut request: CreateRequest) -> Result<String, EngineError> {
        let id = self.inner.parts.ids.id();
        let name = self.claim_name(request.name.take(), &id)?;
        let made = {
            let (id, name) = (id.clone(), name.clone());
            self.blocking(move |engine| engine.make(id, name, request)).await
        };
        match made {
            Ok(record) => {
                let container = Arc::new(Container::new(record.clone(), self.root()));
                self.registry().containers.insert(id.clone(), container);
                self.emit(&record, "create", &[]);
                Ok(id)
            }
            Err(error) => {
                self.registry().names.remove(&name);
                Err(error)
            }
        }
    }

    /// Takes a name for a container to be, inventing one when none is given.
    pub(crate) fn claim_name(&self, name: Option<String>, id: &str) -> Result<String, EngineError> {
        let wanted = name.as_deref().map(names::check).transpose()?;
        let mut registry = self.registry();
        let name = match wanted {
            Some(name) => match registry.names.get(&name) {
                Some(owner) => return Err(EngineError::NameTaken { name, owner: owner.clone() }),
                None => name,
            },
            None => (0..)
                .map(|attempt| names::invent(self.inner.parts.ids.as_ref(), attempt))
                .find(|name| !registry.names.contains_key(name))
                .expect("the range has no end"),
        };
        registry.names.insert(name.clone(), id.to_owned());
        Ok(name)
    }

    /// Makes the sandbox, the directory and the record, in this order: a sandbox without a record
    /// is removed at the next start.
    fn make(
        &self,
        id: String,
        name: String,
        request: CreateRequest,
    ) -> Result<Record, EngineError> {
        let (spec, image) = self.settle_spec(&id, request)?;
        let mounts = spec.host.mounts.clone();
        let made = self.furnish(&id, name, spec, &image);
        if made.is_err() {
            self.release_volumes(&id, &mounts, Anonymous::Remove);
        }
        made
    }

    /// Settles what the container `id` is, and its image. Volumes that it needs are made.
    pub(crate) fn settle_spec(
        &self,
        id: &str,
        mut request: CreateRequest,
    ) -> Result<(Spec, ImageId), EngineError> {
        let image = self.images().resolve(&request.image)?;
        let wishes = std::mem::take(&mut request.mounts);
        let mut spec = Spec::settle(id, &image.id.to_string(), &image.config.config, request)?;
        self.settle_networks(&mut spec)?;
        let declared = spec.run.volumes.keys().map(String::as_str);
        spec.host.mounts = self.settle_mounts(id, wishes, declared)?;
        Ok((spec, image.id))
    }

    /// Makes what a container has on disk, and its record.
    fn furnish(
        &self,
        id: &str,
        name: String,
        spec: Spec,
        image: &ImageId,
    ) -> Result<Record, EngineError> {
        self.images().make_sandbox(id, image, &self.sandbox_settings(&spec))?;
        let record = Record::new(id.to_owned(), name, self.now(), spec);
        if let Err(error) = self.inner.records.save(&record) {
            self.discard_files(&record.id);
            return Err(error);
        }
        Ok(record)
    }

    /// What the sandbox of a container has of its own.
    pub(crate) fn sandbox_settings(&self, spec: &Spec) -> SandboxSettings {
        SandboxSettings {
            computer_name: spec.hostname.clone(),
            domain_name: spec.domain_name.clone(),
            account: spec.account().to_owned(),
            // Wine tells the time by this variable alone.
            time_zone: Some(command::variable(&spec.run.env, "TZ").unwrap_or_default()),
            variables: command::pairs(&spec.run.env),
            size: spec.host.sandbox_size.or(self.inner.parts.sandbox_size),
        }
    }

    /// Removes what a container has on disk. What cannot be removed now is removed at the next
    /// start, because no record owns it.
    pub(crate) fn discard_files(&self, id: &str) {
        if let Err(error) = self.images().remove_sandbox(id) {
            tracing::warn!(container.id = id, error = %error, "cannot remove a sandbox yet");
        }
        match fs_err::remove_dir_all(document::directory(self.root(), id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(container.id = id, error = %error, "cannot remove a log yet");
            }
            _ => {}
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for what is no name, `Conflict` for one that is taken.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        if name.is_empty() {
            return Err(EngineError::invalid("Neither old nor new names may be empty"));
        }
        let container = self.find(reference)?;
        let (engine, name) = (self.clone(), name.to_owned());
        self.inner.tasks.complete(async move { engine.rename_now(&container, name).await }).await
    }

    async fn rename_now(&self, container: &Container, name: String) -> Result<(), EngineError> {
        let _operation = container.operation.lock().await;
        let old = container.record().name;
        if old == name {
            return Err(EngineError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        let name = self.claim_name(Some(name), &container.id)?;
        container.record_mut().name.clone_from(&name);
        if let Err(error) = self.save(container).await {
            container.record_mut().name = old;
            self.registry().names.remove(&name);
            return Err(error);
        }
        self.registry().names.remove(&old);
        self.rename_endpoints(container).await;
        self.emit(&container.record(), "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}
