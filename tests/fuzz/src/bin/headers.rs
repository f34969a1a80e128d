//! See [`cortex_fuzz::headers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cortex_fuzz::headers::check(bytes));
