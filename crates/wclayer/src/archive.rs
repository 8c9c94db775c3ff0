//! Plain tar archives, read with every size bounded.
