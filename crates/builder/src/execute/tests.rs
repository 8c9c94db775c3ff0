//! Whole builds on a small Windows-like image and a host whose programs are words.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use oriel_hcs::{Class, CommandLine, MissingLibrary};
use oriel_hive::Key;
use oriel_image::{
    BaseImport, Descriptor, DiffId, History, Image, ImageConfig, ImageId, ImageStore,
    IncomingLayer, Layer, Reference, SandboxSettings,
};
use oriel_wclayer::{Entry, FileTime, Kind, LayerPath, Writer};
use tokio::sync::{Barrier, Notify, mpsc};

use crate::{
    BaseSource, Build, BuildCaches, BuildError, BuildHost, BuildRequest, BuildSite, Built,
    DescribedImage, Fetched, HostError, RunContainer, RunMountSource, RunOutput, RunStep,
    SecretSource,
};

mod language;

/// More lines than any build here prints.
const LINES: usize = 1024;

/// A host in memory. Its programs are `say TEXT`, `write PATH TEXT`, `fail CODE`, `meet`, `look`
/// and `hang`, one after the other with `&` in between; they write to the sandbox of the store.
struct FakeHost {
    images: ImageStore,
    state: Mutex<HostState>,
    /// Told by each program that hangs; `look` waits for one.
    hangs: Notify,
    /// Where two programs that `meet` wait for each other.
    meeting: Barrier,
}

#[derive(Default)]
struct HostState {
    steps: Vec<RunStep>,
    present: BTreeSet<String>,
    pulled: Vec<String>,
    shown: BTreeMap<String, Vec<String>>,
    /// Containers that run, and the most there were.
    running: (usize, usize),
    web: BTreeMap<String, (Vec<u8>, Fetched)>,
    /// Where images of the registry are that are looked at, and not pulled as a whole.
    registry: Option<ImageStore>,
    /// Layers taken from there.
    taken: usize,
}

/// Relative paths of the files below a directory.
fn files_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => {
                let inner = files_below(&entry.path());
                found.extend(inner.into_iter().map(|path| format!("{name}/{path}")));
            }
            false => found.push(name),
        }
    }
    found.sort();
    found
}

impl FakeHost {
    fn steps(&self) -> Vec<RunStep> {
        self.state.lock().unwrap().steps.clone()
    }

    /// Files below what the last container showed at `target`, as they were when it was made.
    fn shown(&self, target: &str) -> Vec<String> {
        self.state.lock().unwrap().shown.get(target).cloned().unwrap_or_default()
    }

    fn containers(&self) -> usize {
        self.state.lock().unwrap().present.len()
    }

    /// One program: its exit code.
    async fn program(&self, id: &str, words: &str, output: &mpsc::Sender<RunOutput>) -> u32 {
        let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
        match name {
            "say" => {
                output.send(RunOutput::Stdout(format!("{rest}\r\n").into_bytes())).await.unwrap();
            }
            "write" => {
                let (path, text) = rest.split_once(' ').unwrap();
                let sandbox = self.images.sandbox(id).unwrap();
                let files = self.images.sandbox_files(&sandbox);
                files.write_file(path, &mut text.as_bytes(), None).unwrap();
            }
            "fail" => return rest.parse().unwrap(),
            "meet" => {
                self.meeting.wait().await;
            }
            "look" => self.hangs.notified().await,
            "hang" => {
                self.hangs.notify_one();
                std::future::pending::<()>().await;
            }
            other => panic!("no program is called {other}"),
        }
        0
    }
}

#[async_trait]
impl BuildHost for FakeHost {
    async fn create_run(&self, step: &RunStep) -> Result<RunContainer, HostError> {
        let number = {
            let mut state = self.state.lock().unwrap();
            state.steps.push(step.clone());
            for mount in &step.mounts {
                if let RunMountSource::Host(path) = &mount.source {
                    let shown = match path.is_dir() {
                        true => files_below(path),
                        false => vec![fs_err::read_to_string(path).unwrap_or_default()],
                    };
                    state.shown.insert(mount.target.clone(), shown);
                }
            }
            state.steps.len()
        };
        let id = format!("{number:064x}");
        let image = self.images.resolve(&step.image).unwrap().id;
        let sandbox = self.images.create_sandbox(&id, &image, &SandboxSettings::default()).unwrap();
        for mount in &step.mounts {
            self.images.sandbox_files(&sandbox).create_dir_all(&mount.target).unwrap();
        }
        self.state.lock().unwrap().present.insert(id.clone());
        Ok(RunContainer { sandbox: id.clone(), id })
    }

    async fn run(&self, id: &str, output: mpsc::Sender<RunOutput>) -> Result<u32, HostError> {
        let number = usize::from_str_radix(id, 16).unwrap();
        let command = {
            let mut state = self.state.lock().unwrap();
            state.running.0 += 1;
            state.running.1 = state.running.1.max(state.running.0);
            state.steps[number - 1].command.clone()
        };
        let line = match command {
            CommandLine::Verbatim(line) => {
                line.strip_prefix("cmd /S /C ").expect("the shell").to_owned()
            }
            CommandLine::Arguments(words) => words.join(" "),
        };
        let mut code = 0;
        for words in line.split(" & ") {
            tokio::task::yield_now().await;
            code = self.program(id, words, &output).await;
            if code != 0 {
                break;
            }
        }
        self.state.lock().unwrap().running.0 -= 1;
        Ok(code)
    }

    async fn missing_libraries(&self, _container: &str) -> Vec<MissingLibrary> {
        let (name, needed_by) = ("bcryptprimitives.dll".into(), "C:\\app.exe".into());
        vec![MissingLibrary { name, needed_by }]
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    async fn remove(&self, id: &str) -> Result<(), HostError> {
        assert!(self.state.lock().unwrap().present.remove(id), "{id} is removed once");
        self.images.remove_sandbox(id).unwrap();
        Ok(())
    }
}

/// A registry with one image, `remote/base:1`.
#[async_trait]
impl BaseSource for FakeHost {
    async fn pull(&self, name: &Reference, output: mpsc::Sender<Vec<u8>>) -> Result<(), HostError> {
        self.state.lock().unwrap().pulled.push(name.familiar());
        if name.familiar() == "nanoserver:latest" {
            return Ok(());
        }
        if name.familiar() != "remote/base:1" {
            let message = format!("pull access denied for {}", name.familiar_repository());
            return Err(HostError { class: Class::NotFound, message });
        }
        let line = b"{\"stream\":\"Pulling from remote/base\\n\"}\r\n";
        // A quiet build does not listen.
        let _ = output.send(line.to_vec()).await;
        let base = self.images.resolve("nanoserver").unwrap().id;
        self.images.tag(&base, name).unwrap();
        Ok(())
    }

    async fn describe(&self, name: &Reference) -> Result<DescribedImage, HostError> {
        let registry = self.state.lock().unwrap().registry.clone();
        let image = registry.and_then(|registry| registry.resolve(&name.familiar()).ok());
        let missing = || {
            let message = format!("manifest for {} not found", name.familiar());
            HostError { class: Class::NotFound, message }
        };
        let Image { config, layers, .. } = image.ok_or_else(missing)?;
        let describe =
            |layer: &Layer| Descriptor::new(&layer.media_type, layer.blob, layer.compressed_size);
        Ok(DescribedImage { config, layers: layers.iter().map(describe).collect() })
    }

    async fn take_layer(
        &self,
        _: &Reference,
        (diff_id, descriptor): (DiffId, Descriptor),
        onto: Vec<Layer>,
        _: mpsc::Sender<Vec<u8>>,
    ) -> Result<Layer, HostError> {
        let registry = self.state.lock().unwrap().registry.clone().unwrap();
        let Descriptor { digest, size, media_type, .. } = descriptor;
        let Ok(mut blob) = registry.open_blob(digest) else {
            let message = format!("blob {digest} not found");
            return Err(HostError { class: Class::NotFound, message });
        };
        if let Some(mut download) = self.images.download(digest, size).unwrap() {
            let mut bytes = Vec::new();
            blob.read_to_end(&mut bytes).unwrap();
            download.write(&bytes).unwrap();
            download.finish().unwrap();
        }
        let incoming = IncomingLayer { blob: digest, size, media_type: &media_type, diff_id };
        let blob = self.images.open_blob(digest).unwrap();
        let layer = self.images.take_in_layer(&onto, &incoming, blob, &mut |_| ()).unwrap();
        self.state.lock().unwrap().taken += 1;
        Ok(layer)
    }

    async fn fetch(&self, url: &str, pieces: mpsc::Sender<Vec<u8>>) -> Result<Fetched, HostError> {
        let web = self.state.lock().unwrap().web.get(url).cloned();
        let Some((content, fetched)) = web else {
            let message = format!("GET \"{url}\" was answered with 404 Not Found");
            return Err(HostError { class: Class::NotFound, message });
        };
        for piece in content.chunks(4096) {
            // Whoever has seen enough leaves.
            let _ = pieces.send(piece.to_vec()).await;
        }
        Ok(fetched)
    }
}

/// A store with a base image called `nanoserver`, and a host.
struct World {
    directory: tempfile::TempDir,
    host: FakeHost,
    caches: BuildCaches,
    secrets: FakeSecrets,
}

/// Secrets of a client.
#[derive(Default)]
struct FakeSecrets {
    known: BTreeMap<String, String>,
    folder: PathBuf,
}

#[async_trait]
impl SecretSource for FakeSecrets {
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.known.get(id).map(|text| text.clone().into_bytes()))
    }

    async fn folder(&self) -> Result<PathBuf, HostError> {
        fs_err::create_dir_all(&self.folder).unwrap();
        Ok(self.folder.clone())
    }
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
        let images = ImageStore::open(directory.path(), Arc::new(database)).unwrap();
        let layer_tar = directory.path().join("base.tar");
        fs_err::write(&layer_tar, base_layer()).unwrap();
        let config = ImageConfig {
            os: "windows".into(),
            architecture: "amd64".into(),
            os_version: "10.0.20348.2113".into(),
            history: vec![History {
                created_by: "Apply image 10.0.20348.2113".into(),
                comment: oriel_hcs::BASE_COMMENT.into(),
                ..History::default()
            }],
            ..ImageConfig::default()
        };
        images.import_base(&BaseImport { name: "nanoserver".into(), layer_tar, config }).unwrap();
        let host = FakeHost {
            images,
            state: Mutex::default(),
            hangs: Notify::new(),
            meeting: Barrier::new(2),
        };
        let caches = BuildCaches::new(directory.path().join("caches"));
        let secrets = FakeSecrets { folder: directory.path().join("memory"), ..Default::default() };
        Self { directory, host, caches, secrets }
    }

    fn site(&self) -> BuildSite<'_> {
        let images = self.host.images.clone();
        BuildSite {
            images,
            host: &self.host,
            bases: &self.host,
            caches: &self.caches,
            secrets: &self.secrets,
            parallel: NonZeroUsize::new(2).unwrap(),
        }
    }

    fn prepare(&self, request: BuildRequest, context: &[(&str, &str)]) -> Build {
        Build::prepare(request, &mut &tar_of(context)[..], self.directory.path()).unwrap()
    }

    /// Builds as a task of the daemon does: on any thread.
    fn running<'a>(
        &'a self,
        build: Build,
        sender: mpsc::Sender<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Built, BuildError>> {
        build.run_classic(self.site(), sender).boxed()
    }

    /// Builds; returns the result and all that the client saw of `stream`.
    async fn try_build(
        &self,
        request: BuildRequest,
        context: &[(&str, &str)],
    ) -> (Result<Built, BuildError>, String) {
        let (sender, mut lines) = mpsc::channel(LINES);
        let build = self.prepare(request, context);
        let result = self.running(build, sender).await;
        let mut seen = String::new();
        while let Ok(piece) = lines.try_recv() {
            for value in serde_json::Deserializer::from_slice(&piece).into_iter() {
                let value: serde_json::Value = value.unwrap();
                seen += value["stream"].as_str().unwrap_or_default();
            }
        }
        assert_eq!(self.host.images.sandboxes().unwrap().len(), self.host.containers());
        (result, seen)
    }

    /// Builds a Dockerfile with files beside it, as the Docker CLI asks by default.
    async fn build(&self, dockerfile: &str, files: &[(&str, &str)]) -> (ImageId, String) {
        let context = [&[("Dockerfile", dockerfile)], files].concat();
        let (result, seen) = self.try_build(defaults(), &context).await;
        (result.unwrap().image, seen)
    }

    async fn fail(&self, dockerfile: &str) -> (BuildError, String) {
        let (result, seen) = self.try_build(defaults(), &[("Dockerfile", dockerfile)]).await;
        (result.unwrap_err(), seen)
    }

    fn image(&self, id: ImageId) -> Image {
        self.host.images.resolve(&id.to_string()).unwrap()
    }

    /// The text of an image's file; none when there is no such file.
    fn read(&self, image: ImageId, path: &str) -> Option<String> {
        let images = &self.host.images;
        let sandbox = images.create_sandbox("reader", &image, &SandboxSettings::default()).unwrap();
        let files = images.sandbox_files(&sandbox);
        let text = files.exists(path).unwrap().then(|| {
            let mut text = String::new();
            files.read(path).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        images.remove_sandbox("reader").unwrap();
        text
    }
}

fn defaults() -> BuildRequest {
    BuildRequest { remove: true, ..BuildRequest::default() }
}

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_600_000_000);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A base layer: an empty registry and one program.
fn base_layer() -> Vec<u8> {
    let empty = oriel_hive::write(&Key::new("")).unwrap();
    let entries: &[(&str, &[u8])] = &[
        ("Files/", b""),
        ("Files/Users/", b""),
        ("Files/Windows/", b""),
        ("Files/Windows/System32/", b""),
        ("Files/Windows/System32/cmd.exe", b"MZ"),
        ("Files/Windows/System32/config/", b""),
        ("Files/Windows/System32/config/DEFAULT", &empty),
        ("Files/Windows/System32/config/SOFTWARE", &empty),
        ("Files/Windows/System32/config/SYSTEM", &empty),
    ];
    let mut writer = Writer::new(Vec::new());
    for (name, data) in entries {
        let kind = match name.ends_with('/') {
            true => Kind::Directory,
            false => Kind::File { size: data.len() as u64 },
        };
        let path = LayerPath::parse(name).unwrap().unwrap();
        let time = FileTime(133_444_736_000_000_000);
        writer.add(&Entry::new(path, kind, time), *data).unwrap();
    }
    writer.finish().unwrap()
}

#[tokio::test]
async fn run_commits_what_the_program_wrote_and_shows_what_it_said() {
    let world = World::new();
    let dockerfile = "FROM nanoserver\nRUN say hello & write C:\\app\\x.txt made\n";
    let (image, seen) = world.build(dockerfile, &[]).await;
    assert_eq!(world.read(image, r"C:\app\x.txt").as_deref(), Some("made"));
    for line in ["Step 2/2 : RUN say hello", "Running in 000000000000", "hello\r\n", "Removed"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(seen.ends_with(&format!("Successfully built {}\n", image.0.short())), "{seen}");
    let history = world.image(image).config.history;
    let last = &history.last().unwrap().created_by;
    assert_eq!(last, r"cmd /S /C say hello & write C:\app\x.txt made");
    assert_eq!(world.host.containers(), 0);
}

#[tokio::test]
async fn a_second_build_takes_every_step_from_the_cache() {
    let world = World::new();
    let dockerfile =
        "FROM nanoserver\nENV A=1\nWORKDIR /app\nCOPY a.txt .\nRUN write C:\\b.txt b\nCMD say\n";
    let (first, seen) = world.build(dockerfile, &[("a.txt", "a")]).await;
    assert!(!seen.contains("Using cache"), "{seen}");
    let (second, seen) = world.build(dockerfile, &[("a.txt", "a")]).await;
    assert_eq!(second, first);
    assert_eq!(seen.matches("Using cache").count(), 5, "{seen}");
    assert_eq!(world.host.steps().len(), 1);
}

#[tokio::test]
async fn after_a_step_that_is_not_cached_no_later_step_is() {
    let world = World::new();
    let tail = "RUN write C:\\b.txt b\n";
    world.build(&format!("FROM nanoserver\nENV A=1\n{tail}"), &[]).await;
    let (_, seen) = world.build(&format!("FROM nanoserver\nENV A=2\n{tail}"), &[]).await;
    assert!(!seen.contains("Using cache"), "{seen}");
    assert_eq!(world.host.steps().len(), 2);
}

#[tokio::test]
async fn no_cache_runs_every_step_again() {
    let world = World::new();
    let context = [("Dockerfile", "FROM nanoserver\nRUN say x\n")];
    for _ in 0..2 {
        let request = BuildRequest { no_cache: true, ..defaults() };
        let (result, seen) = world.try_build(request, &context).await;
        result.unwrap();
        assert!(!seen.contains("Using cache"), "{seen}");
    }
    assert_eq!(world.host.steps().len(), 2);
}

#[tokio::test]
async fn a_failing_run_has_dockers_text_and_code_and_leaves_nothing() {
    let world = World::new();
    let before = world.host.images.list().unwrap().len();
    let request = BuildRequest { tags: vec!["broken".into()], force_remove: true, ..defaults() };
    let context = [("Dockerfile", "FROM nanoserver\nRUN say first & fail 1603\nRUN say never\n")];
    let (result, seen) = world.try_build(request, &context).await;
    let error = result.unwrap_err();
    let text = "The command 'cmd /S /C say first & fail 1603' returned a non-zero code: 1603";
    let said = error.to_string();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], text);
    let meaning = "exit code 1603 (0x00000643 ERROR_INSTALL_FAILURE): the installer failed";
    assert!(lines[1].starts_with(meaning), "{said}");
    let place = [" --> Dockerfile:2", "  |", "2 | RUN say first & fail 1603"];
    assert_eq!(lines[2..], place, "{said}");
    assert_eq!(error.class(), Class::Invalid);
    let line: serde_json::Value = serde_json::from_slice(&error.line()).unwrap();
    assert_eq!(line["errorDetail"]["code"], 1603);
    assert_eq!(line["error"], said);
    assert!(seen.contains("first\r\n") && !seen.contains("never\r\n"), "{seen}");
    assert_eq!(world.host.containers(), 0);
    assert_eq!(world.host.images.list().unwrap().len(), before);
    assert!(world.host.images.resolve("broken").is_err());
}

#[tokio::test]
async fn a_missing_dll_is_named() {
    let world = World::new();
    let (error, _) = world.fail("FROM nanoserver\nRUN fail 3221225781\n").await;
    let text = "exit code 3221225781 (0xC0000135 STATUS_DLL_NOT_FOUND): a DLL was not found: \
                bcryptprimitives.dll, which C:\\app.exe needs";
    assert!(error.to_string().lines().any(|line| line == text), "{error}");
}

#[tokio::test]
async fn triggers_are_steps_and_fail_at_their_from() {
    let world = World::new();
    let request = BuildRequest { tags: vec!["base".into()], ..defaults() };
    let base = "FROM nanoserver\nONBUILD RUN write C:\\t.txt t\nONBUILD ENV A=1\n";
    world.try_build(request, &[("Dockerfile", base)]).await.0.unwrap();
    let (image, seen) = world.build("FROM base\n", &[]).await;
    assert_eq!(world.read(image, "C:\\t.txt").as_deref(), Some("t"));
    let told = "# Executing 2 build triggers\nStep : RUN write C:\\t.txt t\n ---> Running in";
    assert!(seen.contains(told) && seen.contains("\nStep : ENV A=1\n ---> "), "{seen}");
    let took = seen.matches(" ---> Took ").count();
    assert_eq!(seen.matches(" ---> ").count() - took, 4, "{seen}");
    let request = BuildRequest { tags: vec!["bad".into()], ..defaults() };
    let bad = "FROM nanoserver\nONBUILD RUN fail 7\n";
    world.try_build(request, &[("Dockerfile", bad)]).await.0.unwrap();
    let error = world.fail("# first\nFROM bad AS x\n").await.0.to_string();
    let place = "exit code 7 (0x00000007)\n --> Dockerfile:2\n  |\n2 | FROM bad AS x\n  \
                 = ONBUILD of the base image: RUN fail 7";
    assert!(error.ends_with(place), "{error}");
}

#[tokio::test]
async fn who_keeps_containers_is_dockers_rule() {
    for (remove, force_remove, failing, kept) in [
        (true, false, "say y", 0),
        (false, false, "say y", 2),
        (false, true, "say y", 0),
        (true, false, "fail 1", 1),
        (true, true, "fail 1", 0),
        (false, false, "fail 1", 2),
    ] {
        let world = World::new();
        let request = BuildRequest { remove, force_remove, ..BuildRequest::default() };
        let dockerfile = format!("FROM nanoserver\nRUN say x\nRUN {failing}\n");
        let (_, seen) = world.try_build(request, &[("Dockerfile", &dockerfile)]).await;
        assert_eq!(world.host.containers(), kept, "{remove} {force_remove} {failing}");
        let told = seen.matches("Removed intermediate container").count();
        assert_eq!(told, 2 - kept, "{seen}");
    }
}

/// Two stages that need nothing of each other, and one that takes from both.
const DIAMOND: &str = "FROM nanoserver AS a\nRUN meet & write C:\\a.txt a & say of a\n\
                       FROM nanoserver AS b\nRUN say of b & meet & write C:\\b.txt b\n\
                       FROM nanoserver\nRUN say last\nCOPY --from=a C:/a.txt C:/\n\
                       COPY --from=b C:/b.txt C:/\n";

#[tokio::test]
async fn stages_run_side_by_side_and_are_read_one_after_the_other() {
    let world = World::new();
    let (image, seen) = world.build(DIAMOND, &[]).await;
    assert_eq!(world.read(image, "C:\\a.txt").as_deref(), Some("a"));
    assert_eq!(world.read(image, "C:\\b.txt").as_deref(), Some("b"));
    let places: Vec<_> = (1..=8).map(|n| seen.find(&format!("Step {n}/8 : "))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {seen}");
    let of = |text: &str| seen.find(text).unwrap();
    assert!(of("of a\r\n") < of("of b\r\n") && of("of b\r\n") < of("last\r\n"), "{seen}");
    assert_eq!(world.host.containers(), 0);
}

#[tokio::test]
async fn no_more_steps_run_at_a_time_than_allowed() {
    let world = World::new();
    let stage = |n: usize| format!("FROM nanoserver AS s{n}\nRUN meet & say {n}\n");
    let copies: String = (0..6).map(|n| format!("COPY --from=s{n} C:/Users C:/u{n}\n")).collect();
    let stages: String = (0..6).map(stage).collect();
    world.build(&format!("{stages}FROM nanoserver\n{copies}"), &[]).await;
    assert_eq!(world.host.steps().len(), 6);
    assert_eq!(world.host.state.lock().unwrap().running, (0, 2));
}

#[tokio::test]
async fn a_failure_ends_the_other_stages_and_is_what_is_told() {
    let world = World::new();
    let dockerfile = "FROM nanoserver AS a\nRUN say early & hang\n\
                      FROM nanoserver AS b\nRUN say why & look & fail 5\n\
                      FROM nanoserver\nCOPY --from=a C:/x C:/\nCOPY --from=b C:/x C:/\n";
    let request = BuildRequest { force_remove: true, ..defaults() };
    let (result, seen) = world.try_build(request, &[("Dockerfile", dockerfile)]).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("look & fail 5' returned a non-zero code: 5"), "{error}");
    let (_, end) = seen.rsplit_once("why\r\n").expect("the reason is shown");
    assert!(end.starts_with(" ---> Removed intermediate container 0") && end.lines().count() == 1);
    assert_eq!(world.host.containers(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_ends_all_stages() {
    let world = World::new();
    let dockerfile = "FROM nanoserver AS a\nRUN hang\nFROM nanoserver AS b\nRUN hang\n\
                      FROM nanoserver\nCOPY --from=a C:/x C:/\nCOPY --from=b C:/x C:/\n";
    let build = world.prepare(defaults(), &[("Dockerfile", dockerfile)]);
    let (sender, lines) = mpsc::channel(LINES);
    let leave = async {
        while world.host.state.lock().unwrap().running.0 < 2 {
            tokio::task::yield_now().await;
        }
        drop(lines);
    };
    let (result, ()) = tokio::join!(world.running(build, sender), leave);
    assert!(matches!(result, Err(BuildError::Cancelled)), "{result:?}");
    assert_eq!(world.host.containers(), 0);
    assert!(world.host.images.sandboxes().unwrap().is_empty());
}

#[tokio::test]
async fn copy_is_cached_by_content() {
    let world = World::new();
    let dockerfile = "FROM nanoserver\nCOPY conf C:/conf\nRUN say after\n";
    let (first, _) = world.build(dockerfile, &[("conf/a.txt", "one")]).await;
    let (same, _) = world.build(dockerfile, &[("conf/a.txt", "one"), ("other", "x")]).await;
    assert_eq!(same, first);
    let (changed, seen) = world.build(dockerfile, &[("conf/a.txt", "two")]).await;
    assert!(!seen.contains("Using cache"), "{seen}");
    assert_eq!(world.read(first, r"C:\conf\a.txt").as_deref(), Some("one"));
    assert_eq!(world.read(changed, r"C:\conf\A.TXT").as_deref(), Some("two"));
    assert_eq!(world.host.steps().len(), 2);
}

#[tokio::test]
async fn a_missing_source_is_named_as_docker_names_it() {
    let world = World::new();
    let (error, _) = world.fail("FROM nanoserver\nCOPY nope.txt C:/\n").await;
    let text = "COPY failed: file not found in build context or excluded by .dockerignore: \
                stat nope.txt: file does not exist\n \
                --> Dockerfile:2\n  |\n2 | COPY nope.txt C:/";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn copy_from_a_stage_takes_its_files_and_nothing_else() {
    let world = World::new();
    let dockerfile = "FROM nanoserver AS maker\nRUN write C:\\out\\a.txt made\n\
                      RUN write C:\\secret.txt s\n\
                      FROM nanoserver\nCOPY --from=maker C:/out C:/app/\n";
    let (image, _) = world.build(dockerfile, &[]).await;
    assert_eq!(world.read(image, r"C:\app\a.txt").as_deref(), Some("made"));
    assert_eq!(world.read(image, r"C:\secret.txt"), None);
    let (again, seen) = world.build(dockerfile, &[]).await;
    assert_eq!(again, image);
    assert_eq!(world.host.steps().len(), 2, "{seen}");
}

#[tokio::test]
async fn env_workdir_and_user_are_in_the_image_and_reach_run() {
    let world = World::new();
    let dockerfile = "# escape=`\nFROM nanoserver\nARG VERSION=7\nENV NAME=\"a b\" Path=C:\\tools\n\
                      WORKDIR /app\nWORKDIR sub\nUSER ContainerUser\nRUN say %NAME%\n\
                      ENTRYPOINT [\"app.exe\"]\nCMD [\"-v\", \"${NAME}\"]\n";
    let (image, _) = world.build(dockerfile, &[]).await;
    let config = world.image(image).config.config;
    assert_eq!(config.env, ["NAME=a b", r"Path=C:\tools"]);
    assert_eq!(config.working_dir, r"C:\app\sub");
    assert_eq!(config.user, "ContainerUser");
    assert_eq!(config.entrypoint.unwrap(), ["app.exe"]);
    assert_eq!(config.cmd.unwrap(), ["-v", "${NAME}"]);
    let [step] = &world.host.steps()[..] else { panic!("one RUN") };
    assert_eq!(step.environment, ["NAME=a b", r"Path=C:\tools", "VERSION=7"]);
    assert_eq!(step.working_directory, r"C:\app\sub");
    assert_eq!(step.user, "ContainerUser");
    assert_eq!(step.command, CommandLine::Verbatim("cmd /S /C say %NAME%".into()));
}

#[tokio::test]
async fn an_argument_is_part_of_the_cache_key() {
    let world = World::new();
    let context = [("Dockerfile", "FROM nanoserver\nARG WHO\nRUN say %WHO%\n")];
    let mut images = BTreeSet::new();
    for who in ["a", "b", "a"] {
        let build_args = [("WHO".to_owned(), Some(who.to_owned()))].into();
        let request = BuildRequest { build_args, ..defaults() };
        images.insert(world.try_build(request, &context).await.0.unwrap().image.to_string());
    }
    assert_eq!(images.len(), 2);
    assert_eq!(world.host.steps().len(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_build_and_the_container_goes() {
    let world = World::new();
    let build = world.prepare(defaults(), &[("Dockerfile", "FROM nanoserver\nRUN hang\n")]);
    let (sender, lines) = mpsc::channel(LINES);
    let leave = async {
        world.host.hangs.notified().await;
        drop(lines);
    };
    let running = world.running(build, sender);
    let (result, ()) = tokio::join!(running, leave);
    assert!(matches!(result, Err(BuildError::Cancelled)), "{result:?}");
    assert_eq!(world.host.containers(), 0);
    assert!(world.host.images.sandboxes().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_honoured_is_said() {
    let world = World::new();
    let dockerfile = "FROM nanoserver\nCOPY --chmod=755 a.txt C:/\n";
    let (_, seen) = world.build(dockerfile, &[("a.txt", "a")]).await;
    assert!(seen.contains("[Warning] --chmod has no effect: "), "{seen}");
    let (_, seen) = world.build("FROM nanoserver\nCOPY a.txt C:/\n", &[("a.txt", "a")]).await;
    assert!(!seen.contains("[Warning]"), "{seen}");
}

#[tokio::test]
async fn a_quiet_build_prints_its_id_and_a_quiet_failure_all() {
    let world = World::new();
    let quiet = || BuildRequest { quiet: true, tags: vec!["app".into()], ..defaults() };
    let context = [("Dockerfile", "FROM nanoserver\nRUN say x\n")];
    let (result, seen) = world.try_build(quiet(), &context).await;
    let image = result.unwrap().image;
    assert_eq!(seen, format!("{image}\n"));
    assert_eq!(world.host.images.resolve("app").unwrap().id, image);
    let context = [("Dockerfile", "FROM nanoserver\nRUN say why & fail 1\n")];
    let (result, kept) = world.try_build(quiet(), &context).await;
    result.unwrap_err();
    assert!(kept.contains("why"), "{kept}");
}

#[tokio::test]
async fn a_base_image_that_is_not_there_is_named() {
    let world = World::new();
    let (error, _) = world.fail("FROM nope\nRUN say x\n").await;
    let text = "pull access denied for nope\n --> Dockerfile:1\n  |\n1 | FROM nope";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.class(), Class::NotFound);
}

#[tokio::test]
async fn a_base_that_is_not_here_is_pulled() {
    let world = World::new();
    let (_, seen) = world.build("FROM remote/base:1\nLABEL a=b\n", &[]).await;
    assert!(seen.contains("Pulling from remote/base\n"), "{seen}");
    world.build("FROM remote/base:1\nLABEL a=c\n", &[]).await;
    assert_eq!(world.host.state.lock().unwrap().pulled, ["remote/base:1"]);
}

#[tokio::test]
async fn a_base_that_is_here_is_pulled_on_request() {
    let world = World::new();
    let request = BuildRequest { pull: true, ..defaults() };
    let (result, _) = world.try_build(request, &[("Dockerfile", "FROM nanoserver\n")]).await;
    result.unwrap();
    assert_eq!(world.host.state.lock().unwrap().pulled, ["nanoserver:latest"]);
}

#[tokio::test]
async fn here_documents_become_files() {
    let world = World::new();
    let dockerfile = "# escape=`\nFROM nanoserver\nENV who=you\n\
                      COPY a.txt <<one <<'two' C:/docs/\nhi $who\none\nhi $who\ntwo\n\
                      COPY <<EOF C:\\named.txt\nx\nEOF\n";
    let (image, _) = world.build(dockerfile, &[("a.txt", "a")]).await;
    let read = |path| world.read(image, path).unwrap();
    assert_eq!(
        (read("C:\\docs\\one"), read("C:\\docs\\two")),
        ("hi you\n".into(), "hi $who\n".into())
    );
    assert_eq!((read("C:\\named.txt"), read("C:\\docs\\a.txt")), ("x\n".into(), "a".into()));
    let changed = dockerfile.replace("\nx\n", "\ny\n");
    let (_, seen) = world.build(&changed, &[("a.txt", "a")]).await;
    assert_eq!(seen.matches("Using cache").count(), 2, "{seen}");
}

#[tokio::test]
async fn a_command_sees_what_is_mounted_and_the_image_does_not_keep_it() {
    let world = World::new();
    let dockerfile = "# escape=`\nFROM nanoserver AS tools\nRUN write C:\\tool\\t.exe MZ\n\
                      FROM nanoserver\nRUN --mount=target=C:\\src,source=app \
                      --mount=from=tools,source=C:\\tool,\
                      target=t,rw --mount=type=cache,target=C:\\cache,id=c \
                      --mount=type=tmpfs,target=C:\\fast,size=1m --network=none say hi\n";
    let files = [("app/x/main.c", "int"), ("other", "o")];
    let (image, seen) = world.build(dockerfile, &files).await;
    let step = world.host.steps().pop().unwrap();
    assert_eq!(step.options.network_mode, "none");
    let shown: Vec<_> = step.mounts.iter().map(|m| (m.target.as_str(), m.read_only)).collect();
    let expected = [("C:\\src", true), ("C:\\t", false), ("C:\\cache", false), ("C:\\fast", false)];
    assert_eq!(shown, expected);
    assert_eq!(step.mounts[3].source, RunMountSource::Memory { size_bytes: Some(1 << 20) });
    assert_eq!(world.host.shown("C:\\src"), ["x/main.c"]);
    assert_eq!(world.host.shown("C:\\t"), ["t.exe"]);
    for path in ["C:\\src", "C:\\t", "C:\\cache", "C:\\fast"] {
        assert_eq!(world.read(image, path), None, "{path}");
    }
    let (same, seen_again) = world.build(dockerfile, &files).await;
    assert!(same == image && seen_again.matches("Using cache").count() == 2, "{seen}{seen_again}");
    let (other, _) = world.build(dockerfile, &[("app/x/main.c", "changed")]).await;
    assert_ne!(other, image);
    assert_eq!(world.caches.list().unwrap().len(), 1);
}

#[tokio::test]
async fn steps_that_lock_the_same_caches_do_not_wait_for_each_other_without_end() {
    let world = World::new();
    let lock =
        |id: &str, at: &str| format!("--mount=type=cache,id={id},target=C:\\{at},sharing=locked");
    let (a, b) = (lock("a", "1"), lock("b", "2"));
    let again = lock("a", "3").replace("locked", "shared");
    let dockerfile = format!(
        "# escape=`\nFROM nanoserver AS x\nRUN {a} {b} say 1\nRUN {a} {b} say 2\n\
         FROM nanoserver\nRUN {b} {a} {again} say 3\nRUN {b} {a} say 4\n\
         COPY --from=x C:\\Windows\\System32\\cmd.exe C:\\\n"
    );
    world.build(&dockerfile, &[]).await;
    let views = world.caches.list().unwrap();
    assert_eq!(views.iter().map(|view| view.uses).collect::<Vec<_>>(), [4, 4]);
    assert!(views.iter().all(|view| !view.in_use));
}

#[tokio::test]
async fn a_network_is_part_of_what_a_step_is_known_by() {
    let world = World::new();
    let (open, _) = world.build("FROM nanoserver\nRUN say hi\n", &[]).await;
    let (closed, seen) = world.build("FROM nanoserver\nRUN --network=none say hi\n", &[]).await;
    assert!(open != closed && !seen.contains("Using cache"), "{seen}");
}

#[tokio::test]
async fn a_script_is_shown_to_its_step_only() {
    let world = World::new();
    let (image, _) = world.build("FROM nanoserver\nRUN say <<EOF\nx\nEOF\n", &[]).await;
    let step = world.host.steps().pop().unwrap();
    let line = CommandLine::Verbatim("cmd /S /C say <C:\\oriel-build\\0-EOF".into());
    assert_eq!(step.command, line);
    assert_eq!(world.host.shown("C:\\oriel-build"), ["0-EOF"]);
    assert_eq!(world.read(image, "C:\\oriel-build"), None);
    let last = world.image(image).config.history.pop().unwrap().created_by;
    assert_eq!(last, "cmd /S /C say <<EOF\nx\nEOF");
}

#[tokio::test]
async fn secrets_that_are_required_fail_the_step_and_others_are_told() {
    let world = World::new();
    let (_, seen) = world.build("FROM nanoserver\nRUN --mount=type=secret,id=k say x", &[]).await;
    assert!(seen.contains("[Warning] k is not there"), "{seen}");
    let text = "FROM nanoserver\nRUN --mount=type=secret,id=k,required say y";
    let error = world.fail(text).await.0.to_string();
    assert!(error.contains("line 2: k is required and not there"), "{error}");
}

#[tokio::test]
async fn a_secret_is_shown_to_its_step_and_kept_nowhere() {
    let mut world = World::new();
    world.secrets.known.insert("token".into(), "s3cret".into());
    let mounts = "--mount=type=secret,id=token,required";
    let dockerfile = format!("FROM nanoserver\nRUN {mounts} {mounts},dst=C:/x/.npmrc say x");
    let (image, seen) = world.build(&dockerfile, &[]).await;
    let step = world.host.steps().pop().unwrap();
    for target in ["C:\\run\\secrets\\token", "C:\\x\\.npmrc"] {
        assert!(step.mounts.iter().any(|mount| mount.target == target && mount.read_only));
        assert_eq!(world.host.shown(target), ["s3cret"]);
        assert_eq!(world.read(image, target), None);
    }
    assert!(files_below(&world.secrets.folder).is_empty());
    let image = world.image(image);
    assert!(!format!("{image:?} {step:?} {seen}").contains("s3cret"));
    let last = &image.config.history.last().unwrap().created_by;
    assert!(last.contains("--mount=secret:token:C:\\run\\secrets\\token:ro"), "{last}");
    // The same step, whatever the secret is, or whether there is one.
    for secret in [Some("other"), None] {
        world.secrets.known.clear();
        world.secrets.known.extend(secret.map(|text| ("token".to_owned(), text.to_owned())));
        world.build(&dockerfile, &[]).await;
    }
    assert_eq!(world.host.steps().len(), 1);
}

#[tokio::test]
async fn parents_and_exclusions_shape_what_is_copied() {
    let world = World::new();
    let files = [("x/a/1.txt", "1"), ("x/b/2.txt", "2"), ("x/b/2.log", "l"), ("y/3.txt", "3")];
    let dockerfile = "FROM nanoserver\nCOPY --parents x/a/1.txt y/*.txt C:/p/\n\
                      COPY --parents x/./b C:/q/\nCOPY --exclude=**/*.log --exclude=a x C:/r/\n";
    let (image, _) = world.build(dockerfile, &files).await;
    let there = |path| world.read(image, path).is_some();
    assert!(there("C:\\p\\x\\a\\1.txt") && there("C:\\p\\y\\3.txt"));
    assert!(there("C:\\q\\b\\2.txt") && !there("C:\\q\\x\\b\\2.txt"));
    assert!(there("C:\\r\\b\\2.txt") && !there("C:\\r\\b\\2.log") && !there("C:\\r\\a\\1.txt"));
}

mod cache;
mod shape;
