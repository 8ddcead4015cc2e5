//! Every committed seed holds.

use std::path::Path;

use guard_fuzz::Target;

#[test]
fn every_seed_holds() {
    let mut broken = Vec::new();
    for target in Target::ALL {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&directory).expect("a corpus") {
            let path = entry.expect("an entry").path();
            let data = std::fs::read(&path).expect("a seed");
            let held = std::panic::catch_unwind(|| target.run(&data));
            broken.extend(held.is_err().then_some(path));
            seeds += 1;
        }
        assert!(seeds >= 8, "{} has {seeds} seeds", target.name);
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
