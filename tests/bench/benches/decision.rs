//! `cargo xtask bench` runs these, and puts them side by side.

use divan::{AllocProfiler, Bencher, black_box};
use guard_bench::{Request, profile};
use guard_daemon::aws::catalog;
use guard_daemon::policy::NothingKnown;

#[global_allocator]
static COUNTED: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Operation, actions and resources, without condition keys.
#[divan::bench(args = 0..6)]
fn identify(bencher: Bencher<'_, '_>, which: usize) {
    let request = &Request::all()[which];
    bencher.bench_local(|| black_box(request).identify(&[]));
}

/// The same with the condition keys that a request tells.
#[divan::bench(args = 0..6)]
fn identify_keys(bencher: Bencher<'_, '_>, which: usize) {
    let request = &Request::all()[which];
    let wanted = ["aws:requesttag/team", "dynamodb:leadingkeys", "s3:prefix"];
    bencher.bench_local(|| black_box(request).identify(&wanted));
}

/// The decision on a call that is identified, by so many statements.
#[divan::bench(args = [1, 100, 10_000])]
fn decide(bencher: Bencher<'_, '_>, statements: usize) {
    let profile = profile(statements);
    let call = Request::all()[2].identify(&[]);
    bencher.bench_local(|| profile.decide(black_box(&call.access), &NothingKnown));
}

/// A profile from its text.
#[divan::bench(args = [1, 100, 10_000], sample_count = 10)]
fn parse(statements: usize) {
    black_box(profile(statements));
}

/// What the catalog says of its sources: it is loaded, where it is not static.
#[divan::bench]
fn catalog_sources() -> usize {
    catalog::sources().count()
}
