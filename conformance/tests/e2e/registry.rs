//! The registry for people: `oriel registry` and `oriel diff` on containers and images.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};
use serde_json::Value;

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "the_registry_of_an_image_is_queried_by_the_names_people_use", run: query_image },
    Case { name: "what_a_running_program_sets_is_queried_at_once", run: query_running },
    Case { name: "a_registry_file_is_imported_into_a_running_container", run: import_running },
    Case { name: "a_registry_file_is_imported_into_a_stopped_container", run: import_stopped },
    Case { name: "a_registry_file_makes_an_image_with_a_genuine_delta", run: import_image },
    Case { name: "regedit_in_a_container_and_oriel_read_each_other", run: regedit },
    Case { name: "diff_tells_files_keys_and_values_and_makes_the_change_again", run: diff },
    Case { name: "a_bad_registry_request_changes_nothing", run: bad_input },
    Case { name: "a_tree_of_20000_keys_is_paged", run: large_tree },
];

/// An account that may write everywhere.
const ADMINISTRATOR: [&str; 2] = ["--user", "ContainerAdministrator"];

/// A program that goes on until it is ended.
const FOREVER: [&str; 4] = ["ping", "-n", "600", "127.0.0.1"];

const FILE: &str = "Windows Registry Editor Version 5.00\r\n\r\n\
    [HKEY_LOCAL_MACHINE\\Software\\Imported]\r\n\
    \"text\"=\"a \\\"b\\\" C:\\\\c\"\r\n\
    \"number\"=dword:0000002a\r\n\
    \"many\"=hex(7):61,00,00,00,62,00,00,00,00,00\r\n\
    \r\n[HKEY_CURRENT_USER\\Software\\Imported\\Empty]\r\n\
    \r\n[HKEY_CLASSES_ROOT\\.imported]\r\n@=\"file\"\r\n";

/// The command line of this daemon.
fn oriel(daemon: &Daemon) -> Docker {
    Docker::new(&daemon.program("oriel"), &daemon.socket())
}

/// Writes a file of the tests, and returns its path.
fn file(daemon: &Daemon, name: &str, text: impl AsRef<[u8]>) -> Result<String> {
    let path = daemon.scratch().join(name);
    fs_err::write(&path, text)?;
    Ok(path.to_string_lossy().into_owned())
}

/// Starts a container that stays.
fn started(docker: &Docker, name: &str, image: &str) -> Result<()> {
    let run = [&["run", "-d", "--name", name][..], &ADMINISTRATOR, &[image], &FOREVER].concat();
    docker.run(&run).map(drop)
}

/// Checks that a program in a container sees what [`FILE`] says.
fn sees_imported(docker: &Docker, run: &[&str]) -> Result<()> {
    for (key, line) in [
        (r"HKLM\Software\Imported", r#"text    REG_SZ    a "b" C:\c"#),
        (r"HKLM\Software\Imported", "number    REG_DWORD    0x2a"),
        (r"HKLM\Software\Imported", r"many    REG_MULTI_SZ    a\0b"),
        (r"HKCU\Software\Imported", r"HKEY_CURRENT_USER\Software\Imported\Empty"),
        (r"HKCR\.imported", "REG_SZ    file"),
    ] {
        let text = docker.run(&[run, &["reg", "query", key]].concat())?;
        ensure!(text.contains(line), "{key}: {text}");
    }
    Ok(())
}

fn query_image(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = oriel(daemon);
    for image in ["nanoserver", "windowsservercore"] {
        let version = r"Software\Microsoft\Windows NT\CurrentVersion";
        for root in ["HKLM", "hkey_local_machine", "HKLM:"] {
            let key = format!(r"{root}\{version}");
            let query = ["registry", "query", image, &key, "-v", "currentbuildnumber"];
            let text = oriel.run(&query)?;
            let expected = format!(
                "\nHKEY_LOCAL_MACHINE\\{version}\n    CurrentBuildNumber    REG_SZ    20348\n\n"
            );
            ensure!(text.eq_ignore_ascii_case(&expected), "{text:?}");
        }
        let link = r"HKLM\System\CurrentControlSet\Control\ProductOptions";
        let text = oriel.run(&["registry", "query", image, link, "-v", "ProductType"])?;
        ensure!(text.contains("ServerNT"), "{text}");
        let set = oriel.run(&["registry", "query", image, r"HKLM\System"])?;
        ensure!(set.contains(r"CurrentControlSet -> \Registry\Machine\System\ControlSet"), "{set}");
    }
    let json = ["registry", "query", "nanoserver", "HKU", "--json"];
    let users: Value = serde_json::from_str(&oriel.run(&json)?)?;
    ensure!(users[0]["Subkeys"][0] == ".DEFAULT" && users[0]["Path"] == "HKEY_USERS", "{users}");
    let json = ["registry", "query", "nanoserver", r"HKCU\Software", "-s", "--json"];
    let all: Value = serde_json::from_str(&oriel.run(&json)?)?;
    ensure!(all.as_array().is_some_and(|keys| keys.len() > 3), "{all}");
    PASSED
}

fn query_running(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    for image in ["nanoserver", "windowsservercore"] {
        started(&docker, "asked", image)?;
        for (data, shown) in [("1", "0x1"), ("2", "0x2")] {
            let key = r"HKLM\Software\Asked";
            let set = ["reg", "add", key, "/v", "v", "/t", "REG_DWORD", "/d", data, "/f"];
            docker.run(&[&["exec", "asked"][..], &set].concat())?;
            let text = oriel.run(&["registry", "query", "asked", key])?;
            ensure!(text.contains(&format!("    v    REG_DWORD    {shown}\n")), "{text}");
        }
        docker.run(&["stop", "-t", "1", "asked"])?;
        let text = oriel.run(&["registry", "query", "asked", r"HKLM\SOFTWARE\asked", "-s"])?;
        ensure!(text.contains("    v    REG_DWORD    0x2\n"), "{text}");
        docker.run(&["rm", "asked"])?;
        let gone = oriel.try_run(&["registry", "query", image, r"HKLM\Software\Asked"])?;
        ensure!(gone.status == 1 && gone.stdout.is_empty(), "{gone:?}");
    }
    PASSED
}

fn import_running(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    let path = file(daemon, "import.reg", FILE)?;
    for image in ["nanoserver", "windowsservercore"] {
        started(&docker, "told", image)?;
        let done = oriel.try_run(&["registry", "import", "told", &path])?;
        ensure!(done.status == 0 && done.stdout.is_empty(), "{done:?}");
        ensure!(done.stderr.contains("imported 3 keys and 4 values"), "{done:?}");
        sees_imported(&docker, &["exec", "told"])?;
        let undo = FILE.replace("[HKEY", "[-HKEY");
        let undo = undo.lines().filter(|line| !line.contains('=')).collect::<Vec<_>>().join("\n");
        let undone = oriel.run_with_input(&["registry", "import", "told"], undo.as_bytes())?;
        ensure!(undone.status == 0, "{undone:?}");
        let query = ["exec", "told", "reg", "query", r"HKLM\Software\Imported"];
        ensure!(docker.try_run(&query)?.status != 0, "the key is still there");
        docker.run(&["rm", "-f", "told"])?;
    }
    PASSED
}

fn import_stopped(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    let path = file(daemon, "import.reg", FILE)?;
    let create = [&["create", "--name", "still"][..], &ADMINISTRATOR, &["nanoserver"], &FOREVER];
    docker.run(&create.concat())?;
    oriel.run(&["registry", "import", "still", &path])?;
    let text = oriel.run(&["registry", "query", "still", r"HKCR\.imported"])?;
    ensure!(text.contains("    (Default)    REG_SZ    file\n"), "{text}");
    docker.run(&["start", "still"])?;
    sees_imported(&docker, &["exec", "still"])?;
    docker.run(&["rm", "-f", "still"])?;
    PASSED
}

fn import_image(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    let file = FILE.replace("HKEY_CURRENT_USER", "HKEY_LOCAL_MACHINE");
    let import = ["registry", "import", "windowsservercore", "-t", "imported:1", "-"];
    let done = oriel.run_with_input(&import, file.as_bytes())?;
    ensure!(done.status == 0, "{done:?}");
    let id = docker.inspect("imported:1")?["Id"].clone();
    ensure!(id == done.stdout.trim(), "{done:?} {id}");
    let layers = |image: &str| -> Result<usize> {
        let image = docker.inspect(image)?;
        Ok(image["RootFS"]["Layers"].as_array().context("no layers")?.len())
    };
    ensure!(layers("imported:1")? == layers("windowsservercore")? + 1, "not one layer more");
    let run = ["run", "--rm", "imported:1", "reg", "query", r"HKLM\Software\Imported"];
    ensure!(docker.run(&run)?.contains("0x2a"), "the value is gone");
    let changed = oriel.run(&["diff", "imported:1", "--base", "windowsservercore"])?;
    ensure!(changed.contains("A     number    REG_DWORD    0x2a\n"), "{changed}");
    ensure!(oriel.run(&["diff", "imported:1"])? == changed, "not what it was made from");

    let tar = daemon.scratch().join("imported.tar");
    docker.run(&["save", "-o", &tar.to_string_lossy(), "imported:1"])?;
    let hive = daemon.scratch().join("Software_Delta");
    let script = "import sys,tarfile\n\
        outer=tarfile.open(sys.argv[1])\n\
        small=[m for m in outer.getmembers() if m.isfile() and 0<m.size<1<<20]\n\
        for m in small:\n\
        \x20try: inner=tarfile.open(fileobj=outer.extractfile(m))\n\
        \x20except tarfile.TarError: continue\n\
        \x20open(sys.argv[2],'wb').write(inner.extractfile('Hives/Software_Delta').read())\n\
        \x20print(*inner.getnames(),sep='\\n')";
    let mut python = std::process::Command::new("python3");
    let listing = python.args(["-c", script]).arg(&tar).arg(&hive).output()?;
    ensure!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let names: Vec<_> = listing.lines().collect();
    ensure!(names == ["Files", "Hives", "Hives/Software_Delta"], "{names:?}");
    let header = fs_err::read(&hive)?;
    ensure!(header.starts_with(b"regf") && header[24] == 6, "no layered hive");
    let lookup = std::process::Command::new("reglookup").arg(&hive).output()?;
    let lookup = String::from_utf8_lossy(&lookup.stdout).into_owned();
    ensure!(lookup.contains("/Imported/number,DWORD,0x0000002A"), "{lookup}");
    docker.run(&["rmi", "imported:1"])?;
    PASSED
}

fn regedit(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    let shared = daemon.scratch().join("shared");
    fs_err::create_dir_all(&shared)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs_err::set_permissions(&shared, open)?;
    let bind = format!("{}:C:\\t", shared.display());
    let name = "windowsservercore";
    let run = ["run", "-d", "--name", "editor", "-v", &bind];
    docker.run(&[&run[..], &ADMINISTRATOR, &[name], &FOREVER].concat())?;
    let long: String = (0..200).map(|byte| format!(",{byte:02x}")).collect();
    let text = format!(
        "{FILE}\r\n[HKEY_LOCAL_MACHINE\\Software\\Imported\\a]b[ ünï 日本]\r\n@=\"ünï\"\r\n\
         \"bytes\"=hex:{}\r\n\"own\"=hex(1234):01\r\n\"none\"=hex(0):\r\n\
         \"wide\"=hex(b):01,00,00,00,00,00,00,00\r\n\"q\\\"\\\\\"=\"\"\r\n",
        &long[1..]
    );
    ensure!(oriel.run_with_input(&["registry", "import", "editor"], text.as_bytes())?.status == 0);
    let ours = shared.join("ours.reg");
    let key = r"HKLM\Software\Imported";
    oriel.run(&["registry", "export", "editor", key, &ours.to_string_lossy()])?;
    ensure!(fs_err::read(&ours)?.starts_with(&[0xff, 0xfe]), "not UTF-16");

    // What regedit exports of the same key is the same text.
    docker.run(&["exec", "editor", "reg", "export", key, "C:\\t\\theirs.reg", "/y"])?;
    let decode = |bytes: &[u8]| -> String {
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect()
    };
    let [mine, theirs] = [&ours, &shared.join("theirs.reg")].map(fs_err::read);
    let [mine, theirs] = [decode(&mine?), decode(&theirs?)];
    ensure!(mine == theirs, "ours:\n{mine}\ntheirs:\n{theirs}");

    // Each reads the other's file: nothing is different after a way through both.
    let sees = || oriel.run(&["registry", "export", "editor", key]);
    let before = sees()?;
    for tool in [&["reg", "import"][..], &["regedit", "/S"]] {
        docker.run(&["exec", "editor", "reg", "delete", key, "/f"])?;
        ensure!(oriel.try_run(&["registry", "query", "editor", key])?.status == 1, "still there");
        docker.run(&[&["exec", "editor"][..], tool, &["C:\\t\\ours.reg"]].concat())?;
        let after = sees()?;
        ensure!(after == before, "{tool:?}\nbefore:\n{before}\nafter:\n{after}");
    }
    docker.run(&["exec", "editor", "reg", "delete", key, "/f"])?;
    let theirs = shared.join("theirs.reg").to_string_lossy().into_owned();
    oriel.run(&["registry", "import", "editor", &theirs])?;
    ensure!(sees()? == before, "{}", sees()?);
    docker.run(&["rm", "-f", "editor"])?;
    PASSED
}

fn diff(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    for name in ["first", "again"] {
        started(&docker, name, "nanoserver")?;
    }
    let idle = oriel.run(&["diff", "first", "--format", "reg"])?;
    ensure!(idle.lines().count() <= 2, "a mere boot is told: {idle}");
    let work = |words: &[&str]| docker.run(&[&["exec", "first"][..], words].concat());
    work(&["cmd", "/c", r"echo x> C:\made.txt"])?;
    let below = r"HKLM\Software\Made\Below";
    work(&["reg", "add", below, "/v", "n", "/t", "REG_DWORD", "/d", "7", "/f"])?;
    work(&["reg", "add", r"HKCU\Software\Made", "/ve", "/d", "hello", "/f"])?;
    let version = r"HKLM\Software\Microsoft\Windows NT\CurrentVersion";
    work(&["reg", "add", version, "/v", "ProductName", "/d", "Mine", "/f"])?;
    work(&["reg", "delete", version, "/v", "ReleaseId", "/f"])?;
    let text = oriel.run(&["diff", "first"])?;
    for line in [
        "A /made.txt",
        r"A HKEY_LOCAL_MACHINE\Software\Made\Below",
        "A     n    REG_DWORD    0x7",
        "A     (Default)    REG_SZ    hello",
        r"C HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion",
        "D     ReleaseId    REG_SZ    2009",
    ] {
        let found = |text: &str| text.lines().any(|found| found.eq_ignore_ascii_case(line));
        ensure!(found(&text), "no {line}:\n{text}");
    }
    let changed = |text: &str| {
        text.lines().any(|line| {
            line.starts_with("C     ProductName    REG_SZ    ") && line.ends_with(" -> Mine")
        })
    };
    ensure!(changed(&text), "{text}");

    let json: Value = serde_json::from_str(&oriel.run(&["diff", "first", "--format", "json"])?)?;
    let keys = json["Keys"].as_array().context("no keys")?;
    let values = keys.iter().flat_map(|key| key["Values"].as_array().into_iter().flatten());
    let product = values.clone().find(|value| value["Name"] == "ProductName");
    let product = product.context("not told")?;
    ensure!(product["Kind"] == "changed" && product["New"]["Data"] == "Mine", "{product}");
    ensure!(product["Old"]["Data"].as_str().is_some_and(|old| old != "Mine"), "{product}");
    let files = json["Files"].as_array().context("no files")?;
    ensure!(files.iter().any(|file| file["Path"] == "/made.txt" && file["Kind"] == "added"));

    // The change as a file makes the same change in another container, and of a stopped one.
    let reg = oriel.run(&["diff", "first", "--format", "reg"])?;
    let done = oriel.run_with_input(&["registry", "import", "again"], reg.as_bytes())?;
    ensure!(done.status == 0, "{done:?}");
    let same = oriel.run(&["diff", "again", "--format", "reg"])?;
    ensure!(same == reg, "first:\n{reg}\nagain:\n{same}");
    docker.run(&["stop", "-t", "1", "first"])?;
    let stopped = oriel.run(&["diff", "first", "--format", "reg"])?;
    ensure!(stopped == reg, "running:\n{reg}\nstopped:\n{stopped}");
    docker.run(&["rm", "-f", "first", "again"])?;
    PASSED
}

fn bad_input(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    docker.run(&["create", "--name", "victim", "nanoserver", "cmd"])?;
    let whole = |target: &str| oriel.run(&["registry", "export", target, "HKLM"]);
    let (before, image) = (whole("victim")?, whole("nanoserver")?);
    let head = "Windows Registry Editor Version 5.00\n[HKEY_LOCAL_MACHINE\\Software\\Bad]\n";
    let huge = file(daemon, "huge.reg", vec![b' '; (64 << 20) + 1])?;
    for (arguments, input, words) in [
        (&["query", "nobody", "HKLM"][..], "", "No such container or image: nobody"),
        (&["query", "No//Name", "HKLM"], "", "No such container or image: No//Name"),
        (&["query", "victim", "HKLM/Software"], "", r"names are parted by \, not by /"),
        (&["query", "victim", "Software"], "", "it begins with none of HKLM"),
        (&["query", "victim", r"HKLM\No\Such"], "", r"HKEY_LOCAL_MACHINE\No\Such"),
        (&["query", "victim", "HKLM", "-v", "none"], "", "no value \"none\""),
        (&["export", "victim", r"HKCU\No"], "", "No such registry key"),
        (&["tree", "nobody"], "", "No such container or image"),
        (&["import", "nobody"], head, "No such container or image"),
        (&["import", "victim"], "MZ\u{1}", "line 1: expected \"Windows Registry Editor"),
        (&["import", "victim"], &format!("{head}\"a\"=1"), "line 3: malformed value data"),
        (&["import", "nanoserver"], &format!("{head}[HKEY_X\\a]"), "line 3: `HKEY_X\\a` is no"),
        (&["import", "victim"], &format!("{head}[-HKEY_LOCAL_MACHINE]"), "cannot be deleted"),
        (&["import", "victim", &huge], "", "larger than 64 MiB"),
        (&["import", "victim", "-t", "x:1"], head, "changed in place"),
        (&["import", "victim", "/no/such/file"], "", "/no/such/file"),
    ] {
        let output =
            oriel.run_with_input(&[&["registry"][..], arguments].concat(), input.as_bytes())?;
        ensure!(output.status == 1 && output.stdout.trim().is_empty(), "{arguments:?} {output:?}");
        ensure!(output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
    }
    for (method, path, expected) in [
        ("GET", "/oriel/registry?target=victim", 400),
        ("GET", "/oriel/registry?key=HKLM", 400),
        ("GET", "/oriel/registry?target=victim&key=HKLM&after=x", 400),
        ("GET", "/oriel/registry?target=victim&key=HKLM%5CNone", 404),
        ("GET", "/oriel/registry/export?target=victim&key=HKLM&encoding=ebcdic", 400),
        ("POST", "/oriel/registry/import?target=none", 404),
        ("POST", "/oriel/registry/import?target=victim", 400),
        ("GET", "/oriel/diff?target=none", 404),
        ("GET", "/oriel/diff?target=victim&base=nanoserver", 400),
        ("GET", "/oriel/diff?target=victim&format=xml", 400),
        ("DELETE", "/oriel/registry?target=victim&key=HKLM", 404),
    ] {
        let (status, body) = docker.http(method, path, "")?;
        ensure!(status == expected && body.contains("message"), "{path}: {status} {body}");
    }
    ensure!(whole("victim")? == before && whole("nanoserver")? == image, "something changed");
    docker.run(&["rm", "victim"])?;
    PASSED
}

fn large_tree(daemon: &mut Daemon) -> Result<Outcome> {
    const KEYS: usize = 20_000;
    let (docker, oriel) = (daemon.docker(), oriel(daemon));
    let mut text = "Windows Registry Editor Version 5.00\n".to_owned();
    for key in 0..KEYS {
        text += &format!("[HKEY_LOCAL_MACHINE\\Software\\Large\\{}\\k{key}]\n", key % 16);
    }
    docker.run(&["create", "--name", "large", "nanoserver", "cmd"])?;
    let done = oriel.run_with_input(&["registry", "import", "large"], text.as_bytes())?;
    ensure!(done.status == 0, "{done:?}");
    let all = oriel.run(&["registry", "tree", "large", r"HKLM\Software\Large"])?;
    ensure!(all.lines().count() == KEYS + 17, "{} lines", all.lines().count());
    let distinct: std::collections::BTreeSet<_> =
        all.lines().filter_map(|line| line.split_once('k')).map(|(_, key)| key).collect();
    ensure!(distinct.len() == KEYS, "{} keys", distinct.len());
    let levels = ["registry", "tree", "large", r"HKLM\Software\Large", "--depth", "1"];
    ensure!(oriel.run(&levels)?.lines().count() == 17, "not one level");

    // A reader that has seen enough ends it at once; until then it holds no more than a page.
    let mut command = oriel.command(&["registry", "tree", "large", r"HKLM\Software\Large"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    ensure!(lines.by_ref().take(KEYS / 2).all(|line| line.is_ok()), "no lines");
    let status = fs_err::read_to_string(format!("/proc/{}/status", child.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    let peak: usize = peak.trim().trim_end_matches(" kB").parse()?;
    drop(lines);
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    ensure!(peak < 32 << 10, "{peak} kB");
    docker.run(&["rm", "large"])?;
    PASSED
}
