//! guard's build, catalog, test and demo tasks: `cargo xtask TASK`.

use clap::{Parser, Subcommand};

mod catalog;
mod demo;
mod ebpf;
mod escapes;
mod fuzz;
mod place;
mod setup;
mod test;
mod vm;

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the build and the tests need (Debian, Ubuntu).
    Setup(setup::Arguments),
    /// Rebuild the eBPF object.
    Ebpf(ebpf::Arguments),
    /// Regenerate the catalog of AWS services and operations.
    Catalog(catalog::Arguments),
    /// Render docs/escapes.md from what the escape suite found.
    Escapes(escapes::Arguments),
    /// Set up everything and show the main job.
    Demo(demo::Arguments),
    /// Fuzz guard's parsers.
    Fuzz(fuzz::Arguments),
    /// Set up everything and run all tests.
    Test(test::Arguments),
    /// Run a command under other kernels, with BPF LSM on and off.
    Vm(vm::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Setup(arguments) => setup::run_task(&arguments),
        Task::Ebpf(arguments) => ebpf::run(&arguments),
        Task::Escapes(arguments) => escapes::run(&arguments),
        Task::Catalog(arguments) => catalog::run(&arguments),
        Task::Demo(arguments) => demo::run_task(&arguments),
        Task::Fuzz(arguments) => fuzz::run_task(&arguments),
        Task::Test(arguments) => test::run_task(&arguments),
        Task::Vm(arguments) => vm::run_task(&arguments),
    }
}
