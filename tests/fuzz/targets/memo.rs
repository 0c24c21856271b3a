//! Glue: hands libFuzzer's bytes to `oddline_oracles::memo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::memo::check(data));
