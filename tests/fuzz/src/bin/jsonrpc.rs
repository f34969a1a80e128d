//! See [`cortex_fuzz::jsonrpc`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cortex_fuzz::jsonrpc::check(bytes));
