//! THE pipeline of an exchange, top to bottom:
//! identify → operation → decide → hold → record → sign → forward → mask → record.
//!
//! Cheap checks come first, and nothing a request says is believed before its signature is verified.
//! Nothing of it leaves before the decision is durably in the journal. If the client goes away, hyper
//! drops the future of its exchange: whatever is awaited here ends there, and nothing later happens.

mod answer;
mod authenticate;
mod echo;
mod hold;
mod inside;
mod mint;
mod send;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use time::OffsetDateTime;

use self::answer::Edits;
use self::authenticate::{Authenticated, By};
use self::echo::Echo;
use self::send::Leaving;
use super::body::ResponseBody;
use super::outcome::{self, Completion};
use super::refusal::{Record, Refusal};
use super::spool::Spool;
use super::{Gateway, admit};
use crate::aws::error::Code;
use crate::aws::{self, BodyView, Call, Protocol, RequestView};
use crate::broker::{MintedFor, Principal};
use crate::context::{self, Context};
use crate::policy::{Decision, Effect, Masked, Mode};
use crate::record::entry::{Entry, Event, ExchangeDecided, Process};
use crate::session::Session;

/// What is known of the connection an exchange arrived on.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The process that opened the connection.
    pub process: Process,
    /// Where it wanted to connect to.
    pub destination: SocketAddr,
    /// The TLS server name, lower case: the exchange's host must equal it.
    pub server_name: String,
}

/// Runs one exchange and answers it, whatever happens.
pub async fn run(
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    caller: Arc<Caller>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let directory = gateway.config.state_dir.join("spool");
    let limit = if caller.server_name == aws::token::HOST {
        aws::token::LARGEST as u64
    } else {
        gateway.config.limits.request_body_bytes
    };
    let mut body = Spool::new(body, directory, limit, session.bodies.lease());
    let mut exchange = Exchange::new(gateway, session, caller, &parts);
    match exchange.pass(parts, &mut body).await {
        Ok(response) => response,
        Err(refusal) => exchange.refuse(refusal, body).await,
    }
}

struct Exchange {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    caller: Arc<Caller>,
    /// The decision as it forms: a denial until the end says otherwise.
    decided: ExchangeDecided,
    /// Whose the session's credentials were, each time that something hung on it.
    whose: Vec<Principal>,
    /// How the client is to be answered by guard itself.
    reply: Reply,
}

struct Reply {
    method: Method,
    version: Version,
    /// The client sends its body only when it is asked to.
    expects: bool,
    protocol: Protocol,
    service: Option<&'static str>,
}

impl Exchange {
    async fn pass(
        &mut self,
        mut parts: Parts,
        body: &mut Spool<Incoming>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        admit::check(&parts, &self.caller.server_name)?;
        self.check_term()?;
        if self.caller.server_name == aws::token::HOST {
            return self.token(&parts, body).await;
        }
        let from = self.authenticate(&parts, body).await?;
        from.restore_headers(&mut parts)?;
        let call = self.identify(&parts, &from, body).await?;
        let edits = self.decide(&parts, &from, &call, body).await?;
        let leaving = self.leaving(&from, &call).await?;
        let mut completion = self.record_allowed(&leaving).await?;
        let wanted = Edits::wanted(edits.as_ref());
        let (request, signature) = self
            .sign(parts, &from, body, wanted, &leaving, completion.sent())
            .await
            .inspect_err(|refusal| completion.fail("not-sent", &refusal.message))?;
        let response = self.session.upstream.send(request).await.map_err(|error| {
            completion.fail(error.code(), &error.to_string());
            Refusal::not_sent(&error)
        })?;
        if response.status().is_success() {
            return self.answer(response, edits, &from, completion).await;
        }
        let echo = Echo::of(&leaving, &signature, &from);
        let limit = self.gateway.config.limits.response_body_bytes;
        let charge = self.session.bodies.answer(limit);
        echo.answer(response, edits.as_ref(), charge, completion)
            .await
    }

    fn new(
        gateway: Arc<Gateway>,
        session: Arc<Session>,
        caller: Arc<Caller>,
        parts: &Parts,
    ) -> Self {
        let id = session.next_exchange();
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let mut decided = outcome::undecided(id, caller.process.clone(), method, path);
        decided.host.clone_from(&caller.server_name);
        let reply = Reply {
            method: parts.method.clone(),
            version: parts.version,
            expects: parts.headers.contains_key(EXPECT),
            protocol: aws::error::protocol_of(&view(parts, &caller.server_name, BodyView::Unread)),
            service: None,
        };
        Self {
            gateway,
            session,
            caller,
            decided,
            whose: Vec::new(),
            reply,
        }
    }

    /// Reads what the request asks for, with its body where that tells.
    async fn identify(
        &mut self,
        parts: &Parts,
        from: &Authenticated,
        body: &mut Spool<Incoming>,
    ) -> Result<Call, Refusal> {
        let caller = Arc::clone(&self.caller);
        let host = &caller.server_name;
        let profile = Arc::clone(&self.session.profile);
        let wanted: Vec<&str> = profile
            .condition_keys()
            .iter()
            .map(String::as_str)
            .collect();
        let scope = from.scope();
        if aws::needs_body(&view(parts, host, BodyView::Unread), scope, &wanted) {
            body.collect().await?;
        } else if parts.headers.contains_key(TRANSFER_ENCODING) && !from.converses() {
            // A bad chunk at the beginning leaves nothing half sent; a later one breaks the request off, which
            // AWS then does not take for a whole one.
            body.read_ahead().await?;
        }
        from.check_digest(body)?;
        let account = match &from.by {
            By::Nobody => None,
            _ => self.principal(from, false).await.map(|it| it.account),
        };
        let request = view(parts, host, body.view());
        let call = aws::identify(&request, scope, account.as_deref(), &wanted)
            .map_err(|error| Refusal::denied(Code::InvalidRequest, error.to_string()))?;
        outcome::describe(&mut self.decided, &call);
        self.reply.protocol = call.protocol;
        self.reply.service = call.service;
        from.check_service(&call)?;
        from.check_query(&call, request.query)?;
        Ok(call)
    }

    /// Whose the real credentials are: the account is that of ARNs without one. Asked of STS once for each set of
    /// credentials, where it is not known, or not `whole` and needs to be.
    async fn principal(&mut self, from: &Authenticated, whole: bool) -> Option<Principal> {
        if let Some(minted) = from.issue().and_then(|issue| issue.minted()) {
            return match &minted.principal {
                MintedFor::Named(principal) => Some(principal.clone()),
                MintedFor::Unknown => self.session.credentials.resolve_minted(minted).await,
            };
        }
        let found = self.session.credentials.resolve_principal(whole).await;
        self.whose.extend(found.clone());
        found
    }

    /// Lets the profile decide, and a person where it says so. Returns what is to be changed in the answer.
    async fn decide(
        &mut self,
        parts: &Parts,
        from: &Authenticated,
        call: &Call,
        body: &mut Spool<Incoming>,
    ) -> Result<Option<Edits>, Refusal> {
        let (decision, masked) = self.ask(parts, from, call).await;
        self.decided.statement = decision.statement.as_deref().map(str::to_owned);
        self.decided.reason = decision.reason.to_string();
        let effect = self.enforced(decision.effect);
        if effect == Effect::Deny {
            return Err(Refusal {
                advice: Some(WHOM_TO_ASK),
                ..Refusal::denied(Code::AccessDenied, &*decision.reason)
            });
        }
        let edits = Edits::of(call, parts.uri.query().unwrap_or_default(), masked);
        if effect == Effect::Approve {
            self.hold(parts, from, call, body).await?;
        }
        Ok(edits)
    }

    /// Asks the profile, in the context of the call.
    async fn ask(
        &mut self,
        parts: &Parts,
        from: &Authenticated,
        call: &Call,
    ) -> (Decision, Masked) {
        let profile = Arc::clone(&self.session.profile);
        let anonymous = matches!(from.by, By::Nobody);
        let principal = if anonymous {
            None
        } else {
            self.principal(from, context::asks_principal(&profile))
                .await
        };
        let context = Context {
            region: call.region.as_deref(),
            service: call.service,
            operation: &call.operation,
            told: &call.keys,
            host: &self.caller.server_name,
            headers: &parts.headers,
            principal: principal.as_ref(),
            anonymous,
            source_ip: self.gateway.config.source_ip,
            now: OffsetDateTime::now_utc(),
            session: Some(context::Caller {
                session: self.session.id.as_str(),
                identity: &self.session.identity,
                executable: self.caller.process.exe.as_deref(),
            }),
        };
        let decision = profile.decide(&call.access, &context);
        let masked = profile.masked(&call.access, &context);
        self.decided.keys = context.recorded(profile.condition_keys());
        (decision, masked)
    }

    /// What holds of a decision: all of it, or where the session only observes, nothing.
    fn enforced(&mut self, effect: Effect) -> Effect {
        if self.session.profile.mode() == Mode::Enforce {
            return effect;
        }
        self.decided.observed = match effect {
            Effect::Allow => None,
            Effect::Deny => Some("deny".to_owned()),
            Effect::Approve => Some("approve".to_owned()),
        };
        Effect::Allow
    }

    /// Nothing leaves a session whose time is over.
    fn check_term(&self) -> Result<(), Refusal> {
        match self.session.term.refusal() {
            Some(text) => Err(Refusal::denied(Code::AccessDenied, text)),
            None => Ok(()),
        }
    }

    /// Makes the decision durable. Only what this returned for may leave.
    async fn record_allowed(&mut self, leaving: &Leaving) -> Result<Completion, Refusal> {
        // It may have been held, or have come slowly.
        self.check_term()?;
        self.decided.signing_key = leaving.key().map(str::to_owned);
        "allow".clone_into(&mut self.decided.decision);
        let (journal, session) = (self.gateway.journal.clone(), self.session.id.clone());
        let record = move |completed| {
            let event = Event::ExchangeCompleted(Box::new(completed));
            outcome::append_later(&journal, &session, event);
        };
        // Before the entry is written: a client that leaves meanwhile leaves an allowed exchange, and the
        // record says that it ended there.
        let completion = Completion::new(self.decided.exchange.clone(), Box::new(record));
        if self
            .append(Event::ExchangeDecided(Box::new(self.decided.clone())))
            .await
        {
            return Ok(completion);
        }
        completion.disarm();
        Err(Refusal {
            record: Record::Completed,
            ..Refusal::denied(Code::AccessDenied, NOT_RECORDED)
        })
    }

    /// Records a refusal and answers it in the request's own protocol.
    async fn refuse(
        &mut self,
        refusal: Refusal,
        mut body: Spool<Incoming>,
    ) -> Response<ResponseBody> {
        let event = match refusal.record {
            Record::Denied => {
                "deny".clone_into(&mut self.decided.decision);
                self.decided.reason.clone_from(&refusal.message);
                Some(Event::ExchangeDecided(Box::new(self.decided.clone())))
            }
            Record::Refused(code) => Some(self.caller.refused(code, refusal.message.clone())),
            Record::Completed => None,
        };
        // A client that leaves while the journal is busy ends this here, and not its entry.
        if let Some(event) = event
            && let Some(written) =
                outcome::append_later(&self.gateway.journal, &self.session.id, event)
        {
            let _ = written.await;
        }
        let Reply {
            method,
            protocol,
            service,
            ..
        } = &self.reply;
        let told = refusal.told();
        let response = aws::error::response(*protocol, *service, method, refusal.code, &told);
        let mut response = response.map(|bytes: Bytes| ResponseBody::whole(bytes));
        if self.reply.expects && !body.has_arrived() {
            // Its body will never be read, so on HTTP/1.1 nothing can follow it.
            if self.reply.version < Version::HTTP_2 {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
        } else if self.reply.version < Version::HTTP_2 {
            body.discard().await;
        }
        // On HTTP/2 the stream ends with its answer, whatever of the body still comes: one that converses sends no more
        // until it is answered.
        response
    }

    /// Whether the entry is now durable.
    async fn append(&self, event: Event) -> bool {
        let entry = Entry {
            session: Some(self.session.id.clone()),
            event,
        };
        match self.gateway.journal.append(entry).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "the journal failed; exchanges are refused until it works");
                false
            }
        }
    }
}

/// An agent that guard denies something has nothing to change in IAM.
const WHOM_TO_ASK: &str =
    "guard refused it, not AWS: if the work needs this call, ask the person who runs this session";

const NOT_RECORDED: &str =
    "guard could not record this call, so it may not run; see the daemon's log";

fn view<'a>(parts: &'a Parts, host: &'a str, body: BodyView<'a>) -> RequestView<'a> {
    RequestView {
        method: &parts.method,
        host,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    }
}

impl Caller {
    /// The entry for a request that is refused before it is an exchange.
    pub(super) fn refused(&self, code: &str, detail: String) -> Event {
        Event::Refused {
            process: Some(self.process.clone()),
            destination: Some(self.destination),
            host: Some(self.server_name.clone()),
            code: code.to_owned(),
            detail,
        }
    }
}
