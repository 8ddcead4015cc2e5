//! Whose an entry is: the identity of its session, on every line, so that none must be looked up elsewhere.
//!
//! A session is introduced before its first entry. Its identity is encoded then, once, and copied behind each of its
//! entries.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::session::{Agent, Human, Identity, SessionId};
use crate::visible::{self, quoted};

/// Sessions that have ended and are still known: what was under way when they ended is recorded after it.
const ENDED: usize = 256;

/// Whose an entry is. What is not known is not there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Who {
    /// The invoking user's numeric id.
    pub uid: u32,
    /// The invoking user's name.
    pub user: String,
    /// The user that logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
    /// The person that an OpenID provider vouched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<Human>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Why the session runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Who {
    /// What of an identity is on every entry.
    pub fn of(identity: &Identity) -> Self {
        Self {
            uid: identity.uid,
            user: identity.user.clone(),
            loginuid: identity.loginuid,
            human: identity.human.clone(),
            agent: identity.agent.clone(),
            reason: identity.reason.clone(),
            labels: identity.labels.clone(),
        }
    }
}

/// The person by address or subject, and the agent, each word quoted unless it is plain; nothing where neither is known.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let human = self.human.as_ref().map(ToString::to_string);
        let agent = self.agent.as_ref().map(|agent| {
            let parts = [
                Some(&agent.name),
                agent.version.as_ref(),
                agent.instance.as_ref(),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().map(|it| quoted(it)).collect();
            format!("agent {}", parts.join(" "))
        });
        let known: Vec<String> = [human, agent].into_iter().flatten().collect();
        f.write_str(&known.join(", "))
    }
}

/// The sessions that were introduced, each with its member of a line: `,"who":{…}`.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    members: HashMap<SessionId, Arc<[u8]>>,
    ended: VecDeque<SessionId>,
}

impl Known {
    pub(super) fn introduce(
        &self,
        session: &SessionId,
        identity: &Identity,
    ) -> Result<(), serde_json::Error> {
        let mut member = br#","who":"#.to_vec();
        let who = serde_json::to_string(&Who::of(identity))?;
        member.extend_from_slice(visible::json_line(who).as_bytes());
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.members.insert(session.clone(), member.into());
        Ok(())
    }

    pub(super) fn forget(&self, session: &SessionId) {
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !sessions.members.contains_key(session) || sessions.ended.contains(session) {
            return;
        }
        sessions.ended.push_back(session.clone());
        if sessions.ended.len() > ENDED
            && let Some(oldest) = sessions.ended.pop_front()
        {
            sessions.members.remove(&oldest);
        }
    }

    pub(super) fn of(&self, session: &SessionId) -> Option<Arc<[u8]>> {
        let sessions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sessions.members.get(session).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn sessions_are_known_until_many_others_have_ended() {
        let known = Known::default();
        let sessions: Vec<SessionId> = (0..=ENDED).map(|_| SessionId::random()).collect();
        for session in &sessions {
            known.introduce(session, &samples::identity()).unwrap();
        }
        for session in &sessions {
            known.forget(session);
            known.forget(session);
        }
        known.forget(&SessionId::random());
        assert!(known.of(&sessions[0]).is_none());
        assert!(sessions[1..].iter().all(|it| known.of(it).is_some()));
        let sessions = known.0.read().unwrap();
        assert_eq!(
            (sessions.members.len(), sessions.ended.len()),
            (ENDED, ENDED)
        );
    }

    #[test]
    fn people_and_agents_are_named_in_a_few_words() {
        let mut who = Who::of(&samples::identity());
        assert_eq!(
            who.to_string(),
            "ada@acme.example, agent claude 2.1.4 runner-3/7"
        );
        who.agent = None;
        who.human.as_mut().unwrap().email = None;
        assert_eq!(who.to_string(), "00u1ada");
        // Neither another issuer's subject nor an address that is not verified is the person with that address.
        for (subject, shown) in [
            (
                "ada@acme.example",
                "subject ada@acme.example at https://sso.acme.example",
            ),
            (
                "ada\u{ff20}acme.example",
                "subject 'ada\u{ff20}acme.example' at https://sso.acme.example",
            ),
            ("ada, agent x", "'ada, agent x'"),
        ] {
            who.human.as_mut().unwrap().subject = subject.to_owned();
            assert_eq!(who.to_string(), shown);
        }
        who.human = None;
        assert_eq!(who.to_string(), "");
    }
}
