//! Hostile, damaged and odd images through the public door.
//!
//! Each case is an archive as a stranger may hand it to `docker load`, made in code, with what
//! must come of it. Whatever that is, nothing may stay behind: after a refusal, and after an
//! image that loaded is removed, the data root holds what it held before, byte for byte in size.

mod documents;
mod layers;
mod make;
mod streams;
mod tolerated;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oriel_image::{
    BaseImport, ImageConfig, ImageError, ImageId, ImageStore, Loaded, SandboxSettings,
};

/// Fewest cases there must be.
const FEWEST: usize = 200;

/// Longest time a case may take; the slowest of them writes some hundred megabytes.
const LONGEST: Duration = Duration::from_secs(60);

/// What must come of a case.
enum Outcome {
    /// The load fails, and the error says this.
    Refused(&'static str),
    /// The load succeeds.
    Loaded,
}

/// One archive and what must come of it.
struct Case {
    name: String,
    archive: Vec<u8>,
    outcome: Outcome,
}

fn refused(name: impl Into<String>, archive: Vec<u8>, says: &'static str) -> Case {
    Case { name: name.into(), archive, outcome: Outcome::Refused(says) }
}

fn loaded(name: impl Into<String>, archive: Vec<u8>) -> Case {
    Case { name: name.into(), archive, outcome: Outcome::Loaded }
}

/// A store in a directory of its own, with a base image.
struct Fixture {
    directory: tempfile::TempDir,
    store: ImageStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let backend = redb::backends::InMemoryBackend::new();
        let database =
            redb::Database::builder().create_with_backend(backend).expect("a database in memory");
        let store =
            ImageStore::open(&directory.path().join("data"), Arc::new(database)).expect("a store");
        let layer_tar = directory.path().join("base.tar");
        fs_err::write(&layer_tar, make::base_layer()).expect("a file");
        let config = ImageConfig { os: "windows".into(), ..ImageConfig::default() };
        let base = BaseImport { name: "base".into(), layer_tar, config };
        store.import_base(&base).expect("a base image");
        Self { directory, store }
    }

    /// Kinds and sizes of everything below the data root.
    fn listing(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        list(&self.directory.path().join("data"), "", &mut found);
        found
    }

    /// Says what is wrong with how `case` ends.
    fn complaint(&self, case: &Case) -> Option<String> {
        let started = Instant::now();
        let result = self.store.load(&mut &case.archive[..], &mut |_| {});
        let complaint = match (&case.outcome, result) {
            (Outcome::Refused(says), Err(error)) => differs(&error, says),
            (Outcome::Refused(says), Ok(_)) => Some(format!("loaded, but: {says}")),
            (Outcome::Loaded, Err(error)) => Some(chain(&error)),
            (Outcome::Loaded, Ok(images)) => self.settle(&images),
        };
        let slow = (started.elapsed() > LONGEST).then(|| format!("{:?}", started.elapsed()));
        complaint.or(slow)
    }

    /// Makes a container of each image and removes both.
    fn settle(&self, images: &[Loaded]) -> Option<String> {
        let id = |loaded: &Loaded| match loaded {
            Loaded::Reference(_, id) | Loaded::Id(id) => *id,
        };
        let ids: BTreeSet<ImageId> = images.iter().map(id).collect();
        let complaints: Vec<String> = ids
            .iter()
            .filter_map(|id| {
                let made = self.store.create_sandbox("c1", id, &SandboxSettings::default());
                let complaint = made.err().map(|error| chain(&error));
                self.store.remove_sandbox("c1").expect("a sandbox goes");
                self.store.remove(&id.to_string(), true, false, &|_| None).expect("an image goes");
                complaint
            })
            .collect();
        match ids.is_empty() {
            true => Some("no image was loaded".into()),
            false => complaints.into_iter().next(),
        }
    }
}

/// An error with all its causes.
fn chain(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn differs(error: &ImageError, says: &str) -> Option<String> {
    let text = chain(error);
    if text.len() > 2_000 {
        return Some(format!("an error of {} bytes", text.len()));
    }
    (!text.contains(says)).then_some(text)
}

fn list(root: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs_err::read_dir(root.join(below)).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        let name = name.trim_start_matches('/').to_owned();
        let metadata = fs_err::symlink_metadata(entry.path()).expect("metadata");
        if metadata.is_dir() {
            list(root, &name, found);
        }
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        found.insert(name, format!("{:?} {size}", metadata.file_type()));
    }
}

/// The first difference between two listings.
fn change(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Option<String> {
    let new = after.iter().find(|(name, what)| before.get(*name) != Some(*what));
    let gone = before.iter().find(|(name, _)| !after.contains_key(*name));
    match (new, gone) {
        (Some(left), _) => Some(format!("left {left:?}")),
        (None, Some(lost)) => Some(format!("took {lost:?}")),
        (None, None) => None,
    }
}

/// Runs the cases of a family.
fn check(cases: &[Case]) {
    let fixture = Fixture::new();
    let before = fixture.listing();
    let mut complaints = Vec::new();
    for case in cases {
        let complaint = fixture.complaint(case);
        let change = change(&before, &fixture.listing());
        let left = change.is_some();
        complaints.extend(
            [complaint, change]
                .into_iter()
                .flatten()
                .map(|complaint| format!("{}: {complaint}", case.name)),
        );
        if left {
            // What comes next would be blamed for it.
            break;
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn hostile_layers_are_refused_and_leave_nothing() {
    check(&layers::cases());
}

#[test]
fn hostile_documents_are_refused_and_leave_nothing() {
    check(&documents::cases());
}

#[test]
fn hostile_streams_are_refused_and_leave_nothing() {
    check(&streams::cases());
}

#[test]
fn what_producers_write_loads_and_leaves_nothing_once_removed() {
    check(&tolerated::cases());
}

#[test]
fn there_are_enough_cases_and_each_has_a_name() {
    let families = [layers::cases(), documents::cases(), streams::cases(), tolerated::cases()];
    let mut names = BTreeSet::new();
    for case in families.iter().flatten() {
        assert!(names.insert(&case.name), "{} stands twice", case.name);
    }
    assert!(names.len() >= FEWEST, "{} cases, {FEWEST} were promised", names.len());
}

#[test]
fn a_base_layer_that_is_no_layer_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new();
    let before = fixture.listing();
    let tar = fixture.directory.path().join("bad.tar");
    for (name, bytes, says) in layers::bad_tars() {
        fs_err::write(&tar, bytes).expect("a file");
        let config = ImageConfig { os: "windows".into(), ..ImageConfig::default() };
        let base = BaseImport { name: "bad".into(), layer_tar: tar.clone(), config };
        let error = fixture.store.import_base(&base).expect_err(name);
        assert!(chain(&error).contains(says), "{name}: {}", chain(&error));
        assert_eq!(fixture.listing(), before, "{name}");
    }
}
