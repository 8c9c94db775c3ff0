//! What containers have of their own in their registry, and what they see of hives from Windows.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "the_registry_tells_a_container_its_name_and_variables", run: own },
    Case { name: "the_registry_tells_a_container_its_time_zone", run: time_zone },
    Case { name: "a_commit_keeps_no_settings_of_the_container", run: commit },
    Case { name: "an_image_with_deltas_from_windows_runs", run: from_windows },
    Case { name: "an_idle_container_changes_nothing_in_its_registry", run: idle },
];

const CONTROL: &str = r"HKLM\System\CurrentControlSet\Control";

/// Runs a command in a container of its own.
fn program(daemon: &Daemon, options: &[&str], image: &str, command: &[&str]) -> Result<String> {
    let run = ["run", "--rm", "--user", "ContainerAdministrator"];
    let output = daemon.docker().try_run(&[&run, options, &[image], command].concat())?;
    Ok(format!("{}{}", output.stdout, output.stderr))
}

/// The data of a value, in a container of its own.
fn query(daemon: &Daemon, options: &[&str], image: &str, value: (&str, &str)) -> Result<String> {
    let (key, name) = value;
    let text = program(daemon, options, image, &["reg", "query", key, "/v", name])?;
    let data = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?.trim_start();
        let (kind, data) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        kind.starts_with("REG_").then(|| data.trim().to_owned())
    });
    Ok(data.unwrap_or(text))
}

fn own(daemon: &mut Daemon) -> Result<Outcome> {
    let path = r"Path=C:\Windows\system32;%windir%";
    let options = ["-h", "Web-Server-number-1", "-e", "GREETING=a b", "-e", path];
    let environment = format!(r"{CONTROL}\Session Manager\Environment");
    let tcpip = r"HKLM\System\CurrentControlSet\Services\Tcpip\Parameters";
    for (key, name, expected) in [
        (
            format!(r"{CONTROL}\ComputerName\ComputerName").as_str(),
            "ComputerName",
            "WEB-SERVER-NUMB",
        ),
        (&format!(r"{CONTROL}\ComputerName\ActiveComputerName"), "ComputerName", "WEB-SERVER-NUMB"),
        (tcpip, "Hostname", "Web-Server-number-1"),
        (tcpip, "NV Hostname", "Web-Server-number-1"),
        (&environment, "GREETING", "a b"),
        (&environment, "OS", "Windows_NT"),
        // What Wine answers to GetACP and GetOEMCP.
        (&format!(r"{CONTROL}\Nls\CodePage"), "ACP", "1252"),
        (&format!(r"{CONTROL}\Nls\CodePage"), "OEMCP", "437"),
        (&format!(r"{CONTROL}\Nls\Language"), "Default", "0409"),
    ] {
        let found = query(daemon, &options, "nanoserver", (key, name))?;
        ensure!(found == expected, "{key} {name}: {found}");
    }
    // Variables say the same wherever a program looks.
    let echo = ["cmd", "/S", "/C", "echo %GREETING%/%Path%/%COMPUTERNAME%"];
    let text = program(daemon, &options, "nanoserver", &echo)?;
    ensure!(text.trim() == r"a b/C:\Windows\system32;%windir%/WEB-SERVER-NUMB", "{text}");
    let text = program(daemon, &options, "nanoserver", &["reg", "query", &environment])?;
    ensure!(text.contains(r"REG_EXPAND_SZ    C:\Windows\system32;%windir%"), "{text}");
    PASSED
}

fn time_zone(daemon: &mut Daemon) -> Result<Outcome> {
    let zone = format!(r"{CONTROL}\TimeZoneInformation");
    // Wine gives a zone the first name that it finds for its rules.
    for (variable, bias, name) in [
        ("X=Y", "0x0", "Greenwich Standard Time"),
        ("TZ=Europe/Berlin", "0xffffffc4", "Central Europe Standard Time"),
        ("TZ=America/New_York", "0x12c", "Eastern Standard Time"),
        ("TZ=Asia/Kolkata", "0xfffffeb6", "India Standard Time"),
        ("TZ=Nowhere/Atlantis", "0x0", "Greenwich Standard Time"),
    ] {
        for (value, expected) in [("Bias", bias), ("TimeZoneKeyName", name)] {
            let found = query(daemon, &["-e", variable], "nanoserver", (&zone, value))?;
            ensure!(found == expected, "{variable} {value}: {found}");
        }
    }
    PASSED
}

fn commit(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let environment = format!(r"{CONTROL}\Session Manager\Environment");
    let options = ["-h", "first", "-e", "ONLY=here", "-e", "TZ=Asia/Tokyo"];
    let run = [&["run", "--name", "settings"], &options[..], &["--user", "ContainerAdministrator"]];
    let command = ["nanoserver", "reg", "add", &environment, "/v", "ADDED", "/d", "yes", "/f"];
    docker.run(&[&run.concat()[..], &command].concat())?;
    // The configuration would carry the variable, which is what a commit of Docker's is for.
    docker.run(&["commit", "settings", "settings:1"])?;
    docker.run(&["rm", "settings"])?;
    let found = in_top_hives(daemon, "settings:1", &["ADDED", "ONLY", "Tokyo", "FIRST"])?;
    ensure!(found == "['Hives/System_Delta'] ADDED", "{found}");
    let zone = format!(r"{CONTROL}\TimeZoneInformation");
    let name = format!(r"{CONTROL}\ComputerName\ComputerName");
    let without = ["-h", "second", "-e", "TZ=Europe/Berlin", "-e", "ONLY="];
    for (key, value, expected) in [
        (environment.as_str(), "ADDED", "yes"),
        (&environment, "ONLY", ""),
        (&name, "ComputerName", "SECOND"),
        (&zone, "Bias", "0xffffffc4"),
    ] {
        let found = query(daemon, &without, "settings:1", (key, value))?;
        ensure!(found == expected, "{key} {value}: {found}");
    }
    PASSED
}

fn from_windows(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = r#"FROM nanoserver
USER ContainerAdministrator
RUN reg add HKLM\System\CurrentControlSet\Services\drv /v Type /t REG_DWORD /d 1 /f && \
    reg add HKLM\System\CurrentControlSet\Services\drv /v Start /t REG_DWORD /d 0 /f && \
    reg add HKLM\System\CurrentControlSet\Services\app /v Type /t REG_DWORD /d 16 /f && \
    reg add HKLM\System\CurrentControlSet\Services\app /v ImagePath /d C:\app.exe /f && \
    reg add HKLM\System\CurrentControlSet\Control\Lsa /v Packages /d missing.dll /f && \
    reg add HKLM\Software\Vendor /v Version /d 1 /f && \
    reg delete HKLM\Software\Wine /f && \
    reg delete "HKLM\Software\Microsoft\Windows NT\CurrentVersion\Time Zones" /f
"#;
    let directory = context(daemon, "from-windows", dockerfile)?;
    docker.run(&["build", "-q", "-t", "ours:1", &directory.to_string_lossy()])?;
    let [saved, made] = ["ours.tar", "windows.tar"].map(|name| daemon.scratch().join(name));
    let [saved, made] = [&saved, &made].map(|path| path.to_string_lossy().into_owned());
    docker.run(&["save", "-o", &saved, "ours:1"])?;
    let script = include_str!("settings.py");
    let arguments = ["-c", script, "foreign", &saved, &made, "windows:1"];
    let output = std::process::Command::new("python3").args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.stdout == b"2\n", "{}", String::from_utf8_lossy(&output.stdout));
    docker.run(&["load", "-i", &made])?;
    // Those of a container of Oriel's do what was meant, and nobody else notices.
    for (image, drv, wine) in [("ours:1", true, false), ("windows:1", false, true)] {
        let there = |key: &str| -> Result<bool> {
            let command = ["run", "--rm", image, "reg", "query", key];
            Ok(docker.try_run(&command)?.status == 0)
        };
        let services = r"HKLM\System\CurrentControlSet\Services";
        let zones = r"HKLM\Software\Microsoft\Windows NT\CurrentVersion\Time Zones\UTC";
        for (key, expected) in [
            (r"HKLM\Software\Vendor", true),
            (&format!(r"{services}\app"), true),
            (&format!(r"{services}\drv"), drv),
            (r"HKLM\Software\Wine\LicenseInformation", wine),
            (zones, wine),
        ] {
            ensure!(there(key)? == expected, "{image} {key}");
        }
    }
    let lsa = query(daemon, &[], "windows:1", (&format!(r"{CONTROL}\Lsa"), "Packages"))?;
    ensure!(!lsa.contains("missing.dll"), "{lsa}");
    // What was not shown is still there when the image is exported.
    docker.run(&["create", "--name", "windows", "windows:1"])?;
    let tar = daemon.scratch().join("windows-export.tar");
    docker.run(&["export", "-o", &tar.to_string_lossy(), "windows"])?;
    docker.run(&["rm", "windows"])?;
    let listing = std::process::Command::new("python3")
        .args(["-c", HIVE_HOLDS, &tar.to_string_lossy()])
        .output()?;
    ensure!(listing.stdout == b"True True\n", "{}", String::from_utf8_lossy(&listing.stderr));
    PASSED
}

/// Whether the hives of an export hold the driver and the value that no container saw.
const HIVE_HOLDS: &str = r"
import sys, tarfile
archive = tarfile.open(sys.argv[1])
hive = archive.extractfile('Files/Windows/System32/config/SYSTEM').read()
print(b'drv' in hive, 'missing.dll'.encode('utf-16-le') in hive)
";

fn idle(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for image in ["nanoserver", "windowsservercore"] {
        docker.run(&["run", "--name", "idle", "-e", "TZ=Asia/Tokyo", image, "cmd", "/C", "ver"])?;
        docker.run(&["commit", "idle", "idle:1"])?;
        docker.run(&["rm", "idle"])?;
        let found = in_top_hives(daemon, "idle:1", &[])?;
        ensure!(found == "[]", "{image}: {found}");
    }
    PASSED
}

/// The hives in the topmost layer of an image, and which of these words they hold.
fn in_top_hives(daemon: &Daemon, image: &str, words: &[&str]) -> Result<String> {
    let tar = daemon.scratch().join("top.tar");
    let tar = tar.to_string_lossy();
    daemon.docker().run(&["save", "-o", &tar, image])?;
    let arguments = [&["-c", HIVES_OF_TOP, &tar], words].concat();
    let output = std::process::Command::new("python3").args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Lists hives and words.
const HIVES_OF_TOP: &str = r"
import gzip, io, json, sys, tarfile
archive = tarfile.open(sys.argv[1])
manifest = json.load(archive.extractfile('manifest.json'))[0]
data = archive.extractfile(manifest['Layers'][-1]).read()
data = gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data
layer = tarfile.open(fileobj=io.BytesIO(data))
is_hive = lambda name: name.startswith('Hives/') or name.endswith('NTUSER.DAT')
names = [name for name in layer.getnames() if is_hive(name)]
hives = b''.join(layer.extractfile(name).read() for name in names)
holds = lambda word: word.encode() in hives or word.encode('utf-16-le') in hives
print(names, *[word for word in sys.argv[2:] if holds(word)])
";
