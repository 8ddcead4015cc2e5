//! Makes the tokens, as AWS's own clients do: presigned URLs by the `aws-sigv4` crate, and CodeCommit's
//! password, whose canonical request has no payload.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{self, SHA256};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sign_http,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

use super::{Asked, TokenError};
use crate::aws::endpoint;
use crate::aws::sigv4::SigV4Error;

/// How long the services take a token at the most.
const VALID: Duration = Duration::from_mins(15);
/// What the URL in a token for EKS says of its lifetime, as AWS's clients write it. Neither STS nor the API server
/// heeds it: both take the URL for 15 minutes from its date (pkg/token/token.go of aws-iam-authenticator).
const EKS_URL: Duration = Duration::from_mins(1);
/// When clients are told to get a new token for EKS, as `aws eks get-token` does.
const EKS_TOLD: Duration = Duration::from_mins(14);

/// RFC 3986 §2.3 unreserved characters stay as they are.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A token. It holds the access key id, and the session token of temporary credentials, but not the secret.
pub struct Minted {
    /// The user name that goes with it (CodeCommit).
    pub username: Option<Zeroizing<String>>,
    /// The token itself.
    pub token: Zeroizing<String>,
    /// When to get a new one.
    pub expires: SystemTime,
}

/// The request that a token is a signature of.
struct Target<'a> {
    service: &'a str,
    /// With its port, where it is not 443.
    host: String,
    query: String,
    header: Option<(&'static str, &'a str)>,
    valid: Duration,
}

impl Asked {
    /// What the token is for, for the record: the host with its port, and a path that names the action and the user,
    /// the cluster or the repository.
    pub fn place(&self) -> (String, String) {
        let path = match self {
            Self::Rds { username, .. }
            | Self::Elasticache { username, .. }
            | Self::Memorydb { username, .. } => format!("/connect/{}", encode(username)),
            Self::Eks { cluster, .. } => format!("/cluster/{cluster}"),
            Self::Codecommit { path, .. } => format!("/{path}"),
            Self::Msk { .. } => "/".to_owned(),
            Self::Dsql { admin: true, .. } => "/admin".to_owned(),
            Self::Dsql { .. } => "/connect".to_owned(),
        };
        (self.target().host, path)
    }

    /// The host that the token is for, without its port.
    pub fn host(&self) -> String {
        match self {
            Self::Rds { hostname, .. } | Self::Dsql { hostname, .. } => hostname.clone(),
            Self::Codecommit { host, .. } => host.clone(),
            _ => self.target().host,
        }
    }

    /// Makes the token. It is not good for longer than the credentials, nor than `left`, where that is given: what
    /// remains of the session.
    pub fn mint(
        &self,
        credentials: &Credentials,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<Minted, TokenError> {
        let ends = [left.map(|left| now + left), credentials.expiry()];
        let end = ends.into_iter().flatten().min().map(|end| end.max(now));
        let no_later = |time: SystemTime| end.map_or(time, |end| time.min(end));
        // What lasts as long as the service has it ends in time by having begun before.
        let dated = no_later(now + VALID) - VALID;
        if let Self::Codecommit { host, path } = self {
            let (username, token) = self.git(host, path, credentials, dated)?;
            return Ok(Minted {
                username: Some(username),
                token,
                expires: no_later(now + VALID),
            });
        }
        let mut target = self.target();
        let (date, told) = if matches!(self, Self::Eks { .. }) {
            (dated, EKS_TOLD)
        } else {
            let valid = no_later(now + VALID).duration_since(now);
            // The shortest that the signer takes.
            target.valid = valid.unwrap_or_default().max(Duration::from_secs(1));
            (now, VALID)
        };
        let url = self.presign(&target, credentials, date)?;
        let encoded = |url: &str| BASE64_URL_SAFE_NO_PAD.encode(url);
        let token = match self {
            Self::Eks { .. } => format!("k8s-aws-v1.{}", *Zeroizing::new(encoded(&url))),
            Self::Msk { .. } => encoded(&url),
            // Port 443 is not in the signature, but stands in the token, as botocore has it.
            Self::Rds { hostname, port, .. } => {
                let query = url.split_once("/?").map_or("", |(_, query)| query);
                format!("{hostname}:{port}/?{query}")
            }
            _ => url.trim_start_matches("https://").to_owned(),
        };
        Ok(Minted {
            username: None,
            token: Zeroizing::new(token),
            expires: no_later(now + told),
        })
    }

    fn target(&self) -> Target<'_> {
        let target = |service, host: String, query: String| Target {
            service,
            host,
            query,
            header: None,
            valid: VALID,
        };
        match self {
            Self::Rds {
                hostname,
                port,
                username,
                ..
            } => {
                let host = if *port == 443 {
                    hostname.clone()
                } else {
                    format!("{hostname}:{port}")
                };
                let query = format!("Action=connect&DBUser={}", encode(username));
                target("rds-db", host, query)
            }
            Self::Eks { cluster, region } => {
                let suffix = endpoint::suffix_of(endpoint::partition_of(region));
                Target {
                    header: Some(("x-k8s-aws-id", cluster)),
                    valid: EKS_URL,
                    ..target(
                        "sts",
                        format!("sts.{region}.{suffix}"),
                        "Action=GetCallerIdentity&Version=2011-06-15".to_owned(),
                    )
                }
            }
            // In all regions, as in AWS's own signers.
            Self::Msk { region } => target(
                "kafka-cluster",
                format!("kafka.{region}.amazonaws.com"),
                "Action=kafka-cluster%3AConnect".to_owned(),
            ),
            Self::Elasticache {
                cache,
                serverless,
                username,
                ..
            } => {
                let kind = if *serverless {
                    "&ResourceType=ServerlessCache"
                } else {
                    ""
                };
                let query = format!("Action=connect&User={}{kind}", encode(username));
                target("elasticache", cache.clone(), query)
            }
            Self::Memorydb {
                cluster, username, ..
            } => {
                let query = format!("Action=connect&User={}", encode(username));
                target("memorydb", cluster.clone(), query)
            }
            Self::Dsql {
                hostname, admin, ..
            } => {
                let query = if *admin {
                    "Action=DbConnectAdmin"
                } else {
                    "Action=DbConnect"
                };
                target("dsql", hostname.clone(), query.to_owned())
            }
            Self::Codecommit { host, .. } => target("codecommit", host.clone(), String::new()),
        }
    }

    fn presign(
        &self,
        target: &Target<'_>,
        credentials: &Credentials,
        date: SystemTime,
    ) -> Result<Zeroizing<String>, SigV4Error> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(target.valid);
        let identity: Identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region())
            .name(target.service)
            .time(date)
            .settings(settings)
            .build()
            .map_err(|_invalid| SigV4Error::Unsignable("its scope is not complete"))?
            .into();
        let mut url = Zeroizing::new(format!("https://{}/?{}", target.host, target.query));
        let headers = std::iter::once(("host", target.host.as_str())).chain(target.header);
        let request = SignableRequest::new("GET", url.as_str(), headers, SignableBody::Bytes(b""))
            .map_err(|_invalid| SigV4Error::Unsignable("its host and query do not make a URL"))?;
        let (instructions, _) = sign_http(request, &params)
            .map_err(|_invalid| {
                SigV4Error::Unsignable("a name or credential has a value that cannot be sent")
            })?
            .into_parts();
        let (_, parameters) = instructions.into_parts();
        for (name, value) in parameters {
            url.push('&');
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(&value, COMPONENT));
        }
        Ok(url)
    }

    /// CodeCommit's user name and password: the time and a signature of the method GIT and the path.
    fn git(
        &self,
        host: &str,
        path: &str,
        credentials: &Credentials,
        date: SystemTime,
    ) -> Result<(Zeroizing<String>, Zeroizing<String>), SigV4Error> {
        let stamp = OffsetDateTime::from(date)
            .format(format_description!(
                "[year][month][day]T[hour][minute][second]"
            ))
            .map_err(|_unwritable| SigV4Error::Unsignable("the clock is out of range"))?;
        let canonical = format!("GIT\n/{path}\n\nhost:{host}\n\nhost\n");
        let digest = hex::encode(digest::digest(&SHA256, canonical.as_bytes()));
        let (day, region) = (&stamp[..8], self.region());
        let scope = format!("{day}/{region}/codecommit/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
        let secret = credentials.secret_access_key();
        let key = v4::generate_signing_key(secret, date, region, "codecommit");
        let signature = v4::calculate_signature(key, text.as_bytes());
        let mut username = Zeroizing::new(credentials.access_key_id().to_owned());
        if let Some(token) = credentials.session_token() {
            username.push('%');
            username.push_str(token);
        }
        Ok((username, Zeroizing::new(format!("{stamp}Z{signature}"))))
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}
