#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| origo_adapter_fuzz::run("desired_state", data));
