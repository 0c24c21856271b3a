//! Glue: hands libFuzzer's bytes to `oddline_oracles::mask`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::mask::check(data));
