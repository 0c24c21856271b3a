//! Glue: hands libFuzzer's bytes to `oddline_oracles::chunk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::chunk::check(data));
