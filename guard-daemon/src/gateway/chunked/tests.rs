use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{SigningParams, sign_chunk, sign_trailer};
use aws_smithy_runtime_api::client::identity::Identity;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::aws::Scope;
use crate::aws::sigv4::{Algorithm, Form, Presented, SigV4Error, Signed};
use crate::gateway::Share;
use crate::gateway::spool::Spool;

const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const OTHER: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
const SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "s3",
};

fn keys(secret: &str) -> Credentials {
    Credentials::new("AKIDEXAMPLE", secret, None, None, "test")
}

fn headers(length: Option<usize>, trailers: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(length) = length {
        headers.insert("x-amz-decoded-content-length", length.into());
    }
    for (name, _) in trailers {
        headers.append("x-amz-trailer", name.parse().expect("a value"));
    }
    headers
}

/// A body as a client sends it, signed by the `aws-sigv4` crate where there is a secret.
fn body(chunks: &[Vec<u8>], trailers: &[(&str, &str)], signed: Option<(&str, &str)>) -> Vec<u8> {
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(380_376);
    let identity: Identity = keys(signed.map_or("", |(secret, _)| secret)).into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(time)
        .settings(())
        .build()
        .expect("complete");
    let mut previous = signed.map_or("", |(_, seed)| seed).to_owned();
    let mut all = Vec::new();
    for chunk in chunks.iter().map(Vec::as_slice).chain([&b""[..]]) {
        all.extend(format!("{:x}", chunk.len()).bytes());
        if signed.is_some() {
            let data = Bytes::copy_from_slice(chunk);
            previous = sign_chunk(&data, &previous, &params)
                .expect("signed")
                .into_parts()
                .1;
            all.extend(format!(";chunk-signature={previous}").bytes());
        }
        all.extend(b"\r\n");
        if !chunk.is_empty() {
            all.extend(chunk);
            all.extend(b"\r\n");
        }
    }
    for (name, value) in trailers {
        all.extend(format!("{name}:{value}\r\n").bytes());
    }
    if signed.is_some() && !trailers.is_empty() {
        let mut fields = aws_smithy_runtime_api::http::Headers::new();
        for (name, value) in trailers {
            fields.append((*name).to_owned(), (*value).to_owned());
        }
        let signature = sign_trailer(&fields, &previous, &params)
            .expect("signed")
            .into_parts()
            .1;
        all.extend(format!("x-amz-trailer-signature:{signature}\r\n").bytes());
    }
    all.extend(b"\r\n");
    all
}

fn chains(arriving: (&str, &str), leaving: (&str, &str)) -> Chains {
    let date = "20130524T000000Z".to_owned();
    let presented = Presented {
        algorithm: Algorithm::HmacSha256,
        access_key_id: String::new(),
        region: SCOPE.region.to_owned(),
        service: SCOPE.service.to_owned(),
        signed_headers: Vec::new(),
        signature: arriving.1.to_owned(),
        session_token: None,
        form: Form::Header,
        date: date.clone(),
    };
    let signed = Signed {
        algorithm: Algorithm::HmacSha256,
        signature: leaving.1.to_owned(),
        date,
    };
    Chains {
        arriving: ChunkSigner::of_client(&presented, arriving.0).expect("a chain"),
        leaving: ChunkSigner::leaving(&signed, SCOPE, &keys(leaving.0)).expect("a chain"),
    }
}

fn form(trailers: &[(&str, &str)]) -> Streaming {
    if trailers.is_empty() {
        Streaming::Chunks
    } else {
        Streaming::ChunksTrailer
    }
}

/// A body in pieces.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// Of these sizes, the last one repeated.
    fn new(all: &[u8], sizes: &[usize]) -> Self {
        let mut left = Bytes::copy_from_slice(all);
        let mut pieces = VecDeque::new();
        let mut sizes = sizes.iter().copied();
        let mut size = 1;
        while !left.is_empty() {
            size = sizes.next().unwrap_or(size);
            pieces.push_back(left.split_to(size.min(left.len())));
        }
        Self(pieces)
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

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(Bytes::len).sum::<usize>() as u64)
    }
}

const DUMMY: (&str, &str) = ("dummy secret", SEED);
const REAL: (&str, &str) = ("real secret", OTHER);

/// What leaves of a signed body until it ends or fails.
fn resign(body: Pieces, framing: Framing) -> (Vec<u8>, Result<(), BodyError>) {
    read(Chunked::new(
        body,
        framing,
        Some((chains(DUMMY, REAL), Share::default().lease().take_memory())),
    ))
}

fn read(mut body: Chunked<Pieces>) -> (Vec<u8>, Result<(), BodyError>) {
    let mut out = Vec::new();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let all = body.size_hint().exact().expect("known");
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => {
                out.extend(frame.into_data().expect("data"));
                let left = body.size_hint().exact().expect("known");
                assert_eq!(out.len() as u64 + left, all, "not a byte more or less");
            }
            Poll::Ready(Some(Err(error))) => return (out, Err(error)),
            Poll::Ready(None) => {
                assert!(body.is_end_stream());
                return (out, Ok(()));
            }
            Poll::Pending => panic!("all is here"),
        }
    }
}

const SUM: (&str, &str) = ("x-amz-checksum-crc32", "sOO8/Q==");
const SUMS: [(&str, &str); 2] = [SUM, ("x-amz-checksum-sha256", "e3b0c44298fc1c149afb")];

fn trailers() -> impl Strategy<Value = &'static [(&'static str, &'static str)]> {
    prop_oneof![Just(&SUMS[..0]), Just(&SUMS[..1]), Just(&SUMS[..])]
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let chunk = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        (1_usize..70_000, any::<u8>()).prop_map(|(size, byte)| vec![byte; size]),
    ];
    prop::collection::vec(chunk, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_signed_body_leaves_as_the_real_credentials_sign_it(
        chunks in chunks(),
        trailers in trailers(),
        sizes in prop::collection::vec(1_usize..9000, 1..40),
    ) {
        let arrives = body(&chunks, trailers, Some(DUMMY));
        let leaves = body(&chunks, trailers, Some(REAL));
        let length = chunks.iter().map(Vec::len).sum();
        let headers = headers(Some(length), trailers);
        let framing = Framing::signed(&headers, form(trailers)).expect("well formed");
        let (out, end) = resign(Pieces::new(&arrives, &sizes), framing);
        prop_assert_eq!(end, Ok(()));
        prop_assert!(out == leaves);
    }

    #[test]
    fn an_unsigned_body_leaves_as_it_came(
        chunks in chunks(),
        trailers in trailers(),
        sizes in prop::collection::vec(1_usize..9000, 1..40),
    ) {
        let arrives = body(&chunks, trailers, None);
        let framing = Framing::unsigned(&headers(None, trailers)).expect("well formed");
        let (out, end) = read(Chunked::new(Pieces::new(&arrives, &sizes), framing, None));
        prop_assert_eq!(end, Ok(()));
        prop_assert!(out == arrives);
    }

    /// Nothing of a chunk leaves before all of it is verified.
    #[test]
    fn a_change_anywhere_breaks_the_body_off(
        chunks in chunks(),
        trailers in trailers(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        sizes in prop::collection::vec(1_usize..9000, 1..40),
    ) {
        let mut arrives = body(&chunks, trailers, Some(DUMMY));
        let at = at.index(arrives.len());
        arrives[at] ^= 1 << bit;
        let framing =
            Framing::signed(&headers(None, trailers), form(trailers)).expect("well formed");
        let (out, end) = resign(Pieces::new(&arrives, &sizes), framing);
        let leaves = body(&chunks, trailers, Some(REAL));
        // The case of a hexadecimal size or of a trailer's name says nothing.
        if end.is_ok() {
            prop_assert!(out.eq_ignore_ascii_case(&leaves));
        } else {
            prop_assert!(leaves.starts_with(&out) && out.len() < leaves.len());
            prop_assert!(out.len() <= at + 2);
        }
    }

    #[test]
    fn any_bytes_parse_alike_however_they_are_split(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "([0-3]{0,2}(\r\n|\n|;|x-amz-checksum-crc32:|:|a){0,3}){0,8}".prop_map(String::into_bytes),
        ],
        trailer in any::<bool>(),
        sizes in prop::collection::vec(1_usize..9, 1..40),
    ) {
        let trailers = if trailer { &SUMS[..1] } else { &[] };
        let framing = Framing::unsigned(&headers(None, trailers)).expect("well formed");
        let parse = |sizes: &[usize]| {
            let mut parser = framing.clone().parser();
            let mut content = Vec::new();
            for mut piece in Pieces::new(&bytes, sizes).0 {
                loop {
                    match parser.next(&mut piece) {
                        Ok(Some(Part::Data(data))) => content.extend(data),
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => return (content, Err(error)),
                    }
                }
            }
            (content, Ok(parser.is_over()))
        };
        prop_assert_eq!(parse(&[usize::MAX]), parse(&sizes));
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let refused = |text: &str, headers: &HeaderMap| {
        let framing = Framing::unsigned(headers).expect("a framing");
        let body = Pieces::new(text.as_bytes(), &[usize::MAX]);
        let (out, end) = read(Chunked::new(body, framing, None));
        assert!(out.is_empty(), "{text:?} leaves");
        end.expect_err(text)
    };
    let plain = headers(None, &[]);
    for odd in [
        "1\na\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "00000000000000001\r\na\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "1;name=value\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "\r\n1\r\na\r\n0\r\n\r\n",
        "0\r\n\r\nPUT",
        "0\r\n\r\n\r\n",
        "0\r\nx-amz-checksum-crc32:a\r\n\r\n",
        "0\r\n",
        "1\r\na\r\n",
        "1\r\na",
    ] {
        refused(odd, &plain);
    }
    let one = headers(None, &[SUM]);
    for odd in [
        "0\r\n\r\n",
        "0\r\nx-amz-checksum-crc32:\r\n\r\n",
        "0\r\nx-amz-checksum-crc32 :a\r\n\r\n",
        "0\r\nx-amz-checksum-crc32:a\n\r\n",
        "0\r\nx-amz-checksum-crc32:a\n\n\r\n\r\n",
        "0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:a\r\n\r\n",
        "0\r\nx-amz-checksum-crc32:a\r\nx-amz-acl:public-read\r\n\r\n",
        "0\r\nx-amz-acl:public-read\r\n\r\n",
        "0\r\nx-amz-checksum-crc32:a\rb\r\n\r\n",
        "0\r\nx-amz-trailer-signature:0\r\n\r\n",
    ] {
        refused(odd, &one);
    }
    let three = headers(Some(3), &[]);
    for odd in [
        "2\r\nab\r\n0\r\n\r\n",
        "4\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
    ] {
        let length = BodyError::Chunked(ChunkError::Length { announced: 3 });
        assert_eq!(refused(odd, &three), length);
    }
}

#[test]
fn trailers_may_end_as_in_the_documentation() {
    let headers = headers(Some(1), &[SUM]);
    let framing = Framing::unsigned(&headers).expect("a framing");
    let text = "1\r\na\r\n0\r\nX-Amz-Checksum-Crc32: sOO8/Q==\n\r\n\r\n";
    let body = Pieces::new(text.as_bytes(), &[3]);
    let (out, end) = read(Chunked::new(body, framing, None));
    assert_eq!((out.as_slice(), end), (text.as_bytes(), Ok(())));

    let signed = |secret| {
        let text = String::from_utf8(body_of_one(secret)).expect("text");
        text.replace("sOO8/Q==\r\n", "sOO8/Q==\n\r\n")
    };
    let framing = Framing::signed(&headers, Streaming::ChunksTrailer).expect("a framing");
    let arrives = Pieces::new(signed(DUMMY).as_bytes(), &[50]);
    let (out, end) = resign(arrives, framing);
    assert_eq!((out.as_slice(), end), (signed(REAL).as_bytes(), Ok(())));
}

/// hyper stops at a known length and never asks for the end: what is missing must be found before that.
#[test]
fn a_body_that_is_cut_off_does_not_leave_with_all_of_its_length() {
    for (signed, trailers) in [(true, &SUMS[..0]), (true, &SUMS[..1]), (false, &SUMS[..1])] {
        let all = body(
            &[b"one".to_vec(), b"two".to_vec()],
            trailers,
            signed.then_some(DUMMY),
        );
        for (length, empty_last) in (1..all.len()).flat_map(|it| [(it, false), (it, true)]) {
            let mut cut = Pieces::new(&all[..length], &[7]);
            if empty_last {
                cut.0.push_back(Bytes::new());
            }
            let headers = headers(None, trailers);
            let (framing, chains) = if signed {
                let chains = (chains(DUMMY, REAL), Share::default().lease().take_memory());
                (Framing::signed(&headers, form(trailers)), Some(chains))
            } else {
                (Framing::unsigned(&headers), None)
            };
            let mut body = Chunked::new(cut, framing.expect("a framing"), chains);
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut left = length;
            let end = loop {
                match Pin::new(&mut body).poll_frame(&mut context) {
                    Poll::Ready(Some(Ok(frame))) => left -= frame.data_ref().expect("data").len(),
                    Poll::Ready(end) => break end,
                    Poll::Pending => panic!("all is here"),
                }
                assert!(left > 0, "{length} of {} bytes left whole", all.len());
            };
            let error = end.expect("an error").expect_err("an error");
            assert_eq!(error.code(), "malformed-request", "{length}");
        }
    }
}

/// A body of the largest chunks, whose upstream takes `behind` pieces later what it is given.
async fn held_while_sent(behind: usize, chunks: usize) -> Vec<u64> {
    let largest = usize::try_from(LARGEST).expect("64 bits");
    let chunks: Vec<_> = (0..chunks).map(|_| vec![7; largest]).collect();
    let all = body(&chunks, &[], Some(DUMMY));
    let source = Pieces::new(&all, &[64 * 1024]);
    let share = Share::default();
    let mut spool = Spool::new(source, "/nonexistent".into(), 0, share.lease());
    let spooled = spool.take().await.expect("taken");
    let charge = spooled.charge();
    let framing = Framing::signed(&headers(None, &[]), Streaming::Chunks).expect("a framing");
    let signed = Some((chains(DUMMY, REAL), charge));
    let mut body = Chunked::new(spooled.counted(), framing, signed);
    let (mut sending, mut held, mut length) = (VecDeque::new(), Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.expect("within the share").into_data().expect("data");
        length += data.len();
        sending.push_back(data);
        if sending.len() > behind {
            sending.pop_front();
        }
        held.push(share.held().0);
    }
    assert_eq!(length, all.len());
    drop((body, sending));
    assert_eq!(share.held().0, 0, "all of it is given back");
    held
}

#[tokio::test]
async fn a_chunk_counts_until_it_was_sent() {
    let held = held_while_sent(usize::MAX, 1).await;
    assert!(held.iter().all(|&held| held >= LARGEST), "{held:?}");
    let held = held_while_sent(0, 1).await;
    assert!(held[0] >= LARGEST && held[held.len() / 2] < LARGEST * 3 / 4);
}

#[tokio::test]
async fn a_body_larger_than_the_share_passes_for_it_leaves_by_and_by() {
    let most = held_while_sent(16, 5).await.into_iter().max();
    assert!(most.is_some_and(|most| most < LARGEST + 4 * 1024 * 1024));
}

/// As minio-go sends several: each with a line feed, and CR LF behind the last.
#[test]
fn trailers_may_end_in_line_feeds_up_to_an_empty_line() {
    let headers = headers(Some(1), &SUMS);
    let lines = |text: Vec<u8>| {
        let text = String::from_utf8(text).expect("text");
        let [(_, one), (_, two)] = SUMS;
        let text = text.replace(&format!("{one}\r\n"), &format!("{one}\n"));
        text.replace(&format!("{two}\r\n"), &format!("{two}\n\r\n"))
    };
    let chunks = [b"a".to_vec()];
    for sizes in [1, 30, usize::MAX] {
        let framing = Framing::unsigned(&headers).expect("a framing");
        let text = lines(body(&chunks, &SUMS, None));
        let arrives = Pieces::new(text.as_bytes(), &[sizes]);
        let (out, end) = read(Chunked::new(arrives, framing, None));
        assert_eq!((out.as_slice(), end), (text.as_bytes(), Ok(())));

        let framing = Framing::signed(&headers, Streaming::ChunksTrailer).expect("a framing");
        let text = lines(body(&chunks, &SUMS, Some(DUMMY)));
        let (out, end) = resign(Pieces::new(text.as_bytes(), &[sizes]), framing);
        let leaves = lines(body(&chunks, &SUMS, Some(REAL)));
        assert_eq!((out.as_slice(), end), (leaves.as_bytes(), Ok(())));
    }
    for odd in [
        "x-amz-checksum-crc32:a\nx-amz-checksum-sha256:b\r\n\r\n",
        "x-amz-checksum-crc32:a\nx-amz-acl:public-read\n\r\n\r\n",
        "x-amz-checksum-crc32:a\nx-amz-checksum-crc32:b\n\r\n\r\n",
        "x-amz-checksum-crc32:a\n\nx-amz-checksum-sha256:b\n\r\n\r\n",
        "x-amz-checksum-crc32:a\nx-amz-checksum-sha256:b\nx-amz-acl:public-read\n\r\n\r\n",
    ] {
        let framing = Framing::unsigned(&headers).expect("a framing");
        let text = format!("1\r\na\r\n0\r\n{odd}");
        let (_, end) = read(Chunked::new(
            Pieces::new(text.as_bytes(), &[50]),
            framing,
            None,
        ));
        assert!(end.is_err(), "{odd:?}");
    }
    let framing = Framing::signed(&headers, Streaming::ChunksTrailer).expect("a framing");
    let text = String::from_utf8(body(&chunks, &SUMS, Some(DUMMY))).expect("text");
    let text = text.replace("\r\nx-amz-trailer-signature", "\nx-amz-trailer-signature");
    let (_, end) = resign(Pieces::new(text.as_bytes(), &[50]), framing);
    assert!(end.is_err(), "the signature has a line of its own");
}

#[test]
fn a_trailer_signature_may_have_blanks_and_keeps_its_line() {
    let headers = headers(Some(1), &[SUM]);
    for (name, end) in [
        ("x-amz-trailer-signature: ", "\r\n"),
        ("X-Amz-Trailer-Signature:\t ", " \r\n"),
        ("x-amz-trailer-signature:", "\n\r\n"),
    ] {
        let spelled = |secret| {
            let text = String::from_utf8(body_of_one(secret)).expect("text");
            let text = text.strip_suffix("\r\n\r\n").expect("an end");
            text.replace("x-amz-trailer-signature:", name) + end + "\r\n"
        };
        let framing = Framing::signed(&headers, Streaming::ChunksTrailer).expect("a framing");
        let arrives = Pieces::new(spelled(DUMMY).as_bytes(), &[50]);
        let (out, end) = resign(arrives, framing);
        assert_eq!((out.as_slice(), end), (spelled(REAL).as_bytes(), Ok(())));
    }
}

fn body_of_one(secret: (&str, &str)) -> Vec<u8> {
    body(&[b"a".to_vec()], &[SUM], Some(secret))
}

#[test]
fn a_chunk_of_another_place_or_secret_does_not_leave() {
    let chunks = [b"one".to_vec(), b"two".to_vec()];
    let framing = || Framing::signed(&headers(None, &[]), Streaming::Chunks).expect("a framing");
    for other in [("another secret", SEED), ("dummy secret", OTHER)] {
        let arrives = body(&chunks, &[], Some(other));
        let (out, end) = resign(Pieces::new(&arrives, &[10]), framing());
        assert!(out.is_empty(), "nothing of it leaves");
        assert_eq!(end, Err(BodyError::Signature(SigV4Error::PartMismatch)));
    }
    let large = format!("1000001;chunk-signature={SEED}\r\n");
    let (_, end) = resign(Pieces::new(large.as_bytes(), &[10]), framing());
    let limit = ChunkError::TooLarge { limit: LARGEST };
    assert_eq!(end, Err(BodyError::Chunked(limit)));
}

#[test]
fn a_head_must_say_how_the_body_is() {
    for length in ["+1", "1a", "", "18446744073709551616", "1, 1"] {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amz-decoded-content-length",
            length.parse().expect("a value"),
        );
        assert!(Framing::unsigned(&headers).is_err(), "{length}");
    }
    let mut twice = headers(Some(1), &[]);
    twice.append("x-amz-decoded-content-length", 1.into());
    assert!(Framing::unsigned(&twice).is_err());
    for names in [
        "a,",
        "a b",
        "a,A",
        "x-amz-trailer-signature",
        "a,b,c,d,e,f,g,h,i",
    ] {
        let headers = headers(None, &[(names, "")]);
        assert!(Framing::unsigned(&headers).is_err(), "{names}");
    }
    assert!(Framing::signed(&headers(None, &[]), Streaming::ChunksTrailer).is_err());
    assert!(Framing::signed(&headers(None, &[SUM]), Streaming::Chunks).is_err());
}

#[test]
fn the_content_counts_and_not_how_it_is_cut_and_signed() {
    let digest = |chunks: &[&str], trailers, signed: Option<_>, size: usize| {
        let chunks: Vec<_> = chunks.iter().map(|it| it.as_bytes().to_vec()).collect();
        let headers = headers(None, trailers);
        let framing = match signed {
            Some(_) => Framing::signed(&headers, form(trailers)),
            None => Framing::unsigned(&headers),
        };
        let mut content = Content::of(framing.expect("a framing"));
        for piece in Pieces::new(&body(&chunks, trailers, signed), &[size]).0 {
            assert_eq!(content.digest(), None, "not all of it is here");
            content.take(piece).expect("well formed");
        }
        content.digest().expect("all of it is here")
    };
    let abc = digest(&["abc"], &[], None, 1);
    for (chunks, signed, size) in [
        (&["a", "bc"][..], None, 100),
        (&["abc"], Some(DUMMY), 7),
        (&["ab", "c"], Some(REAL), 50),
    ] {
        assert_eq!(digest(chunks, &[], signed, size), abc);
    }
    let sums = digest(&["abc"], &SUMS, None, 5);
    assert_eq!(digest(&["a", "bc"], &SUMS, Some(DUMMY), 9), sums);
    assert!(sums != abc && digest(&["abc"], &SUMS[..1], None, 5) != sums);
}

/// Whatever bytes a body that is not in chunks has, its digest is hexadecimal and nothing else.
#[test]
fn content_in_chunks_is_no_other_bodys() {
    let mut content = Content::of(Framing::unsigned(&headers(None, &[])).expect("a framing"));
    let text = body(&[b"abc".to_vec()], &[], None);
    content.take(text.into()).expect("well formed");
    let digest = content.digest().expect("all of it is here");
    let hexadecimal = digest.strip_prefix("aws-chunked ").expect("what it is of");
    assert_eq!(hexadecimal.len(), 64);
}
