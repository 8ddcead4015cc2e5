//! The OpenID provider: npm's oidc-provider in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use guard_tests::{environment, fixture, is_root, python_program, skip};
use serde_json::{Value, json};

/// A running provider; it ends when this is dropped.
pub(crate) struct Provider {
    directory: tempfile::TempDir,
    process: Child,
    answers: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    /// Starts one; `None`, after a skip that says why, where it or guard cannot run here.
    pub(crate) fn start(test: &str) -> Option<Self> {
        if !is_root(test) {
            return None;
        }
        let modules = environment().join("node");
        if !modules.join("node_modules/oidc-provider").is_dir() {
            skip(test, "needs npm's oidc-provider: cargo xtask setup");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory for the provider");
        let certificates = Command::new(python_program("python"))
            .args(["-m", "trustme", "-q", "-i", "127.0.0.1", "-d"])
            .arg(directory.path())
            .status();
        assert!(certificates.expect("trustme runs").success());
        let mut process = Command::new("node")
            .arg(fixture("clients/oidc-provider.mjs"))
            .arg(directory.path())
            .arg("0")
            .current_dir(modules)
            .env("NODE_EXTRA_CA_CERTS", directory.path().join("client.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.path().join("log")).expect("a log"))
            .spawn()
            .expect("node starts");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("it says its port");
        let port = line.strip_prefix("ready ").map(str::trim);
        let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        let port = port.ok_or(log).expect("the provider starts");
        Some(Self {
            issuer: format!("https://127.0.0.1:{port}"),
            directory,
            process,
            answers,
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The CA of its certificate.
    fn roots(&self) -> PathBuf {
        self.directory.path().join("client.pem")
    }

    /// What `guard.toml` says of it.
    pub(crate) fn configuration(&self) -> String {
        format!(
            "[[identity.issuer]]\nissuer = \"{}\"\n\
             audience = [\"guard\", \"guard-brief\", \"guard-RS256\", \"guard-PS256\", \"guard-ES256\", \
             \"guard-EdDSA\", \"guard-HS256\"]\n\
             leeway_seconds = 1\n\
             required_claims = {{ groups = \"staff\" }}\n\
             [upstream]\nroots = [\"{}\"]\n",
            self.issuer,
            self.roots().display()
        )
    }

    /// An ID token that it issues to a client for a person.
    pub(crate) fn mint(&mut self, client: &str, sub: &str) -> String {
        self.ask(&json!({"do": "mint", "client": client, "sub": sub}))
    }

    /// A token of another provider that says it is this one, with keys of the same names.
    pub(crate) fn impostor(&mut self, client: &str, sub: &str) -> String {
        self.ask(&json!({"do": "impostor", "client": client, "sub": sub}))
    }

    /// A token that nobody has signed as it should be.
    pub(crate) fn forge(&mut self, how: &str, client: &str, sub: &str) -> String {
        self.ask(&json!({"do": "forge", "how": how, "client": client, "sub": sub}))
    }

    /// Starts it again, with other keys.
    pub(crate) fn rotate(&mut self) {
        self.ask(&json!({"do": "rotate"}));
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn ask(&mut self, request: &Value) -> String {
        let input = self.process.stdin.as_mut().expect("piped");
        writeln!(input, "{request}").expect("written");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        let token = answer["token"].as_str();
        token.ok_or(&answer).expect("a token").to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.end();
    }
}
