//! Regenerates the catalog of AWS services and operations from botocore's models, or proves that the
//! committed one is current. docs/catalog.md tells what is in it and why.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

mod classes;
mod hosts;
mod iam;
mod outputs;
mod tables;
mod unmarked;
mod wheel;

/// The code of the daemon that reads hosts: the table must be keyed by what it makes of them.
#[path = "../../../guard-daemon/src/aws/endpoint.rs"]
#[allow(dead_code, unreachable_pub, reason = "included for `classify` alone")]
mod endpoint;

/// The artifact's layout.
#[path = "../../../guard-daemon/src/aws/catalog/schema.rs"]
#[allow(dead_code, unreachable_pub, reason = "included as the daemon has it")]
mod schema;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the committed catalog differs from what the sources give.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask stands in the workspace")?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let directory = target.join("catalog");
    let models = wheel::models(&directory)?;
    let iam = iam::Iam::read(&directory, root)?;
    let (catalog, counts) = tables::build(&models, iam)?;
    let bytes =
        rkyv::to_bytes::<rkyv::rancor::Error>(&catalog).context("cannot lay out the catalog")?;
    let path = root.join("guard-daemon/src/aws/catalog/catalog.bin");
    let committed = fs::read(&path).unwrap_or_default();
    let same = committed == bytes.as_slice();
    if arguments.check {
        ensure!(
            same,
            "{} is not what the sources give: run `cargo xtask catalog`",
            path.display()
        );
    } else if !same {
        fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    say(&format!(
        "catalog: {} services, {} operations, {} routes, {} outputs worth masking, {} actions, {} bytes{}",
        catalog.services.len(),
        catalog.operations.len(),
        catalog.routes.len(),
        catalog.outputs.len(),
        catalog.actions.len(),
        bytes.len(),
        if same { ", as committed" } else { "" },
    ));
    say(&format!(
        "actions: {:?}, unknown {}",
        counts.sources, counts.unknown
    ));
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "a task's result goes to its caller's terminal"
)]
fn say(line: &str) {
    println!("{line}");
}
