//! The exchange that waits for a person.

use std::convert::Infallible;
use std::time::Duration;

use http::request::Parts;
use hyper::body::Incoming;

use super::super::body::BodyError;
use super::super::fingerprint::{self, Signer};
use super::super::outcome::Abandoned;
use super::super::refusal::Refusal;
use super::super::spool::Spool;
use super::authenticate::Authenticated;
use super::{Exchange, NOT_RECORDED};
use crate::approval::{Outcome, Question};
use crate::aws::error::Code;
use crate::aws::sigv4::DeclaredPayload;
use crate::aws::{Call, token};
use crate::broker::Minted;
use crate::record::entry::Process;

impl Exchange {
    /// Asks a person and waits; meanwhile the body arrives, so that the client does not time out.
    pub(super) async fn hold(
        &mut self,
        parts: &Parts,
        from: &Authenticated,
        call: &Call,
        body: &mut Spool<Incoming>,
    ) -> Result<(), Refusal> {
        if from.converses() {
            return Err(Refusal::denied(
                Code::AccessDenied,
                "this call needs a person's approval, but its input is a stream of events that go on while it runs, and \
                 nobody can approve what is not said yet; allow or deny it in the profile",
            ));
        }
        let digest = if let DeclaredPayload::Sha256(digest) = &from.payload {
            digest.clone()
        } else {
            // The signature does not cover the body; the approval must.
            body.collect().await?;
            body.content_digest().ok_or(BodyError::Gone)?
        };
        let host = &self.caller.server_name;
        let issue = from.issue();
        let whose = issue.map(|it| it.whose());
        let signer = Signer {
            session: &self.session.id,
            principal: whose.as_deref(),
            account: self.whose.last().map(|it| it.account.as_str()),
            scope: from.scope(),
        };
        let fingerprint = fingerprint::of(signer, host, parts, &digest);
        let question = self.question(fingerprint, call, issue.and_then(|it| it.minted()));
        let abandoned = Abandoned::new(&self.gateway.journal, &self.session.id, &self.decided);
        let patience = self.gateway.config.hold;
        let outcome = tokio::select! {
            outcome = self.gateway.approvals.hold(question, patience) => Ok(outcome),
            Err(error) = keep_filling(body) => Err(error),
        };
        abandoned.disarm();
        let answer = Answer::of(outcome?, patience, &self.decided.reason);
        self.decided.approval = answer.approval;
        if let Some(text) = answer.refused {
            return Err(Refusal::denied(Code::AccessDenied, text));
        }
        // The digest a person approved is the digest of what is sent: of what is here now, and else at its end.
        from.check_digest(body)
    }

    fn question(&self, fingerprint: [u8; 32], call: &Call, minted: Option<&Minted>) -> Question {
        let Process { pid, exe, comm, .. } = &self.caller.process;
        let identity = &self.session.identity;
        let operation = match self.decided.operation.as_slice() {
            [] => "unknown operation".to_owned(),
            names => names.join(" or "),
        };
        // A token is for elsewhere, and who it makes of its bearer there is what a person must know.
        let place = if self.caller.server_name == token::HOST {
            format!("{}{}", self.decided.host, self.decided.path)
        } else {
            self.caller.server_name.clone()
        };
        Question {
            session: self.session.id.clone(),
            exchange: self.decided.exchange.clone(),
            actions: self.decided.actions().map(str::to_owned).collect(),
            resources: self.decided.resources().map(str::to_owned).collect(),
            summary: format!(
                "{}:{operation} in {} at {place}{}",
                call.service.unwrap_or("unknown service"),
                call.region.as_deref().unwrap_or("no region"),
                minted.map_or_else(String::new, |it| format!(" as {}", it.described())),
            ),
            statement: self.decided.statement.clone(),
            requester: format!(
                "{} (uid {}), process {pid} {}",
                identity.user,
                identity.uid,
                exe.as_deref().unwrap_or(comm),
            ),
            fingerprint,
        }
    }
}

/// Collects what arrives of the body, and then waits for ever: ends only with an error.
async fn keep_filling(body: &mut Spool<Incoming>) -> Result<Infallible, BodyError> {
    body.fill().await?;
    std::future::pending().await
}

/// What came of asking.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    /// The approval, where one was opened.
    approval: Option<String>,
    /// What the client is told where the call may not run.
    refused: Option<String>,
}

impl Answer {
    /// `why` it was asked for comes last: what to do must not be cut off where a reply is bounded.
    fn of(outcome: Outcome, patience: Duration, why: &str) -> Self {
        let refused = |approval, text: String| Self {
            approval,
            refused: Some(text),
        };
        match outcome {
            Outcome::Approved { approval } => Self {
                approval: Some(approval),
                refused: None,
            },
            Outcome::Denied { approval, reason } => {
                let said = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let text = format!("a person denied this call (approval {approval}){said}");
                refused(Some(approval), text)
            }
            Outcome::TimedOut { approval } => {
                let text = format!(
                    "this call needs approval {approval}, and nobody decided within {} s; ask a person to run \
                     `guard approval approve {approval}`, then run the same call again; where the client \
                     fills in an idempotency token, give it one, as with --client-token, both times ({why})",
                    patience.as_secs()
                );
                refused(Some(approval), text)
            }
            Outcome::Full => refused(
                None,
                "this call needs an approval, and too many calls wait for one; run it again later"
                    .to_owned(),
            ),
            Outcome::NotRecorded => refused(None, NOT_RECORDED.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_approval_lets_the_call_run_and_a_timeout_says_what_to_do() {
        let id = || "a-1234abcd".to_owned();
        let why = "s3:DeleteObject needs a person's approval by statement ask of profile p";
        let of = |outcome| Answer::of(outcome, Duration::from_secs(50), why);
        let approved = of(Outcome::Approved { approval: id() });
        assert_eq!(
            approved,
            Answer {
                approval: Some(id()),
                refused: None
            }
        );

        let late = of(Outcome::TimedOut { approval: id() });
        assert_eq!(late.approval, Some(id()));
        let text = late.refused.expect("refused");
        assert!(
            text.contains("`guard approval approve a-1234abcd`")
                && text.contains("50 s")
                && text.ends_with("by statement ask of profile p)"),
            "{text}"
        );

        let denied = of(Outcome::Denied {
            approval: id(),
            reason: Some("not today".to_owned()),
        });
        let text = denied.refused.expect("refused");
        assert!(
            text.contains("a-1234abcd") && text.ends_with("not today"),
            "{text}"
        );
        for outcome in [Outcome::Full, Outcome::NotRecorded] {
            assert!(of(outcome).refused.is_some());
        }
    }
}
