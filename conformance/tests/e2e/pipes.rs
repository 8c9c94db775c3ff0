//! Named pipes of the host, and parts of volumes: mounts that are no plain folders.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
};

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::{PASSED, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_pipe_leads_to_the_daemon", run: engine },
    Case { name: "a_pipe_leads_to_a_socket_and_carries_megabytes", run: echo },
    Case { name: "a_pipe_ends_with_its_server_and_is_found_again", run: again },
    Case { name: "a_pipe_that_is_none_is_refused", run: refused },
    Case { name: "a_part_of_a_volume_is_shown_and_no_more", run: part },
];

/// Runs a script of node's in a container with a pipe, as the account without rights.
fn node(daemon: &Daemon, mount: &str, script: &str) -> Result<String> {
    let volume = format!("{}:C:\\node:ro", windows_program("node/bin")?.display());
    daemon.docker().run(&[
        "run",
        "--rm",
        "--user",
        "ContainerUser",
        "-v",
        &volume,
        "-v",
        mount,
        "nanoserver",
        "C:\\node\\node.exe",
        "-e",
        script,
    ])
}

fn engine(daemon: &mut Daemon) -> Result<Outcome> {
    let script = r"
const http = require('http');
const get = path => new Promise((done, fail) => http.get(
  { socketPath: '\\\\.\\pipe\\docker_engine', path },
  answer => {
    let text = '';
    answer.on('data', d => text += d);
    answer.on('end', () => done(text));
  },
).on('error', fail));
(async () => {
  console.log('ping', await get('/_ping'));
  const lists = await Promise.all([1, 2, 3, 4].map(() => get('/containers/json')));
  for (const list of lists) console.log('containers', JSON.parse(list).length);
})();";
    let mount = r"\\.\pipe\docker_engine:\\.\pipe\docker_engine";
    let output = node(daemon, mount, script)?;
    ensure!(output.contains("ping OK"), "{output}");
    ensure!(output.matches("containers 1").count() == 4, "{output}");
    // Another container does not have it.
    let volume = format!("{}:C:\\node:ro", windows_program("node/bin")?.display());
    let without = daemon.docker().try_run(&[
        "run",
        "--rm",
        "-v",
        &volume,
        "nanoserver",
        "C:\\node\\node.exe",
        "-e",
        script,
    ])?;
    ensure!(without.status != 0 && without.stderr.contains("ENOENT"), "{without:?}");
    PASSED
}

/// Megabytes that travel there and back.
const MEGABYTES: usize = 8;

fn echo(daemon: &mut Daemon) -> Result<Outcome> {
    let folder = daemon.scratch().join("run/pipes");
    fs_err::create_dir_all(&folder)?;
    let listener = UnixListener::bind(folder.join("echo"))?;
    let server = std::thread::spawn(move || -> std::io::Result<usize> {
        let (mut stream, _) = listener.accept()?;
        let (mut buffer, mut total) = (vec![0; 100_000], 0);
        while total < MEGABYTES << 20 {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            total += count;
            stream.write_all(&buffer[..count])?;
        }
        Ok(total)
    });
    let script = format!(
        r"
const socket = require('net').connect('\\\\.\\pipe\\mine');
const all = Buffer.alloc({MEGABYTES} << 20, 'oriel');
let got = 0, good = true;
socket.on('data', d => {{
  good = good && d.equals(all.subarray(got, got + d.length));
  got += d.length;
  if (got === all.length) console.log('got', got, good);
}});
socket.on('close', () => console.log('closed'));
socket.write(all);"
    );
    let output = node(daemon, r"\\.\pipe\Echo:\\.\pipe\mine", &script)?;
    let expected = format!("got {} true", MEGABYTES << 20);
    ensure!(output.contains(&expected) && output.contains("closed"), "{output}");
    let total = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    ensure!(total == MEGABYTES << 20, "{total} bytes");
    fs_err::remove_file(folder.join("echo"))?;
    PASSED
}

fn again(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let path = daemon.scratch().join("again.sock");
    let first = UnixListener::bind(&path)?;
    let volume = format!("{}:C:\\node:ro", windows_program("node/bin")?.display());
    let mount = format!(r"{}:\\.\pipe\again", path.display());
    // Connects again and again, and says what it gets.
    let script = r"
const again = () => {
  let text = '';
  const socket = require('net').connect('\\\\.\\pipe\\again');
  socket.on('data', d => text += d);
  socket.on('error', () => {});
  socket.on('close', () => { if (text) console.log(text); setTimeout(again, 50); });
};
again();";
    docker.run(&[
        "run",
        "-d",
        "--name",
        "again",
        "-v",
        &volume,
        "-v",
        &mount,
        "nanoserver",
        "C:\\node\\node.exe",
        "-e",
        script,
    ])?;
    let greet = |listener: &UnixListener, text: &str| -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(text.as_bytes())?;
        Ok(())
    };
    let says = |docker: &oriel_conformance::Docker, text: &str| {
        docker.wait_until(text, |docker| Ok(docker.run(&["logs", "again"])?.contains(text)))
    };
    greet(&first, "from the first")?;
    says(&docker, "from the first")?;
    drop(first);
    fs_err::remove_file(&path)?;
    let second = UnixListener::bind(&path)?;
    greet(&second, "from the second")?;
    says(&docker, "from the second")?;
    daemon.kill()?;
    daemon.restart()?;
    // Whoever came before the restart is gone; the next one is greeted.
    let docker = daemon.docker();
    second.set_nonblocking(false)?;
    for _ in 0..3 {
        // A client that left with the daemon may still be in the queue.
        let _ = greet(&second, "after the restart");
    }
    says(&docker, "after the restart")?;
    let mounts = docker.inspect("again")?["Mounts"].clone();
    let pipe = mounts.as_array().into_iter().flatten().find(|mount| mount["Type"] == "npipe");
    ensure!(pipe.is_some_and(|pipe| pipe["Destination"] == r"\\.\pipe\again"), "{mounts}");
    docker.run(&["rm", "-f", "again"])?;
    fs_err::remove_file(&path)?;
    PASSED
}

fn refused(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for (mount, words) in [
        (r"type=npipe,source=C:\x,target=\\.\pipe\x", "is not a valid pipe path"),
        (r"type=npipe,source=\\.\pipe\x,target=C:\x", r"'C:\x' is not a valid pipe path"),
        (r"type=npipe,source=\\.\pipe\x,target=\\.\pipe\x,readonly", "ReadOnly"),
        (r"type=npipe,source=/nowhere,target=\\.\pipe\x", "bind source path does not exist"),
        (
            r"type=npipe,source=/etc/passwd,target=\\.\pipe\x",
            "must be a named pipe or a Unix socket",
        ),
        (r"type=bind,source=\\.\pipe\x,target=\\.\pipe\x", "mount"),
    ] {
        let output = docker.try_run(&["create", "--mount", mount, "nanoserver"])?;
        ensure!(output.status == 1 && output.stderr.contains(words), "{mount}: {output:?}");
    }
    let output = docker.try_run(&["create", "-v", r"\\.\pipe\a:\\.\pipe\a:ro", "nanoserver"])?;
    ensure!(output.stderr.contains("invalid volume specification"), "{output:?}");
    PASSED
}

fn part(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["volume", "create", "parts"])?;
    let whole = ["run", "--rm", "--user", "ContainerAdministrator", "-v", "parts:C:\\v"];
    let make =
        "mkdir C:\\v\\one\\inner& echo deep> C:\\v\\one\\inner\\f.txt& echo top> C:\\v\\f.txt";
    docker.run(&[&whole[..], &["nanoserver", "cmd", "/c", make]].concat())?;
    let body = |subpath: &str| {
        format!(
            r#"{{"Image":"nanoserver","Cmd":["cmd","/c","type C:\\p\\f.txt"],"HostConfig":
            {{"Mounts":[{{"Type":"volume","Source":"parts","Target":"C:\\p",
            "VolumeOptions":{{"Subpath":"{subpath}"}}}}]}}}}"#
        )
    };
    let create = |name: &str, version: &str, subpath: &str| {
        let path = format!("/{version}/containers/create?name={name}");
        docker.http("POST", &path, &body(subpath))
    };
    let (status, text) = create("part", "v1.45", "one/inner")?;
    ensure!(status == 201, "{status} {text}");
    let output = docker.run(&["start", "-a", "part"])?;
    ensure!(output.trim() == "deep", "{output}");
    docker.run(&["rm", "part"])?;
    for (version, subpath, words) in [
        ("v1.45", "../x", "subpath must be a relative path within the volume"),
        ("v1.45", "/etc", "subpath must be a relative path within the volume"),
        ("v1.44", "one", "VolumeOptions.Subpath needs API v1.45 or newer"),
    ] {
        let (status, text) = create("wrong", version, subpath)?;
        ensure!(status == 400 && text.contains(words), "{subpath}: {status} {text}");
    }
    // What is missing, or leads out of the volume, is refused when it starts.
    let data = docker.run(&["volume", "inspect", "-f", "{{.Mountpoint}}", "parts"])?;
    fs_err::os::unix::fs::symlink("/etc", std::path::Path::new(data.trim()).join("out"))?;
    for (subpath, words) in [("none", "cannot access path"), ("out", "escapes the base directory")]
    {
        let (status, text) = create("late", "v1.51", subpath)?;
        ensure!(status == 201, "{status} {text}");
        let output = docker.try_run(&["start", "late"])?;
        ensure!(output.status != 0 && output.stderr.contains(words), "{subpath}: {output:?}");
        docker.run(&["rm", "late"])?;
    }
    docker.run(&["volume", "rm", "parts"])?;
    PASSED
}
