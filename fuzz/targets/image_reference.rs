//! Any text as an image's name; what is accepted means the same when written out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_image::{Digest, Reference, WindowsVersion, parse_rfc3339};

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let whole = reference.to_string();
        assert_eq!(Reference::parse(&whole).as_ref().ok(), Some(&reference), "{whole}");
        let short = reference.familiar();
        assert_eq!(Reference::parse(&short).ok(), Some(reference), "{short}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse::<Digest>().ok(), Some(digest));
    }
    let _ = WindowsVersion::parse(text);
    let _ = parse_rfc3339(text);
});
