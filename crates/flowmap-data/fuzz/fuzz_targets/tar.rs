//! Tar shards of a WebDataset.
#![no_main]

#[path = "../../tests/data/support/reading.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    reading::check("tar", bytes);
});
