//! `docker build` of Windows Dockerfiles.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::{PASSED, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_windows_dockerfile_builds_and_runs", run: builds_and_runs },
    Case { name: "a_second_build_uses_the_cache", run: cache },
    Case { name: "a_dockerfile_error_names_line_and_column", run: error_position },
    Case { name: "a_failing_step_gives_its_exit_code", run: failing_step },
    Case { name: "a_file_deleted_by_a_step_stays_deleted", run: deletion },
    Case { name: "stages_copy_from_each_other", run: stages },
];

/// Makes a directory with a Dockerfile.
pub(crate) fn context(daemon: &Daemon, name: &str, dockerfile: &str) -> Result<PathBuf> {
    let directory = daemon.scratch().join(name);
    fs_err::create_dir_all(&directory)?;
    fs_err::write(directory.join("Dockerfile"), dockerfile)?;
    Ok(directory)
}

const FULL: &str = r#"# escape=`
ARG BASE=nanoserver
FROM ${BASE}
SHELL ["cmd", "/S", "/C"]
ARG COLOUR=blue
ENV APP_HOME=C:\app `
    COLOUR=${COLOUR}
WORKDIR ${APP_HOME}
COPY esbuild.exe .
COPY ["docs/read me.txt", "docs/"]
USER ContainerAdministrator
RUN echo built> C:\app\built.txt && reg add HKLM\Software\Oriel /v Built /t REG_DWORD /d 42 /f
RUN esbuild.exe --version > version.txt
USER ContainerUser
EXPOSE 8080
LABEL purpose="end to end"
ENTRYPOINT ["cmd", "/S", "/C"]
CMD ["type C:\\app\\built.txt"]
"#;

fn full_context(daemon: &Daemon) -> Result<PathBuf> {
    let directory = context(daemon, "full", FULL)?;
    fs_err::copy(windows_program("esbuild")?.join("esbuild.exe"), directory.join("esbuild.exe"))?;
    fs_err::create_dir_all(directory.join("docs"))?;
    fs_err::write(directory.join("docs/read me.txt"), "text")?;
    Ok(directory)
}

fn builds_and_runs(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = full_context(daemon)?;
    let text = docker.run(&["build", "-t", "full:1", &directory.to_string_lossy()])?;
    ensure!(text.contains("Successfully tagged full:1"), "{text}");
    let text = docker.run(&["run", "--rm", "full:1"])?;
    ensure!(text.trim() == "built", "{text}");
    let run = |command: &str| docker.run(&["run", "--rm", "full:1", command]);
    let value = run("reg query HKLM\\Software\\Oriel /v Built")?;
    ensure!(value.contains("REG_DWORD") && value.contains("0x2a"), "{value}");
    let rest = run("cd& echo %COLOUR%& type version.txt& dir /b docs& echo %USERNAME%")?;
    let lines: Vec<&str> = rest.lines().map(str::trim).collect();
    ensure!(lines.first() == Some(&"C:\\app") && lines.get(1) == Some(&"blue"), "{lines:?}");
    ensure!(lines.get(3) == Some(&"read me.txt"), "{lines:?}");
    ensure!(lines.get(4) == Some(&"ContainerUser"), "{lines:?}");
    let image = docker.inspect("full:1")?;
    ensure!(image["Os"] == "windows" && image["OsVersion"] == "10.0.20348.2113", "{image}");
    ensure!(image["Config"]["ExposedPorts"]["8080/tcp"].is_object(), "{image}");
    ensure!(image["Config"]["Labels"]["purpose"] == "end to end", "{image}");
    PASSED
}

fn cache(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = full_context(daemon)?;
    let first = docker.run(&["build", "-q", &directory.to_string_lossy()])?;
    let text = docker.run(&["build", &directory.to_string_lossy()])?;
    ensure!(text.contains("Using cache") && !text.contains("Running in"), "{text}");
    let again = docker.run(&["build", "-q", &directory.to_string_lossy()])?;
    ensure!(first == again, "{first} then {again}");
    // The data root keeps images between runs: a text that no run before had.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    fs_err::write(directory.join("docs/read me.txt"), format!("text of {now:?}"))?;
    let text = docker.run(&["build", &directory.to_string_lossy()])?;
    ensure!(text.contains("Running in"), "a changed file did not count: {text}");
    PASSED
}

fn error_position(daemon: &mut Daemon) -> Result<Outcome> {
    let directory = context(daemon, "wrong", "FROM nanoserver\nWORKDIR C:\\x\n  COPPY a b\n")?;
    let output = daemon.docker().try_run(&["build", &directory.to_string_lossy()])?;
    ensure!(output.status != 0, "{output:?}");
    ensure!(output.stderr.contains("line 3"), "{output:?}");
    ensure!(output.stderr.contains("column 3"), "{output:?}");
    ensure!(output.stderr.contains("COPPY") && output.stderr.contains("COPY"), "{output:?}");
    PASSED
}

fn failing_step(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "failing", "FROM nanoserver\nRUN exit 3\n")?;
    let output = docker.try_run(&["build", "--force-rm", &directory.to_string_lossy()])?;
    let expected = "The command 'cmd /S /C exit 3' returned a non-zero code: 3";
    ensure!(output.status == 3 && output.stderr.contains(expected), "{output:?}");
    docker.wait_until("the step's container is gone", |docker| {
        Ok(docker.run(&["ps", "-aq"])?.is_empty())
    })?;
    PASSED
}

fn deletion(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM nanoserver\nUSER ContainerAdministrator\n\
        RUN md C:\\d && echo 1> C:\\d\\one && echo 2> C:\\d\\two && \
        reg add HKLM\\Software\\D /v a /f\n\
        RUN del C:\\d\\one && reg delete HKLM\\Software\\D /f\n";
    let directory = context(daemon, "deletion", dockerfile)?;
    docker.run(&["build", "-q", "-t", "deletion", &directory.to_string_lossy()])?;
    let text = docker.run(&["run", "--rm", "deletion", "cmd", "/c", "dir /b C:\\d"])?;
    ensure!(text.trim() == "two", "{text}");
    let key = docker.try_run(&["run", "--rm", "deletion", "reg", "query", "HKLM\\Software\\D"])?;
    ensure!(key.status != 0, "the key is back: {key:?}");
    PASSED
}

fn stages(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM nanoserver AS first\nUSER ContainerAdministrator\n\
        RUN echo made> C:\\made.txt\n\
        FROM nanoserver\nCOPY --from=first C:/made.txt C:/got.txt\nCMD type C:\\got.txt\n";
    let directory = context(daemon, "stages", dockerfile)?;
    docker.run(&["build", "-q", "-t", "stages", &directory.to_string_lossy()])?;
    let text = docker.run(&["run", "--rm", "stages"])?;
    ensure!(text.trim() == "made", "{text}");
    PASSED
}
