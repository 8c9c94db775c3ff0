//! One build: the files of the client, then the builder, then what it made.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use oriel_builder::{Build, BuildError, BuildRequest, Built, ContextError, Definition, Files};
use oriel_buildkit::{
    Code, Session, Status,
    message::{BridgeSolveRequest, SolveRequest, StatusResponse, Vertex},
    sync::{self, SyncError, Wanted},
};
use oriel_hcs::Class;
use oriel_image::Reference;
use tokio::sync::{mpsc, oneshot};

use super::{
    inputs::{Inputs, Source},
    jobs::Job,
    progress::{self, Progress},
    sources::{Bases, Secrets},
};
use crate::{
    daemon::Daemon,
    http::{BodyReader, chain, piece_reader},
    routes::build,
};

/// Events of a build under way.
const EVENTS: usize = 64;

/// How often the copying of a context is told of.
const TOLD: Duration = Duration::from_millis(500);

/// Longest `.dockerignore` read.
const LONGEST_IGNORE: u64 = 1 << 20;

/// Runs a frontend: for a Dockerfile, all of its build. Dropping the future cancels it.
pub(super) async fn run(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    request: &BridgeSolveRequest,
) -> Result<Built, Status> {
    let inputs = Inputs::read(&job.request, request)?;
    let session = daemon.buildkit.sessions.get(&job.request.session).await?;
    let mut one = One {
        daemon,
        job,
        progress: Progress::new(&job.request.reference),
        session: session.clone(),
        scratch: daemon.scratch(),
    };
    tokio::select! {
        built = one.run(inputs) => built,
        () = session.ended() => Err(Status::gone("the client's session has ended")),
    }
}

/// Refuses results that go where none can be brought.
pub(super) fn check_exporters(request: &SolveRequest) -> Result<(), Status> {
    let kinds = request.exporters.iter().map(|exporter| exporter.kind.as_str());
    let deprecated = Some(request.exporter.as_str()).filter(|kind| !kind.is_empty());
    for kind in kinds.chain(deprecated) {
        if !["moby", "image"].contains(&kind) {
            return Err(Status::unimplemented(format!(
                "the exporter {kind:?} is not supported by this daemon: results become images here"
            )));
        }
    }
    let caches = request.cache.iter().flat_map(|cache| &cache.exports);
    if let Some(export) = caches.into_iter().find(|export| export.kind != "inline") {
        return Err(Status::unimplemented(format!(
            "exporting cached steps as {:?} is not supported by this daemon",
            export.kind
        )));
    }
    Ok(())
}

/// What clients are told of a result (`exporter/containerimage/exptypes`).
pub(super) fn described(built: Option<&Built>) -> BTreeMap<String, String> {
    let Some(built) = built else { return BTreeMap::new() };
    let image = built.image.to_string();
    let mut told = BTreeMap::from([
        ("containerimage.digest".to_owned(), image.clone()),
        ("containerimage.config.digest".to_owned(), image),
    ]);
    if !built.tags.is_empty() {
        told.insert("image.name".to_owned(), names(built).join(","));
    }
    told
}

/// The names of an image, in full.
fn names(built: &Built) -> Vec<String> {
    let full = |tag: &String| Reference::parse(tag).map_or_else(|_| tag.clone(), |n| n.to_string());
    built.tags.iter().map(full).collect()
}

/// The code of a class of failure. Clients print all codes but [`Code::Unknown`] before the text,
/// so BuildKit and this daemon use that one for what people have to read.
pub(super) fn code(class: Class) -> Code {
    match class {
        Class::Cancelled => Code::Cancelled,
        _ => Code::Unknown,
    }
}

/// Where an archive comes from.
enum Origin<'a> {
    /// A directory of the client.
    Directory(&'a Wanted),
    /// An archive that the client holds.
    Archive(&'a str),
}

/// Reads an archive where blocking does no harm.
async fn reading<T: Send + 'static>(
    scratch: &Path,
    reader: BodyReader,
    work: impl FnOnce(BodyReader) -> Result<T, BuildError> + Send + 'static,
) -> Result<T, Status> {
    let scratch = scratch.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        fs_err::create_dir_all(&scratch).map_err(ContextError::from)?;
        work(reader)
    });
    let broken = |_| Status::new(Code::Internal, "reading the context broke off");
    work.await.map_err(broken)?.map_err(|error| failure(&error))
}

fn failure(error: &BuildError) -> Status {
    Status::new(code(error.class()), chain(error))
}

/// The patterns of a `.dockerignore`, for a client to leave out what they match: so much of its
/// grammar as is not a pattern's own (`moby/patternmatcher/ignorefile`).
fn patterns(ignore: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(ignore);
    let lines = text.trim_start_matches('\u{feff}').lines();
    let lines = lines.filter(|line| !line.starts_with('#')).map(str::trim);
    lines
        .filter(|line| !line.is_empty() && *line != "!")
        .map(|line| match line.strip_prefix('!') {
            Some(kept) => format!("!{}", kept.trim().trim_start_matches('/')),
            None => line.trim_start_matches('/').to_owned(),
        })
        .filter(|pattern| !pattern.is_empty() && pattern != "!")
        .collect()
}

/// A build under way.
struct One<'a> {
    daemon: &'a Arc<Daemon>,
    job: &'a Arc<Job>,
    progress: Progress,
    session: Arc<Session>,
    scratch: PathBuf,
}

impl One<'_> {
    async fn run(&mut self, mut inputs: Inputs) -> Result<Built, Status> {
        let warnings = std::mem::take(&mut inputs.warnings);
        let build = match &inputs.context {
            Source::Archive(name) => self.of_archive(name, inputs.request).await?,
            Source::Directory(name) => {
                self.of_directory(name, &inputs.dockerfile, inputs.request).await?
            }
        };
        let built = self.build(build, warnings).await?;
        self.exported(&built).await;
        Ok(built)
    }

    /// Prepares a build whose context is an archive, Dockerfile and all.
    async fn of_archive(&self, name: &str, request: BuildRequest) -> Result<Build, Status> {
        let vertex = self.begin("[internal] load remote build context").await;
        let scratch = self.scratch.clone();
        let work = move |mut reader: BodyReader| Build::prepare(request, &mut reader, &scratch);
        let outcome = self.copied((&vertex, "context"), Origin::Archive(name), work).await;
        self.end(&vertex, outcome).await
    }

    /// Prepares a build whose files are in directories of the client.
    async fn of_directory(
        &self,
        context: &str,
        dockerfile: &str,
        mut request: BuildRequest,
    ) -> Result<Build, Status> {
        if request.dockerfile.is_empty() {
            request.dockerfile = "Dockerfile".to_owned();
        }
        let (text, own) = self.definition(dockerfile, &request.dockerfile).await?;
        let ignore = match own {
            Some(ignore) => ignore,
            None => self.ignore(context).await?,
        };
        let exclude = patterns(&ignore);
        request.definition = Some(Definition { text, ignore });
        let vertex = self.begin("[internal] load build context").await;
        let wanted = Wanted { directory: context.to_owned(), exclude, ..Wanted::default() };
        let scratch = self.scratch.clone();
        let work = move |mut reader: BodyReader| Build::prepare(request, &mut reader, &scratch);
        let outcome = self.copied((&vertex, "context"), Origin::Directory(&wanted), work).await;
        self.end(&vertex, outcome).await
    }

    /// The Dockerfile, and its own `.dockerignore` if it has one.
    async fn definition(
        &self,
        directory: &str,
        name: &str,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Status> {
        let vertex = self.begin(&format!("[internal] load build definition from {name}")).await;
        let own = format!("{name}.dockerignore");
        // Docker takes it in lower case too, which the reader of the files does by itself.
        let follow = vec![name.to_owned(), name.to_lowercase(), own.clone()];
        let wanted = Wanted { directory: directory.to_owned(), follow, ..Wanted::default() };
        let (name, scratch) = (name.to_owned(), self.scratch.clone());
        let work = move |mut reader: BodyReader| {
            let files = Files::unpack(&mut reader, &scratch)?;
            Ok((files.dockerfile(&name)?, files.read(&own, LONGEST_IGNORE)?))
        };
        let outcome = self.copied((&vertex, "dockerfile"), Origin::Directory(&wanted), work).await;
        self.end(&vertex, outcome).await
    }

    /// The `.dockerignore` of the context; empty when there is none.
    async fn ignore(&self, directory: &str) -> Result<Vec<u8>, Status> {
        const NAME: &str = ".dockerignore";
        let vertex = self.begin("[internal] load .dockerignore").await;
        let follow = vec![NAME.to_owned()];
        let wanted = Wanted { directory: directory.to_owned(), follow, ..Wanted::default() };
        let scratch = self.scratch.clone();
        let work = move |mut reader: BodyReader| {
            let files = Files::unpack(&mut reader, &scratch)?;
            Ok(files.read(NAME, LONGEST_IGNORE)?.unwrap_or_default())
        };
        let outcome = self.copied((&vertex, "context"), Origin::Directory(&wanted), work).await;
        self.end(&vertex, outcome).await
    }

    /// Copies files of the client into something that reads an archive.
    async fn copied<T: Send + 'static>(
        &self,
        (vertex, what): (&Vertex, &str),
        origin: Origin<'_>,
        work: impl FnOnce(BodyReader) -> Result<T, BuildError> + Send + 'static,
    ) -> Result<T, Status> {
        let (pieces, reader) = piece_reader();
        let so_far = AtomicU64::new(0);
        let told = |bytes| so_far.store(bytes, Ordering::Relaxed);
        let copy = async {
            match origin {
                Origin::Directory(wanted) => sync::copy(&self.session, wanted, pieces, told).await,
                Origin::Archive(name) => sync::upload(&self.session, name, pieces, told).await,
            }
        };
        let both = async { tokio::join!(copy, reading(&self.scratch, reader, work)) };
        tokio::pin!(both);
        let (copied, done) = loop {
            tokio::select! {
                both = &mut both => break both,
                () = tokio::time::sleep(TOLD) => {
                    let bytes = so_far.load(Ordering::Relaxed);
                    self.job.report(progress::transferring(vertex, what, bytes, false)).await;
                }
            }
        };
        let bytes = so_far.load(Ordering::Relaxed);
        self.job.report(progress::transferring(vertex, what, bytes, true)).await;
        match copied {
            // The reader had enough, and tells why.
            Ok(()) | Err(SyncError::Stopped { .. }) => done,
            Err(error) => Err(Status::new(Code::Unknown, chain(&error))),
        }
    }

    /// Runs a build to its end and tells how it goes.
    async fn build(&mut self, build: Build, warnings: Vec<String>) -> Result<Built, Status> {
        let (sender, mut events) = mpsc::channel(EVENTS);
        let (done, built) = oneshot::channel();
        let daemon = self.daemon.clone();
        let session = self.session.clone();
        self.daemon.engine.spawn(async move {
            let transfers = daemon.transfers();
            let bases = Bases { transfers, session: session.clone() };
            let secrets = Secrets::new(session, &daemon.fixed.secrets);
            let site = daemon.build_site(&bases, &secrets);
            let built = build.run(site, sender).await;
            if let Ok(built) = &built {
                build::announce(&daemon.engine, built);
            }
            // Who waits for it may have gone, which has cancelled it.
            let _ = done.send(built);
        });
        while let Some(event) = events.recv().await {
            let report = self.progress.of(event);
            self.tell(report).await;
        }
        for text in warnings {
            let report = self.progress.of(oriel_builder::BuildEvent::Warning { text });
            self.tell(report).await;
        }
        let broken = |_| Status::new(Code::Internal, "the build broke off");
        built.await.map_err(broken)?.map_err(|error| failure(&error))
    }

    async fn exported(&self, built: &Built) {
        let vertex = self.begin("exporting to image").await;
        let names = names(built).into_iter().map(|name| format!("naming to {name}"));
        let parts = [format!("writing image {}", built.image)].into_iter().chain(names);
        let statuses = parts.map(|part| progress::done(&vertex, &part)).collect();
        self.job.report(StatusResponse { statuses, ..StatusResponse::default() }).await;
        self.job.report(progress::ended(&vertex, "")).await;
    }

    async fn tell(&self, report: StatusResponse) {
        if report != StatusResponse::default() {
            self.job.report(report).await;
        }
    }

    async fn begin(&self, name: &str) -> Vertex {
        let vertex = self.progress.around(name);
        self.job.report(progress::shown(&vertex)).await;
        vertex
    }

    async fn end<T>(&self, vertex: &Vertex, outcome: Result<T, Status>) -> Result<T, Status> {
        let error = outcome.as_ref().err().map_or("", |status| status.message.as_str());
        self.job.report(progress::ended(vertex, error)).await;
        outcome
    }
}
