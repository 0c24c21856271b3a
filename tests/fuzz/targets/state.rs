//! Glue: hands libFuzzer's bytes to `oddline_oracles::state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oddline_oracles::state::check(data));
