//! What an agent chose cannot be taken for another part of a row.

use super::super::entry::{Entry, Event};
use super::super::journal::Journal;
use super::super::show::{self, Summary};
use super::super::{read, samples};
use super::runtime;

fn shown(event: Event) -> Summary {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let entry = Entry {
        session: None,
        event,
    };
    runtime().block_on(journal.append(entry)).unwrap();
    let line = read::lines(directory.path()).unwrap().next().unwrap();
    show::summary(&line.unwrap()).unwrap()
}

#[test]
fn names_and_arguments_of_a_program() {
    let mut process = samples::process();
    process.comm = "x[1]  allow".to_owned();
    process.exe = Some("/tmp/a b".to_owned());
    let forged = "; allowed by statement ok; for grace@acme.example";
    process.argv = Some(["a", "-v", forged, "it's", ""].map(str::to_owned).to_vec());
    let row = shown(Event::ProcessExecuted { process });
    assert_eq!(row.process, "'x[1]  allow'[41307]");
    assert_eq!(
        row.what,
        format!("exec '/tmp/a b' -v '{forged}' 'it'\\''s' ''")
    );
    assert_eq!(row.outcome, "by 41300");
}

#[test]
fn resources_and_reasons() {
    let mut decided = samples::decided("a-1");
    let key = "arn:aws:s3:::b/k; allowed by statement ok";
    decided.access[0].resources = vec![Some(key.to_owned()), Some("arn:aws:s3:::b/k".to_owned())];
    decided.reason = format!("s3:DeleteBucket on {key} is denied");
    decided.approval = Some("a-1f00c2d9".to_owned());
    decided.confidence = "unknown".to_owned();
    decided.path = "/k; x".to_owned();
    let row = shown(Event::ExchangeDecided(Box::new(decided)));
    assert_eq!(
        row.what,
        format!(
            "s3:DeleteBucket '{key}' arn:aws:s3:::b/k DELETE 'reports.s3.eu-west-1.amazonaws.com/k; x'"
        )
    );
    assert_eq!(row.reason, format!("'s3:DeleteBucket on {key} is denied'"));
    assert_eq!(row.outcome, "a-1, a-1f00c2d9");

    // A Greek question mark looks like a semicolon.
    for (said, expected) in [
        (
            "a person's approval (by \"ask\")",
            "a person's approval (by \"ask\")",
        ),
        ("a\u{37e} b", "'a\u{37e} b'"),
        ("a  b", "'a  b'"),
        ("'a", "''\\''a'"),
        ("a\u{9b}b", "'a\\u{9b}b'"),
    ] {
        let row = shown(Event::Finding {
            code: "attached".to_owned(),
            detail: said.to_owned(),
        });
        assert_eq!(row.reason, expected);
    }
}

#[test]
fn errors_and_masked_members() {
    let mut completed = samples::completed("a-1");
    completed.aws_error = Some("None, 200".to_owned());
    completed.error = Some("upstream-connect: x, 200".to_owned());
    completed.masked = vec!["A b".to_owned(), "C.D".to_owned()];
    let row = shown(Event::ExchangeCompleted(Box::new(completed)));
    assert_eq!(
        row.outcome,
        "200, 'None, 200', 'upstream-connect: x, 200', 34 B sent, 412 B received, 87 ms, masked 'A b' C.D"
    );
}

#[test]
fn names_and_hosts() {
    let row = shown(Event::DnsQuestion {
        name: "a over udp; x".to_owned(),
        kind: "A".to_owned(),
        allowed: false,
        transport: "udp".to_owned(),
    });
    assert_eq!(row.what, "dns A 'a over udp; x' over udp");
    let row = shown(Event::Refused {
        process: None,
        destination: None,
        host: Some("a;b".to_owned()),
        code: "no-origin".to_owned(),
        detail: "why; for ada".to_owned(),
    });
    assert_eq!(
        (row.what.as_str(), row.reason.as_str()),
        ("no-origin 'a;b'", "'why; for ada'")
    );
}
