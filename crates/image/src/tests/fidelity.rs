//! What a layer says of a file is what the next export says of it.

use super::*;
use crate::attributes::OPAQUE;
use crate::disk::{self, Dir};
use oriel_wclayer::security;

/// Entries with their data.
type Entries = Vec<(Entry, Vec<u8>)>;

fn entry(name: &str, kind: Kind) -> Entry {
    Entry::new(path(name), kind, TIME)
}

fn file(name: &str, data: &str) -> (Entry, Vec<u8>) {
    (entry(name, Kind::File { size: data.len() as u64 }), data.into())
}

fn stream(owner: &str, name: &str, data: &str) -> (Entry, Vec<u8>) {
    let kind = Kind::Stream { name: name.into(), size: data.len() as u64 };
    (entry(owner, kind), data.into())
}

fn directory(name: &str) -> (Entry, Vec<u8>) {
    (entry(name, Kind::Directory), Vec::new())
}

fn symlink(name: &str, target: &str) -> (Entry, Vec<u8>) {
    (entry(name, Kind::Symlink { target: target.into() }), Vec::new())
}

fn hard_link(name: &str, target: &str) -> (Entry, Vec<u8>) {
    (entry(name, Kind::HardLink { target: path(target) }), Vec::new())
}

fn whiteout(name: &str) -> (Entry, Vec<u8>) {
    (entry(name, Kind::Whiteout), Vec::new())
}

fn opaque(name: &str) -> (Entry, Vec<u8>) {
    (entry(name, Kind::OpaqueWhiteout), Vec::new())
}

fn written(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.add(entry, &data[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// A descriptor that is nobody's default: owner and group SYSTEM, no access list.
fn descriptor() -> Vec<u8> {
    let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    let mut descriptor = vec![1, 0, 0, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    descriptor.extend(system);
    descriptor.extend(system);
    descriptor
}

/// Gives an entry everything a file can have.
fn adorn(entry: &mut Entry, attributes: u32) {
    entry.attributes = Attributes(attributes);
    entry.security = Some(descriptor());
    entry.created = FileTime(TIME.0 - 36_000_000_001);
    entry.accessed = Some(FileTime(TIME.0 + 7));
    entry.extended = vec![("$KERNEL.PURGE.X".into(), vec![1, 0, 2]), ("EMPTY".into(), vec![])];
}

/// A layer with everything, as a Windows host would write it.
fn everything() -> Entries {
    let mut entries = vec![
        directory("Files"),
        directory("Files/d"),
        file("Files/d/.dot", "dot"),
        file("Files/d/all.txt", "all"),
        stream("Files/d/all.txt", "Zone", "internet"),
        stream("Files/d/all.txt", "second", ""),
        file("Files/d/bare", "no attribute at all"),
        file("Files/d/plain.txt", "plain"),
        (entry("Files/d/sparse", Kind::File { size: 1 << 20 }), vec![0; 1 << 20]),
        (entry("Files/junction", Kind::Junction { target: r"C:\d".into() }), Vec::new()),
        symlink("Files/to-directory", r"\\?\C:\d\."),
        symlink("Files/to-file", "d/../d\\all.txt"),
        symlink("Files/to-share", r"\\server\share\x"),
    ];
    for (entry, data) in &mut entries[1..] {
        if !matches!(entry.kind, Kind::Stream { .. }) {
            entry.security = Some(security::default_file());
        }
        match entry.path.to_string().as_str() {
            "Files/d" => adorn(entry, 0x2017),
            "Files/d/all.txt" if matches!(entry.kind, Kind::File { .. }) => adorn(entry, 0x2827),
            "Files/d/bare" => {
                entry.attributes = Attributes(0x80);
                entry.security = None;
                entry.sddl = Some("O:nobody understands this".into());
            }
            "Files/d/sparse" => {
                entry.attributes = Attributes::ARCHIVE | Attributes::SPARSE;
                data[1 << 19] = 1;
            }
            "Files/junction" => adorn(entry, 0x0412),
            "Files/to-file" => adorn(entry, 0x0406),
            "Files/to-directory" => {
                entry.attributes = entry.attributes | Attributes::DIRECTORY;
                entry.security = Some(security::default_directory());
            }
            _ => {}
        }
    }
    entries
}

/// Entries below `Files` of the topmost layer of an image as `save` writes it.
fn saved(fixture: &Fixture, image: ImageId) -> Entries {
    let mut archive = Vec::new();
    fixture.store.save(&[image.0.hex()], &mut archive).unwrap();
    let layers = fixture.store.image_by_id(&image).unwrap().layers;
    let name = layers.last().unwrap().diff_id.0.hex();
    let mut archive = tar::Archive::new(&archive[..]);
    let layer = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().ends_with(&name))
        .unwrap();
    let mut reader = Reader::new(layer);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).unwrap();
        if entry.path.root() == oriel_wclayer::Root::Files {
            entries.push((entry, data));
        }
    }
    entries
}

/// A store with an image of one layer.
fn loaded(layer: &[u8]) -> (Fixture, ImageId) {
    let fixture = Fixture::new();
    extracted(&fixture, layer).unwrap();
    let image = fixture.store.resolve("old:1").unwrap().id;
    (fixture, image)
}

/// Loads a layer, runs `script` in a container of it and commits.
fn after(layer: &Entries, script: &str) -> Option<(Fixture, Entries)> {
    let (fixture, image) = loaded(&written(layer));
    let sandbox = fixture.sandbox("c1", &image);
    if !in_overlay(&sandbox, script) {
        return None;
    }
    let image = fixture.commit(Some("c1"), image);
    let entries = saved(&fixture, image);
    fixture.sandbox("c2", &image);
    Some((fixture, entries))
}

/// Names as they stand in the tar; removals have a minus.
fn listed(entries: &Entries) -> Vec<String> {
    entries
        .iter()
        .map(|(entry, _)| match &entry.kind {
            Kind::Stream { name, .. } => format!("{}:{name}", entry.path),
            Kind::Whiteout => format!("-{}", entry.path),
            _ => entry.path.to_string(),
        })
        .collect()
}

/// Extracts a layer on top of others, nearest first.
fn extract_on(layer: &Entries, below: &[&Path]) -> Result<tempfile::TempDir, ImageError> {
    let target = tempfile::tempdir().unwrap();
    let below: Vec<_> = below.iter().map(|path| path.to_path_buf()).collect();
    crate::extract::extract(&mut Reader::new(&written(layer)[..]), target.path(), &below, None)?;
    Ok(target)
}

#[test]
fn everything_survives_load_copy_up_commit_and_save() {
    let layer = everything();
    let Some((_fixture, entries)) = after(&layer, "find . -exec chown -h 0:0 {} +") else { return };
    assert_eq!(listed(&entries), listed(&layer));
    for ((found, found_data), (expected, data)) in entries.into_iter().zip(layer).skip(1) {
        // The time of the last change of attributes is the host's to set.
        let expected = Entry { changed: found.changed, ..expected };
        assert_eq!(found, expected);
        assert!(found_data == data, "{}", found.path);
    }
}

#[test]
fn what_a_container_changes_shows_and_the_rest_stays() {
    let script = "echo more >> d/all.txt; echo x >> d/bare; chmod u+w d/all.txt; \
                  setfattr -n user.DOSATTRIB -v 0x4 d/all.txt 2>/dev/null || \
                  python3 -c \"import os;os.setxattr('d/all.txt','user.DOSATTRIB',b'0x4')\"; \
                  echo new > d/new; mv junction renamed";
    let Some((_fixture, entries)) = after(&everything(), script) else { return };
    let find = |name: &str| &entries.iter().find(|(e, _)| e.path == path(name)).unwrap().0;
    let mut original = entry("Files/d/all.txt", Kind::Directory);
    adorn(&mut original, 0x2824);
    let all = find("Files/d/all.txt");
    assert_eq!(all.kind, Kind::File { size: 8 });
    assert_eq!(
        (all.attributes, &all.security, all.created, &all.extended),
        (original.attributes, &original.security, original.created, &original.extended)
    );
    assert!(all.modified > TIME);
    let bare = find("Files/d/bare");
    assert_eq!((bare.attributes, bare.created), (Attributes::ARCHIVE, TIME));
    let new = find("Files/d/new");
    assert_eq!(new.attributes, Attributes::ARCHIVE);
    assert_eq!(new.security, Some(security::default_file()));
    let second = 10_000_000;
    assert!(new.modified.0.abs_diff(new.created.0) < 60 * second, "{new:?}");
    let renamed = find("Files/renamed");
    assert_eq!(renamed.kind, Kind::Junction { target: r"C:\d".into() });
    assert_eq!(renamed.attributes, Attributes(0x0412));
    assert_eq!(renamed.security, original.security);
    let d = find("Files/d");
    assert_eq!((d.attributes, d.created), (Attributes(0x2017), original.created));
}

#[test]
fn links_made_in_a_container_are_symbolic_links() {
    let script = "ln -s d to-d; ln -s d/plain.txt to-plain; ln -s nowhere dangling";
    let Some((_fixture, entries)) = after(&everything(), script) else { return };
    let find = |name: &str| &entries.iter().find(|(e, _)| e.path == path(name)).unwrap().0;
    for (name, target, attributes) in [
        ("Files/to-d", "d", Attributes::REPARSE_POINT | Attributes::DIRECTORY),
        ("Files/to-plain", r"d\plain.txt", Attributes::REPARSE_POINT),
        ("Files/dangling", "nowhere", Attributes::REPARSE_POINT),
    ] {
        let link = find(name);
        assert_eq!(link.kind, Kind::Symlink { target: target.into() });
        assert_eq!(link.attributes, attributes, "{name}");
    }
}

#[test]
fn streams_go_where_their_owner_goes() {
    let layer = vec![
        directory("Files"),
        file("Files/a", "a"),
        stream("Files/a", "one", "1"),
        stream("Files/a", "two", "2"),
        directory("Files/d"),
        stream("Files/d", "three", "3"),
    ];
    for (script, expected, next) in [
        ("echo x >> a", vec!["Files/a", "Files/a:one", "Files/a:two"], "cat a:one a:two"),
        ("rm a:one", vec!["Files/a", "Files/a:two"], "test ! -e a:one; cat a:two"),
        ("echo x > a:new", vec!["Files/a", "Files/a:new", "Files/a:one", "Files/a:two"], "cat a:*"),
        ("rm a:one; echo x > A:ONE", vec!["Files/a", "Files/a:ONE", "Files/a:two"], "cat a:two"),
        ("rm a", vec!["-Files/a"], "test ! -e a:one; test ! -e a:two"),
        ("echo x > b; mv b a", vec!["Files/a"], "test ! -e a:one; test ! -e a:two"),
        ("echo x > b:orphan", vec![], "cat a:one"),
        ("echo x > d/x", vec!["Files/d", "Files/d:three", "Files/d/x"], "cat d:three"),
        ("echo x > d:four", vec!["Files/d", "Files/d:four", "Files/d:three"], "cat d:three d:four"),
        ("rm d:three", vec!["Files/d"], "cat a"),
    ] {
        let Some((fixture, entries)) = after(&layer, script) else { return };
        assert_eq!(listed(&entries)[1..], expected, "{script}");
        let sandbox = fixture.store.sandbox("c2").unwrap();
        assert!(in_overlay(&sandbox, next), "{script}");
    }
}

#[test]
fn a_changed_stream_is_a_change_of_its_owner() {
    let layer = vec![directory("Files"), file("Files/a", "a"), stream("Files/a", "one", "1")];
    let (fixture, image) = loaded(&written(&layer));
    let sandbox = fixture.sandbox("c1", &image);
    fs_err::write(sandbox.path.join("upper/a:one"), "x").unwrap();
    fs_err::write(sandbox.path.join("upper/b"), "x").unwrap();
    fs_err::write(sandbox.path.join("upper/b:two"), "x").unwrap();
    let change = |path: &str, kind| Change { path: path.into(), kind };
    let expected = [change("/a", ChangeKind::Modified), change("/b", ChangeKind::Added)];
    assert_eq!(fixture.store.changes(&sandbox).unwrap(), expected);
}

#[test]
fn a_replaced_owner_loses_the_streams_below() {
    let below = vec![
        directory("Files"),
        file("Files/a", "a"),
        stream("Files/a", "one", "1"),
        file("Files/b", "b"),
        stream("Files/b", "two", "2"),
        file("Files/c", "c"),
        stream("Files/c", "three", "3"),
    ];
    let below = extract_on(&below, &[]).unwrap();
    let above = vec![
        file("Files/A", "new"),
        stream("Files/A", "ONE", "new"),
        file("Files/b", "new"),
        whiteout("Files/c"),
    ];
    let above = extract_on(&above, &[below.path()]).unwrap();
    let files = above.path().join("Files");
    assert_eq!(fs_err::read_to_string(files.join("a:one")).unwrap(), "new");
    for gone in ["b:two", "c", "c:three"] {
        let stat = Dir::open(&files).unwrap().stat(gone).unwrap().unwrap();
        assert!(disk::is_whiteout(&stat), "{gone}");
    }
}

#[test]
fn opaque_whiteouts_hide_what_is_below_wherever_they_stand() {
    let below = vec![
        directory("Files"),
        directory("Files/d"),
        file("Files/d/old", "old"),
        directory("Files/d/sub"),
        file("Files/d/sub/old", "old"),
        file("Files/e", "e"),
        directory("Files/f"),
        file("Files/f/old", "old"),
    ];
    let below = extract_on(&below, &[]).unwrap();
    let addition = || vec![file("Files/d/SUB/new", "new"), file("Files/d/OLD", "new")];
    let before = extract_on(&[addition(), vec![opaque("Files/d")]].concat(), &[below.path()]);
    let after = extract_on(&[vec![opaque("Files/d")], addition()].concat(), &[below.path()]);
    for (layer, old) in [(before.unwrap(), "old"), (after.unwrap(), "OLD")] {
        let files = Dir::open(&layer.path().join("Files")).unwrap();
        let d = files.child("d").unwrap().unwrap();
        assert_eq!(disk::xattr(&d, OPAQUE).as_deref(), Some(&b"y"[..]));
        assert!(d.stat(old).unwrap().is_some());
    }
    let root = vec![file("Files/f/new", "new"), opaque("Files"), file("Files/g", "g")];
    let layer = extract_on(&root, &[below.path()]).unwrap();
    let files = Dir::open(&layer.path().join("Files")).unwrap();
    for gone in ["d", "e"] {
        assert!(disk::is_whiteout(&files.stat(gone).unwrap().unwrap()), "{gone}");
    }
    let f = files.child("f").unwrap().unwrap();
    assert!(disk::xattr(&f, OPAQUE).is_some() && f.stat("new").unwrap().is_some());
}

#[test]
fn whiteouts_mean_the_layers_below_wherever_they_stand() {
    let below = vec![directory("Files"), directory("Files/d"), file("Files/d/old", "old")];
    let below = extract_on(&below, &[]).unwrap();
    for layer in [
        vec![file("Files/d/new", "new"), whiteout("Files/d")],
        vec![whiteout("Files/d"), file("Files/d/new", "new")],
    ] {
        let layer = extract_on(&layer, &[below.path()]).unwrap();
        let files = Dir::open(&layer.path().join("Files")).unwrap();
        let d = files.child("d").unwrap().unwrap();
        assert!(disk::xattr(&d, OPAQUE).is_some() && d.stat("new").unwrap().is_some());
    }
}

#[test]
fn hard_links_find_their_target_in_this_layer_first_then_below() {
    let base = vec![
        directory("Files"),
        directory("Files/d"),
        file("Files/d/x", "base"),
        file("Files/y", "base"),
        stream("Files/y", "zone", "z"),
        file("Files/gone", "base"),
    ];
    let base = extract_on(&base, &[]).unwrap();
    let middle = extract_on(&vec![whiteout("Files/gone")], &[base.path()]).unwrap();
    let below = [middle.path(), base.path()];
    let layer = vec![
        hard_link("Files/to-new", "Files/D/X"),
        hard_link("Files/to-link", "Files/to-new"),
        file("Files/d/x", "new"),
        hard_link("Files/to-base", "Files/y"),
    ];
    let made = extract_on(&layer, &below).unwrap();
    let read = |name: &str| fs_err::read_to_string(made.path().join("Files").join(name)).unwrap();
    let found = ["to-new", "to-link", "to-base", "to-base:zone"].map(read);
    assert_eq!(found, ["new", "new", "base", "z"]);
    for (link, target) in [
        ("Files/a", "Files/nowhere"),
        ("Files/a", "Files/gone"),
        ("Files/a", "Files/d"),
        ("Files/a", "Files/A"),
    ] {
        let error = extract_on(&vec![hard_link(link, target)], &below).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("hard link"), "{source}");
    }
}

#[test]
fn hard_linked_files_are_exported_as_such_once_more() {
    let layer = vec![directory("Files"), file("Files/a", "a"), hard_link("Files/b", "Files/a")];
    let Some((_, entries)) = after(&layer, "rm b; echo x >> a; ln a b; ln a c") else { return };
    assert_eq!(listed(&entries)[1..], ["Files/a", "Files/b", "Files/c"]);
    for (entry, _) in &entries[2..] {
        assert_eq!(entry.kind, Kind::HardLink { target: path("Files/a") });
    }
}

#[test]
fn zeros_of_a_sparse_file_take_no_room() {
    use std::os::unix::fs::MetadataExt as _;
    let mut layer = everything();
    layer.push((entry("Files/zeros", Kind::File { size: 1 << 20 }), vec![0; 1 << 20]));
    let made = extract_on(&layer, &[]).unwrap();
    let blocks = |name: &str| fs_err::metadata(made.path().join("Files").join(name)).unwrap();
    let (sparse, plain) = (blocks("d/sparse"), blocks("zeros"));
    assert_eq!(sparse.len(), 1 << 20);
    assert!(sparse.blocks() < plain.blocks() / 4, "{}", sparse.blocks());
    let data = fs_err::read(made.path().join("Files/d/sparse")).unwrap();
    assert!(data == layer.iter().find(|(e, _)| e.path == path("Files/d/sparse")).unwrap().1);
}

#[test]
fn the_prefix_of_buildkits_links_is_dropped_when_it_leads_nowhere() {
    let below = extract_on(&vec![directory("Files"), file("Files/old", "")], &[]).unwrap();
    let layer = vec![
        directory("Files"),
        directory("Files/app"),
        symlink("Files/app/a", "Files/x"),
        symlink("Files/app/b", "Files//old"),
        symlink("Files/app/c", "Files/real"),
        directory("Files/app/Files"),
        file("Files/app/Files/real", ""),
    ];
    let made = extract_on(&layer, &[below.path()]).unwrap();
    let app = Dir::open(&made.path().join("Files/app")).unwrap();
    let targets = ["a", "b", "c"].map(|name| app.link_target(name).unwrap());
    assert_eq!(targets, ["x", "../old", "Files/real"]);
    let original = disk::xattr(app.named("a"), "trusted.oriel.link").unwrap();
    assert_eq!(original, b"sFiles/x");
}

#[test]
fn links_of_the_utility_vm_are_relative_to_its_own_drive() {
    let mut layer = vec![
        directory("UtilityVM"),
        directory("UtilityVM/Files"),
        directory("UtilityVM/Files/a"),
        symlink("UtilityVM/Files/a/link", r"C:\Windows"),
        file("UtilityVM/Files/all", ""),
        directory("Hives"),
    ];
    adorn(&mut layer[4].0, 0x27);
    adorn(&mut layer[5].0, 0x12);
    let made = extract_on(&layer, &[]).unwrap();
    let a = Dir::open(&made.path().join("UtilityVM/Files/a")).unwrap();
    assert_eq!(a.link_target("link").unwrap(), "../Windows");
    for name in ["UtilityVM/Files/all", "Hives"] {
        let node = fs_err::File::open(made.path().join(name)).unwrap();
        for attribute in ["attributes", "sd", "created", "ea"] {
            let attribute = format!("trusted.oriel.{attribute}");
            assert!(disk::xattr(node.file(), &attribute).is_some(), "{name} {attribute}");
        }
    }
}

#[test]
fn wine_hides_a_name_with_a_dot_only_if_windows_does() {
    let mut layer =
        vec![file("Files/.shown", ""), directory("Files/.d"), file("Files/.hidden", "")];
    layer[2].0.attributes = Attributes::ARCHIVE | Attributes::HIDDEN;
    let made = extract_on(&layer, &[]).unwrap();
    let files = Dir::open(&made.path().join("Files")).unwrap();
    for (name, expected) in [(".shown", "0x0"), (".d", "0x0"), (".hidden", "0x2")] {
        let found = disk::xattr(files.named(name), "user.DOSATTRIB").unwrap();
        assert_eq!(found, expected.as_bytes(), "{name}");
    }
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let files = fixture.store.sandbox_files(&sandbox);
    files.write_file(r"C:\.git\.env", &mut &b""[..], None).unwrap();
    let upper = Dir::open(&sandbox.path.join("upper")).unwrap();
    let git = upper.child(".git").unwrap().unwrap();
    for node in [upper.named(".git"), git.named(".env")] {
        assert_eq!(disk::xattr(node, "user.DOSATTRIB").as_deref(), Some(&b"0x0"[..]));
    }
}

#[test]
fn a_directory_made_over_another_keeps_what_that_one_had() {
    let (fixture, image) = loaded(&written(&everything()));
    let sandbox = fixture.sandbox("c1", &image);
    fixture.store.sandbox_files(&sandbox).write_file(r"d\x", &mut &b"x"[..], None).unwrap();
    let image = fixture.commit(Some("c1"), image);
    let entries = saved(&fixture, image);
    let (found, _) = &entries[1];
    let mut expected = entry("Files/d", Kind::Directory);
    adorn(&mut expected, 0x2017);
    let expected = Entry {
        modified: found.modified,
        accessed: found.accessed,
        changed: found.changed,
        ..expected
    };
    assert_eq!(*found, expected);
}

#[test]
fn times_of_directories_are_set_after_those_of_their_children() {
    let mut layer = vec![directory("Files"), directory("Files/d"), directory("Files/d/e")];
    layer[1].0.modified = FileTime(TIME.0 + 20_000_000);
    layer.push(file("Files/d/e/x", "x"));
    layer.push(hard_link("Files/d/late", "Files/d/e/x"));
    layer.push(directory("Files/f"));
    layer.push(hard_link("Files/d/later", "Files/f/y"));
    layer.push(file("Files/f/y", "y"));
    let made = extract_on(&layer, &[]).unwrap();
    for (entry, _) in layer.iter().filter(|(entry, _)| entry.kind == Kind::Directory) {
        let stat = Dir::open(&made.path().join(entry.path.to_string())).unwrap().status().unwrap();
        let (seconds, nanoseconds) = disk::modified(&stat);
        assert_eq!(FileTime::from_unix(seconds, nanoseconds), entry.modified, "{}", entry.path);
    }
}

#[test]
fn what_is_remembered_of_a_hostile_layer_is_bounded() {
    let mut layer = vec![file("Files/a", "a")];
    layer.extend((0..1025).map(|number| stream("Files/a", &number.to_string(), "")));
    let error = extract_on(&layer, &[]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "a file with more than 1024 streams");
}

#[test]
fn what_is_owned_by_an_account_is_so_in_the_layer() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("box", &base);
    let files = fixture.store.sandbox_files(&sandbox);
    let owned = |directory| security::owned("S-1-5-93-2-2", directory).unwrap();
    files.create_dir_all(r"C:\data").unwrap();
    files.write_file(r"C:\data\own.txt", &mut &b"x"[..], None).unwrap();
    files.write_file(r"C:\data\other.txt", &mut &b"x"[..], None).unwrap();
    for path in [r"C:\data", r"c:\DATA\own.txt"] {
        files.set_owner(path, "S-1-5-93-2-2").unwrap();
    }
    assert!(files.set_owner(r"C:\Windows", "S-1-5-93-2-2").is_err(), "a layer's");
    assert!(files.set_owner(r"C:\data", "me").is_err());
    let image = fixture.commit(Some("box"), base);
    let found = saved(&fixture, image);
    let of = |name: &str| {
        let (entry, _) = found.iter().find(|(entry, _)| entry.path.to_string() == name).unwrap();
        entry.security.clone().unwrap()
    };
    assert_eq!(of("Files/data"), owned(true));
    assert_eq!(of("Files/data/own.txt"), owned(false));
    assert_eq!(of("Files/data/other.txt"), security::default_file());
}
