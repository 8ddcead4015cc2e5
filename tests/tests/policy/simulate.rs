//! Runs the other evaluator.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use guard_tests::{environment, fixture, skip};

use crate::Case;

/// What it decides on each case: whether it allows. `None`, after a skip that says why, where it is not installed.
pub(crate) fn simulate(test: &str, cases: &[Case]) -> Option<Vec<bool>> {
    let environment = environment().join("node");
    if !environment
        .join("node_modules/@cloud-copilot/iam-simulate")
        .is_dir()
    {
        skip(
            test,
            "needs npm's @cloud-copilot/iam-simulate: cargo xtask setup",
        );
        return None;
    }
    let mut child = Command::new("node")
        .arg(fixture("clients/iam-simulate.mjs"))
        .arg(&environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut input = child.stdin.take().expect("its input is a pipe");
    let lines: String = cases
        .iter()
        .map(|case| serde_json::to_string(case).expect("a case is JSON") + "\n")
        .collect();
    // It answers while it reads: neither side may wait for the other.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let mut output = String::new();
    let mut answers = child.stdout.take().expect("its output is a pipe");
    answers
        .read_to_string(&mut output)
        .expect("it answers in UTF-8");
    writer
        .join()
        .expect("the writer ends")
        .expect("it reads all");
    assert!(
        child.wait().expect("it ends").success(),
        "it failed: {output}"
    );
    let allows = |(outcome, case): (&str, &Case)| {
        let known = ["Allowed", "ExplicitlyDenied", "ImplicitlyDenied"];
        assert!(known.contains(&outcome), "{outcome} of {case:#?}");
        outcome == "Allowed"
    };
    let outcomes: Vec<bool> = output.lines().zip(cases).map(allows).collect();
    assert_eq!(outcomes.len(), cases.len(), "an answer for each case");
    Some(outcomes)
}
