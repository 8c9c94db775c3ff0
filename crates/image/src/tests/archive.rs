//! Loading and saving.

use super::*;

#[test]
fn an_image_saved_here_loads_elsewhere_with_the_same_id() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    fixture.store.sandbox_files(&sandbox).write_file("x", &mut &b"x"[..], None).unwrap();
    let image = fixture.commit(Some("c1"), base);
    let name = Reference::parse("app:1").unwrap();
    fixture.store.tag(&image, &name).unwrap();
    let mut archive = Vec::new();
    fixture.store.save(&["app:1".into()], &mut archive).unwrap();

    let gzip = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(&archive).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(&archive[..], 1).unwrap();
    for archive in [archive, gzip, zstd] {
        let other = Fixture::new();
        let mut events = 0;
        let loaded = other.store.load(&mut &archive[..], &mut |_| events += 1).unwrap();
        assert_eq!(loaded, [Loaded::Reference(name.clone(), image)]);
        assert!(events >= 4);
        let sandbox = other.sandbox("c1", &image);
        assert_eq!(text(&other.store, &sandbox, "X"), "x");
        assert_eq!(fs_err::read_dir(other.store.content().ingest()).unwrap().count(), 0);
    }
}

#[test]
fn the_older_docker_form_loads() {
    let layer = base_tar();
    let archive = docker_archive("windows", &layer, Digest::of(&layer));
    let fixture = Fixture::new();
    let loaded = fixture.store.load(&mut &archive[..], &mut |_| {}).unwrap();
    assert!(matches!(&loaded[..], [Loaded::Reference(name, _)] if name.familiar() == "old:1"));
}

#[test]
fn an_oci_layout_loads_without_dockers_manifest() {
    let (fixture, base) = Fixture::with_base();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", fixture.directory.path().join("content")).unwrap();
    let archive = builder.into_inner().unwrap();
    let other = Fixture::new();
    let loaded = other.store.load(&mut &archive[..], &mut |_| {}).unwrap();
    assert_eq!(loaded.len(), 2);
    let image = other.store.resolve("nanoserver:ltsc2022").unwrap();
    assert_eq!(image.id, base);
    // The compressed blob is kept as it came.
    assert_eq!(image.layers[0].blob, fixture.store.image_by_id(&base).unwrap().layers[0].blob);
    assert_eq!(image.manifest, fixture.store.image_by_id(&base).unwrap().manifest);
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let (fixture, _) = Fixture::with_base();
    let before = fixture.everything();
    // Not the base's: a layer that is there is not read again.
    let layer = tar_of(&[("Files/", b""), ("Files/y", b"y")]);
    let good = docker_archive("windows", &layer, Digest::of(&layer));
    let mut flipped = good.clone();
    let at = flipped.windows(8).position(|bytes| bytes == b"PaxHeade").unwrap();
    flipped[at + 600] ^= 1;
    let evil = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.as_gnu_mut().unwrap().name[..5].copy_from_slice(b"x/lnk");
        header.set_link_name("../../../etc/passwd").unwrap();
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
        builder.into_inner().unwrap()
    };
    let other_layer = tar_of(&[("Files/", b""), ("Files/x", b"x")]);
    for (what, archive) in [
        ("linux", docker_archive("linux", &layer, Digest::of(&layer))),
        ("no os", docker_archive("", &layer, Digest::of(&layer))),
        ("wrong diff id", docker_archive("windows", &other_layer, Digest::of(b"x"))),
        ("flipped bit", flipped),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("not a tar", b"hello".repeat(200)),
        ("empty", Vec::new()),
        ("link out", evil),
        ("layer is no tar", docker_archive("windows", &[7; 600], Digest::of(&[7; 600]))),
    ] {
        let result = fixture.store.load(&mut &archive[..], &mut |_| {});
        assert!(result.is_err(), "{what}");
        assert_eq!(fixture.everything(), before, "{what}");
    }
    let linux = docker_archive("linux", &layer, Digest::of(&layer));
    let error = fixture.store.load(&mut &linux[..], &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "cannot load linux image on windows");
}
