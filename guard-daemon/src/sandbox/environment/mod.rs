//! What the confined command finds in its environment, and what it no longer finds there.
//!
//! The launcher says what the user had set (`relevant`), the daemon computes the changes (`changes`),
//! the launcher's child applies them. The files the variables name are `trust`'s.
//!
//! Proxy variables are unset: a proxy cannot be reached from the session's network namespace, so each
//! of them would only make clients fail. The way out through a proxy is the daemon's configuration.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secrets::SHORTEST_SECRET;
use crate::broker::DummyCredentials;
use crate::intercept::metadata::CONTAINER_URI;
use crate::session::SessionId;

/// Names the session inside it.
pub const SESSION: &str = "GUARD_SESSION";

/// Variables that name a file of roots that replaces a client's own. Each gets the combined bundle,
/// into which whatever file the user had named is merged. OpenSSL, Go, Ruby, rustls-native-certs;
/// requests and botocore; curl; git; pip; cargo; AWS SDKs; bundler; Nix; gRPC; codex; npm (2).
const BUNDLE: [&str; 13] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "BUNDLE_SSL_CA_CERT",
    "NIX_SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CODEX_CA_CERTIFICATE",
    "npm_config_cafile",
    "NPM_CONFIG_CAFILE",
];

/// Variables that name roots which a client (Node.js, Deno) adds to its own.
const EXTRA: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// OpenSSL's directories of roots, separated by colons; folded into the bundle.
const DIRECTORIES: &str = "SSL_CERT_DIR";

/// Options for every JVM.
const JAVA: &str = "JAVA_TOOL_OPTIONS";

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// Amazon Bedrock's bearer token.
const BEARER: &str = "AWS_BEARER_TOKEN_BEDROCK";

/// What would lead a client to credentials or routes that are not the session's.
const UNSET: [&str; 47] = [
    DIRECTORIES,
    BEARER,
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_VAULT",
    "AWS_LOGIN_CACHE_DIRECTORY",
    // A stand-in for the metadata service, which would give out other keys.
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    // Older names: the first SDKs for Java and the tools before the CLI; s3fs; Ansible and the EC2 tools.
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_CREDENTIAL_PROFILES_FILE",
    "AWSACCESSKEYID",
    "AWSSECRETACCESSKEY",
    "AWSSESSIONTOKEN",
    "EC2_ACCESS_KEY",
    "EC2_SECRET_KEY",
    // boto 2's.
    "AWS_CREDENTIAL_FILE",
    "BOTO_CONFIG",
    // CI's identity tokens, which AssumeRoleWithWebIdentity takes.
    "CI_JOB_JWT",
    "CI_JOB_JWT_V1",
    "CI_JOB_JWT_V2",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
    // sudo's, which would have tools in the session take root's caller for their own.
    "SUDO_UID",
    "SUDO_GID",
    "SUDO_USER",
    "SUDO_COMMAND",
    "SUDO_HOME",
    // Whoever has them can be taken for the person or job that the session is for.
    "GUARD_IDENTITY_TOKEN",
    "GITLAB_OIDC_TOKEN",
];

/// Variables that name sockets, or what is behind one, of programs outside. Kept where the profile lets
/// the session use the socket that they name.
const NAMES_SOCKETS: [&str; 14] = [
    "CONTAINER_HOST",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "DISPLAY",
    "DOCKER_HOST",
    "GPG_AGENT_INFO",
    "NOTIFY_SOCKET",
    "PIPEWIRE_REMOTE",
    "PULSE_SERVER",
    "SSH_AUTH_SOCK",
    "TMUX",
    "VSCODE_GIT_IPC_HANDLE",
    "VSCODE_IPC_HOOK_CLI",
    "WAYLAND_DISPLAY",
];

/// Variables that say nothing in a session: descriptors that are closed, units and terminals that are
/// outside, and the like.
const MEANINGLESS: [&str; 14] = [
    "GNOME_KEYRING_CONTROL",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MANAGERPID",
    "SESSION_MANAGER",
    "SSH_AGENT_PID",
    "STY",
    "SYSTEMD_EXEC_PID",
    "TMUX_PANE",
    "WATCHDOG_PID",
    "XAUTHORITY",
];

/// Removes what names things of the host that the session does not see. `unix` are the sockets that it
/// may use.
pub(super) fn forget_hidden(variables: &mut BTreeMap<OsString, OsString>, unix: &[PathBuf]) {
    let runtime = variables.get(OsStr::new("XDG_RUNTIME_DIR")).cloned();
    let names_allowed = |name: &str, value: &str| {
        let named = match name {
            // `:1`, `:1.0`
            "DISPLAY" => {
                let number = value.strip_prefix(':').unwrap_or(value);
                let number = number.split('.').next().unwrap_or_default();
                PathBuf::from(format!("/tmp/.X11-unix/X{number}"))
            }
            "WAYLAND_DISPLAY" | "PIPEWIRE_REMOTE" => {
                Path::new(runtime.as_deref().unwrap_or_default()).join(value)
            }
            _ => {
                let start = value.find('/').unwrap_or(value.len());
                let path = &value[start..];
                let path = path.strip_prefix("//").unwrap_or(path);
                PathBuf::from(path.split([',', ';', ':']).next().unwrap_or_default())
            }
        };
        // A host by name is the gateway's matter, not that of a socket here.
        let by_name = ["tcp:", "ssh:", "http:", "https:"];
        let elsewhere = name.ends_with("_HOST") && by_name.iter().any(|s| value.starts_with(s));
        elsewhere || unix.contains(&named)
    };
    for name in NAMES_SOCKETS {
        let kept = variables
            .get(OsStr::new(name))
            .and_then(|value| value.to_str())
            .is_some_and(|value| names_allowed(name, value));
        if !kept {
            variables.remove(OsStr::new(name));
        }
    }
    let display = variables.contains_key(OsStr::new("DISPLAY"));
    for name in MEANINGLESS {
        if !(display && name == "XAUTHORITY") {
            variables.remove(OsStr::new(name));
        }
    }
}

/// Variables whose values are the user's keys; every other one that holds such a value goes with them.
const SECRETS: [&str; 4] = [
    SECRET_KEY,
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];

/// Bearer tokens, one for each service that takes them (`AWS_BEARER_TOKEN_BEDROCK`).
const BEARERS: &str = "AWS_BEARER_TOKEN_";

/// rclone takes a remote's every option from `RCLONE_CONFIG_<REMOTE>_<OPTION>`, and a default for all remotes from
/// `RCLONE_S3_<OPTION>`.
const RCLONE: &str = "RCLONE_";
const RCLONE_KEYS: [&str; 3] = ["_ACCESS_KEY_ID", "_SECRET_ACCESS_KEY", "_SESSION_TOKEN"];

/// Removes the user's AWS keys and tokens under whatever name, before the session's changes are made.
pub(super) fn forget_keys(variables: &mut BTreeMap<OsString, OsString>) {
    let is_bearer = |name: &[u8]| name.starts_with(BEARERS.as_bytes());
    let is_remote = |name: &[u8]| {
        let ends = |end: &&str| name.ends_with(end.as_bytes());
        name.starts_with(RCLONE.as_bytes()) && RCLONE_KEYS.iter().any(ends)
    };
    let named = |name: &OsString| {
        let bytes = name.as_encoded_bytes();
        is_bearer(bytes) || is_remote(bytes) || SECRETS.iter().any(|known| name == known)
    };
    let secrets: Vec<Zeroizing<Vec<u8>>> = variables
        .iter()
        .filter(|(name, value)| named(name) && value.len() >= SHORTEST_SECRET)
        .map(|(_, value)| Zeroizing::new(value.as_encoded_bytes().to_vec()))
        .collect();
    variables.retain(|name, value| {
        let value = value.as_encoded_bytes();
        let holds = |secret: &Zeroizing<Vec<u8>>| {
            value
                .windows(secret.len())
                .any(|it| it == secret.as_slice())
        };
        !named(name) && !secrets.iter().any(holds)
    });
}

/// Changes to the environment of the confined command.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Variables that are set.
    pub set: BTreeMap<String, String>,
    /// Variables that are removed.
    pub unset: Vec<String>,
}

impl Changes {
    /// The changes as a file that a POSIX shell reads with `.`.
    pub fn as_shell(&self) -> String {
        let unset = self.unset.iter().map(|name| format!("unset {name}\n"));
        let set = self.set.iter().map(|(name, value)| {
            // In single quotes everything is itself but the quote.
            format!("export {name}='{}'\n", value.replace('\'', "'\\''"))
        });
        unset.chain(set).collect()
    }
}

/// The roots that a user's environment names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roots {
    /// Files that stand for a client's whole store.
    pub bundles: Vec<PathBuf>,
    /// Files that a client adds to its store.
    pub extras: Vec<PathBuf>,
    /// Directories of roots.
    pub directories: Vec<PathBuf>,
}

/// The files a session is handed.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Roots that replace a client's own, PEM.
    pub bundle: &'a Path,
    /// Roots that are added to a client's own, PEM.
    pub extra: &'a Path,
    /// The bundle as a Java trust store, PKCS #12.
    pub trust_store: &'a Path,
    /// An empty file, in the place of AWS configuration.
    pub empty: &'a Path,
}

/// The part of an environment that `changes` and `roots` look at.
pub fn relevant(all: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    all.filter(|(name, value)| {
        let name = name.as_str();
        !value.is_empty()
            && (BUNDLE.contains(&name)
                || EXTRA.contains(&name)
                || [DIRECTORIES, JAVA].contains(&name))
    })
    .collect()
}

/// The roots that the user had named, each once, in the order of the variables above.
pub fn roots(user: &BTreeMap<String, String>) -> Roots {
    let named = |names: &[&str]| {
        let mut files: Vec<PathBuf> = Vec::new();
        for value in names.iter().filter_map(|&name| user.get(name)) {
            let file = PathBuf::from(value);
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    };
    let directories = user.get(DIRECTORIES).map_or_else(Vec::new, |value| {
        value
            .split(':')
            .filter(|part| !part.is_empty())
            .map(PathBuf::from)
            .collect()
    });
    Roots {
        bundles: named(&BUNDLE),
        extras: named(&EXTRA),
        directories,
    }
}

/// How the command gets its credentials.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// In variables of its environment.
    #[default]
    Env,
    /// From guard's container endpoint, which gives out temporary ones.
    Container,
}

/// What a session signs with, and where.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    /// Its own dummies.
    pub dummy: &'a DummyCredentials,
    /// The user had a bearer token, so that the session gets one.
    pub bearer: bool,
    /// How it gets the dummies.
    pub delivery: Delivery,
    /// The region; where it is not known, what the user had is left.
    pub region: Option<&'a str>,
}

/// The changes for a session. `user` is `relevant` of what the user had set.
pub fn changes(
    session: &SessionId,
    handed: Handed<'_>,
    files: Files<'_>,
    user: &BTreeMap<String, String>,
) -> Changes {
    let Handed {
        dummy,
        bearer,
        delivery,
        region,
    } = handed;
    let mut unset = UNSET.map(str::to_owned).to_vec();
    let mut set = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        set.insert(name.to_owned(), value);
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    put(SESSION, session.to_string());
    match delivery {
        Delivery::Env => {
            put(KEY_ID, dummy.access_key_id.clone());
            put(SECRET_KEY, dummy.secret_access_key.clone());
        }
        Delivery::Container => {
            unset.extend([KEY_ID, SECRET_KEY].map(str::to_owned));
            put(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                CONTAINER_URI.to_owned(),
            );
            put(
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                dummy.container_token().to_string(),
            );
        }
    }
    if bearer {
        put(BEARER, dummy.bearer_token().to_string());
    }
    put("AWS_EC2_METADATA_DISABLED", "true".to_owned());
    put("AWS_CONFIG_FILE", text(files.empty));
    put("AWS_SHARED_CREDENTIALS_FILE", text(files.empty));
    if let Some(region) = region {
        put("AWS_REGION", region.to_owned());
        put("AWS_DEFAULT_REGION", region.to_owned());
    }
    for name in BUNDLE {
        put(name, text(files.bundle));
    }
    for name in EXTRA {
        put(name, text(files.extra));
    }
    put(JAVA, java_options(user.get(JAVA), files.trust_store));
    Changes { set, unset }
}

/// The user's options with ours behind them: of a property set twice, the JVM takes the last.
fn java_options(user: Option<&String>, trust_store: &Path) -> String {
    let path = trust_store.to_string_lossy();
    // JVMs split the variable at white space and, since JDK 9, join what stands in quotes.
    let quote = if path.contains(char::is_whitespace) {
        "\""
    } else {
        ""
    };
    let ours = format!(
        "{quote}-Djavax.net.ssl.trustStore={path}{quote} \
         -Djavax.net.ssl.trustStorePassword={password} -Djavax.net.ssl.trustStoreType=PKCS12",
        password = super::trust::STORE_PASSWORD,
    );
    match user.map(|options| options.trim()) {
        Some(options) if !options.is_empty() => format!("{options} {ours}"),
        _ => ours,
    }
}

#[cfg(test)]
mod tests;
