//! Glue: hands libFuzzer's bytes to `oddline_oracles::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::json::check(data));
