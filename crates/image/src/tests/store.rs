//! Names, removal and start-up.

use super::*;

#[test]
fn a_base_image_has_two_names_and_is_found_by_all_forms() {
    let (fixture, id) = Fixture::with_base();
    let hex = id.0.hex();
    for name in
        ["nanoserver", "nanoserver:ltsc2022", "docker.io/library/nanoserver", &hex, &hex[..7]]
    {
        assert_eq!(fixture.store.resolve(name).unwrap().id, id, "{name}");
    }
    assert_eq!(fixture.store.resolve(&id.to_string()).unwrap().id, id);
    let image = fixture.store.resolve("nanoserver").unwrap();
    let by_digest = format!("nanoserver@{}", image.manifest);
    assert_eq!(fixture.store.resolve(&by_digest).unwrap().id, id);
    assert_eq!(image.references.len(), 2);
    let error = fixture.store.resolve("nope").unwrap_err();
    assert_eq!(error.to_string(), "No such image: nope:latest");
}

#[test]
fn importing_the_same_base_again_changes_nothing() {
    let (fixture, id) = Fixture::with_base();
    let before = fixture.everything();
    let tar = fixture.directory.path().join("base.tar");
    let config = ImageConfig {
        os: "windows".into(),
        architecture: "amd64".into(),
        ..ImageConfig::default()
    };
    let base = BaseImport { name: "nanoserver".into(), layer_tar: tar, config };
    assert_eq!(fixture.store.import_base(&base).unwrap(), id);
    assert_eq!(fixture.everything(), before);
}

#[test]
fn a_name_in_use_is_kept_unless_forced() {
    let (fixture, base) = Fixture::with_base();
    let image = fixture.commit(None, base);
    fixture.store.tag(&image, &Reference::parse("app").unwrap()).unwrap();
    let stopped = |id: &ImageId| {
        (*id == image).then(|| InUse { container: "0123456789ab".into(), running: false })
    };
    let error = fixture.store.remove("app", false, false, &stopped).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference \"app\" (must force) - container \
             0123456789ab is using its referenced image {}",
            image.0.short()
        )
        .replace("\"app\"", "\"app:latest\"")
    );
    let running = |id: &ImageId| stopped(id).map(|user| InUse { running: true, ..user });
    let removed = fixture.store.remove("app", true, false, &running).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into())]);
    assert!(fixture.store.image_by_id(&image).is_ok());
    fixture.store.tag(&image, &Reference::parse("app").unwrap()).unwrap();
    let removed = fixture.store.remove("app", true, false, &stopped).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into()), Removed::Deleted(image)]);
}

#[test]
fn removing_the_last_name_removes_image_layers_and_unnamed_parents() {
    let (fixture, base) = Fixture::with_base();
    let before = fixture.everything();
    fixture.sandbox("c1", &base);
    let middle = fixture.commit(Some("c1"), base);
    let image = fixture.commit(None, middle);
    fixture.store.remove_sandbox("c1").unwrap();
    for name in ["app", "app:2"] {
        fixture.store.tag(&image, &Reference::parse(name).unwrap()).unwrap();
    }
    let unused = |_: &ImageId| None;
    let children = fixture.store.remove(&middle.0.hex(), false, false, &unused).unwrap_err();
    assert!(
        children.to_string().ends_with("(cannot be forced) - image has dependent child images")
    );
    let removed = fixture.store.remove("app", false, false, &unused).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into())]);
    let removed = fixture.store.remove("app:2", false, false, &unused).unwrap();
    assert_eq!(
        removed,
        [Removed::Untagged("app:2".into()), Removed::Deleted(image), Removed::Deleted(middle)]
    );
    let after: Vec<_> =
        fixture.everything().into_iter().filter(|name| !name.starts_with("registry")).collect();
    assert_eq!(after, before);
}

#[test]
fn opening_removes_what_a_crash_left() {
    let directory = tempfile::tempdir().unwrap();
    let leftovers = ["windowsfilter/x-importing", "windowsfilter/y-removing", "content/ingest/z"];
    for name in leftovers {
        fs_err::create_dir_all(directory.path().join(name)).unwrap();
    }
    let orphan = directory.path().join("windowsfilter/0000");
    fs_err::create_dir_all(&orphan).unwrap();
    fs_err::write(orphan.join("layerchain.json"), "null").unwrap();
    let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
    ImageStore::open(directory.path(), Arc::new(database)).unwrap();
    for name in leftovers.iter().map(Path::new).chain([Path::new("windowsfilter/0000")]) {
        assert!(!directory.path().join(name).exists(), "{}", name.display());
    }
}
