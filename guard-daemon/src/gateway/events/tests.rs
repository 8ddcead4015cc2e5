use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::event_stream::{SigningParams, sign_empty_message, sign_message};
use aws_smithy_runtime_api::client::identity::Identity;
use proptest::prelude::*;

use super::*;
use crate::aws::Scope;
use crate::aws::sigv4::{Algorithm, ChunkSigner, Form, Presented, SigV4Error, Signed};
use crate::gateway::Share;

const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const OTHER: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
const SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "transcribe",
};

fn keys(secret: &str) -> Credentials {
    Credentials::new("AKIDEXAMPLE", secret, None, None, "test")
}

fn message(payload: &[u8]) -> Message {
    let kind = HeaderValue::String("AudioEvent".to_owned().into());
    Message::new(Bytes::copy_from_slice(payload)).add_header(Header::new(":event-type", kind))
}

/// An envelope as the `aws-sigv4` crate makes it: around a message, or the last.
fn envelope(
    inside: Option<&Message>,
    secret: &str,
    previous: &str,
    time: SystemTime,
) -> (Message, String) {
    let identity: Identity = keys(secret).into();
    let params: SigningParams<'_> = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(SCOPE.region)
        .name(SCOPE.service)
        .time(time)
        .settings(())
        .build()
        .expect("complete");
    let signed = match inside {
        Some(inside) => sign_message(inside, previous, &params),
        None => sign_empty_message(previous, &params),
    };
    signed.expect("signed").into_parts()
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    write_message_to(message, &mut out).expect("encoded");
    out
}

/// A client's envelopes around these payloads, the last one among them.
fn stream(payloads: &[Vec<u8>], time: SystemTime) -> Vec<Vec<u8>> {
    let mut previous = SEED.to_owned();
    let mut all = Vec::new();
    for inside in payloads.iter().map(|it| Some(message(it))).chain([None]) {
        let (made, signature) = envelope(inside.as_ref(), "dummy secret", &previous, time);
        previous = signature;
        all.push(bytes(&made));
    }
    all
}

struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn new(all: &[u8], size: usize) -> Self {
        Self(all.chunks(size).map(Bytes::copy_from_slice).collect())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn chains() -> Chains {
    let date = "20130524T000000Z".to_owned();
    let presented = Presented {
        algorithm: Algorithm::HmacSha256,
        access_key_id: String::new(),
        region: SCOPE.region.to_owned(),
        service: SCOPE.service.to_owned(),
        signed_headers: Vec::new(),
        signature: SEED.to_owned(),
        session_token: None,
        form: Form::Header,
        date: date.clone(),
    };
    let signed = Signed {
        algorithm: Algorithm::HmacSha256,
        signature: OTHER.to_owned(),
        date,
    };
    Chains {
        arriving: ChunkSigner::of_client(&presented, "dummy secret").expect("a chain"),
        leaving: ChunkSigner::leaving(&signed, SCOPE, &keys("real secret")).expect("a chain"),
    }
}

fn charge(share: &Share) -> Charge {
    share.lease().take_memory()
}

fn resign(all: &[u8], size: usize) -> (Vec<u8>, Result<(), BodyError>) {
    let mut events = Events::new(Pieces::new(all, size), chains(), charge(&Share::default()));
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut out = Vec::new();
    loop {
        match Pin::new(&mut events).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => out.extend(frame.into_data().expect("data")),
            Poll::Ready(Some(Err(error))) => return (out, Err(error)),
            Poll::Ready(None) => return (out, Ok(())),
            Poll::Pending => panic!("all is here"),
        }
    }
}

/// Checks that what left is what the `aws-sigv4` crate makes of the messages with the real secret, at the time
/// that the envelopes say. Returns how many there are.
fn check(mut out: &[u8], payloads: &[Vec<u8>]) -> usize {
    let mut previous = OTHER.to_owned();
    let mut inside = payloads.iter().map(|it| Some(message(it))).chain([None]);
    let mut count = 0;
    while !out.is_empty() {
        let left = read_message_from(&mut out).expect("an envelope");
        let (date, _) = signed(&left).expect("signed");
        let time =
            SystemTime::UNIX_EPOCH + Duration::from_secs(date.secs().try_into().expect("now"));
        let inside = inside.next().expect("no more than there were");
        let (made, signature) = envelope(inside.as_ref(), "real secret", &previous, time);
        previous = signature;
        assert_eq!(left, made);
        count += 1;
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_leaves_as_the_real_credentials_sign_it(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        size in 1_usize..2000,
        ago in 0_u64..800,
    ) {
        let time = SystemTime::now() - Duration::from_secs(ago);
        let arrives = stream(&payloads, time).concat();
        let (out, end) = resign(&arrives, size);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(out.len(), arrives.len());
        prop_assert_eq!(check(&out, &payloads), payloads.len() + 1);
    }

    #[test]
    fn a_change_anywhere_breaks_the_stream_off(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..4),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        size in 1_usize..2000,
    ) {
        let mut arrives = stream(&payloads, SystemTime::now()).concat();
        let at = at.index(arrives.len());
        arrives[at] ^= 1 << bit;
        let (out, end) = resign(&arrives, size);
        prop_assert!(end.is_err());
        prop_assert!(out.len() <= at);
        check(&out, &payloads);
    }

    #[test]
    fn any_bytes_are_read_or_refused(all in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        let (out, _) = resign(&all, size);
        prop_assert!(out.is_empty());
    }
}

/// Memory is drawn for what waits alone, also where no piece ever ends with an envelope.
#[test]
fn a_long_conversation_gives_back_what_left() {
    let payloads: Vec<_> = (0..50).map(|_| vec![7; 1000]).collect();
    let all = stream(&payloads, SystemTime::now()).concat();
    let share = Share::default();
    let mut events = Events::new(Pieces::new(&[], 1), chains(), charge(&share));
    for piece in all.chunks(700) {
        events.take(piece).expect("taken");
        let ready: usize = events.ready.iter().map(Bytes::len).sum();
        let here = (events.arriving.len() + ready) as u64;
        assert_eq!(share.held().0, here);
        let on_its_way = std::mem::take(&mut events.ready);
        assert_eq!(share.held().0, here, "it was not sent yet");
        drop(on_its_way);
        assert_eq!(share.held().0, events.arriving.len() as u64);
    }
    assert!(events.ended);
}

#[test]
fn what_is_not_a_signed_row_of_envelopes_is_refused() {
    let now = SystemTime::now();
    let stray = |all: &[Vec<u8>]| resign(&all.concat(), 64).1.expect_err("refused");
    let [one, two, end] = stream(&[b"one".to_vec(), b"two".to_vec()], now)
        .try_into()
        .expect("three");
    let mismatch = BodyError::Signature(SigV4Error::PartMismatch);
    assert_eq!(stray(&[two.clone(), one.clone()]), mismatch);
    assert_eq!(stray(&[one.clone(), one.clone()]), mismatch);
    assert_eq!(stray(&[one.clone(), end.clone()]), mismatch);
    let after = BodyError::Events(EventError::AfterEnd);
    assert_eq!(stray(&[one.clone(), two.clone(), end, one.clone()]), after);
    assert_eq!(stray(&[one.clone(), two[..20].to_vec()]), BodyError::Gone);
    assert_eq!(
        resign(&[one, two].concat(), 64).1,
        Ok(()),
        "the client just leaves"
    );

    let bare = bytes(&message(b"not in an envelope"));
    assert_eq!(stray(&[bare]), BodyError::Events(EventError::Envelope));
    for far in [
        now - Duration::from_secs(1000),
        now + Duration::from_secs(1000),
    ] {
        let all = stream(&[b"one".to_vec()], far);
        assert_eq!(stray(&all), BodyError::Events(EventError::Skewed));
    }
    for length in [0_u32, 15, 16_777_217, u32::MAX] {
        let size = usize::try_from(length).expect("64 bits");
        let size = BodyError::Events(EventError::Size(size));
        assert_eq!(stray(&[length.to_be_bytes().to_vec()]), size);
    }
}
