//! libFuzzer on one of the targets: `LGSP_FUZZ_TARGET=registry lgsp-fuzz [options] [corpus …]`; see `tests/fuzz/run`.
#![no_main]

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<lgsp_fuzz::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("LGSP_FUZZ_TARGET").unwrap_or_default();
        lgsp_fuzz::target(&name).unwrap_or_else(|| {
            let names: Vec<&str> = lgsp_fuzz::TARGETS.iter().map(|target| target.name).collect();
            eprintln!("LGSP_FUZZ_TARGET is one of: {}", names.join(" "));
            std::process::exit(2);
        })
    });
    (target.run)(data);
});
