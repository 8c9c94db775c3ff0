//! Volumes and mounts on fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, path::Path};

use fs_err as fs;
use oriel_engine::{
    Anonymous, CreateRequest, EngineError, MountWish, Removal, VolumeRequest, WaitFor,
};
use oriel_hcs::{Class, MountSource};
use oriel_image::Empty;

use crate::bench::{Bench, request};

fn volume(bench: &Bench, name: &str) -> Result<String, EngineError> {
    let request = VolumeRequest { name: name.to_owned(), ..VolumeRequest::default() };
    Ok(bench.on(bench.engine.create_volume(request))?.name)
}

fn names(bench: &Bench) -> Vec<String> {
    bench.engine.volumes().into_iter().map(|volume| volume.name).collect()
}

fn with_binds(command: &str, binds: &[&str]) -> CreateRequest {
    let mut request = request(command);
    request.mounts.binds = binds.iter().map(|bind| (*bind).to_owned()).collect();
    request
}

fn create(bench: &Bench, request: CreateRequest) -> String {
    bench.on(bench.engine.create(request)).unwrap()
}

fn remove(bench: &Bench, id: &str, anonymous: Anonymous) {
    bench.on(bench.engine.remove_with(id, Removal { force: true, anonymous })).unwrap();
}

/// Targets of what a container shows, in order.
fn targets(bench: &Bench, id: &str) -> Vec<String> {
    let view = bench.engine.container(id).unwrap();
    view.spec.host.mounts.iter().map(|mount| mount.target.clone()).collect()
}

#[test]
fn a_volume_is_a_directory_until_it_is_removed() {
    let bench = Bench::new();
    assert_eq!(volume(&bench, "data").unwrap(), "data");
    let made = bench.engine.volume("data").unwrap();
    assert!(made.mountpoint.ends_with("volumes/data/_data") && made.mountpoint.is_dir());
    fs::write(made.mountpoint.join("kept"), "x").unwrap();
    volume(&bench, "data").unwrap();
    assert!(made.mountpoint.join("kept").exists(), "a second creation is no change");
    let sizes = bench.on(bench.engine.volume_sizes(&bench.engine.volumes()));
    assert_eq!(sizes, BTreeMap::from([("data".to_owned(), 1)]));
    bench.on(bench.engine.remove_volume("data", false)).unwrap();
    assert!(!made.mountpoint.exists() && names(&bench).is_empty());
    let error = bench.on(bench.engine.remove_volume("data", false)).unwrap_err();
    assert_eq!(error.to_string(), "get data: no such volume");
    bench.on(bench.engine.remove_volume("data", true)).unwrap();
}

#[test]
fn a_volume_nobody_named_has_an_id_and_a_label() {
    let bench = Bench::new();
    let name = volume(&bench, "").unwrap();
    assert_eq!(name.len(), 64);
    assert!(bench.engine.volume(&name).unwrap().is_anonymous());
}

#[test]
fn wrong_volumes_are_refused_and_leave_nothing() {
    let bench = Bench::new();
    let options = BTreeMap::from([("type".to_owned(), "nfs".to_owned())]);
    let other = VolumeRequest { name: "v1".to_owned(), ..VolumeRequest::default() };
    for (request, class, words) in [
        (
            VolumeRequest { name: "../x".to_owned(), ..VolumeRequest::default() },
            Class::Invalid,
            "includes invalid characters for a local volume name",
        ),
        (
            VolumeRequest { driver: "nfs".to_owned(), ..other.clone() },
            Class::NotFound,
            "create v1: error looking up volume plugin nfs: plugin \"nfs\" not found",
        ),
        (
            VolumeRequest { options, ..other },
            Class::Invalid,
            "create v1: options are not supported on this platform",
        ),
    ] {
        let error = bench.on(bench.engine.create_volume(request)).unwrap_err();
        assert_eq!(error.class(), class);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(names(&bench).is_empty());
}

#[test]
fn a_volume_in_use_stays_and_says_who_uses_it() {
    let bench = Bench::new();
    let first = create(&bench, with_binds("out", &["data:C:\\data"]));
    let second = create(&bench, with_binds("out", &["data:C:\\other:ro"]));
    let error = bench.on(bench.engine.remove_volume("data", true)).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    let text = format!("remove data: volume is in use - [{first}, {second}]");
    assert_eq!(error.to_string(), text);
    let bench = bench.reborn(|_, _| {});
    assert_eq!(bench.engine.volume("data").unwrap().users, [first.as_str(), second.as_str()]);
    remove(&bench, &first, Anonymous::Remove);
    remove(&bench, &second, Anonymous::Remove);
    assert_eq!(names(&bench), ["data"], "a named volume outlives its containers");
    bench.on(bench.engine.remove_volume("data", false)).unwrap();
}

#[test]
fn unnamed_volumes_go_with_their_container_when_asked() {
    let bench = Bench::new();
    let kept = create(&bench, with_binds("out", &["C:\\data"]));
    remove(&bench, &kept, Anonymous::Keep);
    assert_eq!(names(&bench).len(), 1);
    let gone = create(&bench, with_binds("out", &["C:\\data"]));
    remove(&bench, &gone, Anonymous::Remove);
    assert_eq!(names(&bench).len(), 1);
    let mut once = with_binds("out", &["C:\\data"]);
    once.host.auto_remove = true;
    let id = create(&bench, once);
    let removed = bench.engine.wait(&id, WaitFor::Removed).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    bench.on(removed);
    assert_eq!(names(&bench).len(), 1);
    let (pruned, _) = bench.on(bench.engine.prune_volumes(|v| v.is_anonymous())).unwrap();
    assert_eq!((pruned.len(), names(&bench).len()), (1, 0));
}

#[test]
fn an_images_volumes_are_made_where_nothing_is_mounted() {
    let bench = Bench::new();
    let mut request = with_binds("out", &["data:C:\\Data"]);
    for path in ["c:/data", "/cache"] {
        request.overrides.run.volumes.insert(path.to_owned(), Empty {});
    }
    let id = create(&bench, request);
    assert_eq!(targets(&bench, &id), ["C:\\cache", "C:\\Data"]);
    assert_eq!(names(&bench).len(), 2);
}

#[test]
fn what_another_container_shows_can_be_taken_over() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    let host = format!("{}:C:\\host", root.path().display());
    let first = create(&bench, with_binds("out", &["data:C:\\data", "C:\\own", &host]));
    let mut taking = with_binds("out", &["other:C:\\DATA"]);
    taking.mounts.volumes_from = vec![format!("{first}:ro")];
    let second = create(&bench, taking);
    assert_eq!(targets(&bench, &second), ["C:\\DATA", "C:\\host", "C:\\own"]);
    let mounts = bench.engine.container(&second).unwrap().spec.host.mounts.clone();
    assert!(!mounts[0].read_only && mounts[1].read_only && mounts[2].read_only);
    // What was overridden is not held.
    assert_eq!(bench.engine.volume("data").unwrap().users, std::slice::from_ref(&first));
    // The unnamed one stays for the container that took it over.
    remove(&bench, &first, Anonymous::Remove);
    assert_eq!(names(&bench).len(), 3);
    let mut nobody = request("out");
    nobody.mounts.volumes_from = vec!["nobody".to_owned()];
    let error = bench.on(bench.engine.create(nobody)).unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "a 404 would have the client pull an image");
}

#[test]
fn outer_mounts_come_before_inner_ones() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "x").unwrap();
    let file = format!("{}/file:C:\\Data\\sub\\file.txt:ro", root.path().display());
    let mut request = with_binds("wait", &[&file, "inner:C:\\data\\sub", "outer:/Data"]);
    request.mounts.tmpfs = vec![("C:\\mem".to_owned(), "size=1m,ro".to_owned())];
    let id = create(&bench, request);
    bench.on(bench.engine.start(&id)).unwrap();
    let shown = bench.world.host.document(&id).unwrap().mounts;
    let shown: Vec<_> = shown.iter().map(|m| (m.target.as_str(), m.read_only)).collect();
    let expected = [
        ("C:\\Data", false),
        ("C:\\mem", true),
        ("C:\\data\\sub", false),
        ("C:\\Data\\sub\\file.txt", true),
    ];
    assert_eq!(shown, expected);
    let memory = &bench.world.host.document(&id).unwrap().mounts[1].source;
    assert_eq!(*memory, MountSource::Memory { size_bytes: Some(1 << 20) });
}

#[test]
fn refused_mounts_say_why_in_dockers_words_and_leave_nothing() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().display();
    for (binds, words) in [
        (vec![format!("{dir}:C:\\")], "destination path (c:\\) cannot be 'c:' or 'c:\\'"),
        (vec![format!("{dir}:data")], "invalid volume specification: '"),
        (vec![format!("{dir}:C:\\x:z")], "invalid mount path"),
        (vec![format!("{dir}:D:\\x")], "is not on drive C:"),
        (vec![format!("{dir}/none:C:\\x")], "bind source path does not exist: "),
        (vec!["/dev/null:C:\\x".to_owned()], "source path must be a directory or a regular file"),
        (vec!["x:C:\\x".to_owned()], "volume name is too short"),
        (vec!["./here:C:\\x".to_owned()], "If you intended to pass a host directory"),
        (vec!["aux:C:\\x".to_owned()], "cannot be a reserved word for Windows filenames"),
        (vec![r"\\.\pipe\a:C:\a".to_owned()], r"'C:\a' is not a valid pipe path"),
        (vec![r"\\.\pipe\a:\\.\pipe\a:ro".to_owned()], "invalid volume specification"),
        (vec!["made:C:\\x".to_owned(), "other:c:/X/".to_owned()], "Duplicate mount point: C:\\X"),
    ] {
        let mut request = request("out");
        request.mounts.binds = binds.clone();
        let error = bench.on(bench.engine.create(request)).unwrap_err();
        assert!(matches!(error.class(), Class::Invalid | Class::Unsupported), "{binds:?}: {error}");
        assert!(error.to_string().contains(words), "{binds:?}: {error}");
    }
    assert!(names(&bench).is_empty() && bench.engine.containers().is_empty());
    assert_eq!(bench.engine.images().sandboxes().unwrap(), Vec::<String>::new());
}

#[test]
fn a_mount_is_as_strict_as_dockers() {
    let bench = Bench::new();
    let wish = |kind: &str, source: &str, target: &str| MountWish {
        kind: kind.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        ..MountWish::default()
    };
    let foreign = MountWish { foreign_options: vec!["TmpfsOptions"], ..wish("bind", "/", "C:\\x") };
    let shared = MountWish { propagation: "shared".to_owned(), ..wish("bind", "/", "C:\\x") };
    let pipe = wish("npipe", r"\\.\pipe\a", r"\\.\pipe\b");
    let written = MountWish { read_only: true, ..pipe };
    let part = |source, subpath: &str| MountWish {
        subpath: subpath.to_owned(),
        ..wish("volume", source, "C:\\x")
    };
    let (unnamed, above) = (part("", "a"), part("vol", "../a"));
    for (wish, words) in [
        (wish("bind", "", "C:\\x"), "type \"bind\": field Source must not be empty"),
        (wish("bind", "/", ""), "type \"bind\": field Target must not be empty"),
        (wish("bind", "/none", "C:\\x"), "type \"bind\": bind source path does not exist: /none"),
        (wish("bind", "here", "C:\\x"), "'here' mount path must be absolute"),
        (wish("bind", "/", "x"), "invalid mount path: 'x' mount path must be absolute"),
        (wish("tmpfs", "v1", "C:\\x"), "type \"tmpfs\": field Source must not be specified"),
        (wish("image", "v1", "C:\\x"), "type \"image\": mount type unknown"),
        (wish("npipe", "a", "b"), "type \"npipe\": 'b' is not a valid pipe path"),
        (wish("npipe", "a", r"\\.\pipe\b"), "type \"npipe\": 'a' is not a valid pipe path"),
        (wish("npipe", "", r"\\.\pipe\b"), "field Source must not be empty"),
        (written, "type \"npipe\": field ReadOnly must not be specified"),
        (unnamed, "type \"volume\": must not set Subpath when using anonymous volumes"),
        (above, "type \"volume\": subpath must be a relative path within the volume"),
        (wish("volume", "v1", "c:"), "destination path (c:) cannot be 'c:' or 'c:\\'"),
        (foreign, "type \"bind\": field TmpfsOptions must not be specified"),
        (shared, "type \"bind\": invalid propagation mode: shared"),
    ] {
        let mut request = request("out");
        request.mounts.mounts = vec![wish.clone()];
        let error = bench.on(bench.engine.create(request)).unwrap_err();
        assert!(error.to_string().contains(words), "{wish:?}: {error}");
    }
    assert!(names(&bench).is_empty());
}

#[test]
fn a_source_that_is_gone_fails_the_start() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    let bind = format!("{}:C:\\x", root.path().display());
    let id = create(&bench, with_binds("out", &[&bind]));
    drop(root);
    let error = bench.on(bench.engine.start(&id)).unwrap_err();
    assert!(error.to_string().contains("bind source path does not exist"), "{error}");
    bench.nothing_runs();
}

#[test]
fn a_killed_daemon_leaves_volumes_whole_or_none() {
    let bench = Bench::new();
    for name in ["kept", "lost", "going", "coming"] {
        volume(&bench, name).unwrap();
    }
    let bench = bench.reborn(|_, root: &Path| {
        let volumes = root.join("volumes");
        fs::write(volumes.join("kept/_data/x"), "x").unwrap();
        fs::remove_dir_all(volumes.join("lost")).unwrap();
        fs::rename(volumes.join("going"), volumes.join(".removing-going")).unwrap();
        fs::rename(volumes.join("coming"), volumes.join(".creating-coming")).unwrap();
        fs::create_dir_all(volumes.join(".creating-half/_data")).unwrap();
        fs::create_dir_all(volumes.join("found/_data")).unwrap();
        fs::create_dir_all(volumes.join("nothing")).unwrap();
    });
    assert_eq!(names(&bench), ["coming", "found", "kept", "lost"]);
    let volumes = bench.engine.root().join("volumes");
    let mut entries: Vec<_> = fs::read_dir(&volumes)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    entries.sort();
    assert_eq!(entries, ["coming", "found", "kept", "lost", "nothing"]);
    assert!(volumes.join("kept/_data/x").exists() && volumes.join("lost/_data").is_dir());
}

#[test]
fn volumes_have_events() {
    let bench = Bench::new();
    let id = create(&bench, with_binds("out hi", &["data:C:\\data:ro"]));
    bench.on(bench.engine.start(&id)).unwrap();
    bench.ended(&id);
    remove(&bench, &id, Anonymous::Keep);
    bench.on(bench.engine.remove_volume("data", false)).unwrap();
    let (events, _) = bench.engine.events();
    let ours: Vec<_> = events.iter().filter(|event| event.kind == "volume").collect();
    let actions: Vec<_> = ours.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["create", "mount", "unmount", "destroy"]);
    let mount = &ours[1].attributes;
    assert_eq!(mount["container"], id);
    assert_eq!(
        (mount["destination"].as_str(), mount["read/write"].as_str()),
        ("C:\\data", "false")
    );
    assert!(ours.iter().all(|event| event.id == "data" && event.attributes["driver"] == "local"));
}
