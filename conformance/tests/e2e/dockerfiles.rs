//! What Dockerfiles may hold beyond the classic builder's language: here-documents, mounts of
//! `RUN`, parents and exclusions of `COPY`.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::{PASSED, build::context, network::node_image};

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
RUN findstr app <<EOF > C:\texts\found
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
    let output = docker.try_run(&["build", "--force-rm", &failing.to_string_lossy()])?;
    ensure!(output.stderr.contains("returned a non-zero code: 7"), "{output:?}");
    let good = HERE.rsplit_once("RUN <<EOF").map_or(HERE, |(good, _)| good);
    let good = context(daemon, "here", good)?;
    docker.run(&["build", "-q", "-t", "here:1", &good.to_string_lossy()])?;
    let show = "cd C:\\texts && type one two script found & dir /b C:\\";
    let text = docker.run(&["run", "--rm", "here:1", "cmd", "/c", show])?.replace('\r', "");
    for part in ["hello world\n", "hello ${who}\n", "first\na\nb\n", "apple\n"] {
        ensure!(text.contains(part), "{part:?} is not in {text}");
    }
    ensure!(!text.contains("oriel-build"), "{text}");
    PASSED
}

const CACHE: &str = r#"# escape=`
FROM nanoserver
ARG round
RUN --mount=type=cache,target=C:\cache,id=e2e echo %round% build>> C:\cache\rounds && `
    type C:\cache\rounds > C:\seen
"#;

fn cache_mount(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "cached", CACHE)?;
    let directory = directory.to_string_lossy();
    for round in ["round=1", "round=2"] {
        let build = ["build", "--no-cache", "-q", "-t", "cached", "--build-arg", round];
        docker.run(&[&build[..], &[&directory]].concat())?;
    }
    let show = "type C:\\seen & dir /b C:\\";
    let text = docker.run(&["run", "--rm", "cached", "cmd", "/c", show])?.replace('\r', "");
    ensure!(text.contains("1 build \n2 build \n") && !text.contains("cache"), "{text}");
    let usage = docker.run(&["system", "df", "-v"])?;
    ensure!(usage.contains("exec.cachemount"), "{usage}");
    let pruned = docker.run(&["builder", "prune", "-f"])?;
    ensure!(pruned.contains("Deleted build cache objects"), "{pruned}");
    let usage = docker.run(&["system", "df", "-v"])?;
    ensure!(!usage.contains("exec.cachemount"), "{usage}");
    PASSED
}

const BIND: &str = r#"# escape=`
FROM nanoserver AS tools
RUN mkdir C:\tools && echo the answer> C:\tools\answer
FROM test-node
RUN --mount=from=tools,source=C:\tools,target=C:\t --mount=target=C:\ctx --network=none `
    copy C:\t\answer C:\answer && type C:\ctx\Dockerfile > C:\dockerfile && `
    C:\app\node.exe C:\ctx\reach.js > C:\reach && `
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
    let reach = "require('net').connect(53, '10.213.77.1').on('error', e => console.log(e.code))";
    fs_err::write(directory.join("reach.js"), reach)?;
    node_image(daemon)?;
    docker.run(&["build", "-q", "-t", "bound", &directory.to_string_lossy()])?;
    let show = "type C:\\answer C:\\reach & dir /s /b C:\\out & dir /b C:\\";
    let text = docker.run(&["run", "--rm", "bound", "cmd", "/c", show])?.replace('\r', "");
    ensure!(text.contains("the answer\n") && text.contains("UNREACH"), "{text}");
    ensure!(text.contains("C:\\out\\lib\\deep\\a.txt"), "{text}");
    for name in ["a.log", "written", "ctx"] {
        ensure!(!text.contains(name), "{name} is in {text}");
    }
    PASSED
}
