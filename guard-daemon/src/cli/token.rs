//! `guard token`: inside a session, asks guard for a token that AWS's own clients would compute from keys that
//! the session does not have.
//!
//! Standard output is what the calling program expects: kubectl's `ExecCredential`, git's credential lines, else
//! the token alone. The way to the daemon is the session's gateway, like that of every call.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::provider::ProvideCredentials;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Exit, say};
use crate::aws::Scope;
use crate::aws::sigv4::{self, Payload, SignAs};
use crate::aws::token::{Asked, HOST, SERVICE, TokenError};
use crate::config::UpstreamConfig;
use crate::gateway::upstream::Upstream;
use crate::visible::printable;

/// The longest that a person can be waited for (`hold_seconds`), and some.
const PATIENCE: Duration = Duration::from_mins(61);

/// Bytes of what git says.
const GIT_BYTES: u64 = 16 * 1024;

/// What `guard token` is told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    token: Token,
    /// How to print it
    #[arg(long, short, global = true, value_enum, default_value_t)]
    output: Format,
}

/// How a token is printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// As the program that uses it expects
    #[default]
    Plain,
    /// An object with token, expiration and, for CodeCommit, username
    Json,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Password of a database user of RDS or Aurora
    Rds {
        /// The database's endpoint
        #[arg(long, value_name = "HOST")]
        hostname: String,
        /// Its port
        #[arg(long)]
        port: u16,
        /// The database user
        #[arg(long, value_name = "USER")]
        username: String,
        #[command(flatten)]
        region: RegionFlag,
    },
    /// Credential for the API server of an EKS cluster, for kubectl
    Eks {
        /// The cluster's name
        #[arg(long, value_name = "NAME")]
        cluster_name: String,
        #[command(flatten)]
        region: RegionFlag,
    },
    /// User name and password for git at CodeCommit, as a credential helper
    Codecommit {
        /// What git asks for: get, store or erase
        #[arg(value_name = "OPERATION")]
        operation: String,
    },
    /// SASL/OAUTHBEARER token for Amazon MSK
    Msk {
        #[command(flatten)]
        region: RegionFlag,
    },
    /// Password of a user of an ElastiCache cache
    Elasticache {
        /// The replication group or serverless cache
        #[arg(long, value_name = "NAME")]
        cache_name: String,
        /// The cache is serverless
        #[arg(long)]
        serverless: bool,
        /// The user's id, which must be its name
        #[arg(long, value_name = "USER")]
        username: String,
        #[command(flatten)]
        region: RegionFlag,
    },
    /// Password of a user of a MemoryDB cluster
    Memorydb {
        /// The cluster
        #[arg(long, value_name = "NAME")]
        cluster_name: String,
        /// The user
        #[arg(long, value_name = "USER")]
        username: String,
        #[command(flatten)]
        region: RegionFlag,
    },
    /// Password for an Aurora DSQL cluster
    Dsql {
        /// The cluster's endpoint
        #[arg(long, value_name = "HOST")]
        hostname: String,
        /// For the role admin
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        region: RegionFlag,
    },
}

#[derive(Debug, Args)]
struct RegionFlag {
    /// AWS region [env: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// guard does not make the token.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// There is no guard to ask.
#[derive(Debug, thiserror::Error)]
#[error(
    "guard cannot be asked for a token: {0}; guard token works inside a session of guard run or guard attach only"
)]
pub(super) struct NoSession(String);

/// What guard answers.
#[derive(Deserialize)]
struct Answer {
    token: String,
    username: Option<String>,
    expiration: String,
}

/// Asks for the token and prints it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let asked = match &arguments.token {
        // Nothing is kept anywhere.
        Token::Codecommit { operation } if operation != "get" => return Ok(Exit::Success.into()),
        token => token.asked()?,
    };
    if let Err(error) = asked.check() {
        say(&error.to_string());
        return Ok(Exit::Usage.into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let answer = runtime.block_on(ask(&asked))?;
    let text = match (arguments.output, &arguments.token) {
        (Format::Json, _) => {
            let mut object = json!({"token": answer.token, "expiration": answer.expiration});
            if let Some(username) = &answer.username {
                object["username"] = username.as_str().into();
            }
            format!("{object}\n")
        }
        (Format::Plain, Token::Eks { .. }) => exec_credential(&answer),
        (Format::Plain, Token::Codecommit { .. }) => format!(
            "username={}\npassword={}\n",
            answer.username.as_deref().unwrap_or_default(),
            answer.token
        ),
        (Format::Plain, _) => format!("{}\n", answer.token),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Success.into())
}

impl Token {
    fn asked(&self) -> anyhow::Result<Asked> {
        Ok(match self {
            Self::Rds {
                hostname,
                port,
                username,
                region,
            } => Asked::Rds {
                hostname: hostname.to_ascii_lowercase(),
                port: *port,
                username: username.clone(),
                region: region.find()?,
            },
            Self::Eks {
                cluster_name,
                region,
            } => Asked::Eks {
                cluster: cluster_name.clone(),
                region: region.find()?,
            },
            Self::Codecommit { .. } => repository()?,
            Self::Msk { region } => Asked::Msk {
                region: region.find()?,
            },
            Self::Elasticache {
                cache_name,
                serverless,
                username,
                region,
            } => Asked::Elasticache {
                cache: cache_name.clone(),
                serverless: *serverless,
                username: username.clone(),
                region: region.find()?,
            },
            Self::Memorydb {
                cluster_name,
                username,
                region,
            } => Asked::Memorydb {
                cluster: cluster_name.clone(),
                username: username.clone(),
                region: region.find()?,
            },
            Self::Dsql {
                hostname,
                admin,
                region,
            } => Asked::Dsql {
                hostname: hostname.to_ascii_lowercase(),
                admin: *admin,
                region: region.find()?,
            },
        })
    }
}

impl RegionFlag {
    fn find(&self) -> anyhow::Result<String> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let region = self.region.clone();
        region
            .or_else(|| set("AWS_REGION"))
            .or_else(|| set("AWS_DEFAULT_REGION"))
            .context("no region is known; say --region, or set AWS_REGION")
    }
}

/// What git says on standard input (gitcredentials(7)): `key=value` lines up to an empty one.
fn repository() -> anyhow::Result<Asked> {
    let mut text = String::new();
    std::io::stdin().take(GIT_BYTES).read_to_string(&mut text)?;
    let lines = text.lines().take_while(|line| !line.is_empty());
    let said: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    let get = |name| said.get(name).copied().unwrap_or_default();
    if get("protocol") != "https" {
        bail!("guard token codecommit makes passwords for git over HTTPS only");
    }
    let host = get("host").strip_suffix(":443").unwrap_or(get("host"));
    Ok(Asked::Codecommit {
        host: host.to_ascii_lowercase(),
        path: get("path").trim_end_matches('/').to_owned(),
    })
}

async fn ask(asked: &Asked) -> anyhow::Result<Answer> {
    let body = serde_json::to_vec(asked)?;
    let chain = DefaultCredentialsChain::builder()
        .region(Region::new(asked.region().to_owned()))
        .build()
        .await;
    let credentials = chain
        .provide_credentials()
        .await
        .map_err(|error| NoSession(crate::control::text_of(&error)))?;
    let request = Request::post(format!("https://{HOST}/"))
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len())
        .body(())?;
    let (mut parts, ()) = request.into_parts();
    let scope = Scope {
        region: asked.region(),
        service: SERVICE,
    };
    sigv4::sign(
        &mut parts,
        HOST,
        Payload::Bytes(&body),
        scope,
        &credentials,
        SignAs::default(),
        SystemTime::now(),
    )
    .map_err(TokenError::from)?;
    let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let gateway = Upstream::new(&UpstreamConfig {
        // Its address is a synthetic one, which is not public.
        connect: BTreeMap::from([(HOST.to_owned(), format!("{HOST}:443"))]),
        roots: bundle.into_iter().map(Into::into).collect(),
    })
    .map_err(|error| NoSession(error.to_string()))?;
    let request = Request::from_parts(parts, Bytes::from(body));
    let response = gateway
        .ask_within(request, PATIENCE)
        .await
        .map_err(|error| NoSession(error.to_string()))?;
    answer(&response)
}

fn answer(response: &Response<Bytes>) -> anyhow::Result<Answer> {
    if response.status().is_success() {
        return serde_json::from_slice(response.body()).context(
            "guard's answer is not understood; are daemon and command of the same version?",
        );
    }
    let said: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let said = said["message"]
        .as_str()
        .or_else(|| said["Message"].as_str());
    let reason = match said {
        Some(reason) => printable(reason).into_owned(),
        None => format!("status {}", response.status()),
    };
    Err(Refused(reason).into())
}

const KUBERNETES: &str = "client.authentication.k8s.io/v1";
const KUBERNETES_BETA: &str = "client.authentication.k8s.io/v1beta1";

/// What kubectl reads of an exec plugin.
fn exec_credential(answer: &Answer) -> String {
    // kubectl says which version it speaks; as AWS's own command does without it.
    let asked = std::env::var("KUBERNETES_EXEC_INFO").unwrap_or_default();
    let asked: serde_json::Value = serde_json::from_str(&asked).unwrap_or_default();
    let version = if asked["apiVersion"] == KUBERNETES {
        KUBERNETES
    } else {
        KUBERNETES_BETA
    };
    let object = json!({
        "kind": "ExecCredential",
        "apiVersion": version,
        "spec": {},
        "status": {
            "expirationTimestamp": answer.expiration,
            "token": answer.token,
        },
    });
    format!("{object}\n")
}
