//! A call that somebody asks about: an action on resources, or a request.

use std::collections::BTreeMap;

use http::HeaderMap;
use time::OffsetDateTime;

use crate::aws::{Access, KeyValue, Keys, Operation, Resource, catalog};
use crate::cli::identify;
use crate::context::Context;
use crate::policy::{ANONYMOUS, ConditionKeys};
use crate::record::entry::ExchangeDecided;

/// The call, with the condition keys that were stated for it.
#[derive(Debug)]
pub(super) struct Question {
    /// What IAM is asked for.
    pub(super) access: Vec<Access>,
    region: Option<String>,
    service: Option<String>,
    operation: Operation,
    told: Keys,
    /// The request's host; empty where an action was asked about.
    pub(super) host: String,
    /// The request's headers.
    pub(super) headers: HeaderMap,
    /// Keys in lower case → values; they stand before what the call tells.
    pub(super) stated: BTreeMap<String, KeyValue>,
}

/// What of a question cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum QuestionError {
    /// Not `service:Name`.
    #[error("{0:?} is no action; write it as IAM does, such as \"s3:GetObject\"")]
    Action(String),
    /// Not a resource.
    #[error(
        "{0:?} is no resource; write an ARN, \"*\" for an action that takes none, or \"?\" for one that is not known"
    )]
    Resource(String),
    /// Not a request.
    #[error("the request cannot be identified: {0}")]
    Request(String),
    /// Not `KEY=VALUE`.
    #[error(
        "{0:?} is not KEY=VALUE, such as \"aws:RequestedRegion=eu-west-1\"; KEY= states an absent key"
    )]
    Key(String),
}

impl Question {
    /// Actions on resources, each on all of them. No resource is `*`.
    pub(super) fn of_actions(
        actions: &[String],
        resources: &[String],
    ) -> Result<Self, QuestionError> {
        let resources = resources
            .iter()
            .map(|text| resource(text))
            .collect::<Result<Vec<_>, _>>()?;
        let resources = if resources.is_empty() {
            vec![Resource::Any]
        } else {
            resources
        };
        let access = actions
            .iter()
            .map(|text| {
                let known = catalog::action(text);
                if known.is_none()
                    && text
                        .split_once(':')
                        .is_none_or(|it| it.0.is_empty() || it.1.is_empty())
                {
                    return Err(QuestionError::Action(text.clone()));
                }
                Ok(Access {
                    action: Some(text.clone().into()),
                    resources: resources.clone(),
                    level: known.map(catalog::ActionModel::level),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self::of(access))
    }

    /// A request, as a line of `guard identify`.
    pub(super) fn of_request(
        line: &str,
        account: Option<&str>,
        wanted: &[String],
    ) -> Result<Self, QuestionError> {
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let account = account.map(str::to_owned);
        let (call, host, parts) =
            identify::call(line.as_bytes(), account, &wanted).map_err(QuestionError::Request)?;
        Ok(Self {
            access: call.access,
            region: call.region,
            service: call.service.map(str::to_owned),
            operation: call.operation,
            told: call.keys,
            host,
            headers: parts.headers,
            stated: BTreeMap::new(),
        })
    }

    /// The call of a journal entry, with the condition keys that were recorded.
    pub(super) fn of_entry(decided: &ExchangeDecided) -> Self {
        let access = decided.access.iter().map(|it| Access {
            action: it.action.clone().map(Into::into),
            level: it
                .action
                .as_deref()
                .and_then(catalog::action)
                .map(catalog::ActionModel::level),
            resources: it
                .resources
                .iter()
                .map(|text| match text.as_deref() {
                    Some("*") => Resource::Any,
                    Some(arn) => Resource::Arn(arn.to_owned()),
                    None => Resource::Unknown,
                })
                .collect(),
        });
        let mut question = Self::of(access.collect());
        question.region.clone_from(&decided.region);
        question.service.clone_from(&decided.service);
        decided.host.clone_into(&mut question.host);
        if decided.authentication.as_deref() == Some("none") {
            question.state("aws:PrincipalType", vec![ANONYMOUS.to_owned()]);
        }
        for key in &decided.keys {
            match &key.values {
                Some(values) => question.state(&key.key, values.clone()),
                None => drop(question.stated.insert(key.key.clone(), KeyValue::Unknown)),
            }
        }
        question
    }

    fn of(access: Vec<Access>) -> Self {
        Self {
            access,
            region: None,
            service: None,
            operation: Operation::Unknown,
            told: Keys::default(),
            host: String::new(),
            headers: HeaderMap::new(),
            stated: BTreeMap::new(),
        }
    }

    /// States a key: one value, several, or none at all for an absent key.
    pub(super) fn state(&mut self, key: &str, mut values: Vec<String>) {
        let value = match values.len() {
            0 => KeyValue::Absent,
            1 => KeyValue::One(values.swap_remove(0)),
            _ => KeyValue::Many(values),
        };
        self.stated.insert(key.to_ascii_lowercase(), value);
    }

    /// States what `KEY=VALUE` says; the same key again adds a value, and `KEY=` states an absent key.
    pub(super) fn state_all(&mut self, pairs: &[String]) -> Result<(), QuestionError> {
        let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for pair in pairs {
            let (key, value) = pair
                .split_once('=')
                .filter(|it| !it.0.is_empty())
                .ok_or_else(|| QuestionError::Key(pair.clone()))?;
            let list = values.entry(key).or_default();
            if !value.is_empty() {
                list.push(value.to_owned());
            }
        }
        for (key, values) in values {
            self.state(key, values);
        }
        Ok(())
    }
}

impl ConditionKeys for Question {
    fn value(&self, key: &str, access: &Access, resource: &Resource) -> KeyValue {
        if let Some(value) = self.stated.get(key) {
            return value.clone();
        }
        let context = Context {
            region: self.region.as_deref(),
            service: self.service.as_deref(),
            operation: &self.operation,
            told: &self.told,
            host: &self.host,
            headers: &self.headers,
            principal: None,
            anonymous: false,
            source_ip: None,
            now: OffsetDateTime::now_utc(),
            session: None,
        };
        context.value(key, access, resource)
    }

    fn is_anonymous(&self) -> bool {
        let kind = self.stated.get("aws:principaltype");
        kind.is_some_and(|kind| *kind == KeyValue::One(ANONYMOUS.to_owned()))
    }
}

fn resource(text: &str) -> Result<Resource, QuestionError> {
    match text {
        "*" => Ok(Resource::Any),
        "?" => Ok(Resource::Unknown),
        _ if text.starts_with("arn:") && text.split(':').count() >= 6 => {
            Ok(Resource::Arn(text.to_owned()))
        }
        _ => Err(QuestionError::Resource(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_asked_about_on_each_resource() {
        let resources = ["arn:aws:s3:::a".to_owned(), "?".to_owned()];
        let asked = Question::of_actions(&["s3:ListBucket".to_owned()], &resources).unwrap();
        assert_eq!(asked.access.len(), 1);
        assert_eq!(
            asked.access[0].resources,
            [
                Resource::Arn("arn:aws:s3:::a".to_owned()),
                Resource::Unknown
            ]
        );
        let bare = Question::of_actions(&["s3:ListBucket".to_owned()], &[]).unwrap();
        assert_eq!(bare.access[0].resources, [Resource::Any]);
        assert!(Question::of_actions(&["ListBucket".to_owned()], &[]).is_err());
        assert!(Question::of_actions(&[], &["bucket".to_owned()]).is_err());
    }

    #[test]
    fn stated_keys_come_first_and_may_be_absent_or_several() {
        let mut asked = Question::of_actions(&["s3:ListBucket".to_owned()], &[]).unwrap();
        let pairs = [
            "aws:TagKeys=a",
            "aws:TagKeys=b",
            "aws:SecureTransport=false",
            "s3:prefix=",
        ];
        asked.state_all(&pairs.map(str::to_owned)).unwrap();
        let value = |key| asked.value(key, &asked.access[0], &Resource::Any);
        assert_eq!(
            value("aws:tagkeys"),
            KeyValue::Many(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(
            value("aws:securetransport"),
            KeyValue::One("false".to_owned())
        );
        assert_eq!(value("s3:prefix"), KeyValue::Absent);
        assert_eq!(value("aws:principaltag/team"), KeyValue::Unknown);
        let mut asked = asked;
        for odd in ["aws:TagKeys", "=a"] {
            assert!(asked.state_all(&[odd.to_owned()]).is_err());
        }
    }
}
