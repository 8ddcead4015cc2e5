//! DNS messages: what a client asks, and what it is told. hickory-proto reads and writes them; here it is
//! decided which of the messages that it can read are a question (RFC 1035, 6891, 8914, 9619).

use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// What a message turned out to be.
pub(super) enum Reading {
    /// A question.
    Question(Question),
    /// Not one that can be answered; this is the reply that says so.
    Malformed {
        /// The whole reply.
        reply: Vec<u8>,
        /// One sentence for the journal.
        why: &'static str,
    },
    /// Not a query at all, or not even a header: answering would only feed loops.
    Nothing,
}

/// One question.
pub(super) struct Question {
    metadata: Metadata,
    query: Query,
    edns: bool,
    /// The name for people: lower case, no final dot, odd bytes escaped.
    pub(super) shown: String,
    /// Every label is made of letters, digits, hyphens and underscores, and begins with no hyphen.
    plain: bool,
}

/// Reads a message.
pub(super) fn read(message: &[u8]) -> Reading {
    let mut decoder = BinDecoder::new(message);
    let Ok(Header { metadata, counts }) = Header::read(&mut decoder) else {
        return Reading::Nothing;
    };
    if metadata.message_type != MessageType::Query {
        return Reading::Nothing;
    }
    let malformed = |code, why| Reading::Malformed {
        reply: error(&metadata, code),
        why,
    };
    if metadata.op_code != OpCode::Query {
        return malformed(ResponseCode::NotImp, "a DNS message other than a query");
    }
    // Before anything is allocated for what these numbers promise.
    if counts.queries != 1 {
        return malformed(
            ResponseCode::FormErr,
            "a DNS message without exactly one question",
        );
    }
    if counts.answers != 0 || counts.authorities != 0 || counts.additionals > 1 {
        return malformed(
            ResponseCode::FormErr,
            "a DNS question with records attached",
        );
    }
    let additionals = usize::from(counts.additionals);
    let read = Query::read(&mut decoder).and_then(|query| {
        let rest = Message::read_records(&mut decoder, additionals, true, metadata.op_code)?;
        Ok((query, rest))
    });
    let Ok((query, (records, edns, signature))) = read else {
        return malformed(ResponseCode::FormErr, "a DNS message that cannot be read");
    };
    if !records.is_empty() || signature.is_some() {
        return malformed(
            ResponseCode::FormErr,
            "a DNS question with records attached",
        );
    }
    if !decoder.is_empty() {
        return malformed(
            ResponseCode::FormErr,
            "a DNS question with bytes after its end",
        );
    }
    if query.query_class() != DNSClass::IN {
        return malformed(
            ResponseCode::NotImp,
            "a DNS question of a class other than IN",
        );
    }
    let question = Question::new(metadata, query, edns.is_some());
    if edns.is_some_and(|edns| edns.version() != 0) {
        let reply = question.reply(ResponseCode::BADVERS, None);
        return Reading::Malformed {
            reply,
            why: "a DNS question in an unknown version of EDNS",
        };
    }
    Reading::Question(question)
}

impl Reading {
    /// The reply that refuses this message with `code`, whatever it asks.
    pub(super) fn refuse(self, code: ResponseCode) -> Option<Vec<u8>> {
        match self {
            Self::Question(question) => Some(question.reply(code, None)),
            Self::Malformed { reply, .. } => Some(reply),
            Self::Nothing => None,
        }
    }
}

impl Question {
    fn new(metadata: Metadata, query: Query, edns: bool) -> Self {
        let plain_byte = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let plain = !query.name().is_root()
            && query
                .name()
                .iter()
                .all(|label| label.iter().all(plain_byte) && !label.starts_with(b"-"));
        let mut shown = query.name().to_ascii().to_ascii_lowercase();
        if shown.len() > 1 && shown.ends_with('.') {
            shown.pop();
        }
        Self {
            metadata,
            query,
            edns,
            shown,
            plain,
        }
    }

    /// The host asked for, lower case, without final dot; `None` where the name is none a host can have.
    pub(super) fn host(&self) -> Option<&str> {
        self.plain.then_some(self.shown.as_str())
    }

    /// The record type asked for.
    pub(super) fn kind(&self) -> RecordType {
        self.query.query_type()
    }

    /// A reply with a code and at most one record.
    pub(super) fn reply(&self, code: ResponseCode, data: Option<RData>) -> Vec<u8> {
        encode(&self.message(code, data))
    }

    /// The reply for a name that is not allowed; says so to who asked with EDNS.
    pub(super) fn blocked(&self) -> Vec<u8> {
        let mut message = self.message(ResponseCode::NXDomain, None);
        if let Some(edns) = &mut message.edns {
            let mut value = EXTENDED_BLOCKED.to_be_bytes().to_vec();
            value.extend_from_slice(b"guard: not on the session's allow list");
            edns.options_mut()
                .insert(EdnsOption::Unknown(EXTENDED_ERROR, value));
        }
        encode(&message)
    }

    fn message(&self, code: ResponseCode, data: Option<RData>) -> Message {
        let mut message = respond(&self.metadata, code);
        // As it was asked, letter case included: clients compare it (0x20 encoding).
        message.add_query(self.query.clone());
        if let Some(data) = data {
            message.add_answer(Record::from_rdata(self.query.name().clone(), TTL, data));
        }
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_PAYLOAD);
            message.set_edns(edns);
        }
        message
    }
}

/// A reply without a question, for a message whose question could not be read.
fn error(asked: &Metadata, code: ResponseCode) -> Vec<u8> {
    encode(&respond(asked, code))
}

fn respond(asked: &Metadata, code: ResponseCode) -> Message {
    let mut message = Message::response(asked.id, asked.op_code);
    message.metadata.response_code = code;
    message.metadata.recursion_desired = asked.recursion_desired;
    message.metadata.recursion_available = true;
    message
}

fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_else(|error| {
        // Only what was just decoded and one fixed-size record are in it. The client sees a time-out.
        tracing::error!(%error, "cannot encode a DNS reply");
        Vec::new()
    })
}

/// Seconds: synthetic addresses hold for the session, the profile may change.
const TTL: u32 = 60;

/// What fits every path (DNS flag day 2020); no reply is larger.
const MAX_PAYLOAD: u16 = 1232;

/// The Extended DNS Error option and its code "Blocked" (RFC 8914 §2, §4.16).
const EXTENDED_ERROR: u16 = 15;
const EXTENDED_BLOCKED: u16 = 15;
