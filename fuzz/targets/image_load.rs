//! Any bytes as an archive of images: an error leaves nothing behind.
#![no_main]

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oriel_image::{ImageStore, Loaded};

thread_local! {
    static STORE: OnceCell<(tempfile::TempDir, ImageStore)> = const { OnceCell::new() };
}

fn open() -> (tempfile::TempDir, ImageStore) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let backend = redb::backends::InMemoryBackend::new();
    let database = redb::Database::builder().create_with_backend(backend).expect("a database");
    let store = ImageStore::open(directory.path(), Arc::new(database)).expect("a store");
    (directory, store)
}

fn leftovers(root: &Path) -> usize {
    ["content/blobs/sha256", "content/ingest", "windowsfilter"]
        .iter()
        .map(|part| root.join(part).read_dir().map_or(0, Iterator::count))
        .sum()
}

fuzz_target!(|data: &[u8]| {
    STORE.with(|place| {
        let (directory, store) = place.get_or_init(open);
        let mut input = data;
        for loaded in store.load(&mut input, &mut |_| {}).unwrap_or_default() {
            let (Loaded::Reference(_, id) | Loaded::Id(id)) = loaded;
            let _ = store.remove(&id.to_string(), true, false, &|_| None);
        }
        assert_eq!(leftovers(directory.path()), 0, "something was left behind");
    });
});
