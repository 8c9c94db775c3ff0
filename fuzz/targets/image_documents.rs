//! Any bytes as configuration, manifest and index; the choice from an index.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_image::{ImageConfig, Index, Manifest};

fn round_trip<T>(data: &[u8])
where
    T: serde::de::DeserializeOwned + serde::Serialize,
{
    let Ok(document) = serde_json::from_slice::<T>(data) else { return };
    let once = serde_json::to_vec(&document).expect("what was read can be written");
    let again: T = serde_json::from_slice(&once).expect("what was written can be read");
    assert_eq!(once, serde_json::to_vec(&again).expect("it could before"));
}

fuzz_target!(|data: &[u8]| {
    round_trip::<ImageConfig>(data);
    round_trip::<Manifest>(data);
    round_trip::<Index>(data);
});
