//! Named profiles of the AWS configuration as the source of a session's credentials: IAM Identity Center, a role with
//! a source profile, a process.
//!
//! The SDK that reads them dials AWS by itself, through the proxy of the owner's environment: the test's own, which
//! leads to the stand-in.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::thread;

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};

/// The cache of the login of `sso-session work`: named by that name's SHA-1.
const CACHE: &str = "sso/cache/e274eeff768c6396088ec6eb091f4bf4d47ab1e0.json";

/// A user that no host knows, so that its home is what the environment says.
const NOBODYS: &str = "64999";

/// An HTTP proxy that leads every CONNECT to the stand-in.
fn proxy(stand: &Stand) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let target = stand.address();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let target = target.clone();
            thread::spawn(move || tunnel(client, &target));
        }
    });
    address
}

fn tunnel(mut client: TcpStream, target: &str) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut server = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || io::copy(&mut from, &mut to));
    let _ = io::copy(&mut server, &mut client);
    drop((client, server));
    let _ = up.join();
    Ok(())
}

/// A home with every kind of profile; its owner is [`NOBODYS`].
fn home(guard: &Guard) -> std::path::PathBuf {
    let home = guard.directory().join("home");
    let aws = home.join(".aws");
    fs::create_dir_all(aws.join("sso/cache")).expect("made");
    let config = format!(
        "[profile sso]\nsso_session = work\nsso_account_id = 123456789012\nsso_role_name = Reader\nregion = us-east-1\n\
         [sso-session work]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n\
         [profile role]\nrole_arn = arn:aws:iam::123456789012:role/profiled\nsource_profile = base\nregion = us-east-1\n\
         [profile of-process]\nrole_arn = arn:aws:iam::123456789012:role/profiled\nsource_profile = process\n\
         region = us-east-1\n\
         [profile self]\nrole_arn = arn:aws:iam::123456789012:role/profiled\nsource_profile = self\n\
         credential_process = {give}\nregion = us-east-1\n\
         [profile process]\ncredential_process = {give}\nregion = us-east-1\n",
        give = home.join("give").display()
    );
    let give = format!(
        "#!/bin/sh\nid -u > {asked}\necho '{{\"Version\": 1, \"AccessKeyId\": \"{REAL_ACCESS_KEY_ID}\", \"SecretAccessKey\": \"{REAL_SECRET}\"}}'\n",
        asked = home.join("asked").display()
    );
    let credentials = format!(
        "[base]\naws_access_key_id = {REAL_ACCESS_KEY_ID}\naws_secret_access_key = {REAL_SECRET}\n"
    );
    let token = r#"{"accessToken": "sso-access-token", "expiresAt": "2099-01-01T00:00:00Z", "region": "us-east-1",
        "startUrl": "https://example.awsapps.com/start"}"#;
    for (path, text) in [
        (aws.join("config"), config.as_str()),
        (aws.join("credentials"), credentials.as_str()),
        (aws.join(CACHE), token),
        (home.join("give"), give.as_str()),
    ] {
        fs::write(path, text).expect("written");
    }
    let owned = std::process::Command::new("sh")
        .args([
            "-c",
            "chmod 755 $1/give && chown -R $2:$2 $1 && chmod -R go-rwx $1/.aws",
            "sh",
        ])
        .arg(&home)
        .arg(NOBODYS)
        .status();
    assert!(owned.expect("runs").success());
    home
}

const WHOAMI: &str = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])";

/// Calls STS in a session whose credentials are the profile's.
fn whoami(guard: &Guard, home: &Path, name: &str) -> Output {
    python(guard, home, name, WHOAMI)
}

/// Runs a script in a session whose credentials are the profile's.
fn python(guard: &Guard, home: &Path, name: &str, script: &str) -> Output {
    let stand = Stand::shared();
    guard
        .run_with(stand, &["--aws-profile", name])
        .arg(guard_tests::python_program("python"))
        .args(["-c", script])
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("SUDO_USER")
        .env("SUDO_UID", NOBODYS)
        .env("SUDO_GID", NOBODYS)
        .env("HOME", home)
        .env("HTTPS_PROXY", format!("http://{}", proxy(stand)))
        .env("SSL_CERT_FILE", stand.roots())
        .output()
        .expect("guard runs")
}

fn signing_key(guard: &Guard) -> String {
    let decided = guard.entries("exchange_decided");
    let key = decided.last().expect("an exchange")["signing_key"].as_str();
    key.expect("a key").to_owned()
}

#[test]
fn a_profile_of_identity_center_is_used() {
    let guard = Guard::new("default = \"allow\"\n", "");
    let home = home(&guard);
    succeeded(&whoami(&guard, &home, "sso"));
    let key = signing_key(&guard);
    assert!(key.starts_with("ASIASSO"), "{key}");
    let asked = Stand::shared().requests("/federation/credentials");
    assert!(
        asked
            .iter()
            .all(|it| it["query"] == "role_name=Reader&account_id=123456789012"),
        "{asked:?}"
    );
    let journal = format!("{:?}", guard.journal());
    assert!(!journal.contains("sso-access-token"), "{journal}");
}

#[test]
fn a_profile_with_a_role_and_its_source_is_used() {
    let stand = Stand::shared();
    stand.prepare("client('iam').create_role(RoleName='profiled', AssumeRolePolicyDocument='{}')");
    for name in ["role", "of-process", "self"] {
        let guard = Guard::new("default = \"allow\"\n", "");
        let home = home(&guard);
        let said = succeeded(&whoami(&guard, &home, name));
        assert!(said.contains("assumed-role/profiled/"), "{name}: {said}");
        assert_ne!(signing_key(&guard), REAL_ACCESS_KEY_ID);
        assert_eq!(home.join("asked").exists(), name != "role");
    }
}

#[test]
fn a_profile_with_a_process_is_used_and_runs_as_its_owner() {
    let guard = Guard::new("default = \"allow\"\n", "");
    let home = home(&guard);
    succeeded(&whoami(&guard, &home, "process"));
    assert_eq!(signing_key(&guard), REAL_ACCESS_KEY_ID);
    let asked = fs::read_to_string(home.join("asked")).expect("it ran");
    assert_eq!(asked.trim(), NOBODYS);
}

#[test]
fn a_process_that_the_session_rewrites_is_not_run() {
    let guard = Guard::new("default = \"allow\"\n", "");
    let home = home(&guard);
    let (give, escaped) = (home.join("give"), home.join("escaped"));
    // Good for a minute and a bit, so that they are renewed at once.
    let text = fs::read_to_string(&give).expect("a program");
    let text = text.replace("echo '", "end=$(date -u -d '+63 seconds' +%FT%TZ)\necho '");
    let expiring = text.replace("}'\n", ", \"Expiration\": \"'$end'\"}'\n");
    fs::write(&give, expiring).expect("written");
    let script = format!(
        "import boto3, botocore, time\n\
         sts = boto3.client('sts')\n\
         print(sts.get_caller_identity()['Arn'])\n\
         give = open('{give}').read()\n\
         open('{give}', 'w').write('#!/bin/sh\\ntouch {escaped}\\n' + give)\n\
         time.sleep(4)\n\
         try:\n    sts.get_caller_identity()\n\
         except botocore.exceptions.ClientError as error:\n    print(error)\n",
        give = give.display(),
        escaped = escaped.display(),
    );
    let output = python(&guard, &home, "process", &script);
    let said = succeeded(&output);
    let changed = format!("{} was changed since the session started", give.display());
    assert!(
        said.contains(&changed) && said.contains("start a new session"),
        "{said}"
    );
    assert!(!escaped.exists());

    // Whoever started the session was told, and so is who reads the journal.
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("can change what gives its credentials"),
        "{told}"
    );
    let mut findings = guard.entries("finding");
    findings.retain(|finding| finding["code"] == "credentials");
    let detail = findings[0]["detail"].as_str().expect("a sentence");
    assert!(detail.contains(give.to_str().expect("text")), "{detail}");
}

#[test]
fn an_ended_login_says_what_to_do() {
    let guard = Guard::new("default = \"allow\"\n", "");
    let home = home(&guard);
    let cache = home.join(".aws").join(CACHE);
    let token = fs::read_to_string(&cache).expect("a token");
    fs::write(&cache, token.replace("2099", "2019")).expect("written");
    let output = whoami(&guard, &home, "sso");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("aws sso login --profile sso"), "{said}");
}
