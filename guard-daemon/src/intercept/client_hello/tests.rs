use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rustls::client::{EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::{default_provider, hpke};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::AsyncWriteExt;

use super::*;

/// The ClientHello rustls sends to a name (or, without SNI, to an address).
pub(in crate::intercept) fn hello_for(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    written(config, name)
}

fn hello_with_ech(name: &str) -> Vec<u8> {
    let suite = hpke::ALL_SUPPORTED_SUITES[0];
    let (public, _) = suite.generate_key_pair().unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_ech(EchMode::Grease(EchGreaseConfig::new(suite, public)))
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    written(config, name)
}

fn written(config: ClientConfig, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same handshake message in records of `size` bytes.
fn refragmented(hello: &[u8], size: usize) -> Vec<u8> {
    hello[5..]
        .chunks(size)
        .flat_map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1], &length[..], part].concat()
        })
        .collect()
}

/// The hello with its server name overwritten by one of the same length.
fn renamed(hello: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = hello
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .unwrap();
    let mut renamed = hello.to_vec();
    renamed[at..at + to.len()].copy_from_slice(to);
    renamed
}

/// What reading makes of bytes that arrive in writes of `step` bytes, after which the client waits.
async fn read_in_steps(bytes: &[u8], step: usize) -> Result<Opening, OpeningError> {
    let (mut client, mut server) = tokio::io::duplex(64);
    let reading = read(&mut server, Instant::now() + Duration::from_millis(500));
    let writing = async {
        for part in bytes.chunks(step) {
            if client.write_all(part).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        opening = reading => opening,
        () = writing => unreachable!(),
    }
}

async fn read_all(bytes: &[u8]) -> Result<Opening, OpeningError> {
    read_in_steps(bytes, bytes.len().max(1)).await
}

#[tokio::test]
async fn the_server_name_is_read_however_the_hello_is_cut() {
    let hello = hello_for("S3.us-east-1.AmazonAWS.com");
    for step in [1, 3, 5, 100, 100_000] {
        for records in [
            hello.clone(),
            refragmented(&hello, 7),
            refragmented(&hello, 200),
        ] {
            let Ok(Opening::Tls(read)) = read_in_steps(&records, step).await else {
                panic!("step {step} was not read");
            };
            assert_eq!(read.server_name, "s3.us-east-1.amazonaws.com");
            assert_eq!(read.raw, records, "every byte is kept for the upstream");
        }
    }
}

#[tokio::test]
async fn a_final_dot_makes_no_other_name() {
    let hello = renamed(&hello_for("pypi.orgx"), "pypi.orgx", b"PyPI.org.");
    let Ok(Opening::Tls(read)) = read_all(&hello).await else {
        panic!("not read");
    };
    assert_eq!(read.server_name, "pypi.org");
}

#[tokio::test]
async fn bytes_after_the_hello_are_kept() {
    let mut bytes = hello_for("pypi.org");
    bytes.extend_from_slice(&[0x14, 3, 3, 0, 1, 1]);
    let Ok(Opening::Tls(read)) = read_all(&bytes).await else {
        panic!("not read");
    };
    assert_eq!(read.raw, bytes);
}

#[tokio::test]
async fn what_names_no_server_or_hides_it_is_refused() {
    let hello = hello_for("127x000y000z1.example");
    let with = |name: &[u8]| renamed(&hello, "127x000y000z1.example", name);
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("no SNI", hello_for("192.0.2.1"), "names no server"),
        (
            "an address",
            renamed(
                &hello_for("aaa.bbb.ccc.ddd"),
                "aaa.bbb.ccc.ddd",
                b"127.100.100.100",
            ),
            "names no server",
        ),
        ("NUL", with(b"evil\0.google.example."), "malformed"),
        ("inner NUL", with(b"evil.example\0aaa.aaaa"), "malformed"),
        ("a space", with(b"evil.example aaa.aaaa"), "malformed"),
        ("empty label", with(b"evil..example.aaaaaaa"), "malformed"),
        (
            "ECH",
            hello_with_ech("allowed.example"),
            "Encrypted Client Hello",
        ),
    ];
    for (what, bytes, expected) in cases {
        match read_all(&bytes).await {
            Err(error) => assert!(error.to_string().contains(expected), "{what}: {error}"),
            Ok(Opening::Tls(hello)) => panic!("{what} was accepted as {}", hello.server_name),
            Ok(_) => panic!("{what} was taken for something else"),
        }
    }
}

#[tokio::test]
async fn what_is_no_hello_is_refused_within_bounds() {
    let long_record = [&[0x16, 3, 1, 0xff, 0xff][..], &vec![0; 20_000]].concat();
    // A handshake message of 40,000 bytes, in records of 1,000.
    let mut endless = vec![1, 0, 0x9c, 0x40];
    endless.resize(40_004, 0);
    let endless = refragmented(&[&[0; 5][..], &endless].concat(), 1000);
    let mut flipped = hello_for("pypi.org");
    flipped[5] = 2;
    let cases = [
        ("record length", long_record),
        ("endless hello", endless),
        ("server hello", flipped),
        ("TLS garbage", [&[0x16, 3, 1, 0, 4][..], b"abcd"].concat()),
        (
            "SSLv2-style version",
            [&[0x16, 0, 2, 0, 4][..], b"abcd"].concat(),
        ),
    ];
    for (what, bytes) in cases {
        match read_all(&bytes).await {
            Err(OpeningError::Malformed { .. } | OpeningError::TooLong) => {}
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what} was accepted"),
        }
    }
}

#[tokio::test]
async fn what_is_not_tls_is_handed_back() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0],
        &[0x80, 0x2e, 1],
    ] {
        match read_all(bytes).await {
            Ok(Opening::Plain(plain)) => assert!(bytes.starts_with(&plain) && !plain.is_empty()),
            _ => panic!("{bytes:?}"),
        }
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_a_close_at_once() {
    let hello = hello_for("pypi.org");
    assert!(matches!(read_all(&[]).await, Err(OpeningError::Timeout)));
    assert!(matches!(
        read_all(&hello[..40]).await,
        Err(OpeningError::Timeout)
    ));

    let deadline = || Instant::now() + Duration::from_secs(5);
    assert!(matches!(
        read(&mut &b""[..], deadline()).await,
        Ok(Opening::Closed)
    ));
    assert!(matches!(
        read(&mut &hello[..40], deadline()).await,
        Err(OpeningError::Socket(_))
    ));
}

#[test]
fn extensions_are_found_exactly() {
    let (plain, hidden) = (hello_for("pypi.org"), hello_with_ech("pypi.org"));
    for size in [1, 9, 4000] {
        let found = |hello: &[u8], kind| has_extension(&refragmented(hello, size), kind);
        assert_eq!(found(&plain, ENCRYPTED_CLIENT_HELLO), Some(false));
        assert_eq!(found(&hidden, ENCRYPTED_CLIENT_HELLO), Some(true));
        assert_eq!(found(&plain, 0), Some(true), "server_name");
    }
    assert_eq!(
        has_extension(&plain[..plain.len() - 1], ENCRYPTED_CLIENT_HELLO),
        None
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        first in prop_oneof![Just(0x16_u8), any::<u8>()],
        rest in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let bytes = [&[first][..], &rest].concat();
        let _ = Partial::default().push(&bytes).map(|found| found.is_some());
        let _ = has_extension(&bytes, ENCRYPTED_CLIENT_HELLO);
    }

    #[test]
    fn a_damaged_hello_is_refused_or_names_what_rustls_read(
        at in 0_usize..1500, byte in any::<u8>(), cut in 1_usize..300,
    ) {
        let mut bytes = hello_for("allowed.example");
        let at = at % bytes.len();
        bytes[at] = byte;
        let mut partial = Partial::default();
        for part in bytes.chunks(cut) {
            match partial.push(part) {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    if let Ok(hello) = partial.finish(accepted) {
                        prop_assert!(!hello.server_name.is_empty());
                        prop_assert!(hello.server_name.bytes().all(|b| !b.is_ascii_uppercase()));
                    }
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
    }
}
