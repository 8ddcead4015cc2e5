//! One entry of every type, for tests and for the examples in docs/journal.md.

use super::entry::{
    Access, Entry, Event, ExchangeCompleted, ExchangeDecided, OwnCall, Parent, Process,
};
use crate::session::{Agent, Human, Identity, SessionId};

pub(super) const SESSION: &str = "7b1e09c44f2ad310";

pub(super) fn identity() -> Identity {
    let text = str::to_owned;
    Identity {
        uid: 1000,
        user: text("ada"),
        loginuid: Some(1000),
        host: text("runner-3"),
        reason: Some(text("nightly report")),
        command: vec![text("claude"), text("-p"), text("make the report")],
        human: Some(Human {
            issuer: text("https://sso.acme.example"),
            subject: text("00u1ada"),
            email: Some(text("ada@acme.example")),
        }),
        agent: Some(Agent {
            name: text("claude"),
            version: Some(text("2.1.4")),
            instance: Some(text("runner-3/7")),
        }),
        labels: [(text("team"), text("data"))].into(),
    }
}

pub(super) fn process() -> Process {
    Process {
        pid: 41307,
        uid: 1000,
        comm: "aws".to_owned(),
        exe: Some("/usr/bin/python3.11".to_owned()),
        argv: Some(
            ["aws", "s3api", "delete-bucket", "--bucket", "reports"]
                .map(str::to_owned)
                .to_vec(),
        ),
        started: Some(81_204_530_000_000),
        parents: vec![
            Parent {
                pid: 41300,
                exe: Some("/usr/bin/bash".to_owned()),
            },
            Parent {
                pid: 41022,
                exe: None,
            },
        ],
    }
}

pub(super) fn decided(exchange: &str) -> ExchangeDecided {
    ExchangeDecided {
        exchange: exchange.to_owned(),
        process: process(),
        method: "DELETE".to_owned(),
        host: "reports.s3.eu-west-1.amazonaws.com".to_owned(),
        path: "/".to_owned(),
        service: Some("s3".to_owned()),
        operation: vec!["DeleteBucket".to_owned()],
        access: vec![Access {
            action: Some("s3:DeleteBucket".to_owned()),
            level: Some("Write".to_owned()),
            resources: vec![Some("arn:aws:s3:::reports".to_owned())],
        }],
        region: Some("eu-west-1".to_owned()),
        keys: Vec::new(),
        confidence: "exact".to_owned(),
        decision: "deny".to_owned(),
        observed: None,
        statement: Some("no-bucket-deletes".to_owned()),
        reason: "s3:DeleteBucket on arn:aws:s3:::reports is denied by statement no-bucket-deletes"
            .to_owned(),
        approval: None,
        authentication: None,
        presented_key: Some("AKIAGUARD7B1E09C44F2".to_owned()),
        signing_key: None,
        assumed: Vec::new(),
    }
}

pub(super) fn completed(exchange: &str) -> ExchangeCompleted {
    ExchangeCompleted {
        exchange: exchange.to_owned(),
        status: Some(200),
        aws_request_id: Some("8f3c2f0e-8e55-4d1b-9c0a-5f7b3f1f9a11".to_owned()),
        aws_error: None,
        bytes_sent: 34,
        bytes_received: 412,
        milliseconds: 87,
        masked: vec!["SecretString".to_owned()],
        error: None,
    }
}

pub(super) fn all() -> Vec<Entry> {
    let session = SessionId::parse(SESSION);
    let of_session = |event| Entry {
        session: session.clone(),
        event,
    };
    let text = str::to_owned;
    vec![
        of_session(Event::SessionStarted {
            identity: identity(),
            profile: text("standard"),
            profile_sha256: text(
                "5f0c1c4a0f7f6b9b2a63b1f6d1f2e0b4e8f5a5f7d6c3b2a190817263544f3e2d",
            ),
        }),
        of_session(Event::DnsQuestion {
            name: text("reports.s3.eu-west-1.amazonaws.com"),
            kind: text("A"),
            allowed: true,
            transport: text("udp"),
        }),
        of_session(Event::ExchangeDecided(Box::new(decided(
            "7b1e09c44f2ad310-1",
        )))),
        of_session(Event::ExchangeCompleted(Box::new(completed(
            "7b1e09c44f2ad310-2",
        )))),
        of_session(Event::ConnectionPassed {
            process: process(),
            host: text("pypi.org"),
            port: 443,
        }),
        of_session(Event::Refused {
            process: Some(process()),
            destination: Some(([203, 0, 113, 9], 443).into()),
            host: Some(text("paste.example")),
            code: text("host-not-allowed"),
            detail: text("paste.example:443 is not in the profile's network list"),
        }),
        of_session(Event::Approval {
            approval: text("a-1f00c2d9"),
            state: text("approved"),
            approver: Some(text("grace (1001)")),
            reason: Some(text("bucket is empty, ticket OPS-12")),
        }),
        of_session(Event::SessionEnded {
            cause: text("exited"),
        }),
        Entry {
            session: None,
            event: Event::JournalRecovered {
                bytes: 1187,
                kept_in: text("journal-000001.torn-5120"),
            },
        },
        of_session(Event::SessionResumed),
        of_session(Event::Finding {
            code: text("attached"),
            detail: text(
                "process 41310 (agent) holds a packet socket that was made before, which cannot be destroyed",
            ),
        }),
        of_session(Event::OwnCall(OwnCall {
            service: text("sts"),
            operation: text("GetCallerIdentity"),
            host: text("sts.eu-west-1.amazonaws.com"),
            signing_key: Some(text("AKIAIOSFODNN7EXAMPLE")),
            assumes: None,
        })),
        of_session(Event::ConnectionPublished {
            peer: ([127, 0, 0, 1], 53412).into(),
            host: ([127, 0, 0, 1], 8080).into(),
            port: 3000,
        }),
        of_session(Event::ProcessExecuted { process: process() }),
        of_session(Event::ProcessesUnrecorded { count: 214 }),
        of_session(Event::CredentialsMinted {
            exchange: format!("{SESSION}-3"),
            dummy_key: text("ASIAQ5LFVX3JKMT2W7HY"),
            real_key: text("ASIAIOSFODNN7EXAMPLE"),
            arn: Some(text(
                "arn:aws:sts::123456789012:assumed-role/reports/nightly",
            )),
            expiry: time::macros::datetime!(2026-11-26 01:06:59 UTC),
        }),
    ]
}
