//! The session's resolver: answers questions for allowed names with synthetic addresses, refuses all
//! others, journals each. No question ever leaves this host, so none can carry data out.
//!
//! `question` reads and writes messages, `serve` owns the sockets; this file decides.
//!
//! A name that is not allowed gets NXDOMAIN. The alternatives are worse for the one who waits: musl drops
//! a REFUSED and asks again until its time-out (`src/network/res_msend.c` takes codes 0 and 3 only), glibc
//! turns it into `EAI_AGAIN`, which programs retry. After NXDOMAIN, glibc tries its search list at once,
//! and the program sees "name not known".

mod pace;
mod question;
mod serve;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

use self::pace::Admission;
pub(super) use self::pace::Pace;
use self::question::{Question, Reading};
pub(super) use self::serve::{datagrams, stream};
use super::surroundings::{Surroundings, Unrecorded};
use crate::record::entry::Event;

/// How a question arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transport {
    Udp,
    Tcp,
}

/// The answer to a message; `None` where it deserves none.
async fn answer<S: Surroundings>(
    around: &S,
    pace: &Pace,
    transport: Transport,
    message: &[u8],
) -> Option<Vec<u8>> {
    let question = match (pace.admit(), question::read(message)) {
        (_, Reading::Nothing) => return None,
        (Admission::No { report }, reading) => {
            if report {
                let detail = "the session asks the resolver more often than 200 times per second";
                // The message is refused either way.
                let _ = around
                    .record(refused("limit", None, detail.to_owned()))
                    .await;
            }
            return reading.refuse(ResponseCode::Refused);
        }
        (Admission::Yes, Reading::Malformed { reply, why }) => {
            let recorded = around
                .record(refused("malformed-dns", None, why.to_owned()))
                .await;
            return recorded.is_ok().then_some(reply);
        }
        (Admission::Yes, Reading::Question(question)) => question,
    };

    let verdict = decide(around, &question);
    let asked = Event::DnsQuestion {
        name: question.shown.clone(),
        kind: question.kind().to_string(),
        allowed: !matches!(verdict, Verdict::NotAllowed),
        transport: match transport {
            Transport::Udp => "udp".to_owned(),
            Transport::Tcp => "tcp".to_owned(),
        },
    };
    if let Err(Unrecorded) = around.record(asked).await {
        return Some(question.reply(ResponseCode::ServFail, None));
    }
    Some(match verdict {
        Verdict::Data(data) => question.reply(ResponseCode::NoError, Some(data)),
        Verdict::NoData => question.reply(ResponseCode::NoError, None),
        Verdict::NotAllowed => question.blocked(),
        Verdict::Full => {
            let detail = "the session has looked up more names than guard gives addresses for";
            let full = refused("limit", Some(question.shown.clone()), detail.to_owned());
            let _ = around.record(full).await;
            question.reply(ResponseCode::ServFail, None)
        }
    })
}

/// What a question deserves.
enum Verdict {
    /// This record.
    Data(RData),
    /// The name may be used, but has no such record. HTTPS and SVCB records are among these: they would
    /// move clients to QUIC and to encrypted server names.
    NoData,
    /// The name may not be used.
    NotAllowed,
    /// There is no address left to give.
    Full,
}

fn decide<S: Surroundings>(around: &S, question: &Question) -> Verdict {
    let Some(name) = question.host() else {
        return Verdict::NotAllowed;
    };
    let kind = question.kind();
    // RFC 6761 §6.3: never asked of anyone else.
    if name == "localhost" || name.ends_with(".localhost") {
        return match kind {
            RecordType::A => Verdict::Data(RData::A(Ipv4Addr::LOCALHOST.into())),
            RecordType::AAAA => Verdict::Data(RData::AAAA(Ipv6Addr::LOCALHOST.into())),
            _ => Verdict::NoData,
        };
    }
    if !around.is_aws(name) && !around.allows_name(name) {
        return Verdict::NotAllowed;
    }
    if kind != RecordType::A {
        return Verdict::NoData;
    }
    match around.names().address_of(name) {
        Some(IpAddr::V4(address)) => Verdict::Data(RData::A(address.into())),
        Some(IpAddr::V6(_)) => Verdict::NoData,
        None => Verdict::Full,
    }
}

fn refused(code: &str, host: Option<String>, detail: String) -> Event {
    Event::Refused {
        process: None,
        destination: None,
        host,
        code: code.to_owned(),
        detail,
    }
}

#[cfg(test)]
mod tests;
