//! Glue: hands libFuzzer's bytes to `oddline_oracles::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::frame::check(data));
