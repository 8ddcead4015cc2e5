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

use crate::aws::{Access, Call, KeyValue, Operation, Resource};
use crate::broker::Principal;
use crate::policy::{ConditionKeys, Profile};
use crate::record::entry::Key;

/// What is known of a call besides the call itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The call.
    pub call: &'a Call,
    /// What its request tells of condition keys, by their names in lower case.
    pub told: &'a [(String, KeyValue)],
    /// The host it is for.
    pub host: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whose credentials it leaves with.
    pub principal: Option<&'a Principal>,
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
    /// The invoking user's name.
    pub user: &'a str,
    /// The calling process' executable, where it is known.
    pub executable: Option<&'a str>,
}

/// The condition keys of guard's own, as documentation writes them.
pub const GUARD_KEYS: &[&str] = &[
    "guard:AccessLevel",
    "guard:Executable",
    "guard:Host",
    "guard:Operation",
    "guard:Service",
    "guard:Session",
    "guard:User",
];

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
        let told = self.told.iter().find(|(name, _)| name == key);
        if let Some((_, value)) = told {
            return value.clone();
        }
        self.own(key, access, resource).unwrap_or(KeyValue::Unknown)
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
        keys.iter()
            .filter(|key| !OF_ACCESS.contains(&key.as_str()))
            .map(|key| Key {
                key: key.clone(),
                values: match self.value(key, &nothing, &Resource::Unknown) {
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
            | "aws:sourceorgpaths" => Some(KeyValue::Absent),
            "aws:useragent" => header(self.headers, &USER_AGENT),
            "aws:referer" => header(self.headers, &REFERER),
            "aws:sourceip" => one(&self.source_ip?.to_string()),
            "aws:requestedregion" => one(self.call.region.as_deref()?),
            "aws:resourceaccount" => resource_account(resource),
            "guard:accesslevel" => one(access.level?.name()),
            "guard:executable" => one(self.session?.executable?),
            "guard:host" => one(self.host),
            "guard:operation" => match self.call.operation {
                Operation::Known(name) => one(name),
                Operation::Ambiguous(_) | Operation::Unknown => None,
            },
            "guard:service" => one(self.call.service?),
            "guard:session" => one(self.session?.session),
            "guard:user" => one(self.session?.user),
            _ => of_principal(self.principal?, key),
        }
    }
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
        Resource::Any => Some(KeyValue::Absent),
        Resource::Unknown => None,
        Resource::Arn(arn) => {
            let account = arn.splitn(6, ':').nth(4)?;
            (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| KeyValue::One(account.to_owned()))
        }
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
