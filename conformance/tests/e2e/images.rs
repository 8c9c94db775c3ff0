//! Images: list, tag, history, save, load, remove.

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "base_images_are_genuine_windows_images", run: base_images },
    Case { name: "an_image_survives_save_and_load", run: save_and_load },
    Case { name: "a_linux_image_is_refused", run: linux_image },
    Case { name: "a_damaged_archive_leaves_nothing_behind", run: damaged_archive },
    Case { name: "an_image_in_use_is_not_removed", run: in_use },
    Case { name: "programs_of_32_bits_run_in_windowsservercore", run: wow64 },
];

fn base_images(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for name in ["nanoserver", "windowsservercore"] {
        let image = docker.inspect(name)?;
        ensure!(image["Os"] == "windows" && image["Architecture"] == "amd64", "{image}");
        ensure!(image["OsVersion"] == "10.0.20348.2113", "{image}");
        let layers = image["RootFS"]["Layers"].as_array().context("no layers")?;
        ensure!(layers.len() == 1, "{layers:?}");
        let history = docker.run(&["history", "--no-trunc", name])?;
        ensure!(history.contains("Apply image 10.0.20348.2113"), "{history}");
    }
    let tar = daemon.scratch().join("base.tar");
    docker.run(&["save", "-o", &tar.to_string_lossy(), "nanoserver"])?;
    let listing = list_layer(&tar)?;
    for name in ["SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT"] {
        let path = format!("Files/Windows/System32/config/{name}");
        ensure!(listing.lines().any(|line| line == path), "{path} is missing");
    }
    ensure!(!listing.lines().any(|line| line.starts_with("Hives/")), "a base layer has no hives");
    PASSED
}

/// Names in the largest blob of a saved image, read by Python's own tar reader.
fn list_layer(tar: &std::path::Path) -> Result<String> {
    let script = "import sys,tarfile\n\
        outer=tarfile.open(sys.argv[1])\n\
        layer=max((m for m in outer.getmembers() if m.isfile()),key=lambda m:m.size)\n\
        inner=tarfile.open(fileobj=outer.extractfile(layer))\n\
        [print(m.name) for m in inner]";
    let output = std::process::Command::new("python3").args(["-c", script]).arg(tar).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn save_and_load(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = daemon.scratch().join("saved");
    fs_err::create_dir_all(&directory)?;
    let dockerfile = "FROM nanoserver\nUSER ContainerAdministrator\n\
        RUN echo kept> C:\\kept.txt && reg add HKLM\\Software\\Saved /v a /d b /f\n\
        CMD type C:\\kept.txt\n";
    fs_err::write(directory.join("Dockerfile"), dockerfile)?;
    docker.run(&["build", "-q", "-t", "saved:1", &directory.to_string_lossy()])?;
    let id = docker.inspect("saved:1")?["Id"].clone();
    let tar = daemon.scratch().join("saved.tar");
    docker.run(&["save", "-o", &tar.to_string_lossy(), "saved:1"])?;
    docker.run(&["rmi", "-f", "saved:1"])?;
    ensure!(docker.try_run(&["inspect", "saved:1"])?.status != 0, "the image is still there");
    let text = docker.run(&["load", "-i", &tar.to_string_lossy()])?;
    ensure!(text.contains("Loaded image: saved:1"), "{text}");
    ensure!(docker.inspect("saved:1")?["Id"] == id, "the image id changed");
    let text = docker.run(&["run", "--rm", "saved:1"])?;
    ensure!(text.trim() == "kept", "{text}");
    let query = ["run", "--rm", "saved:1", "reg", "query", "HKLM\\Software\\Saved"];
    ensure!(docker.run(&query)?.contains("REG_SZ"), "the registry value is gone");
    PASSED
}

fn linux_image(daemon: &mut Daemon) -> Result<Outcome> {
    let tar = daemon.scratch().join("linux.tar");
    let script = "import sys,tarfile,io,json,hashlib\n\
        layer=io.BytesIO(); tarfile.open(fileobj=layer,mode='w').close(); layer=layer.getvalue()\n\
        d=hashlib.sha256(layer).hexdigest()\n\
        config=json.dumps({'os':'linux','architecture':'amd64','config':{},\
'rootfs':{'type':'layers','diff_ids':['sha256:'+d]}}).encode()\n\
        m=json.dumps([{'Config':'c.json','RepoTags':['lin:1'],\
'Layers':['l/layer.tar']}]).encode()\n\
        out=tarfile.open(sys.argv[1],'w')\n\
        for n,b in (('c.json',config),('l/layer.tar',layer),('manifest.json',m)):\n\
        \x20 i=tarfile.TarInfo(n); i.size=len(b); out.addfile(i,io.BytesIO(b))\n\
        out.close()";
    let status = std::process::Command::new("python3").args(["-c", script]).arg(&tar).status()?;
    ensure!(status.success(), "the archive could not be made");
    let output = daemon.docker().try_run(&["load", "-i", &tar.to_string_lossy()])?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(said.contains("cannot load linux image on windows"), "{output:?}");
    PASSED
}

fn damaged_archive(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let tar = daemon.scratch().join("whole.tar");
    docker.run(&["save", "-o", &tar.to_string_lossy(), "nanoserver"])?;
    let before = docker.run(&["images", "-aq"])?;
    let mut bytes = fs_err::read(&tar)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let damaged = daemon.scratch().join("damaged.tar");
    fs_err::write(&damaged, &bytes)?;
    let flipped = docker.try_run(&["load", "-i", &damaged.to_string_lossy()])?;
    let said = format!("{}{}", flipped.stdout, flipped.stderr);
    ensure!(flipped.status != 0 || said.contains("Loaded image"), "{said}");
    fs_err::write(&damaged, &bytes[..middle])?;
    let cut = docker.try_run(&["load", "-i", &damaged.to_string_lossy()])?;
    ensure!(cut.status != 0, "{cut:?}");
    ensure!(docker.run(&["images", "-aq"])? == before, "images changed");
    PASSED
}

fn in_use(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["tag", "nanoserver", "mine:1"])?;
    docker.run(&["create", "--name", "user", "mine:1"])?;
    let output = docker.try_run(&["rmi", "mine:1"])?;
    let text = docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    docker.run(&["rm", "user"])?;
    ensure!(output.status == 0 || output.stderr.contains("conflict"), "{output:?}");
    ensure!(text.contains("nanoserver:latest"), "{text}");
    let _ = docker.try_run(&["rmi", "mine:1"])?;
    PASSED
}

fn wow64(daemon: &mut Daemon) -> Result<Outcome> {
    let command = ["C:\\Windows\\SysWOW64\\cmd.exe", "/c", "echo %PROCESSOR_ARCHITECTURE%"];
    let text =
        daemon.docker().run(&[&["run", "--rm", "windowsservercore"], &command[..]].concat())?;
    ensure!(text.trim() == "x86", "{text}");
    PASSED
}
