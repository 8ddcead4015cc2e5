//! Event streams over HTTP/2, to a server that checks each envelope with the JavaScript SDK's signer.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};
use guard_tests::{environment, fixture, is_root, skip};

use super::ALL;
use super::server::certificate;

const HOST: &str = "bedrock-runtime.us-east-1.amazonaws.com";

struct Bedrock {
    directory: tempfile::TempDir,
    port: u16,
    said: Lines<BufReader<ChildStdout>>,
    // It ends when its standard input closes.
    _process: Child,
}

impl Bedrock {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name| directory.path().join(name);
        let (leaf, key) = certificate(&[HOST.to_owned()], &file("ca.pem"));
        std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(file("certificate.pem"), leaf.pem()).unwrap();
        let mut process = Command::new("node")
            .arg(fixture("clients/events-server.mjs"))
            .arg(environment().join("node"))
            .args([file("key.pem"), file("certificate.pem")])
            .args([REAL_ACCESS_KEY_ID, REAL_SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = said.next().unwrap().unwrap();
        let port = ready.strip_prefix("ready ").unwrap().parse().unwrap();
        Self {
            directory,
            port,
            said,
            _process: process,
        }
    }

    /// Has a conversation; returns what the client says of it.
    fn converse(&self, guard: &Guard, how: &str) -> String {
        let script = guard.hand(&fixture("clients/events.mjs"));
        let roots = self.directory.path().join("ca.pem").display().to_string();
        let connect = format!("{HOST}=127.0.0.1:{}", self.port);
        let flags = ["--upstream-roots", &roots, "--upstream-connect", &connect];
        let output = guard
            .run_with(Stand::shared(), &flags)
            .args(["node".as_ref(), script.as_os_str()])
            .arg(environment().join("node"))
            .arg(how)
            .output()
            .expect("guard runs");
        succeeded(&output)
    }
}

fn is_here(test: &str) -> bool {
    if !is_root(test) {
        return false;
    }
    let module = environment().join("node/node_modules/@aws-sdk/client-bedrock-runtime");
    let here = module.is_dir();
    if !here {
        skip(
            test,
            "needs @aws-sdk/client-bedrock-runtime: cargo xtask setup",
        );
    }
    here
}

#[test]
fn an_event_stream_is_signed_anew_message_by_message_while_it_goes_on() {
    if !is_here("an_event_stream_is_signed_anew_message_by_message_while_it_goes_on") {
        return;
    }
    let mut bedrock = Bedrock::start();
    let guard = Guard::new(ALL, "");
    let said = bedrock.converse(&guard, "");
    assert_eq!(said.matches(" well\n").count(), 6, "{said}");
    assert!(said.ends_with("conversation of 5 ended well\n"), "{said}");
    let checked = bedrock.said.next().unwrap().unwrap();
    assert_eq!(checked, "stream 5 messages well");

    let decided = &guard.entries("exchange_decided")[0];
    assert_eq!(
        decided["operation"][0],
        "InvokeModelWithBidirectionalStream"
    );
    let completed = &guard.entries("exchange_completed")[0];
    assert_eq!(completed["status"], 200, "{completed}");
}

#[test]
fn a_message_that_is_signed_with_another_secret_breaks_the_stream_off() {
    if !is_here("a_message_that_is_signed_with_another_secret_breaks_the_stream_off") {
        return;
    }
    let mut bedrock = Bedrock::start();
    let guard = Guard::new(ALL, "");
    let said = bedrock.converse(&guard, "spoil");
    assert_eq!(
        said.matches(" well\n").count(),
        2,
        "two came before it: {said}"
    );
    assert!(said.contains("conversation broke off"), "{said}");
    let checked = bedrock.said.next().unwrap().unwrap();
    assert!(!checked.ends_with("well"), "{checked}");
    let completed = &guard.entries("exchange_completed")[0];
    let error = completed["error"].as_str().unwrap();
    assert!(error.starts_with("signature: "), "{completed}");
}

#[test]
fn an_event_stream_cannot_be_approved() {
    if !is_here("an_event_stream_cannot_be_approved") {
        return;
    }
    let bedrock = Bedrock::start();
    let profile = "default = \"allow\"\n\
        [[statement]]\neffect = \"approve\"\naction = \"bedrock:InvokeModel*\"\n";
    let guard = Guard::new(profile, "");
    let began = Instant::now();
    let said = bedrock.converse(&guard, "");
    assert!(said.contains("allow or deny it in the profile"), "{said}");
    // The client says no more until it is answered, so that nothing is to be waited for.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}
