//! The projects in `examples/`, built and run as their READMEs say.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};
use serde_json::Value;

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "example_deno_web_is_tested_healthy_and_stops_gracefully", run: deno_web },
    Case { name: "example_dotnet_is_published_by_the_sdk_and_serves", run: dotnet },
    Case { name: "example_npm_tool_bundles_and_ships_only_the_site", run: npm_tool },
    Case { name: "example_postgres_makes_itself_once", run: postgres },
    Case { name: "example_zig_c_ships_only_the_program", run: zig_c },
];

/// Folder of an example, with the programs that `scripts/fetch-programs` puts into it.
fn example(name: &str, programs: &[&str]) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    for program in programs {
        let place = folder.join(program);
        ensure!(place.is_dir(), "{} is missing: run scripts/fetch-programs", place.display());
    }
    Ok(folder)
}

/// Builds an example; what the build said is returned.
fn build(docker: &Docker, name: &str, programs: &[&str], options: &[&str]) -> Result<String> {
    let folder = example(name, programs)?;
    let folder = folder.to_string_lossy();
    let tag = format!("example-{name}");
    docker.run(&[&["build", "-t", &tag], options, &[&folder]].concat())
}

/// A container that is gone when the case is over, with its anonymous volumes.
struct Started<'a> {
    docker: &'a Docker,
    id: String,
}

impl<'a> Started<'a> {
    /// `docker run -d` with these arguments.
    fn new(docker: &'a Docker, arguments: &[&str]) -> Result<Self> {
        let id = docker.run(&[&["run", "-d"], arguments].concat())?.trim().to_owned();
        Ok(Self { docker, id })
    }

    fn becomes_healthy(&self) -> Result<()> {
        let healthy = |docker: &Docker| {
            let state = docker.inspect(&self.id)?["State"].clone();
            ensure!(state["Running"] == true, "it ended: {state}\n{}", self.logs()?);
            Ok(state["Health"]["Status"] == "healthy")
        };
        self.docker.wait_until("the container to be healthy", healthy)
    }

    fn logs(&self) -> Result<String> {
        let output = self.docker.try_run(&["logs", &self.id])?;
        Ok(format!("{}{}", output.stdout, output.stderr).replace('\r', ""))
    }

    /// `127.0.0.1:PORT` of what `container` offers.
    fn address(&self, container: &str) -> Result<String> {
        Ok(self.docker.run(&["port", &self.id, container])?.trim().to_owned())
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        // What cannot be removed is found when the suite looks for what it left behind.
        let _ = self.docker.try_run(&["rm", "-f", "-v", &self.id]);
    }
}

/// One request of `curl`.
fn ask(arguments: &[&str]) -> Result<String> {
    let output = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl {arguments:?}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a container of `image` says when run with `arguments`.
fn says(docker: &Docker, image: &str, arguments: &[&str]) -> Result<String> {
    docker.run(&[&["run", "--rm", image], arguments].concat())
}

fn deno_web(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    build(&docker, "deno-web", &["deno"], &[])?;
    let web = Started::new(&docker, &["-p", "127.0.0.1::8000", "example-deno-web"])?;
    web.becomes_healthy()?;
    let notes = format!("http://{}/notes", web.address("8000")?);
    ensure!(ask(&["-d", "buy milk", &notes])?.trim() == "1");
    ensure!(ask(&[&notes])? == r#"["buy milk"]"#);
    docker.run(&["stop", "-t", "30", &web.id])?;
    let logs = web.logs()?;
    ensure!(logs.contains("1 notes forgotten, good bye"), "{logs}");
    ensure!(docker.inspect(&web.id)?["State"]["ExitCode"] == 0);
    let tests = ["--entrypoint", "cmd", "example-deno-web", "/c", "dir /b C:\\app"];
    let files = docker.run(&[&["run", "--rm"], &tests[..]].concat())?;
    ensure!(files == "notes.ts\nserver.ts\n", "{files:?}");
    PASSED
}

fn dotnet(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    build(&docker, "dotnet", &["sdk", "runtime"], &[])?;
    let options = ["-p", "127.0.0.1::8080", "-e", "COLOUR=blue", "example-dotnet"];
    let app = Started::new(&docker, &options)?;
    docker.wait_until("the service to listen", |_| Ok(app.logs()?.contains("started.")))?;
    let answer = ask(&[&format!("http://{}/", app.address("8080")?)])?;
    let answer: Value = serde_json::from_str(&answer).context(answer.clone())?;
    for (name, value) in [
        ("Runtime", ".NET Core 3.1.23"),
        ("System", "Microsoft Windows 10.0.20348"),
        ("User", "ContainerUser"),
        ("Colour", "blue"),
        ("Registry", "from the registry of the image"),
    ] {
        ensure!(answer[name].as_str().map(str::trim) == Some(value), "{name}: {answer}");
    }
    let files = answer["Files"].as_array().context("no files")?;
    ensure!(files.iter().any(|name| name == "app.dll"), "{answer}");
    docker.run(&["stop", "-t", "30", &app.id])?;
    let sdks = ["run", "--rm", "--entrypoint", "dotnet", "example-dotnet", "--list-sdks"];
    let sdks = docker.run(&sdks)?;
    ensure!(sdks.is_empty(), "the SDK is in the image: {sdks}");
    PASSED
}

fn npm_tool(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    build(&docker, "npm-tool", &["esbuild"], &["--build-arg", "VERSION=2.5"])?;
    let told = says(&docker, "example-npm-tool", &[])?;
    ensure!(told == "version 2.5\nindex.html\nmain.js\nstyle.css\nversion.txt\n", "{told:?}");
    let bundle = says(&docker, "example-npm-tool", &["cmd", "/c", "type main.js"])?;
    ensure!(bundle.contains("toUpperCase") && bundle.lines().count() == 1, "{bundle}");
    ensure!(added(&docker, "example-npm-tool")? < 20_000, "the image holds more than the site");
    PASSED
}

/// Bytes that `image` has beyond nanoserver.
fn added(docker: &Docker, image: &str) -> Result<i64> {
    let size = |image: &str| docker.inspect(image)?["Size"].as_i64().context("an image has a size");
    Ok(size(image)? - size("nanoserver")?)
}

fn postgres(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    build(&docker, "postgres", &["pgsql"], &[])?;
    let refused = docker.try_run(&["run", "--rm", "example-postgres"])?;
    ensure!(refused.status == 1 && refused.stderr.contains("password"), "{refused:?}");
    let password = example("postgres", &[])?.join("password.txt");
    let password = format!("{}:C:\\password.txt:ro", password.canonicalize()?.display());
    let options = [
        "-p",
        "127.0.0.1::5432",
        "-v",
        "example-ships:C:\\data",
        "-v",
        &password,
        "-e",
        "POSTGRES_PASSWORD_FILE=C:\\password.txt",
        "-e",
        "POSTGRES_DB=fleet",
        "example-postgres",
    ];
    let first = Started::new(&docker, &options)?;
    first.becomes_healthy()?;
    ensure!(query(&first, "table heavy")? == "Bay");
    query(&first, "insert into ship values ('Gulf', 60000)")?;
    docker.run(&["stop", "-t", "30", &first.id])?;
    drop(first);
    let second = Started::new(&docker, &options)?;
    second.becomes_healthy()?;
    ensure!(query(&second, "select string_agg(name, ',' order by name) from heavy")? == "Bay,Gulf");
    let logs = second.logs()?;
    ensure!(!logs.contains("running C:\\docker-entrypoint-initdb.d"), "{logs}");
    drop(second);
    docker.run(&["volume", "rm", "example-ships"])?;
    PASSED
}

/// Asks PostgreSQL as a client on the host does.
fn query(server: &Started<'_>, sql: &str) -> Result<String> {
    let address = server.address("5432")?;
    let port = address.rsplit(':').next().unwrap_or_default();
    let url = format!("host=127.0.0.1 port={port} user=postgres dbname=fleet connect_timeout=20");
    let output = Command::new("psql")
        .args(["-At", "-v", "ON_ERROR_STOP=1", "-c", sql, &url])
        .env("PGPASSWORD", "correct horse")
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{sql}: {error}\n{}", server.logs()?);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn zig_c(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    build(&docker, "zig-c", &["zig"], &[])?;
    let count = ["run", "--rm", "-i", "example-zig-c"];
    let counted = docker.run_with_input(&count, b"one\ntwo\n")?;
    ensure!(counted.status == 0 && counted.stdout == "2 lines, 8 bytes\r\n", "{counted:?}");
    let nothing = docker.run_with_input(&count, b"")?;
    ensure!(nothing.status == 1 && nothing.stdout == "0 lines, 0 bytes\r\n", "{nothing:?}");
    ensure!(added(&docker, "example-zig-c")? < 20_000, "the image holds more than the program");
    let made = Started::new(&docker, &["example-zig-c"])?;
    let target = daemon.scratch().join("count.exe");
    let source = format!("{}:C:\\count.exe", made.id);
    docker.run(&["cp", &source, &target.to_string_lossy()])?;
    ensure!(fs_err::read(target)?.starts_with(b"MZ"), "no program came out");
    PASSED
}
