//! The context that a policy's conditions are evaluated in: the value of each condition key that guard
//! knows of a call.
//!
//! What the request tells was read by `aws`; here come the session's, the principal's and guard's own. A key
//! that is nowhere is unknown, never absent, unless AWS documents that a direct call of a user or role
//! does not have it
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HeaderName, REFERER, USER_AGENT};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::aws::{Access, KeyValue, Keys, Operation, Resource};
use crate::broker::Principal;
use crate::policy::{ANONYMOUS, ConditionKeys, Profile, label_of};
use crate::record::entry::Key;
use crate::session::Identity;

/// What is known of a call.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The region it is signed for, else its host's.
    pub region: Option<&'a str>,
    /// Its service, as botocore names it.
    pub service: Option<&'a str>,
    /// Its operation.
    pub operation: &'a Operation,
    /// What its request tells of condition keys.
    pub told: &'a Keys,
    /// The host it is for.
    pub host: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whose credentials it leaves with.
    pub principal: Option<&'a Principal>,
    /// It leaves with none: nobody signed it.
    pub anonymous: bool,
    /// The address that AWS sees it come from.
    pub source_ip: Option<IpAddr>,
    /// When it is decided.
    pub now: OffsetDateTime,
    /// The session that makes it.
    pub session: Option<Caller<'a>>,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The session's name.
    pub session: &'a str,
    /// Who runs it.
    pub identity: &'a Identity,
    /// The calling process' executable, where it is known.
    pub executable: Option<&'a str>,
}

/// Whether a profile speaks of the principal, so that STS must be asked who that is.
pub fn asks_principal(profile: &Profile) -> bool {
    let keys = profile.condition_keys();
    OF_PRINCIPAL
        .iter()
        .any(|key| keys.iter().any(|it| it == key))
}

/// Keys that only the principal's ARN or identifier tells.
const OF_PRINCIPAL: [&str; 4] = [
    "aws:principalarn",
    "aws:principaltype",
    "aws:userid",
    "aws:username",
];

/// Keys that differ from resource to resource, and are told by what the record has anyway.
const OF_ACCESS: [&str; 2] = ["aws:resourceaccount", "guard:accesslevel"];

impl ConditionKeys for Context<'_> {
    fn value(&self, key: &str, access: &Access, resource: &Resource) -> KeyValue {
        self.told
            .value(key, access, resource)
            .or_else(|| self.own(key, access, resource))
            .unwrap_or(KeyValue::Unknown)
    }

    fn is_anonymous(&self) -> bool {
        self.anonymous
    }
}

impl Context<'_> {
    /// What is known of a profile's keys, for the record.
    pub fn recorded(&self, keys: &[String]) -> Vec<Key> {
        let nothing = Access {
            action: None,
            level: None,
            resources: Vec::new(),
        };
        let value = |key: &str| {
            let told = self.told.iter().find(|it| it.0 == key);
            told.map(|it| it.1.clone())
                .or_else(|| self.own(key, &nothing, &Resource::Unknown))
                .unwrap_or(KeyValue::Unknown)
        };
        keys.iter()
            .filter(|key| !OF_ACCESS.contains(&key.as_str()))
            .map(|key| Key {
                key: key.clone(),
                values: match value(key) {
                    KeyValue::Unknown => None,
                    KeyValue::Absent => Some(Vec::new()),
                    KeyValue::One(value) => Some(vec![value]),
                    KeyValue::Many(values) => Some(values),
                },
            })
            .collect()
    }

    fn own(&self, key: &str, access: &Access, resource: &Resource) -> Option<KeyValue> {
        let one = |text: &str| Some(KeyValue::One(text.to_owned()));
        match key {
            "aws:currenttime" => one(&self.now.format(&Rfc3339).ok()?),
            "aws:epochtime" => one(&self.now.unix_timestamp().to_string()),
            "aws:securetransport" => one("true"),
            "aws:viaawsservice" | "aws:principalisawsservice" => one("false"),
            "aws:calledvia"
            | "aws:calledviafirst"
            | "aws:calledvialast"
            | "aws:principalservicename"
            | "aws:principalservicenameslist"
            | "aws:sourceaccount"
            | "aws:sourcearn"
            | "aws:sourceorgid"
            | "aws:sourceorgpaths"
            // Only a request for a token tells one.
            | "guard:cluster"
            | "guard:databaseuser" => Some(KeyValue::Absent),
            "aws:useragent" => header(self.headers, &USER_AGENT),
            "aws:referer" => header(self.headers, &REFERER),
            "aws:sourceip" => one(&self.source_ip?.to_string()),
            "aws:requestedregion" => one(self.region?),
            "aws:resourceaccount" => resource_account(resource),
            "guard:accesslevel" => one(access.level?.name()),
            "guard:executable" => one(self.session?.executable?),
            "guard:host" => one(self.host),
            "guard:operation" => match self.operation {
                Operation::Known(name) => one(name),
                Operation::Ambiguous(_) | Operation::Unknown => None,
            },
            "guard:service" => one(self.service?),
            "guard:session" => one(self.session?.session),
            _ if key.starts_with("guard:") => of_identity(self.session?.identity, key),
            _ if self.anonymous => of_anonymous(key),
            _ => of_principal(self.principal?, key),
        }
    }
}

/// Keys of who runs the session. All of it is known, so that what is not there is absent.
fn of_identity(identity: &Identity, key: &str) -> Option<KeyValue> {
    let human = identity.human.as_ref();
    let agent = identity.agent.as_ref();
    let label = |name: &str| {
        let mut labels = identity.labels.iter();
        labels.find(|(label, _)| label.eq_ignore_ascii_case(name))
    };
    let text = match key {
        "guard:agent" => agent.map(|it| it.name.clone()),
        "guard:agentinstance" => agent.and_then(|it| it.instance.clone()),
        "guard:agentversion" => agent.and_then(|it| it.version.clone()),
        "guard:human" => human.map(|it| it.subject.clone()),
        "guard:humanemail" => human.and_then(|it| it.email.clone()),
        "guard:humanissuer" => human.map(|it| it.issuer.clone()),
        "guard:loginuid" => identity.loginuid.map(|it| it.to_string()),
        "guard:reason" => identity.reason.clone(),
        "guard:uid" => Some(identity.uid.to_string()),
        "guard:user" => Some(identity.user.clone()),
        _ => label(label_of(key)?).map(|(_, value)| value.clone()),
    };
    Some(text.map_or(KeyValue::Absent, KeyValue::One))
}

/// The value of a header that is there once.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<KeyValue> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Some(KeyValue::Absent);
    };
    if values.next().is_some() {
        return None;
    }
    Some(KeyValue::One(value.to_str().ok()?.to_owned()))
}

/// The account that an ARN names. What has none, as S3's, may belong to anybody.
fn resource_account(resource: &Resource) -> Option<KeyValue> {
    match resource {
        Resource::Any | Resource::Unknown => None,
        Resource::Arn(arn) => {
            let account = arn.split(':').nth(4)?;
            (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| KeyValue::One(account.to_owned()))
        }
    }
}

/// Keys of the principal in a request that nobody signed (the same table's column "Anonymous").
fn of_anonymous(key: &str) -> Option<KeyValue> {
    match key {
        "aws:principaltype" => Some(KeyValue::One(ANONYMOUS.to_owned())),
        "aws:userid" => Some(KeyValue::One("anonymous".to_owned())),
        "aws:username" => Some(KeyValue::Absent),
        _ if key.starts_with("aws:principal") => Some(KeyValue::Absent),
        _ => None,
    }
}

/// Keys of the principal
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable>).
fn of_principal(principal: &Principal, key: &str) -> Option<KeyValue> {
    if key == "aws:principalaccount" {
        return Some(KeyValue::One(principal.account.clone()));
    }
    if key == "aws:userid" {
        return principal.user_id.clone().map(KeyValue::One);
    }
    let arn = principal.arn.as_deref()?;
    let resource = arn.splitn(6, ':').nth(5)?;
    let kind = resource.split('/').next()?;
    let user = (kind == "user")
        .then(|| resource.rsplit('/').next())
        .flatten();
    let text = match key {
        // An assumed role's ARN does not tell the role's path.
        "aws:principalarn" if matches!(kind, "user" | "root") => arn,
        "aws:principaltype" => match kind {
            "root" => "Account",
            "user" => "User",
            "assumed-role" => "AssumedRole",
            "federated-user" => "FederatedUser",
            _ => return None,
        },
        "aws:username" => match user {
            Some(user) => user,
            None => return Some(KeyValue::Absent),
        },
        _ => return None,
    };
    Some(KeyValue::One(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::aws::AccessLevel;
    use crate::session::{Agent, Human};

    fn identity() -> Identity {
        Identity {
            uid: 1000,
            user: "ada".to_owned(),
            loginuid: None,
            host: "h".to_owned(),
            reason: Some("nightly".to_owned()),
            command: Vec::new(),
            human: Some(Human {
                issuer: "https://sso.example".to_owned(),
                subject: "00u1ada".to_owned(),
                email: None,
            }),
            agent: Some(Agent {
                name: "claude".to_owned(),
                version: Some("2".to_owned()),
                instance: None,
            }),
            labels: [("Team".to_owned(), "data".to_owned())].into(),
        }
    }

    fn value(key: &str, resource: &Resource, arn: Option<&str>) -> KeyValue {
        let identity = identity();
        let principal = Principal {
            account: "123456789012".to_owned(),
            arn: arn.map(str::to_owned),
            user_id: Some("AIDAEXAMPLE".to_owned()),
        };
        let headers = HeaderMap::from_iter([(USER_AGENT, "aws-cli/2".parse().unwrap())]);
        let told = Keys::default();
        let context = Context {
            told: &told,
            region: Some("eu-west-1"),
            service: Some("s3"),
            operation: &Operation::Known("ListObjectsV2"),
            host: "b.s3.eu-west-1.amazonaws.com",
            headers: &headers,
            anonymous: false,
            principal: Some(&principal),
            source_ip: None,
            now: OffsetDateTime::UNIX_EPOCH,
            session: Some(Caller {
                session: "7b1e09c44f2ad310",
                identity: &identity,
                executable: None,
            }),
        };
        let access = Access {
            action: Some(Cow::Borrowed("s3:ListBucket")),
            level: Some(AccessLevel::PermissionsManagement),
            resources: Vec::new(),
        };
        context.value(key, &access, resource)
    }

    #[test]
    fn what_is_known_is_told_and_the_rest_is_unknown() {
        let user = Some("arn:aws:iam::123456789012:user/team/ada");
        let role = Some("arn:aws:sts::123456789012:assumed-role/deploy/ci");
        let one = |text: &str| KeyValue::One(text.to_owned());
        for (key, arn, expected) in [
            ("s3:prefix", user, KeyValue::Unknown),
            ("aws:currenttime", user, one("1970-01-01T00:00:00Z")),
            ("aws:epochtime", user, one("0")),
            ("aws:securetransport", user, one("true")),
            ("aws:viaawsservice", user, one("false")),
            ("aws:calledvia", user, KeyValue::Absent),
            ("aws:useragent", user, one("aws-cli/2")),
            ("aws:referer", user, KeyValue::Absent),
            ("aws:sourceip", user, KeyValue::Unknown),
            ("aws:requestedregion", user, one("eu-west-1")),
            ("aws:principalaccount", None, one("123456789012")),
            ("aws:userid", None, one("AIDAEXAMPLE")),
            (
                "aws:principalarn",
                user,
                one("arn:aws:iam::123456789012:user/team/ada"),
            ),
            // The role's path is not known.
            ("aws:principalarn", role, KeyValue::Unknown),
            ("aws:principalarn", None, KeyValue::Unknown),
            ("aws:principaltype", role, one("AssumedRole")),
            ("aws:username", user, one("ada")),
            ("aws:username", role, KeyValue::Absent),
            ("aws:principaltag/team", user, KeyValue::Unknown),
            ("guard:accesslevel", user, one("Permissions management")),
            ("guard:operation", user, one("ListObjectsV2")),
            ("guard:service", user, one("s3")),
            ("guard:user", user, one("ada")),
            ("guard:executable", user, KeyValue::Unknown),
            ("guard:agent", user, one("claude")),
            ("guard:agentversion", user, one("2")),
            ("guard:agentinstance", user, KeyValue::Absent),
            ("guard:human", user, one("00u1ada")),
            ("guard:humanissuer", user, one("https://sso.example")),
            ("guard:humanemail", user, KeyValue::Absent),
            ("guard:reason", user, one("nightly")),
            ("guard:uid", user, one("1000")),
            ("guard:loginuid", user, KeyValue::Absent),
            ("guard:label/team", user, one("data")),
            ("guard:label/ticket", user, KeyValue::Absent),
            ("guard:label/", user, KeyValue::Unknown),
            ("guard:unheardof", user, KeyValue::Unknown),
        ] {
            assert_eq!(value(key, &Resource::Any, arn), expected, "{key} {arn:?}");
        }
    }

    #[test]
    fn the_resources_account_is_its_arns() {
        let of = |arn: &str| value("aws:resourceaccount", &Resource::Arn(arn.to_owned()), None);
        assert_eq!(
            of("arn:aws:sqs:eu-west-1:210987654321:q"),
            KeyValue::One("210987654321".to_owned())
        );
        assert_eq!(of("arn:aws:s3:::anybodys"), KeyValue::Unknown);
        assert_eq!(
            value("aws:resourceaccount", &Resource::Unknown, None),
            KeyValue::Unknown
        );
    }
}
