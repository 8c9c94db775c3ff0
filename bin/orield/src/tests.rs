//! The routes on fakes, through a real socket: with the Docker CLI where it is installed, and with
//! bare HTTP for what the CLI does not show.

mod access;
mod buildkit;
mod endpoints;
mod hostile;
mod limits;
mod logs;
mod ps;
mod stalls;
mod system;
mod versions;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use listenfd::ListenFd;
use oriel_engine::{Engine, fake::World};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

use crate::{
    connections::Connections,
    daemon::{Daemon, Fixed},
    listen::{Access, Listener},
    options::Options,
    server,
};

/// A daemon on fakes that listens.
struct Served {
    runtime: Runtime,
    world: World,
    daemon: Arc<Daemon>,
    socket: PathBuf,
    /// Where it listens on TCP, if it does.
    port: u16,
    _stop: watch::Sender<bool>,
    _root: TempDir,
}

impl Served {
    fn new() -> Self {
        Self::with(&["--group", ""])
    }

    /// A daemon with further options.
    fn with(arguments: &[&str]) -> Self {
        // In memory where there is such a place: every change is synced.
        let root = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        let runtime = Runtime::new().unwrap();
        let world = World::new(root.path(), runtime.handle().clone());
        let socket = root.path().join("oriel.sock");
        let host = format!("unix://{}", socket.display());
        let options = Options::of(&[&["-H", &host], arguments].concat(), "").unwrap();
        let access = Access::new(&options).unwrap();
        let (stop, places, mut port) = (watch::Sender::new(false), Connections::default(), 0);
        let daemon = runtime.block_on(async {
            let engine = Engine::open(world.parts()).await.unwrap();
            let fixed = Fixed { strict: options.strict, ..Fixed::default() };
            let daemon = Daemon::new(engine, options.live.clone(), fixed).unwrap();
            let daemon = Arc::new(daemon);
            for host in &options.hosts {
                let mut listeners = access.bind(host, &mut ListenFd::empty()).await.unwrap();
                let listener = listeners.remove(0);
                if let Listener::Tcp(listener, _) = &listener {
                    port = listener.local_addr().unwrap().port();
                }
                let (places, daemon) = (places.clone(), daemon.clone());
                tokio::spawn(server::serve(listener, places, daemon, stop.subscribe()));
            }
            daemon
        });
        Self { runtime, world, daemon, socket, port, _stop: stop, _root: root }
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket.display())).args(arguments);
        command
    }

    /// What the CLI prints when it succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What the CLI complains about.
    fn complains(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(!output.status.success(), "docker {arguments:?} succeeds");
        String::from_utf8(output.stderr).unwrap().trim().to_owned()
    }

    fn connect(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Head and body of the answer to one request.
    fn http(&self, method: &str, path: &str, body: &str) -> (String, String) {
        let length = body.len();
        let mut stream = self.connect(&format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn nothing_runs(&self) {
        assert_eq!(self.world.host.systems(), Vec::<String>::new());
        assert_eq!(self.world.network.compartments(), Vec::<String>::new());
    }
}

/// Whether the Docker CLI is here; says so when it is not.
#[expect(clippy::print_stderr, reason = "a skipped test has to be seen")]
fn docker_is_here() -> bool {
    let here = Command::new("docker").arg("--version").output().is_ok();
    if !here {
        eprintln!("skipped: there is no docker command");
    }
    here
}

#[test]
fn ping_says_what_negotiation_needs() {
    let served = Served::new();
    let (head, body) = served.http("GET", "/_ping", "");
    let head = head.to_lowercase();
    for line in ["api-version: 1.51", "ostype: windows", "builder-version: 1", "swarm: inactive"] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert_eq!(body, "OK");
    let (head, body) = served.http("HEAD", "/_ping", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "");
}

#[test]
fn errors_have_dockers_shape() {
    let served = Served::new();
    for (method, path, status, message) in [
        ("GET", "/nowhere", 404, "page not found"),
        ("GET", "/v1.99/info", 400, "client version 1.99 is too new."),
        ("GET", "/containers/nobody/json", 404, "No such container: nobody"),
        ("GET", "/images/nope/json", 404, "No such image: nope:latest"),
        ("GET", "/services", 503, "This node is not a swarm manager."),
        ("GET", "/volumes/x", 404, "get x: no such volume"),
        (
            "GET",
            "/containers/json?filters=%7B%22x%22%3A%5B%22y%22%5D%7D",
            400,
            "invalid filter 'x'",
        ),
        ("POST", "/images/create?fromImage=x&tag=1&platform=linux", 400, "not supported"),
        ("POST", "/images/create?fromImage=No&tag=1", 400, "must be lowercase"),
        ("POST", "/images/nope/push?tag=1", 404, "An image does not exist locally with the tag"),
    ] {
        let (head, body) = served.http(method, path, "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head}");
        assert!(body.starts_with("{\"message\":\"") && body.contains(message), "{path}: {body}");
    }
}

#[test]
fn lists_are_never_null_where_clients_want_lists() {
    let served = Served::new();
    assert_eq!(served.http("GET", "/containers/json", "").1, "[]\n");
    assert_eq!(served.http("GET", "/plugins", "").1, "[]\n");
    assert_eq!(served.http("GET", "/volumes", "").1, "{\"Volumes\":[],\"Warnings\":null}\n");
    let (_, body) = served.http("POST", "/containers/create", r#"{"Image":"nanoserver"}"#);
    assert!(body.contains("\"Warnings\":[]"), "{body}");
}

#[test]
fn wait_answers_its_head_before_the_container_starts() {
    let served = Served::new();
    let (_, body) = served.http(
        "POST",
        "/containers/create?name=waited",
        r#"{"Image":"nanoserver","Cmd":["exit","3221225786"]}"#,
    );
    assert!(body.contains("\"Id\""), "{body}");
    let mut waiting = served.connect(
        "POST /containers/waited/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\nConnection: \
         close\r\n\r\n",
    );
    let mut head = [0; 15];
    waiting.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    served.http("POST", "/containers/waited/start", "");
    let mut rest = String::new();
    waiting.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("{\"StatusCode\":3221225786}"), "{rest}");
}

#[test]
fn an_attached_client_without_upgrade_gets_frames() {
    let served = Served::new();
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    let mut attached = served.connect(
        "POST /containers/one/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: \
         close\r\n\r\n",
    );
    let mut head = [0; 15];
    attached.read_exact(&mut head).unwrap();
    served.http("POST", "/containers/one/start", "");
    let mut rest = Vec::new();
    attached.read_to_end(&mut rest).unwrap();
    let frame = b"\x01\0\0\0\0\0\0\x07hello\r\n";
    assert!(rest.windows(frame.len()).any(|window| window == frame), "{rest:?}");
}

#[test]
fn the_docker_cli_knows_the_daemon() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    assert_eq!(served.says(&["version", "--format", "{{.Server.Os}}"]), "windows");
    let info = served.says(&["info"]);
    assert!(info.contains("Default Isolation: process"), "{info}");
    assert_eq!(served.says(&["ps", "-q"]), "");
    assert!(served.says(&["images"]).contains("nanoserver"));
    assert!(served.says(&["network", "ls"]).contains("nat"));
    served.says(&["system", "df"]);
    served.says(&["history", "nanoserver"]);
}

#[test]
fn docker_run_prints_and_exits_as_the_program_does() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    let command = ["run", "--rm", "nanoserver", "out", "one", "err", "two", "exit", "7"];
    let output = served.docker(&command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\r\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "two\r\n");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(served.says(&["ps", "-aq"]), "");
    served.nothing_runs();
}

#[test]
fn docker_run_passes_input_on() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    let mut child = served
        .command(&["run", "--rm", "-i", "nanoserver", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"typed\n");
    served.nothing_runs();
}

#[test]
fn docker_run_of_a_missing_program_is_127() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    let output = served.docker(&["run", "--rm", "nanoserver", "missing"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("The system cannot find the file specified."), "{text}");
    assert_eq!(output.status.code(), Some(127), "{text}");
    assert_eq!(served.says(&["ps", "-aq"]), "");
    served.nothing_runs();
}

#[test]
fn the_daily_life_of_a_container() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    served.says(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "8080:80",
        "nanoserver",
        "out",
        "up",
        "wait",
    ]);
    assert!(served.says(&["ps"]).contains("0.0.0.0:8080->80/tcp"));
    assert_eq!(served.says(&["port", "web"]), "80/tcp -> 0.0.0.0:8080");
    assert_eq!(served.says(&["logs", "web"]), "up");
    assert_eq!(served.says(&["exec", "web", "out", "inside"]), "inside");
    assert_eq!(served.docker(&["exec", "web", "exit", "9"]).status.code(), Some(9));
    assert_eq!(served.docker(&["exec", "web", "missing"]).status.code(), Some(127));
    assert!(served.says(&["top", "web"]).contains("Private Working Set"));
    let name = "{{.HostConfig.NetworkMode}} {{.State.Status}}";
    assert_eq!(served.says(&["inspect", "-f", name, "web"]), "nat running");
    served.says(&["rename", "web", "site"]);
    served.says(&["stop", "-t", "0", "site"]);
    let exit = served.says(&["inspect", "-f", "{{.State.ExitCode}}", "site"]);
    assert!(["3221225786", "1073807364"].contains(&exit.as_str()), "{exit}");
    served.says(&["start", "site"]);
    assert!(served.complains(&["rm", "site"]).contains("container is running"));
    served.says(&["rm", "-f", "site"]);
    served.nothing_runs();
}

#[test]
fn what_is_not_supported_is_said() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    let text = served.complains(&["run", "--isolation", "hyperv", "nanoserver"]);
    assert!(text.contains("hyperv"), "{text}");
    let text = served.complains(&["run", "-v", r"\\.\pipe\a:C:\a", "nanoserver"]);
    assert!(text.contains("is not a valid pipe path"), "{text}");
    let output = served.docker(&["create", "--cap-add", "ALL", "nanoserver"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("CapAdd"), "{text}");
}

#[test]
fn images_are_tagged_saved_loaded_and_removed() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    served.says(&["tag", "nanoserver", "mine:1"]);
    let archive = served.socket.with_file_name("mine.tar");
    served.says(&["save", "-o", archive.to_str().unwrap(), "mine:1"]);
    assert!(served.says(&["rmi", "mine:1"]).contains("Untagged: mine:1"));
    let loaded = served.says(&["load", "-i", archive.to_str().unwrap()]);
    assert!(loaded.contains("Loaded image: mine:1"), "{loaded}");
    assert!(served.complains(&["rmi", "nope"]).contains("No such image: nope"));
}

#[test]
fn a_client_that_dies_leaves_no_container() {
    if !docker_is_here() {
        return;
    }
    let served = Served::new();
    let mut child = served
        .command(&["run", "--rm", "nanoserver", "out", "up", "wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    // Ctrl+C on the terminal: the CLI passes it on and waits for the end.
    let interrupted = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(interrupted.unwrap().success());
    child.wait().unwrap();
    assert_eq!(served.says(&["ps", "-aq"]), "");
    served.nothing_runs();
}

#[test]
fn events_reach_a_listener() {
    let served = Served::new();
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    served.http("POST", "/containers/one/start", "");
    let (_, body) = served.http("POST", "/containers/one/wait", "");
    assert!(body.contains("\"StatusCode\":0"), "{body}");
    let mut listening = served.connect(
        "GET /events?since=1&filters=%7B%22event%22%3A%5B%22die%22%5D%7D HTTP/1.1\r\nHost: \
         x\r\n\r\n",
    );
    let mut text = String::new();
    while !text.contains("\"Action\":\"die\"") {
        let mut piece = [0; 1024];
        let count = listening.read(&mut piece).unwrap();
        assert!(count > 0, "the daemon hung up: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(text.contains("\"status\":\"die\"") && !text.contains("\"start\""), "{text}");
    drop(served.runtime);
}

#[test]
fn volumes_answer_as_dockers_do() {
    let served = Served::new();
    let (head, body) = served.http("POST", "/volumes/create", r#"{"Name":"v1","Labels":null}"#);
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    for part in ["\"Driver\":\"local\"", "\"Labels\":null", "\"Scope\":\"local\"", "v1/_data"] {
        assert!(body.contains(part), "{part} in {body}");
    }
    let (_, body) = served.http("GET", "/volumes", "");
    assert!(body.contains("\"Name\":\"v1\"") && body.contains("\"Warnings\":null"), "{body}");
    let (_, body) = served.http("GET", "/system/df", "");
    assert!(body.contains("\"UsageData\":{\"RefCount\":0,\"Size\":0}"), "{body}");
    let (_, body) = served.http("POST", "/volumes/prune", "");
    assert!(body.contains("\"VolumesDeleted\":[]"), "a volume with a name is kept: {body}");
    let (_, body) = served.http("POST", "/v1.41/volumes/prune", "");
    assert!(body.contains("\"VolumesDeleted\":[\"v1\"]"), "an old client means all: {body}");
    for (method, path, body, status, message) in [
        ("DELETE", "/volumes/v1", "", 404, "get v1: no such volume"),
        ("DELETE", "/volumes/v1?force=1", "", 204, ""),
        ("POST", "/volumes/create", r#"{"Name":"x"}"#, 400, "volume name is too short"),
        ("POST", "/volumes/create", r#"{"Name":3}"#, 400, "invalid type"),
        ("POST", "/volumes/create", r#"{"Name":"x1","Driver":"nfs"}"#, 404, "plugin"),
        ("POST", "/volumes/create", r#"{"ClusterVolumeSpec":{}}"#, 503, "swarm"),
        ("PUT", "/volumes/v1", "", 503, "only valid for cluster volumes"),
        ("GET", "/containers/nobody/archive?path=/", "", 404, "No such container: nobody"),
        ("GET", "/containers/nobody/archive", "", 400, "path cannot be empty"),
    ] {
        let (head, body) = served.http(method, path, body);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {head}");
        assert!(body.contains(message), "{method} {path}: {body}");
    }
}

#[test]
fn a_path_of_a_container_is_told_in_a_header() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let served = Served::new();
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    let (head, body) =
        served.http("HEAD", "/containers/one/archive?path=C%3A%5Cwindows%5CSystem32", "");
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    let line = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .starts_with("x-docker-container-path-stat: ")
            .then(|| line.split_once(": ").map(|(_, value)| value.to_owned()))
    });
    let stat = STANDARD.decode(line.flatten().unwrap()).unwrap();
    let stat: serde_json::Value = serde_json::from_slice(&stat).unwrap();
    assert_eq!(stat["name"], "System32");
    // Go's bit for a directory, and everybody's permissions.
    assert_eq!(stat["mode"], 0x8000_01ff_u32);
    let (head, _) = served.http("HEAD", "/containers/one/archive?path=/none", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (head, _) = served.http("GET", "/containers/one/archive?path=D%3A%5Cx", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}
