use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, Record};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::intercept::tests::Stage;

fn asking(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn reply_to(stage: &Stage, message: &[u8]) -> Option<Message> {
    let reply = answer(stage, &Pace::default(), Transport::Udp, message).await?;
    Some(Message::from_vec(&reply).unwrap())
}

async fn ask(stage: &Stage, name: &str, kind: RecordType) -> Message {
    reply_to(stage, &asking(name, kind).to_vec().unwrap())
        .await
        .unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

#[tokio::test]
async fn names_are_answered_by_what_they_are() {
    use RecordType as T;
    let cases: [(&str, T, ResponseCode, &[&str]); 17] = [
        (
            "s3.us-east-1.amazonaws.com.",
            T::A,
            ResponseCode::NoError,
            &["198.18.0.1"],
        ),
        (
            "allowed.example.",
            T::A,
            ResponseCode::NoError,
            &["198.18.0.2"],
        ),
        (
            "ALLOWED.Example.",
            T::A,
            ResponseCode::NoError,
            &["198.18.0.2"],
        ),
        ("allowed.example.", T::AAAA, ResponseCode::NoError, &[]),
        ("allowed.example.", T::HTTPS, ResponseCode::NoError, &[]),
        ("allowed.example.", T::SVCB, ResponseCode::NoError, &[]),
        ("allowed.example.", T::TXT, ResponseCode::NoError, &[]),
        ("evil.example.", T::A, ResponseCode::NXDomain, &[]),
        ("evil.example.", T::AAAA, ResponseCode::NXDomain, &[]),
        (
            "c2VjcmV0.evil.example.",
            T::TXT,
            ResponseCode::NXDomain,
            &[],
        ),
        ("sub.allowed.example.", T::A, ResponseCode::NXDomain, &[]),
        (
            "1.0.18.198.in-addr.arpa.",
            T::PTR,
            ResponseCode::NXDomain,
            &[],
        ),
        (".", T::NS, ResponseCode::NXDomain, &[]),
        ("localhost.", T::A, ResponseCode::NoError, &["127.0.0.1"]),
        ("db.localhost.", T::AAAA, ResponseCode::NoError, &["::1"]),
        ("localhost.", T::MX, ResponseCode::NoError, &[]),
        ("localhost.evil.example.", T::A, ResponseCode::NXDomain, &[]),
    ];
    let stage = Stage::new();
    for (name, kind, code, expected) in cases {
        let reply = ask(&stage, name, kind).await;
        assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
        assert_eq!(addresses(&reply), expected, "{name} {kind}");
        assert_eq!(
            (reply.metadata.id, reply.metadata.message_type),
            (0x1234, MessageType::Response)
        );
        assert!(reply.metadata.recursion_desired && reply.metadata.recursion_available);
        let Event::DnsQuestion {
            name: recorded,
            kind: recorded_kind,
            allowed,
            transport,
        } = stage.last_event()
        else {
            panic!("{name} {kind} was not recorded as a question");
        };
        let bare = if name == "." {
            "."
        } else {
            name.trim_end_matches('.')
        };
        assert_eq!(recorded, bare.to_ascii_lowercase());
        assert_eq!(recorded_kind, kind.to_string());
        assert_eq!(allowed, code == ResponseCode::NoError);
        assert_eq!(transport, "udp");
    }
}

#[tokio::test]
async fn the_question_comes_back_in_its_own_letter_case() {
    let reply = ask(&Stage::new(), "aLLoWed.eXaMPle.", RecordType::A).await;
    assert_eq!(reply.queries[0].name().to_ascii(), "aLLoWed.eXaMPle.");
    assert_eq!(reply.answers[0].name.to_ascii(), "aLLoWed.eXaMPle.");
    assert_eq!(reply.answers[0].ttl, 60);
}

#[tokio::test]
async fn edns_is_answered_with_edns_and_the_reason() {
    let stage = Stage::new();
    assert!(
        ask(&stage, "allowed.example.", RecordType::A)
            .await
            .edns
            .is_none()
    );

    let with_edns = |name, version| {
        let mut message = asking(name, RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(version);
        message.set_edns(edns);
        message.to_vec().unwrap()
    };
    let reply = reply_to(&stage, &with_edns("allowed.example.", 0))
        .await
        .unwrap();
    assert_eq!(reply.edns.unwrap().max_payload(), 1232);
    assert_eq!(reply.answers.len(), 1);

    let bytes = with_edns("evil.example.", 0);
    let reply = answer(&stage, &Pace::default(), Transport::Udp, &bytes)
        .await
        .unwrap();
    let text = b"\x00\x0fguard: not on";
    assert!(
        reply.windows(text.len()).any(|window| window == text),
        "no extended error"
    );

    let reply = reply_to(&stage, &with_edns("allowed.example.", 1))
        .await
        .unwrap();
    assert_eq!(u16::from(reply.response_code), 16, "BADVERS");
    assert!(reply.answers.is_empty());
}

#[tokio::test]
async fn what_is_not_one_question_is_not_answered() {
    let good = asking("allowed.example.", RecordType::A);
    let bytes = good.to_vec().unwrap();
    let changed = |change: fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        message.to_vec().unwrap()
    };
    let mut promises = bytes.clone();
    promises[4..6].copy_from_slice(&[0xff, 0xff]);
    let mut looped = bytes[..12].to_vec();
    looped.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    let cases: [(&str, Vec<u8>, Option<ResponseCode>); 12] = [
        (
            "two questions",
            changed(|m| {
                let second = m.queries[0].clone();
                m.add_query(second);
            }),
            Some(ResponseCode::FormErr),
        ),
        (
            "no question",
            changed(|m| m.queries.clear()),
            Some(ResponseCode::FormErr),
        ),
        ("65,535 questions", promises, Some(ResponseCode::FormErr)),
        (
            "bytes after the end",
            [&bytes[..], b"x"].concat(),
            Some(ResponseCode::FormErr),
        ),
        (
            "a second message",
            [&bytes[..], &bytes].concat(),
            Some(ResponseCode::FormErr),
        ),
        (
            "cut off",
            bytes[..bytes.len() - 1].to_vec(),
            Some(ResponseCode::FormErr),
        ),
        ("a pointer to itself", looped, Some(ResponseCode::FormErr)),
        (
            "an answer in it",
            changed(|m| {
                let data = RData::A(Ipv4Addr::LOCALHOST.into());
                m.add_answer(Record::from_rdata(Name::root(), 1, data));
            }),
            Some(ResponseCode::FormErr),
        ),
        (
            "class CH",
            changed(|m| m.queries[0].query_class = DNSClass::CH),
            Some(ResponseCode::NotImp),
        ),
        (
            "an update",
            changed(|m| m.metadata.op_code = OpCode::Update),
            Some(ResponseCode::NotImp),
        ),
        (
            "a response",
            changed(|m| m.metadata.message_type = MessageType::Response),
            None,
        ),
        ("no header", bytes[..11].to_vec(), None),
    ];
    for (what, bytes, code) in cases {
        let stage = Stage::new();
        let reply = reply_to(&stage, &bytes).await;
        assert_eq!(
            reply.as_ref().map(|reply| reply.metadata.response_code),
            code,
            "{what}"
        );
        assert!(reply.is_none_or(|reply| reply.answers.is_empty()), "{what}");
        let refused = stage
            .events()
            .iter()
            .all(|e| matches!(e, Event::Refused { code, .. } if code == "malformed-dns"));
        assert!(refused, "{what}: {:?}", stage.events());
        assert_eq!(stage.events().len(), usize::from(code.is_some()), "{what}");
    }
}

#[tokio::test]
async fn odd_bytes_in_a_name_never_match() {
    for labels in [
        vec![&b"allowed.example"[..]],
        vec![b"allowed", b"example\0"],
        vec![b"\0", b"allowed", b"example"],
        vec![b"evil\0", b"allowed", b"example"],
        vec![b"allowed", b"ex\xe4mple"],
    ] {
        let stage = Stage::new();
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        let name = Name::from_labels(labels.clone()).unwrap();
        message.add_query(Query::query(name, RecordType::A));
        let reply = reply_to(&stage, &message.to_vec().unwrap()).await.unwrap();
        assert_eq!(
            reply.metadata.response_code,
            ResponseCode::NXDomain,
            "{labels:?}"
        );
        assert!(matches!(
            stage.last_event(),
            Event::DnsQuestion { allowed: false, .. }
        ));
    }
}

/// hickory-proto shows it escaped, which would be another name than was asked for.
#[test]
fn a_label_that_begins_with_a_hyphen_is_no_hosts() {
    for (labels, host) in [
        (vec![&b"-a"[..], b"wild", b"example"], None),
        (vec![b"a-", b"_b", b"Example"], Some("a-._b.example")),
    ] {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        let name = Name::from_labels(labels).unwrap();
        message.add_query(Query::query(name, RecordType::A));
        let Reading::Question(question) = question::read(&message.to_vec().unwrap()) else {
            panic!("a question");
        };
        assert_eq!(question.host(), host);
    }
}

#[tokio::test]
async fn nothing_is_answered_that_was_not_recorded() {
    let stage = Stage::new();
    stage.break_journal();
    let reply = ask(&stage, "allowed.example.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.answers.is_empty());
}

#[tokio::test]
async fn asking_too_fast_is_refused_and_reported_once() {
    let (stage, pace) = (Stage::new(), Pace::default());
    let message = asking("allowed.example.", RecordType::A).to_vec().unwrap();
    let mut refused = 0;
    for _ in 0..600 {
        let reply = answer(&stage, &pace, Transport::Udp, &message)
            .await
            .unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        refused += usize::from(reply.metadata.response_code == ResponseCode::Refused);
    }
    assert!(refused >= 100, "{refused}");
    let events = stage.events();
    let reports = events
        .iter()
        .filter(|e| matches!(e, Event::Refused { code, .. } if code == "limit"));
    assert_eq!(reports.count(), 1);
}

fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    [
        &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        &bytes,
    ]
    .concat()
}

#[tokio::test]
async fn every_question_of_one_segment_is_judged() {
    let stage = Arc::new(Stage::new());
    let (mut client, server) = tokio::io::duplex(4096);
    let serving = {
        let stage = stage.clone();
        tokio::spawn(async move { stream(&*stage, &Pace::default(), server).await })
    };
    let names = ["allowed.example.", "evil.example.", "s3.amazonaws.com."];
    let segment: Vec<u8> = names
        .iter()
        .flat_map(|n| framed(&asking(n, RecordType::A)))
        .collect();
    client.write_all(&segment).await.unwrap();
    let mut codes = Vec::new();
    for _ in names {
        let mut reply = vec![0; client.read_u16().await.unwrap().into()];
        client.read_exact(&mut reply).await.unwrap();
        codes.push(Message::from_vec(&reply).unwrap().metadata.response_code);
    }
    assert_eq!(
        codes,
        [
            ResponseCode::NoError,
            ResponseCode::NXDomain,
            ResponseCode::NoError
        ]
    );
    assert_eq!(stage.events().len(), 3);
    let tcp = |e: &Event| matches!(e, Event::DnsQuestion { transport, .. } if transport == "tcp");
    assert!(stage.events().iter().all(tcp));
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_at_what_cannot_be_a_question() {
    let response = {
        let mut message = asking("allowed.example.", RecordType::A);
        message.metadata.message_type = MessageType::Response;
        framed(&message)
    };
    for bytes in [
        &b"\x00\x00"[..],
        b"\x00\x03abc",
        b"\x20\x00GET / HTTP/1.1",
        &response,
    ] {
        let stage = Stage::new();
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(bytes).await.unwrap();
        stream(&stage, &Pace::default(), server).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{bytes:?}");
    }
}

#[tokio::test]
async fn datagrams_are_answered_in_parallel() {
    let stage = Arc::new(Stage::new());
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = tokio::spawn(datagrams(stage, Arc::new(Pace::default()), socket));
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // As glibc does: A and AAAA from one socket, without waiting.
    for kind in [RecordType::A, RecordType::AAAA] {
        let message = asking("allowed.example.", kind).to_vec().unwrap();
        client.send_to(&message, address).await.unwrap();
    }
    client.send_to(&[0; 5000], address).await.unwrap();
    client.send_to(b"x", address).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut reply = [0; 1500];
        let receiving = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut reply));
        let length = receiving.await.unwrap().unwrap();
        answers.push(Message::from_vec(&reply[..length]).unwrap().answers.len());
    }
    answers.sort_unstable();
    assert_eq!(answers, [0, 1]);
    serving.abort();
}

/// Serves bytes as a stream, cut into pieces; everything it answers.
async fn stream_of(stage: &Stage, pieces: &[Vec<u8>]) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(64);
    let talking = async {
        let (mut reading, mut writing) = tokio::io::split(&mut client);
        let mut replies = Vec::new();
        let saying = async {
            for piece in pieces {
                if writing.write_all(piece).await.is_err() {
                    break;
                }
            }
            let _ = writing.shutdown().await;
        };
        let ((), heard) = tokio::join!(saying, reading.read_to_end(&mut replies));
        heard.unwrap();
        replies
    };
    let pace = Pace::default();
    let ((), replies) = tokio::join!(stream(stage, &pace, server), talking);
    replies
}

/// The replies of a stream, each checked: data only for the one allowed name and record type.
fn checked(mut replies: &[u8]) -> usize {
    let mut count = 0;
    while let Some((length, rest)) = replies.split_at_checked(2) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (reply, rest) = rest.split_at(length);
        let reply = Message::from_vec(reply).unwrap();
        for answer in &reply.answers {
            let name = reply.queries[0].name().to_ascii().to_ascii_lowercase();
            assert_eq!(
                (answer.record_type(), name.as_str()),
                (RecordType::A, "allowed.example.")
            );
            assert_eq!(reply.queries[0].query_class(), DNSClass::IN);
        }
        count += 1;
        replies = rest;
    }
    count
}

proptest! {
    #[test]
    fn a_stream_of_anything_gets_answers_for_the_allowed_name_alone(
        items in proptest::collection::vec(
            (0_usize..4, proptest::collection::vec(any::<u8>(), 0..80), any::<proptest::sample::Index>(), any::<u8>()),
            0..6,
        ),
        cut in 1_usize..40,
    ) {
        let mut bytes = Vec::new();
        for (kind, noise, at, byte) in items {
            let mut question = asking(["allowed.example.", "c2VjcmV0.evil.example."][kind & 1], RecordType::A)
                .to_vec()
                .unwrap();
            match kind {
                // Damaged, framed noise, or both whole.
                2 => {
                    let at = at.index(question.len());
                    question[at] = byte;
                }
                3 => question = noise,
                _ => {}
            }
            bytes.extend_from_slice(&u16::try_from(question.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(&question);
        }
        let pieces: Vec<Vec<u8>> = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
        let stage = Stage::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let replies = runtime.block_on(stream_of(&stage, &pieces));
        let answered = checked(&replies);
        prop_assert!(answered <= stage.events().len(), "each answer is on record");
        prop_assert!(stage.dialled.lock().unwrap().is_empty(), "a question left");
    }

    #[test]
    fn no_message_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = question::read(&bytes).refuse(ResponseCode::Refused);
    }

    #[test]
    fn a_damaged_question_is_answered_well_formed_or_not_at_all(
        at in 0_usize..45, byte in any::<u8>(), edns in any::<bool>(),
    ) {
        let mut message = asking("allowed.example.", RecordType::A);
        if edns {
            message.set_edns(Edns::new());
        }
        let mut bytes = message.to_vec().unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(reply) = question::read(&bytes).refuse(ResponseCode::Refused) {
            prop_assert!(reply.len() <= 512);
            let reply = Message::from_vec(&reply).unwrap();
            prop_assert_eq!(reply.metadata.message_type, MessageType::Response);
        }
    }
}
