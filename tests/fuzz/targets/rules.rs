//! Glue: hands libFuzzer's bytes to `oddline_oracles::rules`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::rules::check(data));
