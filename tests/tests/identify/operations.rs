//! Every operation of every service in botocore, in every protocol that its model lists, as botocore writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, BufWriter, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use guard_tests::installation::binary;
use guard_tests::{fixture, python_program, skip};
use serde::Deserialize;

use super::exceptions::{EXCEPTIONS, GROUPS, OLD_NAMES, Outcome};

/// What botocore has.
const SERVICES: usize = 439;
const OPERATIONS: usize = 19_796;

/// What a request is.
#[derive(Clone, Debug, Deserialize)]
struct Truth {
    service: String,
    operation: String,
    protocol: String,
    variant: String,
    /// Of the host, in the variant `host`.
    partition: Option<String>,
}

/// A line of the generator, as far as it is looked at.
#[derive(Deserialize)]
struct Impossible {
    impossible: String,
}

/// A line of `guard identify`.
#[derive(Debug, Deserialize)]
struct Answer {
    service: Option<String>,
    operation: Option<String>,
    candidates: Vec<Candidate>,
    actions: Vec<Option<String>>,
    protocol: Option<String>,
    partition: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    service: String,
    operation: String,
}

#[test]
fn every_operation_of_botocore_is_identified() {
    let python = python_program("python");
    if !python.exists() {
        return skip(
            "identify::operations",
            "needs botocore: `cargo xtask setup`",
        );
    }
    let mut generator = Command::new(python)
        .arg(fixture("identify/requests.py"))
        .args(["--jobs", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut guard = Command::new(binary())
        .args(["identify", "--account", "123456789012"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let requests = generator.stdout.take().expect("piped");
    let input = guard.stdin.take().expect("piped");
    let answers = BufReader::new(guard.stdout.take().expect("piped")).lines();
    let (send, truths) = channel();
    let feeding = std::thread::spawn(move || feed(requests, input, &send));
    let mut table = Table::default();
    table.judge_all(&truths, answers);
    feeding.join().expect("no panic");
    ended(generator);
    let code = guard.wait().expect("guard ends").code();
    assert_eq!(code, Some(5), "some of the requests are refused");
    print(&table.to_string());
    table.check();
}

/// Passes the requests on to guard, and what they are to the judge.
fn feed(requests: ChildStdout, input: ChildStdin, truths: &Sender<(Truth, Option<String>)>) {
    let mut requests = BufReader::with_capacity(1 << 20, requests);
    let mut input = BufWriter::with_capacity(1 << 20, input);
    let mut line = Vec::new();
    while requests.read_until(b'\n', &mut line).expect("a line") > 0 {
        // It stands first and has no objects in it: bodies need not be parsed twice.
        let start = br#"{"truth":"#.len();
        let end = line.iter().position(|it| *it == b'}').expect("an object");
        let truth = serde_json::from_slice(&line[start..=end]).expect("what the request is");
        let why = line[end..].starts_with(br#"},"impossible":"#).then(|| {
            let Impossible { impossible } = serde_json::from_slice(&line).expect("a reason");
            impossible
        });
        if why.is_none() {
            input.write_all(&line).expect("guard reads");
        }
        truths.send((truth, why)).expect("the judge listens");
        line.clear();
    }
    input.flush().expect("guard reads");
}

fn ended(mut child: Child) {
    assert!(child.wait().expect("it ends").success());
}

/// The outcomes, and what they are judged by.
#[derive(Default)]
struct Table {
    counts: BTreeMap<String, BTreeMap<Outcome, usize>>,
    seen: BTreeSet<(String, String)>,
    occurred: BTreeSet<usize>,
    groups: BTreeSet<usize>,
    old_names: BTreeSet<usize>,
    unexpected: Vec<String>,
}

impl Table {
    fn judge_all(
        &mut self,
        truths: &Receiver<(Truth, Option<String>)>,
        mut answers: Lines<BufReader<ChildStdout>>,
    ) {
        for (truth, impossible) in truths {
            let (outcome, told) = if let Some(why) = impossible {
                (Outcome::Impossible, why)
            } else {
                let line = answers.next().expect("an answer").expect("text");
                let answer = serde_json::from_str(&line).expect("an answer");
                (self.judge(&truth, &answer), line)
            };
            self.count(&truth, outcome, &told);
        }
        assert!(answers.next().is_none(), "more answers than requests");
    }

    fn judge(&mut self, truth: &Truth, answer: &Answer) -> Outcome {
        if answer.error.is_some() {
            return Outcome::Refused;
        }
        if answer.candidates.is_empty() {
            return Outcome::Unknown;
        }
        let mut old_names = OLD_NAMES.iter().enumerate();
        let old = old_names.find(|(_, it)| truth.service == "s3" && truth.operation == it.0);
        let name = old.map_or(truth.operation.as_str(), |(_, it)| it.1);
        let named = answer.operation.as_deref() == Some(name);
        let right = answer
            .candidates
            .iter()
            .any(|it| it.service == truth.service)
            && answer.candidates.iter().all(|it| it.operation == name)
            && answer
                .protocol
                .as_deref()
                .is_some_and(|it| is(it, &truth.protocol))
            && (truth.partition.is_none() || answer.partition == truth.partition);
        if !named || !right {
            return Outcome::Wrong;
        }
        if answer.candidates.len() == 1 {
            return match old {
                _ if answer.service.as_ref() != Some(&truth.service) => Outcome::Wrong,
                Some((place, _)) => {
                    self.old_names.insert(place);
                    Outcome::OldName
                }
                None => Outcome::Exact,
            };
        }
        let group = GROUPS.iter().position(|group| {
            let all = |it: &Candidate| group.services.contains(&it.service.as_str());
            // One action of the services' own, whichever of them it is, besides that for the tags given along.
            let own = answer.actions.iter().filter(|action| {
                action
                    .as_deref()
                    .and_then(|it| it.split_once(':'))
                    .is_none_or(|(prefix, name)| {
                        prefix == group.prefix && name != "AddTagsToResource"
                    })
            });
            let tags = truth.operation == "AddTagsToResource";
            answer.candidates.iter().all(all) && own.count() == usize::from(!tags)
        });
        let Some(group) = group else {
            return Outcome::Wrong;
        };
        self.groups.insert(group);
        Outcome::Ambiguous
    }

    fn count(&mut self, truth: &Truth, outcome: Outcome, told: &str) {
        let row = match &*truth.variant {
            "host" => format!("{} (hosts)", truth.protocol),
            _ => truth.protocol.clone(),
        };
        *self
            .counts
            .entry(row)
            .or_default()
            .entry(outcome)
            .or_default() += 1;
        self.seen
            .insert((truth.service.clone(), truth.operation.clone()));
        if matches!(
            outcome,
            Outcome::Exact | Outcome::Ambiguous | Outcome::OldName
        ) {
            return;
        }
        let known = EXCEPTIONS.iter().position(|it| {
            it.service == truth.service
                && (it.operation == "*" || it.operation == truth.operation)
                && it.outcome == outcome
        });
        match known {
            Some(place) => _ = self.occurred.insert(place),
            None => self
                .unexpected
                .push(format!("{outcome:?}: {truth:?}\n    {told}")),
        }
    }

    fn check(&self) {
        assert!(
            self.unexpected.is_empty(),
            "{} unexpected:\n{}",
            self.unexpected.len(),
            self.unexpected[..self.unexpected.len().min(20)].join("\n")
        );
        for (place, exception) in EXCEPTIONS.iter().enumerate() {
            let it = format!("{}:{}", exception.service, exception.operation);
            assert!(
                self.occurred.contains(&place),
                "{it} is no exception: {}",
                exception.reason
            );
        }
        for (place, group) in GROUPS.iter().enumerate() {
            assert!(
                self.groups.contains(&place),
                "{:?} are told apart: {}",
                group.services,
                group.reason
            );
        }
        assert_eq!(self.old_names.len(), OLD_NAMES.len(), "each occurs");
        let services: BTreeSet<_> = self.seen.iter().map(|it| &it.0).collect();
        assert_eq!((services.len(), self.seen.len()), (SERVICES, OPERATIONS));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcomes = [
            Outcome::Exact,
            Outcome::Ambiguous,
            Outcome::OldName,
            Outcome::Wrong,
            Outcome::Unknown,
            Outcome::Refused,
            Outcome::Impossible,
        ];
        write!(f, "{:<28}{:>10}", "protocol", "requests")?;
        for outcome in outcomes {
            write!(f, "{:>12}", format!("{outcome:?}").to_lowercase())?;
        }
        writeln!(f)?;
        let mut sum: BTreeMap<Outcome, usize> = BTreeMap::new();
        let rows = self
            .counts
            .iter()
            .map(|(name, counts)| (name.as_str(), counts));
        for (_, counts) in rows.clone() {
            for (outcome, count) in counts {
                *sum.entry(*outcome).or_default() += count;
            }
        }
        for (name, counts) in rows.chain([("all", &sum)]) {
            write!(f, "{name:<28}{:>10}", counts.values().sum::<usize>())?;
            for outcome in outcomes {
                write!(f, "{:>12}", counts.get(&outcome).unwrap_or(&0))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{} operations. Not exact:", self.seen.len())?;
        for group in GROUPS {
            writeln!(f, "  {}: {}", group.services.join(", "), group.reason)?;
        }
        for (old, new) in OLD_NAMES {
            writeln!(f, "  s3:{old}: the old name of {new}")?;
        }
        for it in EXCEPTIONS {
            let outcome = format!("{:?}", it.outcome).to_lowercase();
            writeln!(
                f,
                "  {}:{} {outcome}: {}",
                it.service, it.operation, it.reason
            )?;
        }
        Ok(())
    }
}

/// Whether guard would answer in the protocol that botocore wrote the request in.
fn is(answered: &str, written: &str) -> bool {
    match written {
        "json" => matches!(answered, "awsJson1_0" | "awsJson1_1"),
        "query" => answered == "awsQuery",
        "ec2" => answered == "ec2Query",
        "rest-json" => answered == "restJson1",
        "rest-xml" => answered == "restXml",
        _ => written == "smithy-rpc-v2-cbor" && answered == "rpcv2Cbor",
    }
}

/// Also where the test passes: the table is what it is for.
fn print(text: &str) {
    std::io::stdout()
        .write_all(text.as_bytes())
        .expect("written");
}
