//! Sessions that assume roles.

use std::collections::BTreeSet;

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, Stand};
use serde_json::Value;

pub(crate) const ALL: &str = "default = \"allow\"\n";

pub(crate) const ROLES: &str = "\
iam = client('iam')\n\
for name in ('first', 'second'):\n\
\ttry:\n\
\t\tiam.create_role(RoleName=name, AssumeRolePolicyDocument='{}')\n\
\texcept iam.exceptions.EntityAlreadyExistsException:\n\
\t\tpass\n";

/// `assume(role, session name, client to ask with)` gives a boto3 session.
pub(crate) const ASSUME: &str = "\
import boto3, json, sys\nfrom botocore.config import Config\n\
def assume(role, name, sts=None):\n\
\tsts = sts or boto3.client('sts')\n\
\tanswer = sts.assume_role(RoleArn='arn:aws:iam::123456789012:role/' + role, RoleSessionName=name)\n\
\tfound = answer['Credentials']\n\
\treturn boto3.Session(found['AccessKeyId'], found['SecretAccessKey'], found['SessionToken']), answer\n";

#[test]
fn an_assumed_role_works_through_guard_and_is_attributed() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    stand.prepare("client('s3').create_bucket(Bucket='minted')");
    let guard = Guard::new(ALL, "");
    let script = format!(
        "{ASSUME}\
         first, answer = assume('first', 'one')\n\
         second, _ = assume('second', 'two', first.client('sts'))\n\
         print(json.dumps(answer, default=str))\n\
         first.client('s3').put_object(Bucket='minted', Key='by-first', Body=b'x')\n\
         second.client('s3').put_object(Bucket='minted', Key='by-second', Body=b'x')\n\
         print(second.client('sts').get_caller_identity()['Arn'])\n\
         url = second.client('s3', config=Config(signature_version='s3v4')).generate_presigned_url('get_object', Params={{'Bucket': 'minted', 'Key': 'by-second'}})\n\
         import urllib.request\n\
         print(urllib.request.urlopen(url).read().decode())\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    let answer: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    assert!(said.contains("assumed-role/second/two"), "{said}");

    let minted = guard.entries("credentials_minted");
    assert_eq!(minted.len(), 2, "{minted:#?}");
    assert_eq!(answer["Credentials"]["AccessKeyId"], minted[0]["dummy_key"]);
    assert_eq!(
        minted[0]["arn"],
        "arn:aws:sts::123456789012:assumed-role/first/one"
    );
    for (key, at, chain) in [("by-first", 0, 1), ("by-second", 1, 2)] {
        let real = &minted[at]["real_key"];
        assert_ne!(real, REAL_ACCESS_KEY_ID);
        let sent = stand.requests(&format!("\"/{key}\""));
        assert!(!sent.is_empty());
        for request in &sent {
            assert_eq!(request["signature"], "ok", "{request}");
            assert_eq!(request["access_key"], *real, "{request}");
        }
        let decided = guard.entries("exchange_decided");
        let put = decided
            .iter()
            .find(|entry| entry["path"] == format!("/{key}"))
            .expect("decided");
        assert_eq!(put["presented_key"], minted[at]["dummy_key"]);
        assert_eq!(put["signing_key"], *real);
        let assumed = put["assumed"].as_array().expect("a chain");
        assert_eq!(assumed.len(), chain, "{put:#}");
        assert_eq!(assumed[0]["operation"], "sts:AssumeRole");
        assert_eq!(assumed[0]["exchange"], minted[0]["exchange"]);
    }
    // The stand-in knows the real secrets: none of them came to the agent or the record.
    let journal = format!("{:?}", guard.journal());
    for secret in stand.minted_secrets() {
        assert!(!said.contains(&secret) && !journal.contains(&secret));
    }
}

#[test]
fn the_policy_sees_whose_credentials_they_are() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    let guard = Guard::new(
        "default = \"allow\"\n[[statement]]\nsid = \"not-as-first\"\neffect = \"deny\"\naction = \"s3:*\"\n\
         condition = { StringLike = { \"aws:userid\" = \"*:denied\" } }\n",
        "",
    );
    let script = format!(
        "{ASSUME}\
         for name in ('denied', 'fine'):\n\
         \tsession, _ = assume('first', name)\n\
         \ttry:\n\t\tsession.client('s3').list_buckets(); print(name, 'passed')\n\
         \texcept Exception as error:\n\t\tprint(name, error)\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    assert!(said.contains("fine passed"), "{said}");
    assert!(said.contains("denied by statement not-as-first"), "{said}");
}

#[test]
fn sts_tells_whose_credentials_are_that_the_answer_does_not_name() {
    let stand = Stand::shared();
    let guard = Guard::new(
        // No IAM action is known of GetRoleCredentials, so that no statement could allow it.
        "mode = \"observe\"\ndefault = \"deny\"\n[[statement]]\nsid = \"one-account\"\neffect = \"allow\"\n\
         action = [\"s3:*\"]\ncondition = { StringEquals = { \"aws:PrincipalAccount\" = \"123456789012\" } }\n",
        "",
    );
    let script = "\
import boto3\n\
from concurrent.futures import ThreadPoolExecutor\n\
sso = boto3.client('sso', region_name='us-east-1')\n\
found = sso.get_role_credentials(roleName='R', accountId='123456789012', accessToken='sso-access-token')['roleCredentials']\n\
session = boto3.Session(found['accessKeyId'], found['secretAccessKey'], found['sessionToken'])\n\
s3 = session.client('s3')\n\
with ThreadPoolExecutor(4) as pool:\n\
\tlist(pool.map(lambda _: s3.list_buckets(), range(4)))\n\
print('passed')\n";
    assert_eq!(succeeded(&guard.python(stand, script)), "passed\n");
    let minted = guard.entries("credentials_minted");
    assert_eq!(minted[0]["arn"], Value::Null);
    let asked = guard.entries("own_call");
    let with_them = asked
        .iter()
        .filter(|call| call["signing_key"] == minted[0]["real_key"]);
    let operations: Vec<&Value> = with_them.map(|call| &call["operation"]).collect();
    assert_eq!(operations, ["GetCallerIdentity"]);
    let decided = guard.entries("exchange_decided");
    let theirs = decided
        .iter()
        .filter(|entry| entry["presented_key"] == minted[0]["dummy_key"]);
    let statements: Vec<&Value> = theirs.map(|entry| &entry["statement"]).collect();
    assert_eq!(statements, ["one-account"; 4]);
}

#[test]
fn a_call_that_hides_its_operation_gives_no_real_credentials() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    let guard = Guard::new("mode = \"observe\"\n", "");
    let script = format!(
        "{ASSUME}\
         def call(name, header, value):\n\
         \tsts = boto3.client('sts')\n\
         \tsts.meta.events.register('before-sign.sts', lambda request, **_: request.headers.add_header(header, value))\n\
         \ttry:\n\t\tprint(name, 'passed', assume('first', 'one', sts)[1]['Credentials'])\n\
         \texcept Exception as error:\n\t\tprint(name, error)\n\
         call('plain', 'x-a', 'b')\n\
         call('protocol', 'smithy-protocol', 'rpc-v2-cbor')\n\
         call('encoding', 'Content-Encoding', 'x')\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    assert!(said.contains("plain passed"), "{said}");
    assert_eq!(said.matches("passed").count(), 1, "{said}");
    for secret in stand.minted_secrets() {
        assert!(!said.contains(&secret), "{said}");
    }
    let completed = format!("{:?}", guard.entries("exchange_completed"));
    let withheld = completed
        .matches("guard does not know the operation")
        .count();
    // In a protocol that STS does not have moto answers nothing.
    assert_eq!(withheld, 1, "{completed}");
}

#[test]
fn an_approval_is_for_one_principal() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    let guard = Guard::new(
        "default = \"allow\"\n[[statement]]\nsid = \"ask\"\neffect = \"approve\"\naction = \"s3:DeleteBucket\"\n",
        "[approval]\nhold_seconds = 1\n",
    );
    let script = format!(
        "{ASSUME}\
         def call(name, session):\n\
         \ttry:\n\t\tsession.client('s3').delete_bucket(Bucket='mine')\n\
         \texcept Exception as error:\n\t\tprint(name, error)\n\
         call('own', boto3)\n\
         for role, name in (('first', 'one'), ('first', 'two'), ('second', 'one')):\n\
         \tcall(role, assume(role, name)[0])\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    assert_eq!(said.matches("needs approval").count(), 4, "{said}");
    let ids = said.split("needs approval ").skip(1);
    let ids: BTreeSet<&str> = ids.filter_map(|it| it.split(',').next()).collect();
    // The same role under another session name is the same principal.
    assert_eq!(ids.len(), 3, "{said}");
    let list = guard.command(&["approval", "list", "-o", "json"]).output();
    let list = succeeded(&list.expect("guard runs"));
    assert!(
        list.contains("assumed-role/first/one (by sts:AssumeRole)"),
        "{list}"
    );
}

#[test]
fn dummies_need_their_token_and_end_at_their_time() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    let guard = Guard::new(ALL, "");
    let script = format!(
        "{ASSUME}\
         session, answer = assume('first', 'one')\n\
         found = answer['Credentials']\n\
         def tell(name, *keys):\n\
         \ttry:\n\t\tboto3.Session(*keys).client('sts').get_caller_identity(); print(name, 'passed')\n\
         \texcept Exception as error:\n\t\tprint(name, error)\n\
         tell('whole', found['AccessKeyId'], found['SecretAccessKey'], found['SessionToken'])\n\
         tell('none', found['AccessKeyId'], found['SecretAccessKey'])\n\
         tell('other', found['AccessKeyId'], found['SecretAccessKey'], found['SessionToken'][:-1] + '!')\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    assert!(said.contains("whole passed"), "{said}");
    for name in ["none", "other"] {
        let line = said.lines().find(|line| line.starts_with(name));
        let line = line.expect("a line");
        assert!(
            line.contains("InvalidClientTokenId") && line.contains("session token"),
            "{line}"
        );
    }
    // Whoever does not have all of it is not the role.
    let decided = guard.entries("exchange_decided");
    for entry in decided.iter().filter(|it| it["decision"] == "deny") {
        assert!(entry.get("assumed").is_none(), "{entry:#}");
    }
}

#[test]
fn they_survive_the_daemon() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    let guard = Guard::new(ALL, "");
    let script = format!(
        "{ASSUME}\
         session, answer = assume('first', 'one')\n\
         print('minted'); sys.stdin.readline()\n\
         import time\n\
         for attempt in range(40):\n\
         \ttry:\n\t\tprint(session.client('sts').get_caller_identity()['Arn']); break\n\
         \texcept Exception as error:\n\t\tlast = error; time.sleep(0.5)\n\
         else:\n\tprint('failed', last)\n"
    );
    let mut agent = Conversation::start(&guard, stand, &script);
    assert_eq!(agent.hears(), "minted");
    let daemon = guard.daemon();
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).expect("killed");
    agent.says();
    assert!(agent.hears().contains("assumed-role/first/one"));
    assert!(agent.ends().success());
    // An exchange of the second daemon has no name that one of the first had.
    let decided = guard.entries("exchange_decided");
    let names: BTreeSet<_> = decided
        .iter()
        .map(|it| it["exchange"].to_string())
        .collect();
    assert!(names.len() >= 2);
    assert_eq!(names.len(), decided.len(), "{names:?}");
}
