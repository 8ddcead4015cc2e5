//! libFuzzer's program for all targets; `GUARD_FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::OnceLock;

use guard_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("GUARD_FUZZ_TARGET").unwrap_or_default();
        let target = Target::named(&name).expect("GUARD_FUZZ_TARGET names a target");
        TARGET.get_or_init(|| target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            target.run(data);
        }
    }
);
