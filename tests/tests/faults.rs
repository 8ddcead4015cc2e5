//! What goes wrong half-way: a client that leaves, a disk that fills, a daemon that is stopped. Nothing may
//! leave that was not decided and recorded.

use std::io::Write;
use std::time::Duration;

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::installation::eventually;
use guard_tests::is_root;
use guard_tests::stand::Stand;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::{Signal, kill};

fn waiting(guard: &Guard) -> Option<String> {
    let output = guard
        .command(&["approval", "list", "-o", "json"])
        .output()
        .expect("runs");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let approvals = list["approvals"].as_array()?;
    let open = approvals
        .iter()
        .find(|approval| approval["state"] == "waiting")?;
    open["id"].as_str().map(str::to_owned)
}

#[test]
fn a_call_whose_client_left_is_not_sent_even_if_it_is_approved() {
    if !is_root("a_call_whose_client_left_is_not_sent_even_if_it_is_approved") {
        return;
    }
    let profile =
        "default = \"deny\"\n[[statement]]\neffect = \"approve\"\naction = \"s3:DeleteObject\"\n";
    let guard = Guard::new(profile, "");
    let mut client = Conversation::start(
        &guard,
        Stand::shared(),
        "
import boto3, botocore.config, sys
s3 = boto3.client('s3', config=botocore.config.Config(read_timeout=2, retries={'total_max_attempts': 1}))
try: s3.delete_object(Bucket='left-alone', Key='k'); print('deleted')
except Exception as e: print(type(e).__name__)
sys.stdin.readline()
",
    );
    assert_eq!(client.hears(), "ReadTimeoutError");
    eventually("the exchange is given up", || {
        let decided = guard.entries("exchange_decided");
        decided
            .iter()
            .any(|entry| entry["reason"].to_string().contains("client"))
    })
    .expect("the departure is on record");
    let id = waiting(&guard).expect("the question stays for a retry");
    succeeded(
        &guard
            .command(&["approval", "approve", &id])
            .output()
            .expect("runs"),
    );
    std::thread::sleep(Duration::from_millis(500));
    client.ends();
    assert!(Stand::shared().requests("left-alone").is_empty());
}

#[test]
fn on_a_full_disk_nothing_leaves_and_afterwards_all_goes_on() {
    if !is_root("on_a_full_disk_nothing_leaves_and_afterwards_all_goes_on") {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let state = guard.directory().join("state");
    std::fs::create_dir(&state).expect("made");
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("chmod");
    mount(
        None::<&str>,
        &state,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=1m,mode=700"),
    )
    .expect("mounted");
    let state = Mounted(state);
    let mut client = Conversation::start(
        &guard,
        Stand::shared(),
        "
import boto3, sys
from botocore.config import Config
s3 = boto3.client('s3', config=Config(s3={'addressing_style': 'path'}))
def make(bucket):
    try: s3.create_bucket(Bucket=bucket); return 'made'
    except boto3.exceptions.botocore.exceptions.ClientError as e: return f'{e.response[\"Error\"][\"Code\"]} {e.response[\"ResponseMetadata\"][\"RetryAttempts\"]} {bucket} {e}'
print(make('before-full')); sys.stdin.readline()
# The journal's last page may have room for a few entries more.
print(next(said for said in (make(f'while-full-{n}') for n in range(40)) if said != 'made')); sys.stdin.readline()
print(make('after-full')); sys.stdin.readline()
",
    );
    assert_eq!(client.hears(), "made");
    let filler = state.0.join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    while file.write_all(&[0; 512]).is_ok() {}
    drop(file);
    client.says();
    let refused = client.hears();
    assert!(
        refused.starts_with("AccessDenied 0 ") && refused.contains("record"),
        "{refused}"
    );
    let bucket = refused.split(' ').nth(2).expect("a bucket");
    assert!(Stand::shared().requests(bucket).is_empty(), "nothing left");
    std::fs::remove_file(&filler).expect("removed");
    client.says();
    assert_eq!(client.hears(), "made");
    client.says();
    client.ends();
    succeeded(
        &guard
            .command(&["journal", "verify"])
            .output()
            .expect("runs"),
    );
}

/// A tmpfs, unmounted at the end also of a test that fails.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // The embedded daemon lets go of it when its last session has ended.
        let _ = eventually("the state directory is free", || umount(&self.0).is_ok());
    }
}

#[test]
fn a_daemon_that_is_stopped_records_how_its_exchanges_ended() {
    if !is_root("a_daemon_that_is_stopped_records_how_its_exchanges_ended") {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let mut client = Conversation::start(
        &guard,
        Stand::shared(),
        "
import boto3, io, sys
s3 = boto3.client('s3'); s3.create_bucket(Bucket='half-read')
s3.put_object(Bucket='half-read', Key='k', Body=io.BytesIO(bytes(50_000_000)))
body = s3.get_object(Bucket='half-read', Key='k')['Body']; body.read(1000); print('reading')
sys.stdin.readline()
",
    );
    assert_eq!(client.hears(), "reading");
    let daemon = guard.daemon();
    kill(daemon, Signal::SIGTERM).expect("signalled");
    eventually("the daemon ends", || kill(daemon, None).is_err()).expect("it ends");
    client.ends();
    let decided = guard.entries("exchange_decided").len();
    let completed = guard.entries("exchange_completed");
    assert_eq!(
        completed.len(),
        decided,
        "each exchange has its end: {completed:#?}"
    );
}
