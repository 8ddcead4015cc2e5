//! What `guard run` and `guard attach` are told alike: who it is for, profile, credentials, the way out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use crate::broker::{BearerToken, Selection};
use crate::config::{UpstreamConfig, parse_connect_flag};
use crate::control::wire::Terms;
use crate::identity::{LARGEST_TOKEN, Starter, Token, check_agent, check_label, check_reason};
use crate::policy::{CredentialTerms, Length, SessionPolicyMode, WebIdentity, check_variable};
use crate::sandbox::cgroup;
use crate::sandbox::environment::{self, Delivery};
use crate::sandbox::secrets;
use crate::sandbox::user::Invoker;
use crate::session::{Agent, SessionId};

/// The variable with the token of the person that a session is for.
pub(super) const IDENTITY_TOKEN: &str = "GUARD_IDENTITY_TOKEN";

/// The variables with the name of a profile of the AWS configuration.
const PROFILES: [&str; 2] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];

/// The flags of a session.
#[derive(Debug, clap::Args)]
pub(super) struct SessionFlags {
    /// Profile by name, or a file (with a slash or ending in .toml) [default: default]
    #[arg(long, value_name = "NAME|PATH")]
    profile: Option<String>,
    /// Why, for the record and for policies
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// File with the OpenID Connect token of the person or workload that it is for [env: GUARD_IDENTITY_TOKEN, the
    /// token itself]
    #[arg(long, value_name = "FILE")]
    identity_token_file: Option<PathBuf>,
    /// The agent's name, for the record and for policies
    #[arg(long, value_name = "NAME", value_parser = agent)]
    agent: Option<String>,
    /// The agent's version
    #[arg(long, value_name = "VERSION", requires = "agent", value_parser = agent)]
    agent_version: Option<String>,
    /// Which of several running agents
    #[arg(long, value_name = "ID", requires = "agent", value_parser = agent)]
    agent_instance: Option<String>,
    /// Label it, for the record and for policies (repeatable)
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// End the session after this time, such as 30m or 1h30m [default: max_session]
    #[arg(long, value_name = "LENGTH", value_parser = Length::parse)]
    duration: Option<Length>,
    /// Profile of the AWS configuration whose credentials leave this host [env: AWS_PROFILE, AWS_DEFAULT_PROFILE]
    #[arg(long, value_name = "NAME")]
    aws_profile: Option<String>,
    /// Role that is assumed with these credentials, and whose credentials then leave this host
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// External id that the role's trust policy asks for
    #[arg(long, value_name = "ID")]
    role_external_id: Option<String>,
    /// How long each set of the role's credentials lasts, from 15m to 12h [default: 1h]
    #[arg(long, value_name = "LENGTH", value_parser = Length::parse)]
    role_duration: Option<Length>,
    /// Whether AWS enforces the profile, too, as the role's session policy [default: auto]
    #[arg(long, value_name = "auto|off|required", value_parser = session_policy)]
    session_policy: Option<SessionPolicyMode>,
    /// File with the OpenID Connect token that the role is assumed with, in the place of AWS credentials
    #[arg(long, value_name = "FILE", conflicts_with = "web_identity_variable")]
    web_identity_token_file: Option<PathBuf>,
    /// Variable with that token
    #[arg(long, value_name = "NAME")]
    web_identity_variable: Option<String>,
    /// AWS region [env: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// How the command gets its dummies: in its environment, or from guard's container endpoint, where they change
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    credentials: Delivery,
    /// Dial HOST:PORT for hosts that match PATTERN (repeatable)
    #[arg(long, value_name = "PATTERN=HOST:PORT", value_parser = parse_connect_flag)]
    upstream_connect: Vec<(String, String)>,
    /// Trust the roots in this PEM file on the way out, too (repeatable)
    #[arg(long, value_name = "PEM")]
    upstream_roots: Vec<PathBuf>,
}

impl SessionFlags {
    /// What the daemon is told of who starts the session; `command` is what runs, for the record.
    pub(super) fn starter(
        &self,
        invoker: &Invoker,
        command: Vec<String>,
    ) -> anyhow::Result<Starter> {
        let mut labels = BTreeMap::new();
        for (key, value) in &self.labels {
            if labels.insert(key.clone(), value.clone()).is_some() {
                bail!("--label {key} is there twice; a session has one value for each");
            }
        }
        let token = match &self.identity_token_file {
            Some(path) => Some(read_token(invoker, path)?),
            None => std::env::var(IDENTITY_TOKEN)
                .ok()
                .filter(|token| !token.is_empty())
                .map(|token| Token::new(&Zeroizing::new(token))),
        };
        Ok(Starter {
            uid: invoker.uid.as_raw(),
            command,
            reason: self.reason.clone(),
            agent: self.agent.clone().map(|name| Agent {
                name,
                version: self.agent_version.clone(),
                instance: self.agent_instance.clone(),
            }),
            labels,
            token,
        })
    }

    /// What the daemon is told of the session itself. The last to read the environment: its secrets are gone then.
    pub(super) fn terms(&self, invoker: &Invoker) -> anyhow::Result<Terms> {
        // A path is the launcher's, not the daemon's, to resolve.
        let is_path =
            |text: &str| text.contains('/') || Path::new(text).extension() == Some("toml".as_ref());
        let profile = match &self.profile {
            Some(path) if is_path(path) => {
                let path = absolute(Path::new(path))?.into_os_string().into_string();
                Some(path.map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?)
            }
            other => other.clone(),
        };
        let roots = self.upstream_roots.iter().map(|path| absolute(path));
        let terms = Terms {
            profile,
            duration: self.duration.map(|length| length.duration().as_secs()),
            gid: invoker.gid.as_raw(),
            aws: self.selection(invoker)?,
            role: self.role()?,
            delivery: self.credentials,
            upstream: UpstreamConfig {
                connect: self
                    .upstream_connect
                    .iter()
                    .cloned()
                    .collect::<BTreeMap<_, _>>(),
                roots: roots.collect::<Result<_, _>>()?,
            },
            environment: environment::relevant(std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })),
        };
        secrets::forget_environment();
        Ok(terms)
    }

    /// As AWS tools choose: a profile named by flag, else keys in the environment, else a profile named there.
    fn selection(&self, invoker: &Invoker) -> anyhow::Result<Selection> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let keys = set("AWS_ACCESS_KEY_ID").is_some() && set("AWS_SECRET_ACCESS_KEY").is_some();
        let mut selection = Selection::from_environment(
            |name| set(name).filter(|_| !(keys && PROFILES.contains(&name))),
            self.aws_profile.clone(),
            self.region.clone(),
            invoker
                .home
                .clone()
                .or_else(|| set("HOME").map(PathBuf::from)),
        )?;
        if let Some(name) = &self.web_identity_variable {
            check_variable(name).context("--web-identity-variable cannot be used")?;
            let token =
                set(name).with_context(|| format!("--web-identity-variable: {name} is not set"))?;
            selection
                .tokens
                .insert(name.clone(), BearerToken::new(token));
        }
        // Relative to the launcher, not to the daemon.
        for path in [&mut selection.config_file, &mut selection.credentials_file]
            .into_iter()
            .flatten()
        {
            *path = absolute(path)?;
        }
        Ok(selection)
    }

    fn role(&self) -> anyhow::Result<CredentialTerms> {
        let file = self.web_identity_token_file.as_deref().map(absolute);
        let variable = self.web_identity_variable.clone();
        let terms = CredentialTerms {
            role_arn: self.role_arn.clone(),
            external_id: self.role_external_id.clone(),
            duration: self.role_duration.map(|length| length.duration().as_secs()),
            session_policy: self.session_policy,
            web_identity: match file.transpose()? {
                Some(path) => Some(WebIdentity::File(path)),
                None => variable.map(WebIdentity::Variable),
            },
            ..CredentialTerms::default()
        };
        terms.check().context("the role cannot be used")?;
        Ok(terms)
    }
}

/// A session in a session would give the agent a gateway of its own choice.
pub(super) fn refuse_nesting() -> anyhow::Result<()> {
    let group = cgroup::of_process(std::process::id()).unwrap_or_default();
    // In its cgroup namespace a session does not see its cgroup's name.
    let named = || SessionId::parse(&std::env::var(environment::SESSION).ok()?);
    if let Some(session) = cgroup::session_of(&group).or_else(named) {
        bail!("already inside guard session {session}; run the command without guard");
    }
    Ok(())
}

/// A path, made absolute without following links.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))
}

/// Reads a token with the invoking user's rights: root's would let any file be tried.
fn read_token(invoker: &Invoker, path: &Path) -> anyhow::Result<Token> {
    use std::io::Read as _;

    let unreadable = || {
        format!(
            "cannot read the identity token {} as user {}; check --identity-token-file and the file's permissions",
            path.display(),
            invoker.name
        )
    };
    let mut text = Zeroizing::new(String::with_capacity(2 * LARGEST_TOKEN));
    let limit = LARGEST_TOKEN as u64 + 1;
    let read = |text: &mut String| std::fs::File::open(path)?.take(limit).read_to_string(text);
    let read = invoker
        .with_rights(|| read(&mut text))
        .with_context(unreadable)?;
    read.with_context(unreadable)?;
    if text.trim().is_empty() {
        bail!(
            "the identity token {} is empty; write the provider's ID token there",
            path.display()
        );
    }
    Ok(Token::new(&text))
}

fn session_policy(text: &str) -> Result<SessionPolicyMode, String> {
    match text {
        "auto" => Ok(SessionPolicyMode::Auto),
        "off" => Ok(SessionPolicyMode::Off),
        "required" => Ok(SessionPolicyMode::Required),
        _ => Err("say auto, off or required".to_owned()),
    }
}

fn reason(text: &str) -> Result<String, String> {
    check_reason(text).map(|()| text.to_owned())
}

fn agent(text: &str) -> Result<String, String> {
    check_agent(text).map(|()| text.to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write it as KEY=VALUE, such as team=data")?;
    check_label(key, value).map(|()| (key.to_owned(), value.to_owned()))
}
