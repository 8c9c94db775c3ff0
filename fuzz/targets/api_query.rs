//! Any text as a query string, a filter and a version, and any bytes as a stream header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_api::{Filters, Query, percent_decode, percent_encode};

fuzz_target!(|data: &[u8]| {
    if let Some(header) = data.first_chunk() {
        let _ = oriel_api::frame::decode_header(*header);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = Query::parse(text);
    let _ = query.value("filters");
    let _ = Filters::parse(text, &["label", "name"]);
    assert_eq!(percent_decode(&percent_encode(text)), text);
    let _ = oriel_api::ApiVersion::split(text);
});
