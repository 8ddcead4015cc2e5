//! How a session's programs get their dummies: variables, the container endpoint, instance metadata.

use std::process::Output;

use guard_tests::go_client;
use guard_tests::guard::{Guard, succeeded};
use guard_tests::installation::binary;
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};

const ALL: &str = "default = \"allow\"\n";

/// Without guard's variables, as in a tree that ran before.
const BARE: &str = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_EC2_METADATA_DISABLED; ";

fn whoami() -> String {
    format!(
        "{} -c \"import boto3; s = boto3.Session(); c = s.get_credentials(); f = c.get_frozen_credentials(); \
         print(c.method, f.access_key, s.client('sts').get_caller_identity()['Account'])\"",
        guard_tests::python_program("python").display()
    )
}

/// Runs a shell script in a session.
fn shell(guard: &Guard, flags: &[&str], script: &str) -> Output {
    let mut command = guard.run_with(Stand::shared(), flags);
    command
        .args(["sh", "-c", script])
        .output()
        .expect("guard runs")
}

/// A shell command that calls STS with the AWS SDK for JavaScript.
fn javascript() -> String {
    format!(
        "(cd {} && node -e \"const {{ STSClient, GetCallerIdentityCommand }} = require('@aws-sdk/client-sts'); \
         new STSClient().send(new GetCallerIdentityCommand({{}})).then((said) => console.log('js', said.Account))\")",
        guard_tests::environment().join("node").display()
    )
}

/// A shell command that puts a metric with the AWS SDK for Rust; `cargo build --workspace` made it.
fn rust(guard: &Guard) -> String {
    let client = guard.hand(&binary().with_file_name("rust-sdk-client"));
    format!("{{ {} absent || true; }}", client.display())
}

fn served(guard: &Guard) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let entries = guard.entries("dummies_served");
    let of = |entry: &serde_json::Value| (text(&entry["service"]), text(&entry["dummy_key"]));
    entries.iter().map(of).collect()
}

#[test]
fn instance_metadata_gives_dummies_to_every_client() {
    let guard = Guard::new(ALL, "");
    // botocore takes the region for its defaults of the zone.
    let script = format!(
        "{BARE}{whoami}; AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6 {whoami}; {aws} sts get-caller-identity --output text; \
         {js}; {rust}; {python} -c \"import botocore.session as s, botocore.utils as u; \
         print('region', u.IMDSRegionProvider(s.get_session()).provide())\"",
        python = guard_tests::python_program("python").display(),
        whoami = whoami(),
        aws = guard_tests::python_program("aws").display(),
        js = javascript(),
        rust = rust(&guard),
    );
    let said = succeeded(&shell(&guard, &[], &script));
    assert_eq!(said.matches("iam-role ASIA").count(), 2, "{said}");
    assert!(said.contains("js 123456789012"), "{said}");
    assert!(said.contains("metric: put"), "{said}");
    assert!(said.contains("region us-east-1"), "{said}");
    let served = served(&guard);
    assert!(served.len() >= 5, "{served:?}\n{said}");
    // One set for all of them, and every call was made with it.
    for (service, key) in &served {
        assert_eq!((service.as_str(), key), ("imds", &served[0].1));
    }
    let decided = guard.entries("exchange_decided");
    assert!(decided.len() >= 4);
    for entry in decided {
        assert_eq!(entry["presented_key"], served[0].1);
        assert_eq!(entry["signing_key"], REAL_ACCESS_KEY_ID);
    }
}

#[test]
fn the_go_sdks_take_dummies_from_metadata_services() {
    let test = "the_go_sdks_take_dummies_from_metadata_services";
    let Some(clients) = ["v1", "v2"]
        .into_iter()
        .map(|version| go_client(version, test))
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let clients = format!("{} && {}", clients[0].display(), clients[1].display());
    let guard = Guard::new(ALL, "");
    // These are older than EKS Pod Identity, and take a full URI at loopback only.
    let script = format!(
        "{BARE}{clients} && AWS_EC2_METADATA_DISABLED=true \
         AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/0b2ac0de sh -c '{clients}'"
    );
    let said = succeeded(&shell(&guard, &[], &script));
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "go v1 EC2RoleProvider 123456789012",
            "go v2 EC2RoleProvider 123456789012",
            "go v1 CredentialsEndpointProvider 123456789012",
            "go v2 CredentialsEndpointProvider 123456789012",
        ]
    );
    let services: Vec<_> = served(&guard).into_iter().map(|it| it.0).collect();
    assert_eq!(services, ["imds", "imds", "ecs", "ecs"]);
}

#[test]
fn version_one_and_unknown_paths_are_refused() {
    let guard = Guard::new(ALL, "");
    let base = "http://169.254.169.254/latest";
    let script = format!(
        "get() {{ curl -s -o /dev/null -w '%{{http_code}} ' --max-time 10 \"$@\"; }}\n\
         get {base}/meta-data/iam/security-credentials/guard\n\
         get -X PUT {base}/api/token\n\
         get -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' -H 'X-Forwarded-For: 1.2.3.4' {base}/api/token\n\
         token=$(curl -s -g -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' 'http://[fd00:ec2::254]/latest/api/token')\n\
         get -H \"X-aws-ec2-metadata-token: $token\" {base}/user-data\n\
         get -H \"X-aws-ec2-metadata-token: $token\" {base}/meta-data/iam/security-credentials/guard\n\
         get -H \"X-aws-ec2-metadata-token: $token\" {base}/meta-data/placement/region\n\
         get --http2-prior-knowledge http://169.254.169.254/\n\
         get http://169.254.169.254:8080/; get http://169.254.170.3/v2/credentials/x\n"
    );
    let output = shell(&guard, &[], &script);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("401 400 403 404 200 200 "), "{said}");
    assert_eq!(served(&guard).len(), 1);
    let refused = guard.entries("refused");
    let of: Vec<_> = refused
        .iter()
        .filter(|entry| entry["code"] == "metadata")
        .collect();
    assert!(of.len() >= 3, "{refused:#?}");
}

#[test]
fn a_running_containers_address_gives_dummies() {
    let guard = Guard::new(ALL, "");
    let script = format!(
        "{BARE}export AWS_EC2_METADATA_DISABLED=true\n\
         AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/0b2ac0de {whoami}\n\
         AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials AWS_CONTAINER_AUTHORIZATION_TOKEN=theirs {whoami}\n\
         AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/guard/credentials AWS_CONTAINER_AUTHORIZATION_TOKEN=guessed {whoami} 2>&1 | tail -1\n",
        whoami = whoami()
    );
    let said = succeeded(&shell(&guard, &[], &script));
    assert_eq!(said.matches("container-role ASIA").count(), 2, "{said}");
    let last = said.lines().last().expect("a line");
    assert!(!last.starts_with("container-role"), "{said}");
    let services: Vec<_> = served(&guard).into_iter().map(|it| it.0).collect();
    assert_eq!(services, ["ecs", "pod-identity"]);
}

#[test]
fn the_container_endpoint_takes_the_place_of_variables() {
    let guard = Guard::new(ALL, "");
    let script = format!(
        "test -z \"$AWS_ACCESS_KEY_ID$AWS_SECRET_ACCESS_KEY\" || exit 9\n{whoami}\n{aws} sts get-caller-identity --output text\n\
         {js}; {rust}",
        whoami = whoami(),
        aws = guard_tests::python_program("aws").display(),
        js = javascript(),
        rust = rust(&guard),
    );
    let said = succeeded(&shell(&guard, &["--credentials", "container"], &script));
    assert!(said.contains("container-role ASIA"), "{said}");
    assert!(said.contains("js 123456789012"), "{said}");
    assert!(said.contains("metric: put"), "{said}");
    assert_eq!(served(&guard).len(), 4, "{said}");
}

#[test]
fn a_profile_of_files_that_the_session_cannot_read_is_used() {
    let guard = Guard::new(ALL, "");
    let keys = guard.directory().join("home/.aws");
    std::fs::create_dir_all(&keys).expect("made");
    let text = format!(
        "[work]\naws_access_key_id = {REAL_ACCESS_KEY_ID}\naws_secret_access_key = {REAL_SECRET}\n"
    );
    std::fs::write(keys.join("credentials"), text).expect("written");
    std::fs::write(keys.join("config"), "[profile work]\nregion = eu-west-1\n").expect("written");
    let script = format!(
        "test -z \"$(cat {keys}/*)\" || exit 9; test -z \"$AWS_PROFILE\" || exit 8\n\
         tr '\\0' '\\n' < /proc/1/environ && exit 7; env | grep -F '{REAL_SECRET}' && exit 6\n\
         echo $AWS_REGION; {aws} sts get-caller-identity --output text",
        keys = keys.display(),
        aws = guard_tests::python_program("aws").display(),
    );
    let output = guard
        .run_with(Stand::shared(), &["--aws-profile", "work"])
        .args(["sh", "-c", &script])
        .env("AWS_SHARED_CREDENTIALS_FILE", keys.join("credentials"))
        .env("AWS_CONFIG_FILE", keys.join("config"))
        .env("AWS_ACCESS_KEY_ID", "AKIAOTHERXXXXXXXXXXX")
        .env("AWS_SECRET_ACCESS_KEY", "not-the-profiles-secret")
        .env("DEPLOY_SECRET", "not-the-profiles-secret")
        .env_remove("AWS_REGION")
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    assert!(said.starts_with("eu-west-1\n123456789012\t"), "{said}");
    let decided = guard.entries("exchange_decided");
    assert_eq!(decided[0]["signing_key"], REAL_ACCESS_KEY_ID);
}
