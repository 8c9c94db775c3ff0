//! Silos on the real kernel.
//!
//! This program is its own harness and plays three parts: the harness, a case (in a process of its
//! own), and `oriel-agent`, for which [`SiloHost`] is given this very program. The cases need root,
//! and a personality and base layer: `ORIEL_TEST_PERSONALITY` (root tree), `ORIEL_TEST_BASE`
//! (`Files` of a base layer), `ORIEL_TEST_REGISTRY` (directory with the three registry files) and
//! `ORIEL_TEST_CEXECSVC`. What is missing is reported as skipped.
#![expect(clippy::print_stdout, reason = "a test harness reports on standard output")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use oriel_hcs::{
    CommandLine, ComputeHost, ComputeSystem, Confinement, Isolation, Limits, Mount, MountSource,
    Process, ProcessEvent, ProcessId, ProcessParameters, Registry, SystemDocument, SystemId,
    bridge::{RegistryHive, RegistryKey, RegistryOperation},
};
use oriel_silo::{SiloHost, SiloPaths};

/// How long anything may take before a case fails.
const DEADLINE: Duration = Duration::from_secs(90);

type Case = (&'static str, fn(&Fixture) -> Result<()>);

const CASES: &[Case] = &[
    ("a_program_runs_and_its_output_and_exit_code_arrive", echo),
    ("exec_runs_beside_the_first_process", exec),
    ("a_long_layer_chain_with_a_whiteout_reads_and_writes", layers),
    ("layers_of_a_silo_change_before_its_first_program", exchanged),
    ("nothing_of_the_host_is_visible_and_no_privilege_is_left", confined),
    ("a_silo_outlives_its_host_and_no_exit_code_is_lost", outlive),
    ("a_dead_agent_leaves_its_journal", dead_agent),
    ("the_registry_is_kept_when_asked_for", registry),
    ("the_registry_of_a_running_silo_is_saved_and_changed", live_registry),
    ("a_paused_silo_stands_still_and_its_registry_can_be_saved", paused),
    ("what_a_daemon_left_of_a_saved_registry_is_removed", abandoned),
    ("terminate_is_idempotent_and_leaves_nothing", terminate),
    ("a_failed_create_leaves_nothing", failed_create),
    ("ten_runs_are_timed", timing),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some(path) if path.starts_with('/') || ["--probe", "--exchange"].contains(&path) => {
            oriel_silo::agent::main(arguments)
        }
        Some("--list") => ExitCode::SUCCESS,
        other => run_cases(other.filter(|name| !name.starts_with('-'))),
    }
}

fn run_cases(filter: Option<&str>) -> ExitCode {
    let fixture = match Fixture::find() {
        Ok(fixture) => fixture,
        Err(missing) => {
            println!("skipped: kernel tests of silos: {missing:#}");
            return ExitCode::SUCCESS;
        }
    };
    let mut failures = 0;
    for (name, case) in CASES.iter().filter(|(name, _)| filter.is_none_or(|f| name.contains(f))) {
        match case(&fixture) {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => {
                failures += 1;
                println!("test {name} ... FAILED\n  {error:?}");
            }
        }
    }
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Fixture {
    personality: PathBuf,
    base: PathBuf,
    registry: PathBuf,
    cexecsvc: PathBuf,
}

impl Fixture {
    fn find() -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "needs root");
        let path = |name: &str| -> Result<PathBuf> {
            let value = std::env::var_os(name).with_context(|| format!("{name} is not set"))?;
            Ok(fs::canonicalize(PathBuf::from(value))?)
        };
        Ok(Self {
            personality: path("ORIEL_TEST_PERSONALITY")?,
            base: path("ORIEL_TEST_BASE")?,
            registry: path("ORIEL_TEST_REGISTRY")?,
            cexecsvc: path("ORIEL_TEST_CEXECSVC")?,
        })
    }

    fn scene(&self, id: &str) -> Result<Scene> {
        let place = tempfile::Builder::new().prefix("oriel-silo-").tempdir_in("/var/tmp")?;
        let sandbox = place.path().join("sandbox");
        for directory in ["upper", "work", "registry"] {
            fs::create_dir_all(sandbox.join(directory))?;
        }
        for file in ["system.reg", "user.reg", "userdef.reg"] {
            fs::copy(self.registry.join(file), sandbox.join("registry").join(file))?;
        }
        let document = SystemDocument {
            isolation: Isolation::Process,
            host_name: "box".into(),
            layers: vec![self.base.clone()],
            sandbox,
            personality: self.personality.clone(),
            network_namespace: None,
            hosts: "127.0.0.1 localhost box\n".into(),
            resolv_conf: String::new(),
            mounts: Vec::new(),
            user: "ContainerAdministrator".into(),
            time_zone: None,
            limits: Limits::default(),
            confinement: Confinement::default(),
        };
        let run_dir = place.path().join("run");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let paths = SiloPaths {
            agent: std::env::current_exe()?,
            cexecsvc: self.cexecsvc.clone(),
            run_dir,
            data_root: place.path().to_owned(),
        };
        Ok(Scene { id: SystemId(id.into()), document, paths, runtime, place })
    }
}

struct Scene {
    id: SystemId,
    document: SystemDocument,
    paths: SiloPaths,
    runtime: tokio::runtime::Runtime,
    place: tempfile::TempDir,
}

impl Scene {
    fn host(&self) -> SiloHost {
        SiloHost::new(self.paths.clone())
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let limited = async { tokio::time::timeout(DEADLINE, work).await };
        self.runtime.block_on(limited).context("it took too long")
    }

    fn create(&self) -> Result<std::sync::Arc<dyn ComputeSystem>> {
        let host = self.host();
        let result = self.wait(host.create(&self.id, &self.document))?;
        result.map_err(|error| {
            let log = self.paths.run_dir.join(&self.id.0).join("agent.log");
            anyhow::anyhow!("{error}\n{}", fs::read_to_string(log).unwrap_or_default())
        })
    }

    fn run(&self, system: &dyn ComputeSystem, id: u32, line: &str) -> Result<(String, u32)> {
        let process = self.wait(system.create_process(ProcessId(id), &parameters(line)))??;
        self.wait(collect(process))?
    }

    fn state_dir(&self) -> PathBuf {
        self.paths.run_dir.join(&self.id.0)
    }

    fn assert_nothing_left(&self) -> Result<()> {
        ensure!(!self.state_dir().exists(), "the state directory is left");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let place = self.place.path().to_string_lossy().into_owned();
        ensure!(!mounts.contains(&place), "a mount is left");
        for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
            let root = line.split(' ').nth(4).unwrap_or_default();
            let group = Path::new(root).join("oriel").join(&self.id.0);
            ensure!(!group.exists(), "{} is left", group.display());
        }
        Ok(())
    }
}

fn parameters(line: &str) -> ProcessParameters {
    ProcessParameters {
        command: CommandLine::Verbatim(line.into()),
        working_directory: "C:\\".into(),
        environment: Vec::new(),
        user: "ContainerAdministrator".into(),
        console: None,
        stdin: false,
    }
}

async fn collect(mut process: Process) -> Result<(String, u32)> {
    let mut output = Vec::new();
    while let Some(event) = process.events.recv().await {
        match event {
            ProcessEvent::Stdout(bytes) | ProcessEvent::Stderr(bytes) => output.extend(bytes),
            ProcessEvent::Exited(code) => {
                return Ok((String::from_utf8_lossy(&output).into_owned(), code));
            }
        }
    }
    bail!("no exit code; output so far: {:?}", String::from_utf8_lossy(&output))
}

fn echo(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-echo")?;
    let system = scene.create()?;
    ensure!(system.host_pid() > 1);
    let (output, code) = scene.run(&*system, 1, "cmd /c \"echo hi& exit 300\"")?;
    ensure!(output.trim_end() == "hi" && code == 300, "{output:?} {code}");
    scene.wait(system.terminate(Registry::Discard))??;
    scene.assert_nothing_left()
}

fn exec(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-exec")?;
    let system = scene.create()?;
    let mut first = parameters("cmd");
    first.stdin = true;
    let first = scene.wait(system.create_process(ProcessId::INIT, &first))??;
    let (output, _) = scene.run(&*system, 2, "cmd /c echo beside")?;
    ensure!(output.trim_end() == "beside", "{output:?}");
    let list = scene.wait(system.processes())??;
    ensure!(list.iter().any(|process| process.name.eq_ignore_ascii_case("cmd.exe")), "{list:?}");
    // One line only: Wine's cmd drops what follows a line that it reads from a pipe.
    let input = b"echo typed& exit 7\r\n".to_vec();
    scene.wait(system.write_stdin(ProcessId::INIT, input))??;
    let (output, code) = scene.wait(collect(first))??;
    ensure!(output.contains("typed") && code == 7, "{output:?} {code}");
    let refused = scene.wait(system.create_process(ProcessId(3), &parameters("C:\\nope.exe")))?;
    let error = refused.err().context("a missing program ran")?.to_string();
    ensure!(error.contains("The system cannot find the file specified."), "{error}");
    scene.wait(system.terminate(Registry::Discard))??;
    scene.assert_nothing_left()
}

fn layers(fixture: &Fixture) -> Result<()> {
    let mut scene = fixture.scene("t-layers")?;
    let root = scene.place.path().join("layers");
    let mut chain = Vec::new();
    for index in 0..126 {
        let layer = root.join(format!("{index}-{}", "x".repeat(60)));
        fs::create_dir_all(layer.join("data"))?;
        fs::write(layer.join(format!("data/{index}.txt")), format!("layer {index}\r\n"))?;
        chain.push(layer);
    }
    let top = chain.first().context("no layers")?.join("data/77.txt");
    let node = nix::sys::stat::SFlag::S_IFCHR;
    nix::sys::stat::mknod(&top, node, nix::sys::stat::Mode::empty(), 0)?;
    let volume = scene.place.path().join("volume");
    fs::create_dir(&volume)?;
    scene.document.mounts.push(Mount {
        source: MountSource::Host(volume.clone()),
        target: "C:\\Shared\\Volume".into(),
        read_only: false,
    });
    chain.append(&mut scene.document.layers);
    scene.document.layers = chain;
    let system = scene.create()?;
    let line = "cmd /c \"type C:\\data\\125.txt & echo more>> C:\\data\\5.txt & \
                type C:\\DATA\\5.TXT & del C:\\data\\9.txt & \
                echo out> C:\\shared\\volume\\file.txt & \
                if exist C:\\data\\77.txt echo seen\"";
    let (output, code) = scene.run(&*system, 1, line)?;
    let lines: Vec<_> = output.lines().map(str::trim_end).collect();
    ensure!(code == 0 && lines == ["layer 125", "layer 5", "more"], "{code} {output:?}");
    scene.wait(system.terminate(Registry::Discard))??;
    let upper = scene.document.sandbox.join("upper/data");
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    ensure!(fs::metadata(upper.join("5.txt"))?.uid() == 100_000, "copied up to the wrong owner");
    let whiteout = fs::symlink_metadata(upper.join("9.txt"))?;
    ensure!(whiteout.file_type().is_char_device(), "no whiteout");
    ensure!(fs::metadata(volume.join("file.txt"))?.uid() == 0, "the volume is not mapped");
    scene.assert_nothing_left()
}

fn exchanged(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-exchanged")?;
    let layer = scene.place.path().join("layer");
    fs::create_dir_all(layer.join("data"))?;
    fs::write(layer.join("data/new.txt"), "of the new layer\r\n")?;
    let system = scene.create()?;
    let (sandbox, aside) = (&scene.document.sandbox, scene.place.path().join("aside"));
    fs::create_dir(&aside)?;
    for name in ["upper", "work"] {
        fs::rename(sandbox.join(name), aside.join(name))?;
        fs::create_dir(sandbox.join(name))?;
    }
    std::os::unix::fs::chown(sandbox.join("upper"), Some(100_000), Some(100_000))?;
    let layers = [vec![layer], scene.document.layers.clone()].concat();
    scene.wait(system.change_layers(layers))??;
    let line = "cmd /c \"type C:\\data\\new.txt & cd & echo made> made.txt & dir /b C:\\made.txt & \
                echo twice>> C:\\data\\new.txt\"";
    let (output, code) = scene.run(&*system, 1, line)?;
    let lines: Vec<_> = output.lines().map(str::trim_end).collect();
    ensure!(code == 0 && lines == ["of the new layer", "C:\\", "made.txt"], "{code} {output:?}");
    let maps = fs::read_to_string(format!("/proc/{}/mountinfo", system.host_pid()))?;
    let drives = maps.lines().filter(|line| line.contains(" /drive_c ")).count();
    ensure!(drives == 1, "{drives} drives are mounted:\n{maps}");
    scene.wait(system.terminate(Registry::Discard))??;
    ensure!(sandbox.join("upper/made.txt").exists(), "it was written elsewhere");
    ensure!(fs::read(sandbox.join("upper/data/new.txt"))?.ends_with(b"twice\r\n"), "no copy up");
    ensure!(fs::read_dir(aside.join("upper"))?.next().is_none(), "the old drive was written to");
    scene.assert_nothing_left()
}

fn confined(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-confined")?;
    let system = scene.create()?;
    let process = PathBuf::from(format!("/proc/{}", system.host_pid()));
    let mut seen = 0;
    for task in fs::read_dir("/proc")?.flatten() {
        let same = fs::read_link(task.path().join("ns/pid")).ok()
            == fs::read_link(process.join("ns/pid")).ok();
        if !same || !task.path().join("status").exists() {
            continue;
        }
        seen += 1;
        let status = fs::read_to_string(task.path().join("status"))?;
        for line in status.lines() {
            let (name, value) = line.split_once(":\t").unwrap_or_default();
            match name {
                "CapInh" | "CapPrm" | "CapEff" | "CapBnd" | "CapAmb" => {
                    ensure!(value == "0000000000000000", "{line}");
                }
                "NoNewPrivs" => ensure!(value == "1", "{line}"),
                "Seccomp" => ensure!(value == "2", "{line}"),
                "Uid" => ensure!(value == "100000\t100000\t100000\t100000", "{line}"),
                _ => {}
            }
        }
    }
    ensure!(seen >= 3, "only {seen} processes found");
    let mounts = fs::read_to_string(process.join("mountinfo"))?;
    ensure!(!mounts.contains(" /old"), "{mounts}");
    let root = process.join("root");
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    for path in [scene.place.path(), &scene.paths.run_dir, Path::new("/drive_c/work")] {
        ensure!(!inside(path).exists(), "{} is visible", path.display());
    }
    ensure!(inside(Path::new("/usr/lib/wine/wine64")).exists(), "the case looks elsewhere");
    scene.wait(system.terminate(Registry::Discard))??;
    scene.assert_nothing_left()
}

fn outlive(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-outlive")?;
    let system = scene.create()?;
    let line = "cmd /c \"ping -n 3 127.0.0.1 >nul & echo late& exit 42\"";
    let process = scene.wait(system.create_process(ProcessId::INIT, &parameters(line)))??;
    drop((process, system));
    let opened = scene.wait(scene.host().open(&scene.id))??;
    let system = opened.system.context("the silo is gone")?;
    let process = opened.processes.into_iter().next().context("the process is unknown")?;
    ensure!(process.id == ProcessId::INIT);
    let (output, code) = scene.wait(collect(process))??;
    ensure!(output.trim_end() == "late" && code == 42, "{output:?} {code}");
    drop(system);
    let again = scene.wait(scene.host().open(&scene.id))??;
    let process = again.processes.into_iter().next().context("the exit is forgotten")?;
    ensure!(scene.wait(collect(process))??.1 == 42);
    scene.wait(scene.host().clean(&scene.id))??;
    scene.assert_nothing_left()
}

fn dead_agent(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-dead")?;
    let system = scene.create()?;
    let (_, code) = scene.run(&*system, 1, "cmd /c exit 5")?;
    ensure!(code == 5);
    let pid = i32::try_from(system.host_pid())?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
    drop(system);
    let deadline = Instant::now() + DEADLINE;
    let opened = loop {
        let opened = scene.wait(scene.host().open(&scene.id))??;
        if opened.system.is_none() {
            break opened;
        }
        ensure!(Instant::now() < deadline, "the silo does not die");
    };
    let process = opened.processes.into_iter().next().context("the exit is forgotten")?;
    ensure!(scene.wait(collect(process))??.1 == 5);
    scene.wait(scene.host().clean(&scene.id))??;
    let gone = scene.wait(scene.host().open(&scene.id))?;
    ensure!(matches!(gone, Err(oriel_hcs::ComputeError::SystemNotFound { .. })));
    scene.assert_nothing_left()
}

fn registry(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-registry")?;
    let file = scene.document.sandbox.join("registry/system.reg");
    for (registry, value, kept) in
        [(Registry::Discard, "DroppedValue", false), (Registry::Keep, "KeptValue", true)]
    {
        let system = scene.create()?;
        let line = format!("reg add HKLM\\Software\\OrielTest /v {value} /t REG_SZ /d x /f");
        let (output, code) = scene.run(&*system, 1, &line)?;
        ensure!(code == 0, "{output}");
        scene.wait(system.terminate(registry))??;
        ensure!(fs::read_to_string(&file)?.contains(value) == kept, "{value}");
    }
    scene.assert_nothing_left()
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn key(hive: RegistryHive, path: &str) -> RegistryKey {
    RegistryKey { hive, names: path.split('\\').map(wide).collect() }
}

fn set(key: RegistryKey, name: &[u16], kind: u32, data: Vec<u8>) -> RegistryOperation {
    RegistryOperation::SetValue { key, name: name.to_vec(), kind, data }
}

fn live_registry(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-live")?;
    let system = scene.create()?;
    let machine = key(RegistryHive::Machine, "Software\\Live");
    // No NUL at its end, half a pair in its name, more than a frame holds.
    let text = wide("x").iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let odd: Vec<u16> = vec![0x41, 0xd800];
    let changes = vec![
        set(machine.clone(), &wide("Text"), 1, text),
        set(machine.clone(), &odd, 3, vec![7; 300_000]),
        set(key(RegistryHive::Default, "Software\\Live"), &[], 4, vec![1, 0, 0, 0]),
        set(key(RegistryHive::User, "Software\\Live\\Below"), &wide("b"), 11, vec![9; 8]),
        RegistryOperation::CreateKey { key: key(RegistryHive::User, "Software\\Gone\\Below") },
        RegistryOperation::DeleteKey { key: key(RegistryHive::User, "Software\\Gone") },
        RegistryOperation::DeleteKey { key: key(RegistryHive::User, "Software\\Never") },
        RegistryOperation::DeleteValue { key: machine.clone(), name: wide("Never") },
    ];
    scene.wait(system.change_registry(changes))??;
    let (output, code) = scene.run(&*system, 1, "reg query HKLM\\Software\\Live /v Text")?;
    // With links in it, such as that of the time zones; what they lead to stays.
    let linking = key(RegistryHive::Machine, "Software\\Microsoft\\Windows\\CurrentVersion");
    let unlink = vec![RegistryOperation::DeleteKey { key: linking }];
    scene.wait(system.change_registry(unlink))??;
    ensure!(code == 0 && output.contains("REG_SZ    x"), "{output:?}");
    let saved = scene.wait(system.save_registry())??;
    ensure!(saved.parent() == Some(&scene.document.sandbox), "{}", saved.display());
    let read = |file: &str| fs::read_to_string(saved.join(file));
    let machine_text = read("system.reg")?;
    ensure!(machine_text.starts_with("WINE REGISTRY Version 2\n"), "another format");
    ensure!(machine_text.contains("[Software\\\\Live]"), "HKLM lacks its key");
    let there = |path: &str| machine_text.contains(&format!("[{}", path.replace('\\', "\\\\")));
    ensure!(!there("Software\\Microsoft\\Windows\\CurrentVersion"), "not all was deleted");
    let zones = "Software\\Microsoft\\Windows NT\\CurrentVersion\\Time Zones\\";
    ensure!(there(zones), "what a link led to was deleted");
    // Without its NUL the text is kept as bytes.
    ensure!(machine_text.contains("\"Text\"=hex(1):78,00"), "a text was completed");
    ensure!(machine_text.contains("\"A\\xd800\"=hex:07,07"), "an odd name is not kept");
    ensure!(read("userdef.reg")?.contains("@=dword:00000001"), "HKU\\.Default");
    let user = read("user.reg")?;
    ensure!(user.contains("[Software\\\\Live\\\\Below]") && !user.contains("Gone"), "HKCU");
    fs::remove_dir_all(&saved)?;
    let bad = RegistryOperation::CreateKey {
        key: RegistryKey { hive: RegistryHive::Machine, names: vec![wide("a\\b")] },
    };
    let error = scene.wait(system.change_registry(vec![bad]))?.err().context("it was made")?;
    let refused = matches!(error, oriel_hcs::ComputeError::Registry { code: 87, .. });
    ensure!(refused && error.to_string().contains("cannot create HKLM\\a\\b"), "{error}");
    scene.wait(system.terminate(Registry::Keep))??;
    let file = scene.document.sandbox.join("registry/system.reg");
    ensure!(fs::read_to_string(file)?.contains("\"Text\"=hex(1):78,00"), "lost at the end");
    scene.assert_nothing_left()
}

/// What is in the sandbox and its prefix under the names of saved registries.
fn saved(scene: &Scene) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for place in [scene.document.sandbox.clone(), scene.document.sandbox.join("registry")] {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            found.extend(name.starts_with("saved").then(|| entry.path()));
        }
    }
    Ok(found)
}

fn paused(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-paused")?;
    let system = scene.create()?;
    let count = "cmd /c \"for /l %i in (1,1,1000000) do @echo %i>C:\\count.txt\"";
    let process = scene.wait(system.create_process(ProcessId::INIT, &parameters(count)))??;
    let counter = scene.document.sandbox.join("upper/count.txt");
    let deadline = Instant::now() + DEADLINE;
    while !counter.exists() {
        ensure!(Instant::now() < deadline, "nothing is counted");
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        scene.wait(system.pause())??;
        times.push(begun.elapsed());
        scene.wait(system.pause())??;
        let seen = || fs::read_to_string(&counter);
        let before = seen()?;
        let begun = Instant::now();
        let kept = scene.wait(system.save_registry())??;
        times.push(begun.elapsed());
        fs::remove_dir_all(kept)?;
        let list = scene.wait(system.processes())??;
        ensure!(list.iter().any(|one| one.name == "cmd.exe"), "{list:?}");
        std::thread::sleep(Duration::from_millis(300));
        ensure!(seen()? == before, "it went on counting");
        scene.wait(system.resume())??;
        let deadline = Instant::now() + DEADLINE;
        while seen()? == before {
            ensure!(Instant::now() < deadline, "it does not go on");
        }
    }
    println!("  pauses and saves of the registry in turn: {times:.1?}");
    // A host that comes later can pause, resume and end it.
    scene.wait(system.pause())??;
    drop((process, system));
    let opened = scene.wait(scene.host().open(&scene.id))??;
    let system = opened.system.context("the silo is gone")?;
    scene.wait(system.resume())??;
    let (output, _) = scene.run(&*system, 7, "cmd /c echo beside")?;
    ensure!(output.trim_end() == "beside", "{output:?}");
    scene.wait(system.pause())??;
    scene.wait(system.terminate(Registry::Keep))??;
    scene.assert_nothing_left()
}

fn abandoned(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-abandoned")?;
    let system = scene.create()?;
    scene.wait(system.save_registry())??;
    fs::create_dir(scene.document.sandbox.join("registry/saved-half"))?;
    ensure!(saved(&scene)?.len() == 2, "{:?}", saved(&scene)?);
    drop(system);
    let opened = scene.wait(scene.host().open(&scene.id))??;
    ensure!(saved(&scene)?.is_empty(), "{:?}", saved(&scene)?);
    let system = opened.system.context("the silo is gone")?;
    scene.wait(system.save_registry())??;
    scene.wait(system.terminate(Registry::Discard))??;
    ensure!(saved(&scene)?.is_empty(), "{:?}", saved(&scene)?);
    scene.assert_nothing_left()
}

fn terminate(fixture: &Fixture) -> Result<()> {
    let scene = fixture.scene("t-terminate")?;
    let system = scene.create()?;
    let line = "cmd /c ping -n 1000 127.0.0.1 >nul";
    let process = scene.wait(system.create_process(ProcessId::INIT, &parameters(line)))??;
    scene.wait(system.terminate(Registry::Discard))??;
    scene.wait(system.terminate(Registry::Keep))??;
    ensure!(scene.wait(collect(process))?.is_err(), "an exit out of nothing");
    let late = scene.wait(system.create_process(ProcessId(2), &parameters("cmd")))?;
    ensure!(matches!(late, Err(oriel_hcs::ComputeError::SystemGone { .. })));
    scene.wait(scene.host().clean(&scene.id))??;
    scene.assert_nothing_left()
}

fn failed_create(fixture: &Fixture) -> Result<()> {
    let mut scene = fixture.scene("t-failed")?;
    scene.document.layers.insert(0, "/nonexistent/Files".into());
    let error = scene.wait(scene.host().create(&scene.id, &scene.document))?;
    let error = error.err().context("a silo without its layer")?.to_string();
    ensure!(error.contains("take up the layer /nonexistent/Files"), "{error}");
    scene.assert_nothing_left()
}

fn timing(fixture: &Fixture) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..10 {
        let scene = fixture.scene("t-timing")?;
        let start = Instant::now();
        let system = scene.create()?;
        let created = start.elapsed();
        let (output, _) = scene.run(&*system, 1, "cmd /c echo hi")?;
        ensure!(output.trim_end() == "hi");
        let ran = start.elapsed();
        scene.wait(system.terminate(Registry::Discard))??;
        times.push((start.elapsed(), created, ran));
    }
    times.sort();
    let (total, created, ran) = times[times.len() / 2];
    println!("  median of 10: create {created:.1?}, output {ran:.1?}, terminated {total:.1?}");
    Ok(())
}
