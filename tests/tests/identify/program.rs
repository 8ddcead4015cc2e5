//! `guard identify` as a program: files, pipes, bad lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use guard_tests::installation::binary;
use serde_json::{Value, json};

fn identify(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(binary())
        .arg("identify")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || _ = stdin.write_all(&input));
    let output = child.wait_with_output().expect("guard ends");
    feeding.join().expect("no panic");
    output
}

fn answers(output: &Output) -> Vec<Value> {
    let lines = output
        .stdout
        .split(|it| *it == b'\n')
        .filter(|it| !it.is_empty());
    lines
        .map(|it| serde_json::from_slice(it).expect("an answer"))
        .collect()
}

fn call() -> Value {
    json!({
        "method": "POST",
        "url": "https://sts.us-east-1.amazonaws.com/",
        "headers": { "Content-Type": "application/x-www-form-urlencoded" },
        // Action=GetCallerIdentity&Version=2011-06-15
        "body": "QWN0aW9uPUdldENhbGxlcklkZW50aXR5JlZlcnNpb249MjAxMS0wNi0xNQ==",
    })
}

#[test]
fn bad_lines_are_answered_where_they_stand_and_end_nothing() {
    let good = call().to_string();
    let huge = format!("{{\"method\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let input = [&good, "{", "", &huge, &good, "null", "\u{0}\u{7}", &good].join("\n");
    let output = identify(&[], input.as_bytes());
    assert_eq!(output.status.code(), Some(5));
    let answers = answers(&output);
    let told = |it: &Value| {
        let error = it["error"].as_str().unwrap_or_default();
        (
            it["operation"].clone(),
            it["line"].as_u64(),
            error
                .split([':', ';'])
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let known = || (json!("GetCallerIdentity"), None, String::new());
    let bad = |line, why: &str| (Value::Null, Some(line), why.to_owned());
    let expected = [
        known(),
        bad(2, "not a request"),
        bad(4, "the line is longer than 16 MiB"),
        known(),
        bad(6, "not a request"),
        bad(7, "not a request"),
        known(),
    ];
    assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn a_good_pass_ends_well_also_from_a_file() {
    let output = identify(
        &["--account", "123456789012"],
        format!("{}\r\n", call()).as_bytes(),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer = &answers(&output)[0];
    for (name, value) in [
        ("service", json!("sts")),
        ("operation", json!("GetCallerIdentity")),
        (
            "candidates",
            json!([{ "service": "sts", "operation": "GetCallerIdentity" }]),
        ),
        ("actions", json!(["sts:GetCallerIdentity"])),
        ("confidence", json!("exact")),
        ("partition", json!("aws")),
        ("region", json!("us-east-1")),
    ] {
        assert_eq!(answer[name], value, "{answer}");
    }
    let directory = tempfile::tempdir().expect("made");
    let path = directory.path().join("requests.jsonl");
    std::fs::write(&path, call().to_string()).expect("written");
    let from_file = identify(
        &[path.to_str().expect("text"), "--account", "123456789012"],
        b"",
    );
    assert_eq!(from_file.stdout, output.stdout);
    let missing = identify(&["/nonexistent/requests.jsonl"], b"");
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot open"));
    for wrong in ["1", "12345678901x", "1234567890123"] {
        assert_eq!(identify(&["--account", wrong], b"").status.code(), Some(2));
    }
    assert_eq!(identify(&[], b"").status.code(), Some(0));
}

#[test]
fn a_har_document_gives_an_answer_for_each_entry() {
    let entry =
        |request: Value| json!({ "time": 1, "request": request, "response": { "content": {} } });
    let har = json!({ "log": {
        "version": "1.2",
        "creator": { "name": "x", "entries": [1] },
        "entries": [
            entry(json!({
                "method": "GET", "url": "https://b.s3.amazonaws.com/k?versionId=1", "bodySize": 0,
                "headers": [{ "name": ":authority", "value": "b.s3.amazonaws.com" }, { "name": ":path", "value": "/k" }],
                "queryString": [{ "name": "versionId", "value": "1" }],
            })),
            { "request": { "method": 1 } },
            entry(json!({
                "method": "POST", "url": "https://sts.amazonaws.com/",
                "headers": [{ "name": "content-type", "value": "application/x-www-form-urlencoded" }],
                "postData": { "mimeType": "", "params": [
                    { "name": "Action", "value": "AssumeRole" }, { "name": "Version", "value": "2011-06-15" },
                    { "name": "RoleArn", "value": "arn:aws:iam::123456789012:role/a b" },
                ] },
            })),
        ],
        "pages": [],
    } });
    for text in [har.to_string(), format!("\u{feff}{har:#}\n")] {
        let output = identify(&[], text.as_bytes());
        let answers = answers(&output);
        let operations: Vec<_> = answers.iter().map(|it| it["operation"].as_str()).collect();
        assert_eq!(
            operations,
            [Some("GetObject"), None, Some("AssumeRole")],
            "{answers:?}"
        );
        assert_eq!(answers[1]["line"], 2);
        assert_eq!(
            answers[2]["resources"],
            json!(["arn:aws:iam::123456789012:role/a b"])
        );
        assert_eq!(output.status.code(), Some(5));
        // Cut off in the middle of the last entry.
        let torn = &text.as_bytes()[..text.find("AssumeRole").expect("there")];
        let torn = identify(&[], torn);
        let torn = self::answers(&torn);
        assert_eq!(torn.len(), 3, "{torn:?}");
        assert!(
            torn[2]["error"]
                .as_str()
                .expect("an error")
                .contains("the HAR document ends here")
        );
    }
}

/// Who writes a line and waits gets its answer, and a reader that has seen enough ends the program.
#[test]
fn answers_come_at_once_and_a_closed_output_ends_the_program() {
    let mut child = Command::new(binary())
        .arg("identify")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..3 {
        writeln!(stdin, "{}", call()).expect("guard reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("an answer");
        assert!(line.contains("GetCallerIdentity"), "{line}");
    }
    drop(stdout);
    writeln!(stdin, "{}", call()).expect("guard reads");
    // Its input stays open.
    guard_tests::installation::eventually("guard ends", || {
        child.try_wait().expect("ours").is_some()
    })
    .expect("in time");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    drop(stdin);
}

#[test]
fn many_requests_keep_their_order() {
    let mut input = Vec::new();
    for number in 0..5_000 {
        let line =
            json!({ "method": "GET", "url": format!("https://s3.amazonaws.com/bucket-{number}") });
        writeln!(input, "{line}").expect("written");
    }
    let output = identify(&[], &input);
    assert_eq!(output.status.code(), Some(0));
    for (number, answer) in answers(&output).iter().enumerate() {
        assert_eq!(
            answer["resources"],
            json!([format!("arn:aws:s3:::bucket-{number}")])
        );
    }
}
