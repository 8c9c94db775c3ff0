//! What Dockerfiles may hold beyond the classic builder's language: here-documents, mounts of
//! `RUN`, parents and exclusions of `COPY`.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "here_documents_are_scripts_inputs_and_files", run: here_documents },
    Case { name: "a_cache_mount_stays_and_the_image_knows_nothing_of_it", run: cache_mount },
    Case { name: "a_step_sees_other_stages_and_no_network", run: bind_mount },
];

const HERE: &str = r#"# escape=`
FROM nanoserver
ENV who=world
COPY <<one <<"two" C:/texts/
hello ${who}
one
hello ${who}
two
RUN <<EOF
set line=first
echo %line%> C:\texts\script
for %%n in (a b) do echo %%n>> C:\texts\script
EOF
RUN sort <<EOF > C:\texts\sorted
pear
apple
EOF
RUN <<EOF
exit 7
EOF
"#;

fn here_documents(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let failing = context(daemon, "here-failing", HERE)?;
    let output = docker.try_run(&["build", &failing.to_string_lossy()])?;
    ensure!(output.stderr.contains("returned a non-zero code: 7"), "{output:?}");
    let good = HERE.rsplit_once("RUN <<EOF").map_or(HERE, |(good, _)| good);
    let good = context(daemon, "here", good)?;
    docker.run(&["build", "-q", "-t", "here:1", &good.to_string_lossy()])?;
    let show = "cd C:\\texts && type one two script sorted & dir /b C:\\";
    let text = docker.run(&["run", "--rm", "here:1", "cmd", "/c", show])?.replace('\r', "");
    for part in ["hello world\n", "hello ${who}\n", "first\na\nb\n", "apple\npear\n"] {
        ensure!(text.contains(part), "{part:?} is not in {text}");
    }
    ensure!(!text.contains("oriel-build"), "{text}");
    PASSED
}

const CACHE: &str = r#"# escape=`
FROM nanoserver
ARG round
RUN --mount=type=cache,target=C:\cache,id=e2e echo %round%>> C:\cache\rounds && `
    type C:\cache\rounds > C:\seen
"#;

fn cache_mount(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "cached", CACHE)?;
    let directory = directory.to_string_lossy();
    for round in ["round=1", "round=2"] {
        docker.run(&["build", "-q", "-t", "cached", "--build-arg", round, &directory])?;
    }
    let show = "type C:\\seen & dir /b C:\\";
    let text = docker.run(&["run", "--rm", "cached", "cmd", "/c", show])?.replace('\r', "");
    ensure!(text.contains("1\n2\n") && !text.contains("cache"), "{text}");
    let usage = docker.run(&["system", "df", "-v"])?;
    ensure!(usage.contains("exec.cachemount"), "{usage}");
    let pruned = docker.run(&["builder", "prune", "-f"])?;
    ensure!(pruned.contains("Total:"), "{pruned}");
    let usage = docker.run(&["system", "df", "-v"])?;
    ensure!(!usage.contains("exec.cachemount"), "{usage}");
    PASSED
}

const BIND: &str = r#"# escape=`
FROM nanoserver AS tools
RUN mkdir C:\tools && echo 42> C:\tools\answer
FROM nanoserver
RUN --mount=from=tools,source=C:\tools,target=C:\t --mount=target=C:\ctx --network=none `
    copy C:\t\answer C:\answer && type C:\ctx\Dockerfile > C:\dockerfile && `
    (ping -n 1 -w 500 169.254.53.53 && echo reached> C:\reached || ver > nul) && `
    (echo x> C:\t\new && echo written> C:\written || ver > nul)
COPY --parents --exclude=**/*.log src/./lib C:/out/
"#;

fn bind_mount(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "bound", BIND)?;
    fs_err::create_dir_all(directory.join("src/lib/deep"))?;
    for name in ["src/lib/deep/a.txt", "src/lib/deep/a.log"] {
        fs_err::write(directory.join(name), name)?;
    }
    docker.run(&["build", "-q", "-t", "bound", &directory.to_string_lossy()])?;
    let show = "type C:\\answer & dir /s /b C:\\out & dir /b C:\\";
    let text = docker.run(&["run", "--rm", "bound", "cmd", "/c", show])?.replace('\r', "");
    ensure!(text.starts_with("42\n") && text.contains("C:\\out\\lib\\deep\\a.txt"), "{text}");
    for name in ["a.log", "reached", "written", "ctx"] {
        ensure!(!text.contains(name), "{name} is in {text}");
    }
    PASSED
}
