//! Room on disk: sizes of sandboxes, disk usage, prunes, history and diff.

use std::{
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Leftovers, Outcome};
use serde_json::Value;

use crate::{PASSED, build::context, faults::kill_during};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_size_stops_a_writer_with_error_disk_full", run: stopped_writer },
    Case { name: "a_full_container_goes_on_and_its_neighbours_do_not_notice", run: neighbours },
    Case { name: "a_bad_storage_option_is_refused", run: bad_options },
    Case { name: "a_container_with_a_size_survives_a_killed_daemon", run: killed_daemon },
    Case { name: "a_full_container_starts_again_to_be_emptied", run: full_restart },
    Case { name: "a_container_with_a_size_is_compared_and_committed", run: committed },
    Case { name: "removal_leaves_neither_mount_nor_loop_device", run: removal },
    Case { name: "a_daemon_killed_while_it_makes_a_disk_leaves_none", run: killed_in_between },
    Case { name: "disk_usage_adds_up", run: disk_usage },
    Case { name: "an_image_prune_frees_what_it_says", run: image_prune },
    Case { name: "a_container_prune_frees_what_it_says", run: container_prune },
    Case { name: "history_has_a_line_for_each_step", run: history },
    Case { name: "diff_names_what_a_container_changed", run: diff },
];

const SIZE: u64 = 64 << 20;

/// A directory with `space.exe`, to be shown as `C:\t`.
fn space(daemon: &Daemon) -> Result<String> {
    let directory = daemon.scratch().join("space");
    let program = directory.join("space.exe");
    if !program.exists() {
        fs_err::create_dir_all(&directory)?;
        let source = directory.join("space.c");
        fs_err::write(&source, include_str!("space.c"))?;
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        let output = compiler.arg("-O1").arg("-o").arg(&program).arg(&source).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(format!("{}:C:\\t:ro", directory.display()))
}

/// The number after `word`.
fn number(text: &str, word: &str) -> Result<u64> {
    let mut words = text.split_whitespace().skip_while(|found| *found != word);
    let number = words.nth(1).with_context(|| format!("no {word} in {text:?}"))?;
    Ok(number.parse()?)
}

/// `GET path`, as JSON.
fn get(docker: &Docker, path: &str) -> Result<Value> {
    let (status, body) = docker.http("GET", path, "")?;
    ensure!(status == 200, "{path}: {status} {body}");
    let body = body.get(body.find(['{', '[']).context("no JSON")?..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(body).into_iter();
    values.next().context("no JSON")?.context("broken JSON")
}

fn stopped_writer(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, bind) = (daemon.docker(), space(daemon)?);
    let unlimited = docker.run(&["run", "--rm", "-v", &bind, "nanoserver", "C:\\t\\space.exe"])?;
    ensure!(number(&unlimited, "total")? > 8 * SIZE, "{unlimited}");
    let options = ["run", "--name", "limited", "--storage-opt", "size=64m", "-v", &bind];
    let command = ["nanoserver", "C:\\t\\space.exe", "C:\\full.bin"];
    let text = docker.run(&[&options[..], &command[..]].concat())?;
    let total = number(&text, "total")?;
    ensure!((SIZE..SIZE + (4 << 20)).contains(&total), "{text}");
    ensure!((SIZE * 9 / 10..total).contains(&number(&text, "free")?), "{text}");
    ensure!(number(&text, "error")? == 112, "not ERROR_DISK_FULL: {text}");
    let written = number(&text, "written")?;
    ensure!((SIZE * 9 / 10..=total).contains(&written), "{text}");
    let inspected = docker.inspect("limited")?;
    ensure!(inspected["HostConfig"]["StorageOpt"]["size"] == "64m", "{inspected}");
    let sized = docker.run(&["ps", "-as", "--format", "{{.Names}} {{.Size}}"])?;
    docker.run(&["rm", "limited"])?;
    let line = sized.lines().find(|line| line.starts_with("limited ")).context("not listed")?;
    ensure!(line.contains(" 6") && line.contains("MB (virtual "), "{line}");
    PASSED
}

fn neighbours(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, bind) = (daemon.docker(), space(daemon)?);
    for (name, option) in [("full", &["--storage-opt", "size=64m"][..]), ("free", &[])] {
        let options = [&["run", "-d", "--name", name, "-v", &bind], option].concat();
        docker.run(&[&options[..], &["nanoserver", "ping", "-n", "1000", "127.0.0.1"]].concat())?;
    }
    let fill = ["exec", "full", "C:\\t\\space.exe", "C:\\full.bin"];
    ensure!(number(&docker.run(&fill)?, "error")? == 112);
    let more = docker.try_run(&["exec", "full", "cmd", "/c", "echo more> C:\\more.txt"])?;
    let listing = docker.run(&["exec", "full", "cmd", "/c", "dir /-c C:\\"])?;
    docker.run(&["exec", "full", "cmd", "/c", "del C:\\full.bin & echo room> C:\\room.txt"])?;
    let read = docker.run(&["exec", "full", "cmd", "/c", "type C:\\room.txt"])?;
    let beside = docker.run(&["exec", "free", "C:\\t\\space.exe"])?;
    docker.run(&["rm", "-f", "full", "free"])?;
    ensure!(read.trim() == "room", "{read:?} after {more:?}");
    let free = listing.lines().rev().find(|line| line.contains("bytes free"));
    let words: Vec<_> = free.context("no bytes free")?.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "bytes").context("no bytes")?;
    ensure!(words[at - 1].parse::<u64>()? < 1 << 20, "{listing}");
    ensure!(number(&beside, "free")? > 8 * SIZE, "{beside}");
    PASSED
}

fn bad_options(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for (option, words) in [
        ("size=lots", "invalid size: 'lots'"),
        ("size=-1g", "invalid size: '-1g'"),
        ("size=5x", "invalid suffix: 'x'"),
        ("size=1m", "a sandbox of 1048576 bytes is not possible"),
        ("size=999t", "not possible"),
        ("size=999999999t", "invalid size"),
        ("dm.basesize=1g", "Unknown storage option: dm.basesize"),
    ] {
        let output = docker.try_run(&["create", "--storage-opt", option, "nanoserver"])?;
        ensure!(output.status != 0 && output.stderr.contains(words), "{option}: {output:?}");
    }
    let body = r#"{"Image":"nanoserver","HostConfig":{"StorageOpt":{"size":"x"}}}"#;
    let (status, body) = docker.http("POST", "/containers/create", body)?;
    ensure!(status == 400, "{status} {body}");
    ensure!(docker.run(&["ps", "-aq"])?.is_empty(), "a container is left");
    PASSED
}

fn killed_daemon(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, bind) = (daemon.docker(), space(daemon)?);
    let options = ["run", "-d", "--name", "tough", "--storage-opt", "size=64m", "-v", &bind];
    docker.run(&[&options[..], &["nanoserver", "ping", "-n", "1000", "127.0.0.1"]].concat())?;
    docker.run(&["exec", "tough", "cmd", "/c", "echo kept> C:\\kept.txt"])?;
    daemon.kill()?;
    daemon.restart()?;
    let space = docker.run(&["exec", "tough", "C:\\t\\space.exe"])?;
    ensure!(number(&space, "total")? < SIZE + (4 << 20), "{space}");
    let changes = docker.run(&["diff", "tough"])?;
    ensure!(changes.lines().any(|line| line == "A /kept.txt"), "{changes}");
    docker.run(&["stop", "-t", "2", "tough"])?;
    daemon.kill()?;
    daemon.restart()?;
    docker.run(&["start", "tough"])?;
    let read = docker.run(&["exec", "tough", "cmd", "/c", "type C:\\kept.txt"])?;
    let fill = docker.run(&["exec", "tough", "C:\\t\\space.exe", "C:\\full.bin"])?;
    docker.run(&["rm", "-f", "tough"])?;
    ensure!(read.trim() == "kept" && number(&fill, "error")? == 112, "{read:?} {fill:?}");
    PASSED
}

fn full_restart(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, bind) = (daemon.docker(), space(daemon)?);
    let options = ["run", "-d", "--name", "stuffed", "--storage-opt", "size=64m", "-v", &bind];
    docker.run(&[&options[..], &["nanoserver", "ping", "-n", "1000", "127.0.0.1"]].concat())?;
    let fill = docker.run(&["exec", "stuffed", "C:\\t\\space.exe", "C:\\full.bin"])?;
    ensure!(number(&fill, "error")? == 112, "{fill}");
    docker.run(&["restart", "-t", "2", "stuffed"])?;
    docker.run(&["exec", "stuffed", "cmd", "/c", "del C:\\full.bin"])?;
    let space = docker.run(&["exec", "stuffed", "C:\\t\\space.exe"])?;
    docker.run(&["rm", "-f", "stuffed"])?;
    ensure!(number(&space, "free")? > SIZE * 9 / 10, "{space}");
    PASSED
}

fn committed(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let command = "md C:\\app& echo new> C:\\app\\new.txt& reg add HKLM\\Software\\Sized /v a /d b";
    let options = ["run", "--name", "sized", "--storage-opt", "size=64m", "nanoserver"];
    docker.run(&[&options[..], &["cmd", "/c", command]].concat())?;
    let changes = docker.run(&["diff", "sized"])?;
    docker.run(&["commit", "sized", "sized:1"])?;
    docker.run(&["rm", "sized"])?;
    for line in ["A /app", "A /app/new.txt"] {
        ensure!(changes.lines().any(|change| change == line), "{line} is not in {changes}");
    }
    ensure!(!changes.contains("lost+found"), "{changes}");
    let query = "type C:\\app\\new.txt& reg query HKLM\\Software\\Sized";
    let text = docker.run(&["run", "--rm", "sized:1", "cmd", "/c", query])?;
    docker.run(&["rmi", "sized:1"])?;
    ensure!(text.starts_with("new") && text.contains("REG_SZ"), "{text}");
    PASSED
}

fn removal(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let root = daemon.data_root().to_owned();
    for _ in 0..3 {
        let options = ["run", "-d", "--storage-opt", "size=64m", "nanoserver"];
        docker.run(&[&options[..], &["ping", "-n", "1000", "127.0.0.1"]].concat())?;
    }
    let ids = docker.run(&["ps", "-q"])?;
    let ids: Vec<&str> = ids.lines().collect();
    ensure!(Leftovers::disks(&root).len() == 3, "{:?}", Leftovers::disks(&root));
    docker.run(&["stop", "-t", "1", ids[0]])?;
    docker.run(&["diff", ids[0]])?;
    docker.run(&["ps", "-as"])?;
    docker.wait_until("a stopped container has no device", |_| {
        Ok(Leftovers::disks(&root).len() == 2)
    })?;
    daemon.kill()?;
    daemon.restart()?;
    docker.run(&[&["rm", "-f"], &ids[..]].concat())?;
    docker.wait_until("no mount or device is left", |_| Ok(Leftovers::disks(&root).is_empty()))?;
    PASSED
}

fn killed_in_between(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let root = daemon.data_root().to_owned();
    for delay in [5, 15, 30, 45, 60, 80, 110, 150] {
        let options = ["run", "--rm", "--storage-opt", "size=64m", "nanoserver"];
        let words = [&options[..], &["cmd", "/c", "exit 0"]].concat();
        kill_during(daemon, &words, Duration::from_millis(delay))?;
        docker.wait_until("no container is left", |docker| {
            Ok(docker.run(&["ps", "-aq"])?.is_empty())
        })?;
        docker
            .wait_until("no mount or device is left", |_| Ok(Leftovers::disks(&root).is_empty()))?;
    }
    PASSED
}

/// Builds an image from a Dockerfile; the context holds `data`.
fn build(daemon: &Daemon, tag: &str, dockerfile: &str, data: &[u8]) -> Result<()> {
    let directory = context(daemon, &tag.replace(':', "-"), dockerfile)?;
    fs_err::write(directory.join("data"), data)?;
    daemon.docker().run(&["build", "-q", "-t", tag, &directory.to_string_lossy()])?;
    Ok(())
}

fn disk_usage(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let layers = |docker: &Docker| -> Result<u64> {
        get(docker, "/v1.43/system/df")?["LayersSize"].as_u64().context("no LayersSize")
    };
    let before = layers(&docker)?;
    let dockerfile = "FROM nanoserver\nCOPY data C:/data\n";
    build(daemon, "weighed:1", dockerfile, &vec![b'w'; 3_000_000])?;
    docker.run(&["tag", "weighed:1", "weighed:2"])?;
    ensure!(layers(&docker)? == before + 3_000_000, "{} {before}", layers(&docker)?);
    let write = "for /l %i in (1,1,100) do @echo 12345678>> C:\\written";
    docker.run(&["run", "--name", "scale", "weighed:1", "cmd", "/c", write])?;
    let usage = get(&docker, "/v1.43/system/df")?;
    let image = docker.inspect("weighed:1")?;
    let base = docker.inspect("nanoserver")?["Size"].as_u64().context("no size")?;
    let find = |list: &str, id: &Value| -> Result<Value> {
        let list = usage[list].as_array().context("no list")?;
        list.iter().find(|item| item["Id"] == *id).cloned().context("not listed")
    };
    let listed = find("Images", &image["Id"])?;
    ensure!(listed["Size"] == base + 3_000_000 && listed["SharedSize"] == base, "{listed}");
    ensure!(listed["Containers"] == 1, "{listed}");
    let container = docker.inspect("scale")?;
    let listed = find("Containers", &container["Id"])?;
    ensure!(listed["SizeRw"] == 1000, "{listed}");
    ensure!(listed["SizeRootFs"] == base + 3_001_000, "{listed}");
    let sized = get(&docker, "/containers/scale/json?size=1")?;
    ensure!(sized["SizeRw"] == 1000, "{}", sized["SizeRw"]);
    let summary = docker.run(&["system", "df"])?;
    let detailed = docker.run(&["system", "df", "-v"])?;
    let only = get(&docker, "/v1.43/system/df?type=volume")?;
    let (status, body) = docker.http("GET", "/v1.43/system/df?type=plugin", "")?;
    docker.run(&["rm", "scale"])?;
    docker.run(&["rmi", "weighed:1", "weighed:2"])?;
    ensure!(summary.lines().count() == 5 && summary.contains("Images"), "{summary}");
    ensure!(detailed.contains("3MB") && detailed.contains("scale"), "{detailed}");
    ensure!(only["Images"].is_null() && only["Volumes"] == serde_json::json!([]), "{only}");
    ensure!(status == 400 && body.contains("unknown object type: plugin"), "{status} {body}");
    PASSED
}

fn image_prune(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM nanoserver\nLABEL oriel.test=prune\nCOPY data C:/data\n";
    build(daemon, "pruned:1", dockerfile, &vec![b'1'; 2_000_000])?;
    build(daemon, "pruned:1", dockerfile, &vec![b'2'; 1_000_000])?;
    docker.run(&["create", "--name", "user", "pruned:1"])?;
    let layers = || -> Result<u64> {
        get(&docker, "/v1.43/system/df")?["LayersSize"].as_u64().context("no LayersSize")
    };
    let before = layers()?;
    let prune = |more: &[&str]| {
        let arguments = ["image", "prune", "-f", "--filter", "label=oriel.test=prune"];
        docker.run(&[&arguments[..], more].concat())
    };
    let text = prune(&[])?;
    ensure!(text.contains("Total reclaimed space: 2MB"), "{text}");
    ensure!(layers()? + 2_000_000 == before, "{} {before}", layers()?);
    let kept = prune(&["-a"])?;
    ensure!(kept.contains("Total reclaimed space: 0B"), "an image in use is gone: {kept}");
    docker.run(&["rm", "user"])?;
    let young = prune(&["-a", "--filter", "until=1h"])?;
    ensure!(young.contains("Total reclaimed space: 0B"), "too young to go: {young}");
    let text = prune(&["-a"])?;
    ensure!(text.contains("untagged: pruned:1"), "{text}");
    ensure!(text.contains("Total reclaimed space: 1MB"), "{text}");
    ensure!(layers()? + 3_000_000 == before, "{} {before}", layers()?);
    ensure!(docker.run(&["images", "-q", "nanoserver"])?.lines().count() >= 1, "the base is gone");
    // The CLI rounds `0s` down to a second that may be older than the event.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let events = docker.run(&[
        "events",
        "--since",
        "120s",
        "--until",
        &(now + 1).to_string(),
        "--filter",
        "event=prune",
        "--format",
        "{{.Type}} {{.Actor.Attributes.reclaimed}}",
    ])?;
    ensure!(events.lines().any(|line| line == "image 2000000"), "{events}");
    PASSED
}

fn container_prune(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let write = "for /l %i in (1,1,100) do @echo 12345678>> C:\\written";
    for label in ["oriel.test=a", "oriel.test=b"] {
        docker.run(&["run", "--label", label, "nanoserver", "cmd", "/c", write])?;
    }
    let filter = ["--filter", "label=oriel.test=a"];
    let text = docker.run(&[&["container", "prune", "-f"], &filter[..]].concat())?;
    ensure!(text.contains("Total reclaimed space: 1kB"), "{text}");
    ensure!(docker.run(&["ps", "-aq"])?.lines().count() == 1, "the wrong ones are gone");
    let filter = ["--filter", "label=oriel.test=b"];
    let text = docker.run(&[&["system", "prune", "-f"], &filter[..]].concat())?;
    ensure!(text.contains("Total reclaimed space: 1kB"), "{text}");
    ensure!(docker.run(&["ps", "-aq"])?.is_empty(), "a container is left");
    let (status, body) =
        docker.http("POST", "/containers/prune?filters={%22until%22:[%22x%22]}", "")?;
    ensure!(status == 400, "{status} {body}");
    PASSED
}

fn history(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM nanoserver\nCOPY data C:/data\nENV A=b\nCMD echo hi\n";
    build(daemon, "told:1", dockerfile, &vec![b'h'; 1_500_000])?;
    let lines = |arguments: &[&str]| -> Result<Vec<String>> {
        let format = "{{.ID}}|{{.Size}}|{{.CreatedBy}}";
        let text =
            docker.run(&[&["history", "--format", format], arguments, &["told:1"]].concat())?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let short = lines(&[])?;
    ensure!(short.len() == 4, "{short:?}");
    ensure!(short[0].contains("|0B|") && short[1].contains("|0B|"), "{short:?}");
    ensure!(short[2].contains("|1.5MB|") && short[2].contains("COPY"), "{short:?}");
    let whole = lines(&["--no-trunc", "-H=false"])?;
    let id = docker.inspect("told:1")?["Id"].as_str().context("no id")?.to_owned();
    ensure!(whole[0].starts_with(&format!("{id}|0|")), "{whole:?}");
    ensure!(whole[2].contains("|1500000|"), "{whole:?}");
    let tar = daemon.scratch().join("told.tar");
    docker.run(&["save", "-o", &tar.to_string_lossy(), "told:1"])?;
    docker.run(&["rmi", "told:1"])?;
    docker.run(&["load", "-i", &tar.to_string_lossy()])?;
    let loaded = lines(&["--no-trunc", "-H=false"])?;
    docker.run(&["rmi", "told:1"])?;
    ensure!(loaded[0].starts_with(&id), "{loaded:?}");
    ensure!(loaded[1..].iter().all(|line| line.starts_with("<missing>|")), "{loaded:?}");
    let told = |lines: &[String]| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line.split_once('|')?.1.to_owned())).collect()
    };
    ensure!(told(&loaded) == told(&whole), "{loaded:?} {whole:?}");
    PASSED
}

fn diff(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM nanoserver\nCOPY data C:/app/old.txt\nCOPY data C:/app/gone.txt\n";
    build(daemon, "compared:1", dockerfile, b"old")?;
    let command = "echo new> C:\\app\\old.txt& del C:\\app\\gone.txt& echo x> C:\\APP\\added.txt& \
                   ping -n 1000 127.0.0.1 >nul";
    docker.run(&["run", "-d", "--name", "changed", "compared:1", "cmd", "/c", command])?;
    docker.wait_until("the changes are there", |docker| {
        Ok(docker.run(&["diff", "changed"])?.contains("added.txt"))
    })?;
    let running = docker.run(&["diff", "changed"])?;
    docker.run(&["stop", "-t", "1", "changed"])?;
    let stopped = docker.run(&["diff", "changed"])?;
    docker.run(&["rm", "changed"])?;
    docker.run(&["create", "--name", "fresh", "compared:1"])?;
    let fresh = docker.run(&["diff", "fresh"])?;
    docker.run(&["rm", "fresh"])?;
    docker.run(&["rmi", "compared:1"])?;
    for text in [&running, &stopped] {
        let app: Vec<_> = text.lines().filter(|line| line.contains("/app")).collect();
        let expected = ["C /app", "A /app/added.txt", "D /app/gone.txt", "C /app/old.txt"];
        ensure!(app == expected, "{text}");
    }
    ensure!(fresh.is_empty(), "{fresh}");
    PASSED
}
