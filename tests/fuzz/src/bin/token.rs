//! See [`cortex_fuzz::token`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cortex_fuzz::token::check(bytes));
