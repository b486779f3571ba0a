#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| alikafka_exporter_fuzz::responses::envelope(data));
