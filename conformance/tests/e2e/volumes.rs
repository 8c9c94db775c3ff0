//! Volumes, mounts, and files in and out of containers.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_volume_outlives_its_containers", run: outlives },
    Case { name: "two_running_containers_share_a_volume", run: shared },
    Case { name: "a_read_only_mount_refuses_writes_inside", run: read_only },
    Case { name: "a_single_file_is_mounted", run: single_file },
    Case { name: "a_mount_is_written_as_its_owner", run: owned },
    Case { name: "mounts_lie_in_mounts", run: nested },
    Case { name: "memory_is_mounted_and_forgotten", run: memory },
    Case { name: "an_images_volume_goes_with_its_container", run: declared },
    Case { name: "a_prune_takes_unnamed_volumes_only", run: prune },
    Case { name: "a_killed_daemon_knows_its_volumes_again", run: killed_daemon },
    Case { name: "refused_mounts_say_why_in_dockers_words", run: refused },
    Case { name: "cp_goes_both_ways_byte_for_byte", run: copied },
    Case { name: "cp_reaches_into_mounts", run: copied_into_mounts },
    Case { name: "a_hostile_archive_changes_nothing", run: hostile },
];

/// A command line of a container from `nanoserver`.
fn in_container(docker: &Docker, mounts: &[&str], line: &str) -> Result<String> {
    let command = ["nanoserver", "cmd", "/c", line];
    docker.run(&[&["run", "--rm"], mounts, &command[..]].concat())
}

/// Starts a container that stays, with these mounts.
fn stays(docker: &Docker, name: &str, mounts: &[&str]) -> Result<()> {
    let command = ["nanoserver", "ping", "-n", "1000", "127.0.0.1"];
    docker.run(&[&["run", "-d", "--name", name], mounts, &command[..]].concat())?;
    Ok(())
}

fn exec(docker: &Docker, name: &str, line: &str) -> Result<String> {
    docker.run(&["exec", name, "cmd", "/c", line])
}

/// A directory of the host for a case.
fn host(daemon: &Daemon, name: &str) -> Result<PathBuf> {
    let directory = daemon.scratch().join(name);
    fs_err::create_dir_all(&directory)?;
    Ok(directory)
}

fn outlives(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    ensure!(docker.run(&["volume", "create", "--label", "of=test", "kept"])?.trim() == "kept");
    in_container(&docker, &["-v", "kept:C:\\data"], "echo first> C:\\data\\a.txt")?;
    // In any case and slash form.
    let text = in_container(&docker, &["-v", "kept:c:/Other/:ro"], "type C:\\OTHER\\A.TXT")?;
    ensure!(text.trim() == "first", "{text}");
    let id = docker.run(&["create", "-v", "kept:C:\\data", "nanoserver"])?;
    let in_use = docker.try_run(&["volume", "rm", "kept"])?;
    let words = format!("remove kept: volume is in use - [{}]", id.trim());
    ensure!(in_use.status == 1 && in_use.stderr.contains(&words), "{in_use:?}");
    let inspected = docker.inspect("kept")?;
    ensure!(inspected["Driver"] == "local" && inspected["Scope"] == "local", "{inspected}");
    ensure!(inspected["Labels"]["of"] == "test", "{inspected}");
    let data = PathBuf::from(inspected["Mountpoint"].as_str().context("no mountpoint")?);
    ensure!(fs_err::read_to_string(data.join("a.txt"))? == "first\r\n");
    let list = |filter: &str| docker.run(&["volume", "ls", "-q", "--filter", filter]);
    ensure!(list("label=of=test")?.trim() == "kept");
    ensure!(!list("dangling=true")?.contains("kept") && list("dangling=0")?.contains("kept"));
    let df = docker.run(&["system", "df", "-v", "--format", "{{json .Volumes}}"])?;
    ensure!(df.contains("\"Links\":\"1\"") && df.contains("\"Size\":\"7B\""), "{df}");
    let shown = docker.inspect(id.trim())?;
    let mount = &shown["Mounts"][0];
    ensure!(mount["Type"] == "volume" && mount["Name"] == "kept", "{mount}");
    ensure!(mount["Destination"] == "C:\\data" && mount["RW"] == true, "{mount}");
    ensure!(mount["Driver"] == "local" && mount["Source"] == inspected["Mountpoint"], "{mount}");
    ensure!(shown["HostConfig"]["Binds"][0] == "kept:C:\\data", "{}", shown["HostConfig"]);
    let by_volume = docker.run(&["ps", "-aq", "--no-trunc", "--filter", "volume=kept"])?;
    ensure!(by_volume == id, "{by_volume}");
    docker.run(&["rm", "-v", id.trim()])?;
    docker.run(&["volume", "rm", "kept"])?;
    ensure!(!data.exists(), "the data is still there");
    let gone = docker.try_run(&["volume", "inspect", "kept"])?;
    ensure!(gone.stderr.contains("get kept: no such volume"), "{gone:?}");
    PASSED
}

fn shared(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    stays(&docker, "writer", &["--mount", "type=volume,source=shared,target=C:\\out"])?;
    let reader = ["run", "-d", "--name", "reader", "--volumes-from", "writer:ro"];
    let command = ["nanoserver", "ping", "-n", "1000", "127.0.0.1"];
    docker.run(&[&reader[..], &command[..]].concat())?;
    exec(&docker, "writer", "echo seen> C:\\out\\x.txt")?;
    ensure!(exec(&docker, "reader", "type C:\\out\\x.txt")?.trim() == "seen");
    docker.try_run(&["exec", "reader", "cmd", "/c", "echo no> C:\\out\\y.txt"])?;
    ensure!(!exec(&docker, "writer", "dir /b C:\\out")?.contains("y.txt"), "the reader may write");
    exec(&docker, "writer", "del C:\\out\\x.txt")?;
    let gone = docker.try_run(&["exec", "reader", "cmd", "/c", "type C:\\out\\x.txt"])?;
    ensure!(gone.status != 0, "{gone:?}");
    docker.run(&["rm", "-f", "writer", "reader"])?;
    docker.run(&["volume", "rm", "shared"])?;
    PASSED
}

fn read_only(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = host(daemon, "read-only")?;
    fs_err::write(directory.join("a.txt"), "kept")?;
    let bind = format!("type=bind,source={},target=C:\\fixed,readonly", directory.display());
    // In words of Windows: 19, the media is write protected, or 5, access is denied.
    for line in [
        "echo new> C:\\fixed\\b.txt",
        "echo changed>> C:\\fixed\\a.txt",
        "mkdir C:\\fixed\\sub",
        "ren C:\\fixed\\a.txt c.txt",
        "copy C:\\fixed\\a.txt C:\\fixed\\d.txt",
    ] {
        let command = ["run", "--rm", "--mount", &bind, "nanoserver", "cmd", "/c", line];
        let refused = docker.try_run(&command)?;
        let said = format!("{}{}", refused.stdout, refused.stderr).to_lowercase();
        let told = ["write protected", "write-protected", "access is denied", "access denied"];
        ensure!(told.iter().any(|words| said.contains(words)), "{line}: {refused:?}");
    }
    ensure!(fs_err::read_dir(&directory)?.count() == 1, "something was written");
    ensure!(fs_err::read_to_string(directory.join("a.txt"))? == "kept");
    PASSED
}

fn single_file(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let file = host(daemon, "single")?.join("App.conf");
    fs_err::write(&file, "from the host")?;
    let bind = format!("{}:C:\\etc\\app.conf", file.display());
    let text = in_container(&docker, &["-v", &bind], "type C:\\etc\\app.conf")?;
    ensure!(text.trim() == "from the host", "{text}");
    in_container(&docker, &["-v", &bind], "echo more>> C:\\ETC\\APP.CONF")?;
    ensure!(fs_err::read_to_string(&file)? == "from the hostmore\r\n");
    // Over a file that the image has.
    let bind = format!("{}:C:\\Windows\\System32\\drivers\\etc\\services:ro", file.display());
    let line = "type C:\\Windows\\System32\\drivers\\etc\\services";
    let text = in_container(&docker, &["-v", &bind], line)?;
    ensure!(text.contains("from the host"), "{text}");
    PASSED
}

fn owned(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = host(daemon, "owned")?;
    std::os::unix::fs::chown(&directory, Some(1000), Some(1001))?;
    let bind = format!("{}:C:\\home", directory.display());
    in_container(&docker, &["-v", &bind], "mkdir C:\\home\\d & echo mine> C:\\home\\d\\x.txt")?;
    let metadata = fs_err::metadata(directory.join("d/x.txt"))?;
    ensure!((metadata.uid(), metadata.gid()) == (1000, 1001), "{metadata:?}");
    PASSED
}

fn nested(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = host(daemon, "nested")?;
    fs_err::write(directory.join("file"), "inmost")?;
    let file = format!("{}:C:\\A\\sub\\deep\\f.txt:ro", directory.join("file").display());
    let mounts = ["-v", &file, "-v", "inner:c:\\a\\SUB", "-v", "outer:C:\\a"];
    let line = "echo o> C:\\a\\o.txt& echo i> C:\\a\\sub\\i.txt& type C:\\a\\sub\\deep\\f.txt";
    let text = in_container(&docker, &mounts, line)?;
    ensure!(text.trim() == "inmost", "{text}");
    let text = in_container(&docker, &["-v", "inner:C:\\x"], "dir /b C:\\x")?;
    ensure!(text.split_whitespace().collect::<Vec<_>>() == ["deep", "i.txt"], "{text}");
    let text = in_container(&docker, &["-v", "outer:C:\\x"], "dir /b C:\\x")?;
    ensure!(text.contains("o.txt") && !text.contains("i.txt"), "{text}");
    docker.run(&["volume", "create", "fixed"])?;
    let mounts = ["run", "--rm", "-v", "fixed:C:\\a:ro", "-v", "inner:C:\\a\\new"];
    let refused = docker.try_run(&[&mounts[..], &["nanoserver", "cmd", "/c", "ver"]].concat())?;
    ensure!(refused.status != 0 && refused.stderr.contains("ead-only"), "{refused:?}");
    docker.run(&["volume", "rm", "inner", "outer", "fixed"])?;
    PASSED
}

fn memory(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let mount = "type=tmpfs,target=C:\\mem,tmpfs-size=1m";
    let line = "if exist C:\\mem\\x (echo old) else (echo x> C:\\mem\\x&& echo new)";
    docker.run(&["create", "--name", "mem", "--mount", mount, "nanoserver", "cmd", "/c", line])?;
    for _ in 0..2 {
        let text = docker.run(&["start", "-a", "mem"])?;
        ensure!(text.trim() == "new", "{text}");
    }
    docker.run(&["rm", "mem"])?;
    // The size holds.
    let line = "copy C:\\Windows\\System32\\ntdll.dll C:\\mem\\1 && \
                copy C:\\Windows\\System32\\kernelbase.dll C:\\mem\\2 && \
                copy C:\\mem\\1 C:\\mem\\3 && copy C:\\mem\\2 C:\\mem\\4";
    let mount = ["run", "--rm", "--tmpfs", "C:\\mem:size=256k"];
    let full = docker.try_run(&[&mount[..], &["nanoserver", "cmd", "/c", line]].concat())?;
    ensure!(full.status != 0, "{full:?}");
    PASSED
}

fn declared(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM nanoserver\nVOLUME C:\\\\data /cache\nCMD echo x> C:\\data\\x.txt\n";
    let directory = context(daemon, "declared", dockerfile)?;
    docker.run(&["build", "-q", "-t", "declared", &directory.to_string_lossy()])?;
    let volumes = || docker.run(&["volume", "ls", "-q"]);
    let before = volumes()?;
    docker.run(&["run", "--rm", "declared"])?;
    ensure!(volumes()? == before, "--rm left a volume");
    docker.run(&["run", "--name", "declares", "declared"])?;
    let made = docker.inspect("declares")?;
    let mounts = made["Mounts"].as_array().context("no mounts")?;
    let name = mounts
        .iter()
        .find(|mount| mount["Destination"] == "C:\\data")
        .and_then(|mount| mount["Name"].as_str())
        .context("no volume")?;
    ensure!(mounts.len() == 2 && name.len() == 64, "{mounts:?}");
    let volume = docker.inspect(name)?;
    ensure!(volume["Labels"]["com.docker.volume.anonymous"] == "", "{volume}");
    let data = PathBuf::from(volume["Mountpoint"].as_str().context("no mountpoint")?);
    ensure!(data.join("x.txt").exists());
    docker.run(&["rm", "-v", "declares"])?;
    ensure!(volumes()? == before && !data.exists(), "rm -v left a volume");
    docker.run(&["rmi", "declared"])?;
    PASSED
}

fn prune(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["volume", "prune", "-af"])?;
    docker.run(&["volume", "create", "named"])?;
    let used = docker.run(&["create", "-v", "C:\\used", "nanoserver"])?;
    let left = docker.run(&["create", "-v", "C:\\left", "nanoserver"])?;
    docker.run(&["rm", left.trim()])?;
    let text = docker.run(&["volume", "prune", "-f"])?;
    ensure!(text.contains("Deleted Volumes:") && !text.contains("named"), "{text}");
    let list = docker.run(&["volume", "ls", "-q"])?;
    ensure!(list.lines().count() == 2 && list.contains("named"), "{list}");
    let text = docker.run(&["volume", "prune", "-af"])?;
    ensure!(text.contains("named") && text.contains("Total reclaimed space: 0B"), "{text}");
    docker.run(&["rm", "-v", used.trim()])?;
    ensure!(docker.run(&["volume", "ls", "-q"])?.is_empty());
    PASSED
}

fn killed_daemon(daemon: &mut Daemon) -> Result<Outcome> {
    stays(&daemon.docker(), "holder", &["-v", "held:C:\\held"])?;
    exec(&daemon.docker(), "holder", "echo before> C:\\held\\x.txt")?;
    daemon.kill()?;
    daemon.restart()?;
    let docker = daemon.docker();
    let refused = docker.try_run(&["volume", "rm", "held"])?;
    ensure!(refused.stderr.contains("volume is in use"), "{refused:?}");
    ensure!(exec(&docker, "holder", "type C:\\held\\x.txt")?.trim() == "before");
    // Its own drive is found again, too.
    let copied = daemon.scratch().join("held.txt");
    docker.run(&["cp", "holder:/held/x.txt", &copied.to_string_lossy()])?;
    ensure!(fs_err::read_to_string(copied)? == "before\r\n");
    docker.run(&["rm", "-f", "holder"])?;
    docker.run(&["volume", "rm", "held"])?;
    PASSED
}

fn refused(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let before = docker.run(&["volume", "ls", "-q"])?;
    let root = "cannot be 'c:' or 'c:\\'";
    let no_such = "bind source path does not exist: /none";
    let invalid = "invalid volume specification: '";
    for (arguments, words) in [
        (["-v", "/tmp:C:\\"], root),
        (["-v", "/tmp:C:\\x:z"], invalid),
        (["-v", "/tmp:x"], invalid),
        (["-v", "/none:C:\\x"], no_such),
        (["-v", "/tmp:E:\\x"], "is not on drive C:"),
        (["--mount", "type=bind,source=/none,target=C:\\x"], no_such),
        (["--mount", "type=bind,source=/tmp,target=C:"], root),
        (["--mount", "type=volume,source=a/b,target=C:\\x"], "includes invalid characters"),
        (["--volumes-from", "nobody"], "No such container: nobody"),
        (["--tmpfs", "C:\\x:uid=0"], "invalid tmpfs option"),
    ] {
        let output = docker.try_run(&[&["create"], &arguments[..], &["nanoserver"]].concat())?;
        ensure!(output.status != 0 && output.stderr.contains(words), "{arguments:?}: {output:?}");
    }
    for (arguments, words) in [
        (&["create", "x"][..], "volume name is too short"),
        (&["create", "-d", "nfs", "x1"], "plugin \"nfs\" not found"),
        (&["create", "-o", "type=nfs", "x1"], "options are not supported on this platform"),
        (&["ls", "--filter", "what=1"], "invalid filter 'what'"),
        (&["ls", "--filter", "dangling=maybe"], "invalid filter 'dangling"),
    ] {
        let output = docker.try_run(&[&["volume"], arguments].concat())?;
        ensure!(output.status != 0 && output.stderr.contains(words), "{arguments:?}: {output:?}");
    }
    ensure!(docker.run(&["volume", "ls", "-q"])? == before, "a refusal left a volume");
    PASSED
}

/// A tree with an awkward name, an empty file and a larger one.
fn tree(daemon: &Daemon, name: &str) -> Result<PathBuf> {
    let directory = host(daemon, name)?;
    fs_err::create_dir_all(directory.join("sub/Empty Directory"))?;
    fs_err::write(directory.join("empty"), "")?;
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    fs_err::write(directory.join("sub/large ü.bin"), bytes)?;
    fs_err::write(directory.join(".hidden"), "h\n")?;
    Ok(directory)
}

/// Whether two trees hold the same.
fn same(a: &Path, b: &Path) -> Result<()> {
    let output = Command::new("diff").arg("-r").arg(a).arg(b).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn copied(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let source = tree(daemon, "cp-in")?;
    stays(&docker, "copies", &[])?;
    for round in ["running", "stopped"] {
        if round == "stopped" {
            docker.run(&["stop", "-t", "0", "copies"])?;
        }
        let path = source.to_string_lossy();
        // Into a directory that is there, and under a new name.
        docker.run(&["cp", &path, &format!("copies:C:\\{round}")])?;
        docker.run(&["cp", &format!("{path}/sub/large ü.bin"), "copies:/Windows/Temp/"])?;
        if round == "running" {
            let text =
                exec(&docker, "copies", "dir /b /s C:\\running & type C:\\running\\.hidden")?;
            ensure!(text.contains("C:\\running\\sub\\large") && text.ends_with("h\n"), "{text}");
            exec(&docker, "copies", "echo own> C:\\running\\own.txt & del C:\\running\\own.txt")?;
        }
        let back = daemon.scratch().join(format!("cp-out-{round}"));
        docker.run(&["cp", &format!("copies:/{round}"), &back.to_string_lossy()])?;
        same(&source, &back)?;
        let file = daemon.scratch().join(format!("cp-file-{round}"));
        let from = "copies:c:/windows/TEMP/large ü.bin";
        docker.run(&["cp", from, &file.to_string_lossy()])?;
        ensure!(fs_err::read(file)? == fs_err::read(source.join("sub/large ü.bin"))?);
        let missing = docker.try_run(&["cp", "copies:C:\\none", "-"])?;
        ensure!(missing.stderr.contains("Could not find the file"), "{missing:?}");
    }
    // What was copied into the stopped container is there when it runs.
    docker.run(&["start", "copies"])?;
    let line = "fc /b C:\\running\\sub\\*.bin C:\\stopped\\sub\\*.bin >nul || dir C:\\stopped\\sub";
    exec(&docker, "copies", line)?;
    let text = exec(&docker, "copies", "dir /b C:\\stopped")?;
    ensure!(text.contains("empty") && text.contains("sub"), "{text}");
    let diff = docker.run(&["diff", "copies"])?;
    ensure!(diff.contains("A /stopped/empty"), "{diff}");
    let tar = docker.command(&["cp", "copies:/running/sub", "-"]).output()?.stdout;
    ensure!(tar.get(257..262) == Some(b"ustar".as_slice()), "no tar");
    let output = docker.run_with_input(&["cp", "-a", "-", "copies:C:\\Windows\\Temp"], &tar)?;
    ensure!(output.status == 0, "{output:?}");
    ensure!(exec(&docker, "copies", "dir /b C:\\Windows\\Temp\\sub")?.contains("large"));
    docker.run(&["rm", "-f", "copies"])?;
    PASSED
}

fn copied_into_mounts(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let source = tree(daemon, "cp-mounts")?;
    stays(&docker, "cpm", &["-v", "cpv:C:\\v", "-v", "cpr:C:\\r:ro", "--tmpfs", "C:\\t"])?;
    let path = source.to_string_lossy();
    docker.run(&["cp", &path, "cpm:C:\\v\\tree"])?;
    let file = format!("{path}/.hidden");
    docker.run(&["cp", &file, "cpm:/t/x"])?;
    ensure!(exec(&docker, "cpm", "type C:\\t\\x & del C:\\v\\tree\\empty")?.trim() == "h");
    let back = daemon.scratch().join("cp-mounts-out");
    fs_err::write(source.join("empty"), "")?;
    docker.run(&["cp", "cpm:/v/tree/sub", &back.to_string_lossy()])?;
    same(&source.join("sub"), &back)?;
    for _ in 0..2 {
        let refused = docker.try_run(&["cp", &file, "cpm:/r/x"])?;
        let words = "mounted volume is marked read-only";
        ensure!(refused.status != 0 && refused.stderr.contains(words), "{refused:?}");
        docker.run(&["stop", "-t", "0", "cpm"])?;
    }
    docker.run(&["cp", &file, "cpm:C:\\v\\later"])?;
    docker.run(&["rm", "-f", "cpm"])?;
    let text =
        in_container(&docker, &["-v", "cpv:C:\\v"], "type C:\\v\\later& echo x>C:\\v\\later")?;
    ensure!(text.trim() == "h", "{text}");
    docker.run(&["volume", "rm", "cpv", "cpr"])?;
    PASSED
}

/// Writes a tar with one good member and one that no container should get.
const EVIL: &str = "import sys,tarfile,io\n\
    out=tarfile.open(fileobj=sys.stdout.buffer,mode='w|')\n\
    def add(name,type=tarfile.REGTYPE,link='',data=b'x'):\n\
    \x20 i=tarfile.TarInfo(name); i.type=type; i.linkname=link\n\
    \x20 i.size=len(data) if type==tarfile.REGTYPE else 0\n\
    \x20 out.addfile(i,io.BytesIO(data))\n\
    add('good')\n\
    {'up':lambda:add('../evil'),'absolute':lambda:add('/evil'),\n\
    \x20'device':lambda:add('null',tarfile.CHRTYPE),'pipe':lambda:add('p',tarfile.FIFOTYPE),\n\
    \x20'link':lambda:add('l',tarfile.SYMTYPE,'../../../../etc/passwd'),\n\
    \x20'hard':lambda:add('h',tarfile.LNKTYPE,'/etc/passwd')}[sys.argv[1]]()\n\
    out.close()";

fn hostile(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    stays(&docker, "target", &[])?;
    for (kind, words) in [
        ("up", "\"../evil\": leads out of the directory"),
        ("absolute", "\"/evil\": is an absolute name"),
        ("device", "\"null\": is a device"),
        ("pipe", "\"p\": is a pipe"),
        ("link", "\"l\": links out of the container"),
        ("hard", "\"h\": is an absolute name"),
    ] {
        let tar = Command::new("python3").args(["-c", EVIL, kind]).output()?;
        ensure!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let refused = docker.run_with_input(&["cp", "-", "target:/Windows/Temp"], &tar.stdout)?;
        ensure!(refused.status != 0 && refused.stderr.contains(words), "{kind}: {refused:?}");
    }
    let diff = docker.run(&["diff", "target"])?;
    ensure!(!diff.contains("good") && !diff.contains("evil"), "{diff}");
    docker.run(&["rm", "-f", "target"])?;
    PASSED
}
