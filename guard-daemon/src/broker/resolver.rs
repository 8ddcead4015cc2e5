//! The resolver process: reads one user's AWS configuration as that user, and answers with credentials.
//!
//! It reads the profile files once, at its start, and runs no program that has changed since. Its environment is
//! exactly what the daemon chose, its memory is closed to other processes of the same user, and it ends when the daemon
//! closes the pipe.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use aws_config::Region;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::provider::ProvideCredentials;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use zeroize::Zeroizing;

use super::process::{self, Base, Gives};
use super::wire::{Asked, Given, Handed, LINE_BYTES, Reply, Secret, TokenFrom};
use super::{Keys, Program, token};

/// The argument, alone, that makes `guard` a resolver.
pub(super) const ARGUMENT: &str = "credential-resolver";

/// Its working directory.
pub(super) const DIRECTORY: &str = "/";

/// Where the container's token is read from.
pub(super) const TOKEN_FILE: &str = "/proc/self/fd/100";
const TOKEN_DESCRIPTOR: i32 = 100;

/// Bytes of a configuration file.
const FILE_BYTES: u64 = 1024 * 1024;
/// Bytes of an error's text.
const TEXT_BYTES: usize = 2048;
/// How long credentials may take.
const FETCH: Duration = Duration::from_secs(25);

/// Runs as a resolver and returns its exit code, where the command line asks for one; else `None`. To be
/// called first in `main`.
pub fn resolver_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let asked =
        arguments.next().is_some_and(|first| first == ARGUMENT) && arguments.next().is_none();
    asked.then(|| {
        if run().is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    })
}

pub(super) fn run() -> io::Result<()> {
    // Before any secret is here: no other process of this user, the confined tree least of all, may read this
    // one's memory. Again, for tests, whose own main does not.
    crate::seal::close()?;
    let requests = io::stdin().as_fd().try_clone_to_owned()?;
    let replies = io::stdout().as_fd().try_clone_to_owned()?;
    // A credential_process inherits neither pipe.
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut requests = BufReader::new(Receiver::from_owned_fd(requests)?);
        let mut replies = Sender::from_owned_fd(replies)?;
        let handed = handed(&mut requests).await?;
        if let Some(token) = &handed.container_token {
            keep_as_file(token)?;
        }
        match Configuration::read().await {
            Ok(mut configuration) => {
                let own = configuration.programs();
                let source = match &handed.token {
                    Some(from) => Source::Token(from.clone()),
                    None => Source::Provider(configuration.provider(handed.keys.as_ref())),
                };
                let programs = match (&handed.programs, &handed.token) {
                    (Some(known), _) => known.clone(),
                    (None, None) => own,
                    (None, Some(TokenFrom::File(_))) => Vec::new(),
                    (None, Some(TokenFrom::Command(words))) => words
                        .first()
                        .map(|it| Program::find(it))
                        .into_iter()
                        .collect(),
                };
                let ready = Reply::Ready {
                    region: configuration.region,
                    programs: programs.clone(),
                };
                send(&mut replies, &ready).await?;
                answer(&source, &programs, requests, replies).await
            }
            Err(text) => {
                send(
                    &mut replies,
                    &Reply::Refused {
                        text: bounded(text),
                    },
                )
                .await
            }
        }
    })
}

/// The first line.
async fn handed(requests: &mut BufReader<Receiver>) -> io::Result<Handed> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    let mut bounded = requests.take(LINE_BYTES as u64);
    bounded.read_until(b'\n', &mut line).await?;
    serde_json::from_slice(&line).map_err(io::Error::other)
}

/// Puts a secret where only this process finds it, at `TOKEN_FILE`: in memory, and closed in its children.
fn keep_as_file(secret: &str) -> io::Result<()> {
    let file = std::fs::File::from(memfd_create(c"token", MFdFlags::MFD_CLOEXEC)?);
    io::Write::write_all(&mut &file, secret.as_bytes())?;
    let kept = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(TOKEN_DESCRIPTOR))?;
    if kept == TOKEN_DESCRIPTOR {
        Ok(())
    } else {
        Err(io::Error::other("the token's descriptor is taken"))
    }
}

/// What it answers with.
enum Source {
    Token(TokenFrom),
    Provider(Box<dyn ProvideCredentials>),
}

async fn answer(
    source: &Source,
    programs: &[Program],
    mut requests: BufReader<Receiver>,
    mut replies: Sender,
) -> io::Result<()> {
    loop {
        let mut line = String::new();
        let mut first = (&mut requests).take(LINE_BYTES as u64);
        if first.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let Asked { number } = serde_json::from_str(&line)?;
        let fetched = async {
            programs.iter().try_for_each(Program::check)?;
            source.fetch(number).await
        };
        let fetched = tokio::select! {
            fetched = tokio::time::timeout(FETCH, fetched) => fetched,
            // Whoever asked is gone, and what runs ends with this process.
            () = closed(&mut requests) => return Ok(()),
        };
        let reply = match fetched {
            Ok(Ok(reply)) => reply,
            Ok(Err(text)) => Reply::Failed {
                number,
                text: bounded(text),
            },
            Err(_) => Reply::Failed {
                number,
                text: "it did not answer in 25 s".to_owned(),
            },
        };
        send(&mut replies, &reply).await?;
    }
}

/// Waits until the daemon has closed its end. What it asks meanwhile stays there.
async fn closed(requests: &mut BufReader<Receiver>) {
    if requests.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
        std::future::pending::<()>().await;
    }
}

impl Source {
    /// The answer to the request of that number.
    async fn fetch(&self, number: u64) -> Result<Reply, String> {
        let token = match self {
            Self::Provider(provider) => {
                let credentials = provider.provide_credentials().await;
                let credentials = credentials.map_err(|error| causes(&error))?;
                return Ok(Reply::Credentials {
                    number,
                    credentials: Given::from(&credentials),
                });
            }
            Self::Token(TokenFrom::File(path)) => token::from_file(path).await?,
            Self::Token(TokenFrom::Command(words)) => token::from_command(words).await?,
        };
        Ok(Reply::Token {
            number,
            token: Secret(token.as_str().to_owned()),
        })
    }
}

async fn send(replies: &mut Sender, reply: &Reply) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(reply)?);
    line.push(b'\n');
    replies.write_all(&line).await
}

/// The owner's configuration, as it was when the session started.
struct Configuration {
    files: EnvConfigFiles,
    /// The selected one.
    profile: Option<String>,
    region: Option<String>,
    /// What gives the first credentials in the SDK's place.
    base: Option<Base>,
    /// The default profile is a role, which is assumed before that of the environment's web identity.
    is_role: bool,
}

impl Configuration {
    async fn read() -> Result<Self, String> {
        let config = contents("AWS_CONFIG_FILE", "config")?;
        let credentials = contents("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        let alone = profiles(&files([(EnvConfigFileKind::Credentials, &*credentials)])).await?;
        let both = [
            (EnvConfigFileKind::Config, &*config),
            (EnvConfigFileKind::Credentials, &*credentials),
        ];
        let set = profiles(&files(both)).await?;
        let profile = std::env::var("AWS_PROFILE").ok();
        if let Some(name) = &profile
            && set.get_profile(name).is_none()
        {
            return Err(format!(
                "there is no profile {name:?} in its config or credentials file"
            ));
        }
        let region = std::env::var("AWS_REGION")
            .ok()
            .or_else(|| set.get("region").map(str::to_owned));
        let is_role = set.get("role_arn").is_some() && set.get("web_identity_token_file").is_none();
        let base = Base::of(&set, &alone);
        let overlay = base.as_ref().map_or("", |base| &base.overlay);
        let overlay = (EnvConfigFileKind::Credentials, overlay);
        Ok(Self {
            files: files(both.into_iter().chain([overlay])),
            profile,
            region,
            base,
            is_role,
        })
    }

    /// What runs for its credentials.
    fn programs(&self) -> Vec<Program> {
        self.base.as_ref().map_or_else(Vec::new, Base::programs)
    }

    /// The selected profile alone, or the usual chain.
    ///
    /// The owner's environment keys are what `credential_source = Environment` means; no other program has them.
    fn provider(&mut self, keys: Option<&Keys>) -> Box<dyn ProvideCredentials> {
        let region = self.region.clone().map(Region::new);
        let config = ProviderConfig::without_region().with_region(region);
        let mut profile = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_files(self.files.clone());
        if let Some(keys) = keys {
            profile = profile.with_custom_provider("Environment", keys.credentials());
        }
        profile = match self.base.take().map(|base| base.gives) {
            None => profile,
            Some(Gives::Process(process)) => profile.with_custom_provider(process::SOURCE, process),
            Some(Gives::Keys(keys)) => profile.with_custom_provider(process::SOURCE, keys),
        };
        if let Some(name) = &self.profile {
            return Box::new(profile.profile_name(name).build());
        }
        let web = WebIdentityTokenCredentialsProvider::builder()
            .configure(&config)
            .build();
        let container = EcsCredentialsProvider::builder().configure(&config).build();
        let instance = ImdsCredentialsProvider::builder()
            .configure(&config)
            .build();
        // As the AWS CLI: SDKs do not agree.
        let (profile, web) = (("default profile", profile.build()), ("web identity", web));
        let chain = if self.is_role {
            CredentialsProviderChain::first_try(profile.0, profile.1).or_else(web.0, web.1)
        } else {
            CredentialsProviderChain::first_try(web.0, web.1).or_else(profile.0, profile.1)
        };
        Box::new(
            chain
                .or_else("container", container)
                .or_else("instance metadata", instance),
        )
    }
}

/// Configuration files by their texts, the last of which counts.
fn files<'a>(texts: impl IntoIterator<Item = (EnvConfigFileKind, &'a str)>) -> EnvConfigFiles {
    let none = EnvConfigFiles::builder()
        .include_default_config_file(false)
        .include_default_credentials_file(false);
    texts
        .into_iter()
        .fold(none, |files, (kind, text)| files.with_contents(kind, text))
        .build()
}

async fn profiles(files: &EnvConfigFiles) -> Result<ProfileSet, String> {
    aws_config::profile::load(&Fs::real(), &Env::real(), files, None)
        .await
        .map_err(|error| causes(&error))
}

/// A configuration file's text; empty where there is none, unless a variable names it.
fn contents(variable: &str, default: &str) -> Result<String, String> {
    let named = std::env::var_os(variable);
    let home = std::env::var_os("HOME");
    let path = match (&named, &home) {
        (Some(named), home) => expand(named, home.as_deref().map(Path::new)),
        (None, Some(home)) => PathBuf::from(home).join(".aws").join(default),
        (None, None) => return Ok(String::new()),
    };
    let read = || {
        let mut text = String::new();
        let file = std::fs::File::open(&path)?;
        io::Read::read_to_string(&mut io::Read::take(file, FILE_BYTES + 1), &mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) if text.len() as u64 > FILE_BYTES => {
            Err(format!("{} is larger than 1 MiB", path.display()))
        }
        Ok(text) => Ok(text),
        // SDKs take a missing file, even a named one, for an empty one.
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The path that a variable names, as SDKs take it. A relative one starts at `DIRECTORY`.
pub(super) fn expand(named: &OsStr, home: Option<&Path>) -> PathBuf {
    let named = PathBuf::from(named);
    match (named.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => named,
    }
}

/// An error and all its causes; the SDK's own texts say little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text
}
