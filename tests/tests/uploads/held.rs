//! Uploads that wait for a person: what is approved is what leaves.

use std::time::Duration;

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::is_root;
use guard_tests::stand::Stand;

const REVIEWED: &str = r#"
default = "deny"

[[statement]]
effect = "approve"
action = "s3:PutObject"
condition = { StringEquals = { "aws:PrincipalType" = "Anonymous" } }
"#;

/// Says that its body is `good`, and keeps the last byte back until it is told to go on.
const CLAIMS: &str = r#"
import hashlib, http.client, ssl, sys
connection = http.client.HTTPSConnection("held.s3.amazonaws.com", context=ssl.create_default_context(), timeout=60)
connection.putrequest("PUT", "/claimed")
connection.putheader("content-length", "4")
connection.putheader("x-amz-content-sha256", hashlib.sha256(b"good").hexdigest())
connection.endheaders(b"goo")
print("claimed")
sys.stdin.readline()
connection.send(b"X")
answer = connection.getresponse()
print(answer.status, answer.read().decode().replace("\n", " "))
"#;

#[test]
fn nobody_is_asked_about_a_digest_that_nothing_vouches_for() {
    if !is_root("nobody_is_asked_about_a_digest_that_nothing_vouches_for") {
        return;
    }
    let guard = Guard::new(REVIEWED, "[approval]\nhold_seconds = 1\n");
    let mut client = Conversation::start(&guard, Stand::shared(), CLAIMS);
    assert_eq!(client.hears(), "claimed");
    std::thread::sleep(Duration::from_secs(2));
    let asked = guard.entries("approval");
    assert!(
        asked.is_empty(),
        "asked before its body is here: {asked:#?}"
    );
    client.says();
    let said = client.hears();
    assert!(
        said.starts_with("403") && said.contains("needs approval"),
        "{said}"
    );
    assert_eq!(guard.entries("approval")[0]["state"], "requested");
    client.ends();
}

const ANONYMOUS: &str = r#"
default = "deny"

[[statement]]
effect = "allow"
action = "s3:PutObject"
condition = { StringEquals = { "aws:PrincipalType" = "Anonymous" } }
"#;

/// Keeps back the last byte of bodies of 1 MiB, which guard collects because nobody signed them and holds in memory, and
/// says what becomes of a whole one after that.
const HOARDS: &str = r#"
import http.client, ssl, sys, time
SIZE = 1 << 20
def begin():
    connection = http.client.HTTPSConnection("held.s3.amazonaws.com", context=ssl.create_default_context(), timeout=60)
    connection.putrequest("PUT", "/hoarded")
    connection.putheader("content-length", str(SIZE))
    connection.endheaders(bytes(SIZE - 1))
    return connection
kept = [begin() for _ in range(70)]
time.sleep(1)
last = begin()
last.send(b"0")
print(last.getresponse().read().decode().replace("\n", " "))
sys.stdin.readline()
"#;

const UPLOADS: &str = r#"
import http.client, ssl
connection = http.client.HTTPSConnection("held.s3.amazonaws.com", context=ssl.create_default_context(), timeout=60)
connection.request("PUT", "/uploaded", bytes(8 << 20))
print(connection.getresponse().read().decode().replace("\n", " "))
"#;

#[test]
fn a_session_that_hoards_bodies_leaves_room_for_another() {
    if !is_root("a_session_that_hoards_bodies_leaves_room_for_another") {
        return;
    }
    let guard = Guard::new(ANONYMOUS, "");
    let mut hoarder = Conversation::start(&guard, Stand::shared(), HOARDS);
    let said = hoarder.hears();
    assert!(said.contains("request bodies as it may"), "{said}");
    let said = succeeded(&guard.python(Stand::shared(), UPLOADS));
    assert!(!said.contains("request bodies"), "{said}");
    let completed = guard.entries("exchange_completed");
    assert_eq!(completed.len(), 1, "it reached the server: {completed:#?}");
    assert_eq!(completed[0]["bytes_sent"], 8 << 20, "{said}");
    hoarder.says();
    hoarder.ends();
}
