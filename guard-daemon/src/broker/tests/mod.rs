//! Sources of real credentials, with this test binary as their resolver.

mod principals;
mod programs;

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex as StdMutex;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::record::entry::Event;

/// This test binary stands in for `guard`: with the variable below it is a resolver.
const AS_RESOLVER: &str = "GUARD_TEST_RESOLVER";

#[test]
#[expect(
    clippy::exit,
    reason = "as a resolver this process must not return to the test harness"
)]
fn resolver_process() {
    if std::env::var_os(AS_RESOLVER).is_some() {
        // Ends the line that the harness began.
        let _ = writeln!(std::io::stdout());
        std::process::exit(i32::from(resolver::run().is_err()));
    }
}

/// A way out that leads nowhere: it answers as told, and otherwise fails the test.
pub(super) struct Scripted {
    steps: StdMutex<VecDeque<Step>>,
    calls: StdMutex<Vec<(OwnCall, String)>>,
    events: StdMutex<Vec<Event>>,
}

pub(super) enum Step {
    Answer(u16, String),
    Unreached {
        passing: bool,
    },
    /// For the test to see who waits.
    Slow(u64, String),
}

impl Scripted {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            steps: StdMutex::new(steps.into_iter().collect()),
            calls: StdMutex::default(),
            events: StdMutex::default(),
        })
    }

    /// What was asked, with the bodies.
    pub(super) fn calls(&self) -> Vec<(OwnCall, String)> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

impl Way for Scripted {
    fn ask(
        &self,
        call: OwnCall,
        request: http::Request<Bytes>,
    ) -> Pending<'_, Result<http::Response<Bytes>, WayError>> {
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        self.calls.lock().unwrap().push((call, body));
        let step = self.steps.lock().unwrap().pop_front();
        Box::pin(async move {
            let (status, body) = match step.expect("nobody asks without being told") {
                Step::Answer(status, body) => (status, body),
                Step::Slow(milliseconds, body) => {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    (200, body)
                }
                Step::Unreached { passing } => {
                    let text = "no way out".to_owned();
                    return Err(WayError { text, passing });
                }
            };
            let response = http::Response::builder().status(status);
            Ok(response.body(Bytes::from(body)).unwrap())
        })
    }

    fn record(&self, event: Event) -> Pending<'_, bool> {
        self.events.lock().unwrap().push(event);
        Box::pin(std::future::ready(true))
    }
}

pub(super) struct Home {
    directory: TempDir,
    pub(super) selection: Selection,
    owner: Owner,
}

impl Home {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(".aws")).unwrap();
        let selection = Selection {
            home: Some(directory.path().to_owned()),
            // No host's instance metadata takes part in tests.
            variables: [
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("PATH", "/usr/bin:/bin"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            ..Selection::default()
        };
        let owner = Owner {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        Self {
            directory,
            selection,
            owner,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A default profile whose `credential_process` is this shell script. `$RESOLVER` is the resolver's
    /// process id: the SDK starts the script through a shell.
    pub(super) fn process(&self, script: &str) {
        self.write(
            "process",
            &format!(
                "#!/bin/sh\ncd {}\nRESOLVER=$(cut -d' ' -f4 /proc/$PPID/stat)\n{script}\n",
                self.directory.path().display()
            ),
        );
        fs::set_permissions(self.path("process"), fs::Permissions::from_mode(0o755)).unwrap();
        let process = self.path("process");
        self.write(
            ".aws/config",
            &format!("[default]\ncredential_process = {}\n", process.display()),
        );
    }

    /// Has the `credential_process` print something else from now on; the program stays as it is.
    fn process_prints(&self, script: &str) {
        self.write("prints", script);
    }

    async fn source(&self) -> Result<Source, BrokerError> {
        self.source_with(None, Scripted::new([])).await
    }

    pub(super) async fn source_with(
        &self,
        role: Option<RoleRequest>,
        way: Arc<Scripted>,
    ) -> Result<Source, BrokerError> {
        self.launch(role, way, None).await
    }

    async fn launch(
        &self,
        role: Option<RoleRequest>,
        way: Arc<Scripted>,
        programs: Option<Vec<Program>>,
    ) -> Result<Source, BrokerError> {
        let mut environment = self.selection.environment();
        environment.insert(AS_RESOLVER.to_owned(), "1".into());
        let mut handed = self.selection.handed();
        handed.programs = programs;
        let launch = Launch {
            program: Path::new("/proc/self/exe").to_owned(),
            arguments: [
                "--exact",
                "broker::tests::resolver_process",
                "--nocapture",
                "--test-threads=1",
            ]
            .map(Into::into)
            .into(),
            environment,
            handed,
            owner: self.owner,
        };
        Source::launch(&self.selection, launch, role, way).await
    }

    pub(super) fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs"))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

pub(super) fn given(seconds: i64) -> String {
    let expiry = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let expiry = expiry
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    format!(
        r#"echo run >> runs; echo '{{"Version":1,"AccessKeyId":"AKIAPROCESS","SecretAccessKey":"s3cret","SessionToken":"token","Expiration":"{expiry}","AccountId":"123456789012"}}'"#
    )
}

#[tokio::test]
async fn environment_keys_are_the_source_unless_a_profile_is_selected() {
    let mut home = Home::new();
    home.write(
        ".aws/config",
        "[default]\nregion = eu-west-1\n[profile p]\nregion = eu-west-2\n",
    );
    home.write(
        ".aws/credentials",
        "[p]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = b\n",
    );
    home.selection.keys = Some(Keys {
        access_key_id: "AKIAKEYS".to_owned(),
        secret_access_key: "a".to_owned(),
        session_token: Some("token".to_owned()),
    });
    let source = home.source().await.unwrap();
    let credentials = source.credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "AKIAKEYS");
    assert_eq!(credentials.session_token(), Some("token"));
    assert_eq!(source.region(), Some("eu-west-1"));
    assert_eq!(source.principal(), None);

    home.selection.profile = Some("p".to_owned());
    let source = home.source().await.unwrap();
    assert_eq!(
        source.credentials().await.unwrap().access_key_id(),
        "AKIAPROFILE"
    );
    assert_eq!(source.region(), Some("eu-west-2"));
    home.selection.region = Some("eu-west-3".to_owned());
    assert_eq!(home.source().await.unwrap().region(), Some("eu-west-3"));
}

#[tokio::test]
async fn web_identity_comes_before_a_default_profile_that_is_no_role() {
    let mut home = Home::new();
    home.write(
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = b\n",
    );
    let source = home.source().await.unwrap();
    let credentials = source.credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "AKIAFILE");

    let role = "arn:aws:iam::123456789012:role/r".to_owned();
    let token = home.path("no-token").display().to_string();
    home.selection.variables.extend([
        ("AWS_ROLE_ARN".to_owned(), role),
        ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), token),
    ]);
    let source = home.source().await.unwrap();
    let error = source.credentials().await.unwrap_err().to_string();
    assert!(!error.contains("odd-source"), "{error}");

    home.write(
        ".aws/config",
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = odd-source\n",
    );
    let source = home.source().await.unwrap();
    let error = source.credentials().await.unwrap_err().to_string();
    assert!(error.contains("odd-source"), "{error}");
}

#[tokio::test]
async fn a_containers_token_is_used_and_in_nobodys_environment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/role", listener.local_addr().unwrap());
    let endpoint = std::thread::spawn(move || {
        use std::io::{Read, Write};

        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let body = r#"{"AccessKeyId":"ASIACONTAINER","SecretAccessKey":"a","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).unwrap();
        String::from_utf8(request).unwrap().to_lowercase()
    });
    let mut home = Home::new();
    let token = "Bearer s3cret-of-the-container";
    for (name, value) in [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token),
    ] {
        let variables = &mut home.selection.variables;
        variables.insert(name.to_owned(), value.to_owned());
    }
    let source = home.source().await.unwrap();
    assert_eq!(
        source.credentials().await.unwrap().access_key_id(),
        "ASIACONTAINER"
    );
    let request = endpoint.join().unwrap();
    assert!(
        request.contains("\r\nauthorization: bearer s3cret-of-the-container\r\n"),
        "{request}"
    );
    let environment = format!("{:?}", home.selection.environment());
    assert!(!environment.contains("s3cret"), "{environment}");
}

#[tokio::test]
async fn configuration_is_taken_once_at_the_start() {
    let home = Home::new();
    let keys =
        |id: &str| format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = a\n");
    home.write(".aws/credentials", &keys("AKIABEFORE"));
    let source = home.source().await.unwrap();
    home.write(".aws/credentials", &keys("AKIAAFTER"));
    home.process("touch ran-outside");
    assert_eq!(
        source.credentials().await.unwrap().access_key_id(),
        "AKIABEFORE"
    );
    assert!(!home.path("ran-outside").exists());
}

#[tokio::test]
async fn unusable_configuration_is_an_error_at_the_start() {
    let mut home = Home::new();
    home.selection.profile = Some("absent".to_owned());
    let error = home.source().await.err().unwrap();
    assert!(
        matches!(&error, BrokerError::Configuration(text) if text.contains("\"absent\"")),
        "{error}"
    );
    home.selection.profile = None;
    home.write(".aws/config", "[default\n");
    assert!(matches!(
        home.source().await.err(),
        Some(BrokerError::Configuration(_))
    ));
    home.write(".aws/config", &"#".repeat(1024 * 1024 + 1));
    assert!(matches!(
        home.source().await.err(),
        Some(BrokerError::Configuration(_))
    ));
}

#[tokio::test]
async fn one_refresh_serves_all_who_wait() {
    let home = Home::new();
    home.process(&format!("sleep 0.3; {}", given(3600)));
    let source = home.source().await.unwrap();
    assert_eq!(source.principal(), None);
    // One that goes away does not stop it.
    let gone = tokio::time::timeout(Duration::from_millis(50), source.credentials()).await;
    assert!(gone.is_err());
    let waiting: Vec<_> = (0..8)
        .map(|_| source.clone())
        .map(|source| tokio::spawn(async move { source.credentials().await }))
        .collect();
    for waiting in waiting {
        assert_eq!(
            waiting.await.unwrap().unwrap().session_token(),
            Some("token")
        );
    }
    assert_eq!(home.runs(), 1);
    assert_eq!(
        source.principal().map(|it| it.account).as_deref(),
        Some("123456789012")
    );
}

#[tokio::test]
async fn credentials_about_to_expire_are_renewed_but_not_on_every_call() {
    let home = Home::new();
    home.process(". ./prints");
    home.process_prints(&given(120));
    let source = home.source().await.unwrap();
    for _ in 0..3 {
        source.credentials().await.unwrap();
    }
    assert_eq!(home.runs(), 1);
    source.shared.refresh.lock().await.last = None;
    source.credentials().await.unwrap();
    // While they are used: the refresh waits for nobody and nobody for it.
    for _ in 0..100 {
        if home.runs() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(source.shared.refresh.lock().await);
    assert_eq!(home.runs(), 2);
    // A failure is no matter while those at hand are good.
    home.process_prints("exit 1");
    source.shared.refresh.lock().await.last = None;
    assert_eq!(
        source.credentials().await.unwrap().access_key_id(),
        "AKIAPROCESS"
    );
}

#[tokio::test]
async fn a_failure_says_what_to_do_and_is_not_repeated() {
    let home = Home::new();
    home.process("echo run >> runs; exit 1");
    let source = home.source().await.unwrap();
    let error = source.credentials().await.unwrap_err();
    assert!(error.to_string().contains("aws configure"), "{error}");
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error}");
    assert_eq!(source.credentials().await.unwrap_err(), error);
    assert_eq!(home.runs(), 1);

    let home = Home::new();
    home.process(&given(-5));
    let error = home
        .source()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error}");

    let mut home = Home::new();
    home.selection.home = None;
    let error = home
        .source()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_dead_resolver_is_not_started_again() {
    let home = Home::new();
    home.process("kill -9 $RESOLVER");
    let source = home.source().await.unwrap();
    assert_eq!(source.credentials().await.unwrap_err(), BrokerError::Ended);
    source.shared.refresh.lock().await.last = None;
    home.process(&given(3600));
    assert_eq!(source.credentials().await.unwrap_err(), BrokerError::Ended);
}

#[tokio::test]
async fn a_container_endpoint_is_asked_when_nothing_is_configured() {
    let mut home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/role", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        let body = r#"{"AccessKeyId":"ASIACONTAINER","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        String::from_utf8_lossy(&head[..read]).to_lowercase()
    });
    for (name, value) in [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pass"),
    ] {
        home.selection
            .variables
            .insert(name.to_owned(), value.to_owned());
    }
    let source = home.source().await.unwrap();
    assert_eq!(
        source.credentials().await.unwrap().access_key_id(),
        "ASIACONTAINER"
    );
    assert!(server.join().unwrap().contains("authorization: pass"));
}
