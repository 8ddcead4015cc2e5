//! A session's role: assumed by guard, told to AWS, renewed, and refused clearly.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, Stand};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/agent";

/// The stand-in's script of STS is one for all tests.
static SCRIPT: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    SCRIPT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn profile(credentials: &str) -> String {
    format!(
        "default = \"deny\"\n[credentials]\nrole_arn = \"{ROLE}\"\n{credentials}\n\
         [[statement]]\neffect = \"allow\"\naction = [\"s3:List*\", \"s3:Get*\", \"sts:GetCallerIdentity\"]\n\
         [[statement]]\neffect = \"deny\"\naction = \"s3:GetObjectAcl\"\n"
    )
}

const LIST: &str = "import boto3\nboto3.client('s3').list_buckets()\nprint('listed')\n";

/// Calls of an operation that reached the stand-in since there were `before` of them.
fn since(stand: &Stand, operation: &str, before: usize) -> Vec<Value> {
    stand
        .requests(&format!("\"action\": \"{operation}\""))
        .split_off(before)
}

fn count(stand: &Stand, operation: &str) -> usize {
    since(stand, operation, 0).len()
}

fn python(mut command: Command, script: &str) -> Output {
    command
        .arg(guard_tests::python_program("python"))
        .args(["-c", script])
        .output()
        .expect("guard runs")
}

/// The only `own_call` of an operation.
fn own_call(guard: &Guard, operation: &str) -> Value {
    let mut calls = guard.entries("own_call");
    calls.retain(|entry| entry["operation"] == operation);
    assert_eq!(calls.len(), 1, "{calls:#?}");
    calls.remove(0)
}

#[test]
fn a_role_is_assumed_and_aws_is_told_who_the_session_is() {
    let _alone = alone();
    let stand = Stand::shared();
    let before = count(stand, "AssumeRole");
    let guard = Guard::new(
        &profile("external_id = \"org-17\"\nduration = \"15m\"\ntransitive_tags = true"),
        "",
    );
    let flags = [
        "--agent",
        "claude",
        "--agent-version",
        "2.1",
        "--label",
        "team=data",
    ];
    let script = "import boto3, json\ns3 = boto3.client('s3')\ns3.list_buckets()\n\
        print(boto3.client('sts').get_caller_identity()['Arn'])\n";
    let said = succeeded(&python(guard.run_with(stand, &flags), script));

    let session = guard.entries("session_started")[0]["session"]
        .as_str()
        .expect("an id")
        .to_owned();
    let name = format!("claude-{session}");
    assert_eq!(
        said.trim(),
        format!("arn:aws:sts::123456789012:assumed-role/agent/{name}")
    );

    let calls = since(stand, "AssumeRole", before);
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(
        (
            calls[0]["signature"].as_str(),
            calls[0]["access_key"].as_str()
        ),
        (Some("ok"), Some(REAL_ACCESS_KEY_ID))
    );
    let told = &calls[0]["sts"];
    assert_eq!(told["RoleArn"], ROLE);
    assert_eq!(told["RoleSessionName"], name.as_str());
    assert_eq!(
        (&told["ExternalId"], &told["DurationSeconds"]),
        (&json!("org-17"), &json!("900"))
    );
    let host = guard.entries("session_started")[0]["identity"]["host"].clone();
    let host = host.as_str().expect("a name");
    assert_eq!(told["SourceIdentity"], format!("nobody@{host}"));
    let tag = |key: &str| {
        let mut numbers = 1..=50;
        let at = numbers
            .find(|at| told[format!("Tags.member.{at}.Key")] == key)
            .expect("the tag");
        told[format!("Tags.member.{at}.Value")]
            .as_str()
            .expect("a value")
            .to_owned()
    };
    assert_eq!(tag("guard:session"), session);
    assert_eq!(tag("guard:agent-version"), "2.1");
    assert_eq!(tag("guard:label/team"), "data");
    assert_eq!(tag("guard:reason"), "end-to-end test");
    assert_eq!(told["TransitiveTagKeys.member.1"], "guard:session");
    let policy: Value =
        serde_json::from_str(told["Policy"].as_str().expect("a policy")).expect("JSON");
    assert_eq!(
        policy["Statement"][0]["Action"],
        json!(["s3:List*", "s3:Get*", "sts:GetCallerIdentity"])
    );
    assert_eq!(policy["Statement"][1]["Effect"], "Deny");

    // What the agent called left with the role's credentials, which are on record and nowhere else.
    let obtained = &guard.entries("credentials_obtained")[0];
    let key = obtained["real_key"].as_str().expect("a key");
    assert_ne!(key, REAL_ACCESS_KEY_ID);
    let listed = stand.requests(&format!("\"access_key\": \"{key}\""));
    assert!(
        listed
            .iter()
            .any(|request| request["path"] == "/" && request["signature"] == "ok"),
        "{listed:#?}"
    );
    let call = own_call(&guard, "AssumeRole");
    assert_eq!(
        (
            call["signing_key"].as_str(),
            call["assumes"]["role"].as_str()
        ),
        (Some(REAL_ACCESS_KEY_ID), Some(ROLE))
    );
    assert_eq!(call["assumes"]["tags"]["guard:label/team"], "data");
    let journal = serde_json::to_string(&guard.journal()).expect("JSON");
    for secret in stand.minted_secrets() {
        assert!(
            !said.contains(&secret) && !journal.contains(&secret),
            "a secret of the role came out"
        );
    }
    let decided = guard.entries("exchange_decided");
    assert!(
        decided.iter().all(|entry| entry["signing_key"] == key),
        "{decided:#?}"
    );
}

#[test]
fn a_role_is_assumed_by_flags_what_the_profile_leaves_open() {
    let _alone = alone();
    let stand = Stand::shared();
    let guard = Guard::new(
        "default = \"allow\"\n[credentials]\nsession_policy = \"off\"\n",
        "",
    );
    let before = count(stand, "AssumeRole");
    let flags = ["--role-arn", ROLE, "--role-duration", "1h"];
    succeeded(&python(guard.run_with(stand, &flags), LIST));
    let calls = since(stand, "AssumeRole", before);
    assert_eq!(calls[0]["sts"]["DurationSeconds"], "3600");
    assert_eq!(calls[0]["sts"]["Policy"], Value::Null);

    for (flags, says) in [
        (["--role-arn", "agent"], "no role's ARN"),
        (
            ["--role-duration", "1h"],
            "`duration` is said without a role",
        ),
        (
            ["--session-policy", "auto"],
            "the profile says `session_policy`",
        ),
    ] {
        let output = python(guard.run_with(stand, &flags), LIST);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(says),
            "{flags:?}: {said}"
        );
    }
}

/// Runs `LIST` and gives the token that STS was shown.
fn shown_token(stand: &Stand, command: Command) -> String {
    let before = count(stand, "AssumeRoleWithWebIdentity");
    succeeded(&python(command, LIST));
    let calls = since(stand, "AssumeRoleWithWebIdentity", before);
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(calls[0]["access_key"], Value::Null);
    calls[0]["sts"]["WebIdentityToken"]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn without_keys(mut command: Command) -> Command {
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    command
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[test]
fn a_token_is_enough() {
    let _alone = alone();
    let stand = Stand::shared();
    let web = |from: &str| Guard::new(&profile(&format!("web_identity = {from}")), "");

    let guard = Guard::new(&profile(""), "");
    let file = guard.directory().join("token");
    write(&file, "file.token.x\n");
    let flag = ["--web-identity-token-file", file.to_str().expect("UTF-8")];
    assert_eq!(
        shown_token(stand, without_keys(guard.run_with(stand, &flag))),
        "file.token.x"
    );
    let call = own_call(&guard, "AssumeRoleWithWebIdentity");
    assert_eq!(call["signing_key"], Value::Null);

    // The command runs as the session's owner, who is not root.
    let guard = web("{ command = [\"sh\", \"-c\", \"echo command.token.$(id -u)\"] }");
    assert_eq!(
        shown_token(stand, without_keys(guard.run(stand))),
        format!("command.token.{}", guard_tests::guard::USER)
    );

    let guard = web("{ provider = \"gitlab\" }");
    let mut command = without_keys(guard.run(stand));
    command.env("GITLAB_OIDC_TOKEN", "gitlab.token.x");
    assert_eq!(shown_token(stand, command), "gitlab.token.x");

    let guard = web("{ provider = \"gitlab\", variable = \"ID_TOKEN\" }");
    let flag = ["--web-identity-variable", "ID_TOKEN"];
    let mut command = without_keys(guard.run_with(stand, &flag));
    command.env("ID_TOKEN", "variable.token.x");
    let script = format!("import os\nassert 'ID_TOKEN' not in os.environ\n{LIST}");
    succeeded(&python(command, &script));

    let guard = web("{ provider = \"github-actions\" }");
    let mut command = without_keys(guard.run(stand));
    command
        .env(
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "https://allowed.example/job-token?v=2",
        )
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job-secret");
    assert_eq!(
        shown_token(stand, command),
        "job-secret.v=2&audience=sts%2Eamazonaws%2Ecom"
    );
    assert_eq!(own_call(&guard, "IdToken")["host"], "allowed.example");
    let output = python(without_keys(guard.run(stand)), LIST);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("id-token: write"),
        "{said}"
    );
}

#[test]
fn a_rotated_token_is_used_when_credentials_end_and_all_wait_for_one_refresh() {
    let _alone = alone();
    let stand = Stand::shared();
    let guard = Guard::new(
        &profile("web_identity = { command = [\"cat\", \"token\"] }"),
        "",
    );
    let file = guard.directory().join("token");
    let profile = profile(&format!(
        "web_identity = {{ token_file = \"{}\" }}",
        file.display()
    ));
    guard.write_profile(&profile);
    write(&file, "first.token.x");
    let before = count(stand, "AssumeRoleWithWebIdentity");
    // Guard uses no credentials with less than a minute left.
    stand.script_sts(&json!([{ "lifetime": 64 }]));
    let script = "import boto3, concurrent.futures\nfrom botocore.config import Config\n\
        config = Config(retries={'total_max_attempts': 1}, max_pool_connections=50)\n\
        s3 = boto3.client('s3', config=config)\n\
        s3.list_buckets(); print('first'); input()\n\
        with concurrent.futures.ThreadPoolExecutor(50) as pool:\n\
        \tlist(pool.map(lambda _: s3.list_buckets(), range(50)))\n\
        print('second')\n";
    let mut conversation = Conversation::start(&guard, stand, script);
    assert_eq!(conversation.hears(), "first");
    assert_eq!(count(stand, "AssumeRoleWithWebIdentity"), before + 1);
    write(&file, "second.token.x");
    std::thread::sleep(Duration::from_secs(5));
    conversation.says();
    assert_eq!(conversation.hears(), "second");
    assert!(conversation.ends().success());
    let calls = since(stand, "AssumeRoleWithWebIdentity", before);
    let tokens: Vec<&Value> = calls
        .iter()
        .map(|call| &call["sts"]["WebIdentityToken"])
        .collect();
    assert_eq!(tokens, ["first.token.x", "second.token.x"]);
}

/// What boto3 says of a listing that fails.
const FAILING: &str = "import boto3\nfrom botocore.config import Config\nfrom botocore.exceptions import ClientError\n\
    try:\n\tboto3.client('s3', config=Config(retries={'total_max_attempts': 1})).list_buckets(); print('listed')\n\
    except ClientError as error:\n\tprint(error.response['Error']['Code'], error.response['Error']['Message'])\n";

#[test]
fn an_outage_of_sts_is_tried_again_and_then_refused_clearly() {
    let _alone = alone();
    let stand = Stand::shared();
    let down = json!({ "status": 503, "code": "ServiceUnavailable", "message": "down" });
    let guard = Guard::new(&profile(""), "");
    let before = count(stand, "AssumeRole");
    stand.script_sts(&json!([down, down]));
    assert_eq!(
        succeeded(&python(guard.run(stand), FAILING)).trim(),
        "listed"
    );
    assert_eq!(count(stand, "AssumeRole"), before + 3);

    let guard = Guard::new(&profile(""), "");
    stand.script_sts(&json!([down, down, down, down]));
    let began = Instant::now();
    let said = succeeded(&python(guard.run(stand), FAILING));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    for part in [
        "no credentials of",
        ROLE,
        "ServiceUnavailable",
        "down",
        "tries again",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(count(stand, "AssumeRole"), before + 7);

    // Nobody listens there.
    let guard = Guard::new(&profile(""), "");
    let flag = [
        "--upstream-connect",
        "sts.us-east-1.amazonaws.com=127.0.0.1:1",
    ];
    let said = succeeded(&python(guard.run_with(stand, &flag), FAILING));
    assert!(
        said.contains("no credentials of") && said.contains("cannot connect to sts.us-east-1"),
        "{said}"
    );
    let calls = guard.entries("own_call");
    assert_eq!(calls.len(), 4, "{calls:#?}");
}

#[test]
fn a_refusal_of_sts_says_what_to_do() {
    let _alone = alone();
    let stand = Stand::shared();
    let denied = json!({ "status": 403, "code": "AccessDenied", "message":
        "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:TagSession on resource: y" });
    let guard = Guard::new(&profile(""), "");
    stand.script_sts(&json!([denied]));
    let said = succeeded(&python(guard.run(stand), FAILING));
    assert!(
        said.contains("sts:TagSession") && said.contains("session_tags = false"),
        "{said}"
    );

    let large =
        json!({ "status": 400, "code": "PackedPolicyTooLarge", "message": "99% too large" });
    let guard = Guard::new(&profile(""), "");
    stand.script_sts(&json!([large]));
    assert_eq!(
        succeeded(&python(guard.run(stand), FAILING)).trim(),
        "listed"
    );
    let findings = guard.entries("finding");
    let dropped = findings
        .iter()
        .filter(|entry| entry["code"] == "session-policy-dropped");
    assert_eq!(dropped.count(), 1, "{findings:#?}");
    let guard = Guard::new(&profile("session_policy = \"required\""), "");
    stand.script_sts(&json!([large]));
    let said = succeeded(&python(guard.run(stand), FAILING));
    assert!(said.contains("PackedPolicyTooLarge"), "{said}");
}
