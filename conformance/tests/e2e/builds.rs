//! Builds as a whole: stages side by side, how they fail, and that nothing stays of those that are
//! given up.

use std::{
    path::Path,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, build::context, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "stages_run_side_by_side_and_are_read_in_order", run: side_by_side },
    Case { name: "a_build_whose_client_dies_leaves_nothing", run: killed_client },
    Case { name: "a_failing_stage_ends_the_others", run: failing_stage },
    Case { name: "a_missing_dll_is_named_with_the_line", run: missing_dll },
    Case { name: "the_container_of_a_failed_step_stays_to_be_looked_into", run: kept_container },
];

/// Two stages that each wait for a file that the other one writes, in a cache that both see.
fn meeting(round: &str) -> String {
    let stage = |own: &str, other: &str| {
        format!(
            "FROM nanoserver AS {own}\n\
             RUN --mount=type=cache,id=meet-{round},target=C:\\\\meet <<EOF\n\
             echo {own}> C:\\meet\\{own}\n\
             :again\n\
             if exist C:\\meet\\{other} goto met\n\
             ping -n 2 127.0.0.1 > nul\n\
             goto again\n\
             :met\n\
             echo {own} has met {other}\n\
             mkdir C:\\out && echo {own}> C:\\out\\{own}\n\
             EOF\n"
        )
    };
    let copies =
        "FROM nanoserver\nCOPY --from=left C:/out C:/out\nCOPY --from=right C:/out C:/out\n";
    format!("{}{}{copies}", stage("left", "right"), stage("right", "left"))
}

fn side_by_side(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let round = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string();
    let directory = context(daemon, "side-by-side", &meeting(&round))?;
    let text = docker.run(&["build", "-t", "met", &directory.to_string_lossy()])?;
    let places: Vec<_> = (1..=7).map(|n| text.find(&format!("Step {n}/7 : "))).collect();
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {text}");
    let of = |part: &str| text.find(part).with_context(|| format!("{part:?} is not in {text}"));
    ensure!(of("left has met right")? < of("Step 3/7")?, "{text}");
    ensure!(of("Step 3/7")? < of("right has met left")?, "{text}");
    ensure!(text.contains("\n ---> Took "), "no time is told: {text}");
    let both = docker.run(&["run", "--rm", "met", "cmd", "/c", "dir /b C:\\out"])?;
    ensure!(both.contains("left") && both.contains("right"), "{both}");
    PASSED
}

/// Takes longer than any test.
const LASTING: &str = "ping -n 1000 127.0.0.1 > nul";

/// A stage for each command, and one that takes from both.
fn two_stages(a: &str, b: &str) -> String {
    format!(
        "FROM nanoserver AS a\nRUN {a}\nFROM nanoserver AS b\nRUN {b}\n\
         FROM nanoserver\nCOPY --from=a C:/x C:/\nCOPY --from=b C:/x C:/\n"
    )
}

fn killed_client(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "deserted", &two_stages(LASTING, LASTING))?;
    let mut client = docker
        .command(&["build", "--no-cache", &directory.to_string_lossy()])
        .env("DOCKER_BUILDKIT", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    docker.wait_until("both steps run", |docker| Ok(running(docker)?.len() == 2))?;
    let ids = running(&docker)?;
    client.kill()?;
    client.wait()?;
    docker.wait_until("both containers are gone", |docker| {
        Ok(docker.run(&["ps", "-aq"])?.is_empty())
    })?;
    let (tmp, exec_root) = (daemon.data_root().join("tmp"), daemon.scratch().join("run"));
    docker.wait_until("the context is gone", |_| Ok(names(&tmp)?.is_empty()))?;
    let mounts = fs_err::read_to_string("/proc/self/mountinfo")?;
    for id in &ids {
        ensure!(!mounts.contains(id), "a mount of {id} is left");
        for place in ["silo", "netns"] {
            ensure!(!names(&exec_root.join(place))?.contains(id), "{place} of {id} is left");
        }
        for part in ["windowsfilter", "containers"] {
            ensure!(!names(&daemon.data_root().join(part))?.contains(id), "{part}/{id} is left");
        }
        ensure!(!is_below(Path::new("/sys/fs/cgroup"), id)?, "a control group of {id} is left");
    }
    PASSED
}

/// Ids of the containers that run.
fn running(docker: &Docker) -> Result<Vec<String>> {
    let ids = docker.run(&["ps", "-q", "--no-trunc"])?;
    Ok(ids.lines().map(str::to_owned).collect())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Whether a directory anywhere below is named after an id. Others may remove theirs meanwhile.
fn is_below(directory: &Path, id: &str) -> Result<bool> {
    let Ok(entries) = fs_err::read_dir(directory) else { return Ok(false) };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(id) || is_below(&entry.path(), id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn failing_stage(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = two_stages(LASTING, "echo the reason& exit 5");
    let directory = context(daemon, "one-fails", &dockerfile)?;
    let build = ["build", "--no-cache", "--force-rm", &directory.to_string_lossy()];
    let output = docker.try_run(&build)?;
    ensure!(output.status == 5, "{output:?}");
    let text = output.stdout.replace('\r', "");
    ensure!(text.contains("Step 4/7 : RUN echo the reason") && text.contains("\nthe reason\n"));
    let error = output.stderr.replace('\r', "");
    let expected = "The command 'cmd /S /C echo the reason& exit 5' returned a non-zero code: 5\n\
                    exit code 5 (0x00000005)\n --> Dockerfile:4\n  |\n\
                    4 | RUN echo the reason& exit 5";
    ensure!(error.contains(expected), "{error}");
    ensure!(docker.run(&["ps", "-aq"])?.is_empty(), "a container is left");
    PASSED
}

fn missing_dll(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "no-dll", "FROM nanoserver\nCOPY x.exe C:/\nRUN C:\\x.exe\n")?;
    let mut program = fs_err::read(windows_program("esbuild")?.join("esbuild.exe"))?;
    let (there, gone) = (b"kernel32.dll\0", b"missing1.dll\0");
    let at = program.windows(there.len()).position(|bytes| bytes == there);
    let at = at.context("esbuild.exe is linked to kernel32.dll")?;
    program[at..at + gone.len()].copy_from_slice(gone);
    fs_err::write(directory.join("x.exe"), program)?;
    let output = docker.try_run(&["build", "--force-rm", &directory.to_string_lossy()])?;
    let expected = "returned a non-zero code: 3221225781\n\
                    exit code 3221225781 (0xC0000135 STATUS_DLL_NOT_FOUND): a DLL was not found: \
                    missing1.dll, which C:\\x.exe needs\n --> Dockerfile:3\n  |\n3 | RUN C:\\x.exe";
    ensure!(output.stderr.contains(expected), "{output:?}");
    PASSED
}

fn kept_container(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let text = "FROM nanoserver\nRUN echo clue> C:\\clue& exit 3\n";
    let directory = context(daemon, "kept", text)?;
    let directory = directory.to_string_lossy();
    ensure!(docker.try_run(&["build", "--force-rm", &directory])?.status == 3);
    ensure!(docker.run(&["ps", "-aq"])?.is_empty(), "--force-rm leaves a container");
    ensure!(docker.try_run(&["build", &directory])?.status == 3);
    let id = docker.run(&["ps", "-aq"])?;
    docker.run(&["commit", id.trim(), "kept:1"])?;
    docker.run(&["rm", id.trim()])?;
    let clue = docker.run(&["run", "--rm", "kept:1", "cmd", "/c", "type C:\\clue"])?;
    ensure!(clue.trim() == "clue", "{clue}");
    PASSED
}
