//! The escape suite: every technique, outside, in `guard run` and in `guard attach`, as three users.
//!
//! A technique must get out outside, where it is not confined, and must not inside. What counts is what arrives in
//! a network namespace that plays the internet. `known.rs` names what is open and why; the test fails for anything
//! else that is, and for anything there that no longer is. The rows go to `target/escapes/`, from which
//! `cargo xtask escapes` makes docs/escapes.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the suite's own parts fail the test, with the reason"
)]

mod judge;
mod known;
mod pass;
mod report;
mod stage;

use guard_tests::escape::world::{Place, User};
use guard_tests::escape::{NOBODY, techniques};

#[test]
fn the_ordinary_user_stays_inside() {
    escapes("the_ordinary_user_stays_inside", User::Ordinary);
}

#[test]
fn root_of_a_user_namespace_stays_inside() {
    escapes("root_of_a_user_namespace_stays_inside", User::Userns);
}

#[test]
fn root_stays_inside() {
    escapes("root_stays_inside", User::Root);
}

#[test]
fn every_technique_has_a_name_and_an_address_of_its_own() {
    let mut names: Vec<_> = techniques().map(|(_, _, technique)| technique.id).collect();
    let count = names.len();
    assert!(
        count < usize::from(NOBODY),
        "{count} techniques have no addresses"
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// What a user's passes came to.
#[derive(Default)]
struct Found {
    rows: Vec<judge::Row>,
    /// What must not be.
    wrong: Vec<String>,
    /// Places that guard does not have.
    absent: Vec<Place>,
}

fn escapes(test: &str, user: User) {
    if !guard_tests::is_root(test) {
        return;
    }
    // The stage's thread has mounts of its own; what is kept is written from here.
    let found = std::thread::spawn(move || play(user)).join();
    let Found {
        rows,
        wrong,
        absent,
    } = found.unwrap_or_else(|_told| panic!("the passes came to no end"));
    for place in absent {
        guard_tests::skip(test, &format!("{place:?}: guard does not have it yet"));
    }
    report::keep(user, &rows);
    // What is wrong must not drown in what is not.
    assert!(
        wrong.is_empty(),
        "{} of {} rows are wrong (target/escapes has them all):\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    report::print(&rows);
}

/// Every pass of one user.
fn play(user: User) -> Found {
    let only = std::env::var("GUARD_ESCAPE_ONLY").unwrap_or_default();
    let only = only
        .split(',')
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect();
    let stage = stage::Stage::new(user, only).unwrap();
    let outside = pass::outside(&stage).unwrap();
    let mut found = Found::default();
    for place in [Place::Run, Place::Attach] {
        let pass = pass::inside(&stage, place, &outside);
        let pass = pass.unwrap_or_else(|error| panic!("{place:?}: {error:#}\n{}", stage.account()));
        match pass {
            Some(pass) => {
                let rows = judge::judge(&stage, &outside, &pass, &mut found.wrong);
                found.rows.extend(rows);
            }
            None => found.absent.push(place),
        }
    }
    found
}
