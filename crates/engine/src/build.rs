//! The engine as the builder sees it: containers for `RUN`.

use async_trait::async_trait;
use oriel_builder::{
    BuildHost, ExpectedRun, HostError, RunContainer, RunMount, RunMountSource, RunOptions,
    RunOutput, RunStep,
};
use oriel_hcs::{Limits, MissingLibrary};
use oriel_image::RunConfig;
use tokio::sync::mpsc;

use crate::{
    Anonymous, CreateRequest, Engine, EngineError, HostOptions, LogDriver, MountKind, MountWish,
    MountWishes, NETWORK_NAT, Overrides, Removal, Stream, WaitFor,
};

#[async_trait]
impl BuildHost for Engine {
    async fn create_run(&self, step: &RunStep) -> Result<RunContainer, HostError> {
        let id = self.create(request(step)?).await?;
        Ok(RunContainer { sandbox: id.clone(), id })
    }

    fn expect_run(&self, step: &RunStep, after: &RunContainer) -> Option<ExpectedRun> {
        let after = self.find(&after.id).ok()?;
        request(step).ok().map(|request| self.expect(request, after))
    }

    async fn claim_run(&self, expected: ExpectedRun, step: &RunStep) -> Option<RunContainer> {
        let id = self.claim(expected, request(step).ok()?).await?;
        Some(RunContainer { sandbox: id.clone(), id })
    }

    async fn run(
        &self,
        container: &str,
        output: mpsc::Sender<RunOutput>,
    ) -> Result<u32, HostError> {
        let mut attached = self.attach(container, false).await?;
        let ended = self.wait(container, WaitFor::NextExit)?;
        self.start(container).await?;
        while let Some(chunk) = attached.output.recv().await {
            let bytes = chunk.bytes.to_vec();
            let piece = match chunk.stream {
                Stream::Stdout => RunOutput::Stdout(bytes),
                Stream::Stderr => RunOutput::Stderr(bytes),
            };
            // The contract: a reader that is gone does not stop the program.
            let _ = output.send(piece).await;
        }
        let (code, error) = ended.await;
        if error.is_empty() {
            Ok(code)
        } else {
            Err(HostError { class: oriel_hcs::Class::Host, message: error })
        }
    }

    async fn missing_libraries(&self, container: &str) -> Vec<MissingLibrary> {
        let Ok(container) = self.find(container) else { return Vec::new() };
        container.status.borrow().missing.clone()
    }

    async fn remove(&self, container: &str) -> Result<(), HostError> {
        // What a step writes to a volume is not kept, as with Docker's own builder.
        let how = Removal { force: true, anonymous: Anonymous::Remove };
        match self.remove_with(container, how).await {
            Ok(()) | Err(EngineError::NoSuchContainer { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<EngineError> for HostError {
    fn from(error: EngineError) -> Self {
        Self { class: error.class(), message: error.to_string() }
    }
}

fn request(step: &RunStep) -> Result<CreateRequest, EngineError> {
    let run = RunConfig {
        env: step.environment.clone(),
        working_dir: step.working_directory.clone(),
        user: step.user.clone(),
        labels: step.labels.iter().cloned().collect(),
        ..RunConfig::default()
    };
    Ok(CreateRequest {
        name: None,
        image: step.image.clone(),
        overrides: Overrides { run, ..Overrides::default() },
        host: host_options(&step.options)?,
        mounts: MountWishes {
            mounts: step.mounts.iter().map(wish).collect(),
            ..MountWishes::default()
        },
        command: Some(step.command.clone()),
        ..CreateRequest::default()
    })
}

fn wish(mount: &RunMount) -> MountWish {
    let (target, read_only) = (mount.target.clone(), mount.read_only);
    match &mount.source {
        RunMountSource::Host(path) => MountWish {
            kind: MountKind::Bind.word().to_owned(),
            source: path.to_string_lossy().into_owned(),
            target,
            read_only,
            ..MountWish::default()
        },
        RunMountSource::Memory { size_bytes } => MountWish {
            kind: MountKind::Tmpfs.word().to_owned(),
            target,
            read_only,
            size_bytes: *size_bytes,
            ..MountWish::default()
        },
    }
}

fn host_options(options: &RunOptions) -> Result<HostOptions, EngineError> {
    check_isolation(&options.isolation)?;
    let network = match options.network_mode.as_str() {
        "" | "default" | "bridge" => NETWORK_NAT,
        other => other,
    };
    let extra_hosts = options
        .extra_hosts
        .iter()
        .map(|line| {
            let (name, address) = line.split_once(':').ok_or_else(|| {
                EngineError::invalid(format!("bad format for add-host: \"{line}\""))
            })?;
            Ok((name.to_owned(), address.to_owned()))
        })
        .collect::<Result<_, EngineError>>()?;
    Ok(HostOptions {
        network: network.to_owned(),
        extra_hosts,
        limits: Limits {
            memory_bytes: Some(options.memory_bytes).filter(|bytes| *bytes > 0),
            cpu_weight: u32::try_from(options.cpu_shares).ok().filter(|weight| *weight > 0),
            ..Limits::default()
        },
        log: LogDriver::None,
        ..HostOptions::default()
    })
}

/// Checks an isolation that a client asks for.
pub(crate) fn check_isolation(isolation: &str) -> Result<(), EngineError> {
    match isolation.to_ascii_lowercase().as_str() {
        "" | "default" | "process" => Ok(()),
        "hyperv" => Err(EngineError::unsupported(
            "isolation (hyperv) is not supported by this daemon yet: use 'process' or 'default'",
        )),
        _ => Err(EngineError::invalid(format!(
            "invalid isolation ({isolation}): Windows supports 'default', 'process', or 'hyperv'"
        ))),
    }
}

impl Engine {
    /// Checks an isolation that a client asks for.
    ///
    /// # Errors
    /// `Unsupported` for `hyperv`, `Invalid` for what is no isolation.
    pub fn check_isolation(isolation: &str) -> Result<(), EngineError> {
        check_isolation(isolation)
    }
}
