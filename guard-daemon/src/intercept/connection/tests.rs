use std::io::ErrorKind;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::intercept::authority::Authority;
use crate::intercept::client_hello::tests::hello_for;
use crate::intercept::tests::Stage;

/// Serves one connection to `destination`; a name in its place means the name's synthetic address.
async fn connect(
    stage: &Arc<Stage>,
    destination: &str,
) -> (TcpStream, tokio::task::JoinHandle<()>) {
    let (host, port) = destination.rsplit_once(':').unwrap();
    let address = match host.parse() {
        Ok(address) => address,
        Err(_) => stage.names().address_of(host).unwrap(),
    };
    let destination = SocketAddr::new(address, port.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let stage = stage.clone();
    let serving = tokio::spawn(async move {
        let process = Process {
            pid: 7,
            ..Process::default()
        };
        Connection {
            around: &*stage,
            process,
            destination,
            stream,
        }
        .serve()
        .await;
    });
    (client, serving)
}

async fn tls(
    client: TcpStream,
    authority_pem: Option<&str>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = authority_pem {
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, client)
        .await
}

/// Everything the client reads after saying `first`.
async fn say(mut client: TcpStream, first: &[u8]) -> std::io::Result<Vec<u8>> {
    client.write_all(first).await?;
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).await.map(|_| seen)
}

#[tokio::test]
async fn an_aws_endpoint_is_terminated_by_name_or_by_any_address() {
    for destination in ["sqs.us-east-1.amazonaws.com:443", "203.0.113.9:443"] {
        let stage = Arc::new(Stage::new());
        let (client, serving) = connect(&stage, destination).await;
        let pem = stage.authority().certificate_pem();
        let mut client = tls(client, Some(pem), "sqs.us-east-1.amazonaws.com")
            .await
            .unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        assert_eq!(reply, "served ping");
        serving.await.unwrap();

        let callers = stage.callers.lock().unwrap();
        assert_eq!(callers[0].server_name, "sqs.us-east-1.amazonaws.com");
        assert_eq!(
            (callers[0].process.pid, callers[0].destination.port()),
            (7, 443)
        );
        assert!(stage.events().is_empty(), "{:?}", stage.events());
        assert!(stage.dialled.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn tls_that_may_not_go_there_gets_an_alert_and_an_entry() {
    let cases = [
        (
            "sqs.us-east-1.amazonaws.com:443",
            "sts.amazonaws.com",
            "host-mismatch",
        ),
        ("allowed.example:443", "sts.amazonaws.com", "host-mismatch"),
        ("allowed.example:443", "evil.example", "host-mismatch"),
        ("sts.amazonaws.com:443", "allowed.example", "host-mismatch"),
        ("203.0.113.9:443", "allowed.example", "no-origin-name"),
        ("203.0.113.9:443", "evil.example", "host-not-allowed"),
        ("198.18.9.9:443", "allowed.example", "no-origin-name"),
        (
            "allowed.example:8443",
            "allowed.example",
            "host-not-allowed",
        ),
        (
            "sts.amazonaws.com:8443",
            "sts.amazonaws.com",
            "host-not-allowed",
        ),
        (
            "s3.amazonaws.com:22",
            "s3.amazonaws.com",
            "host-not-allowed",
        ),
    ];
    for (destination, name, code) in cases {
        let stage = Arc::new(Stage::new());
        let (client, serving) = connect(&stage, destination).await;
        let pem = stage.authority().certificate_pem().to_owned();
        let error = tls(client, Some(&pem), name).await.unwrap_err();
        assert!(
            error.to_string().contains("AccessDenied"),
            "{destination} {name}: {error}"
        );
        serving.await.unwrap();
        assert_eq!(stage.refusals(), [code], "{destination} {name}");
        assert!(
            stage.dialled.lock().unwrap().is_empty() && stage.callers.lock().unwrap().is_empty()
        );
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_add_to_the_profile() {
    let stage = Arc::new(Stage::new());
    let (client, serving) = connect(&stage, "evil.example:8443").await;
    let reply = say(client, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await
        .unwrap();
    serving.await.unwrap();
    let Event::Refused {
        process,
        destination,
        host,
        code,
        detail,
    } = stage.last_event()
    else {
        panic!("{:?}", stage.last_event());
    };
    assert_eq!(
        (code.as_str(), host.as_deref()),
        ("host-not-allowed", Some("evil.example"))
    );
    assert_eq!(
        (process.unwrap().pid, destination.unwrap().port()),
        (7, 8443)
    );
    assert!(
        detail.contains("allow = [\"evil.example:8443\"]"),
        "{detail}"
    );
    assert!(String::from_utf8(reply).unwrap().contains(&detail));
}

#[tokio::test]
async fn plain_bytes_are_told_off_in_http_or_reset() {
    let get: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let cases: [(&str, &[u8], &str, bool); 8] = [
        ("s3.amazonaws.com:80", get, "plain-http", true),
        (
            "s3.amazonaws.com:443",
            b"PUT /x HTTP/1.1\r\n",
            "plain-http",
            true,
        ),
        ("s3.amazonaws.com:443", b"\x00\x01\x02", "not-tls", false),
        ("evil.example:80", get, "host-not-allowed", true),
        ("evil.example:25", b"EHLO x\r\n", "host-not-allowed", false),
        ("203.0.113.9:80", get, "no-origin-name", true),
        ("203.0.113.9:853", b"\x00\x1d", "no-origin-name", false),
        (
            "evil.example:80",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "host-not-allowed",
            true,
        ),
    ];
    for (destination, bytes, code, told) in cases {
        let stage = Arc::new(Stage::new());
        let (client, serving) = connect(&stage, destination).await;
        match say(client, bytes).await {
            Ok(reply) => assert!(
                told && reply.starts_with(b"HTTP/1.1 403 "),
                "{destination} {reply:?}"
            ),
            Err(error) => assert!(
                !told && error.kind() == ErrorKind::ConnectionReset,
                "{destination}"
            ),
        }
        serving.await.unwrap();
        assert_eq!(stage.refusals(), [code], "{destination}");
        assert!(stage.dialled.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_refused_upload_still_reads_its_refusal() {
    let stage = Arc::new(Stage::new());
    let (client, serving) = connect(&stage, "evil.example:80").await;
    let mut request = b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n".to_vec();
    request.resize(100_000, b'x');
    let reply = say(client, &request).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 403 "));
    serving.await.unwrap();
}

/// A stage with an upstream that serves TLS for `allowed.example` and echoes; and its authority.
async fn stage_with_tls_upstream() -> (Arc<Stage>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stage = Stage::new();
    stage.upstream = Some(listener.local_addr().unwrap());
    let directory = stage.directory.path().join("upstream");
    let authority = Authority::load_or_create_for(&directory, &["allowed.example"]).unwrap();
    let acceptor = TlsAcceptor::from(authority.server_config("allowed.example").unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = tokio::io::split(acceptor.accept(stream).await.unwrap());
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    });
    (Arc::new(stage), authority.certificate_pem().to_owned())
}

#[tokio::test]
async fn an_allowed_host_is_reached_end_to_end_and_recorded_first() {
    let (stage, upstream_pem) = stage_with_tls_upstream().await;
    let (client, serving) = connect(&stage, "allowed.example:443").await;
    let client = tls(client, Some(&upstream_pem), "allowed.example")
        .await
        .unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut read, mut write) = tokio::io::split(client);
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut echoed = Vec::new();
    let ((), read) = tokio::join!(writing, read.read_to_end(&mut echoed));
    read.unwrap();
    assert!(
        echoed == sent,
        "12 MB came back as {} other bytes",
        echoed.len()
    );
    serving.await.unwrap();

    assert_eq!(
        *stage.dialled.lock().unwrap(),
        [("allowed.example".to_owned(), 443)]
    );
    let events = stage.events();
    assert_eq!(events.len(), 1);
    assert!(
        matches!(&events[0], Event::ConnectionPassed { host, port: 443, .. } if host == "allowed.example")
    );
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_and_half_closing_works() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stage = Stage::new();
    stage.upstream = Some(listener.local_addr().unwrap());
    let stage = Arc::new(stage);
    tokio::spawn(async move {
        let (mut upstream, _) = listener.accept().await.unwrap();
        upstream.write_all(b"SSH-2.0-server\r\n").await.unwrap();
        let mut heard = Vec::new();
        upstream.read_to_end(&mut heard).await.unwrap();
        upstream
            .write_all(&[b"heard ", &heard[..]].concat())
            .await
            .unwrap();
    });
    let (mut client, serving) = connect(&stage, "allowed.example:22").await;
    let mut banner = [0; 16];
    client.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-server\r\n");
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "heard hello");
    serving.await.unwrap();
}

#[tokio::test]
async fn an_unreachable_upstream_is_recorded_and_the_client_reset() {
    let stage = Arc::new(Stage::new());
    let (client, serving) = connect(&stage, "allowed.example:80").await;
    let error = say(client, b"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    serving.await.unwrap();
    assert_eq!(stage.refusals(), ["upstream-connect"]);
}

#[tokio::test]
async fn without_a_journal_nothing_is_dialled_or_answered() {
    for (destination, bytes) in [
        ("allowed.example:443", hello_for("allowed.example")),
        ("allowed.example:80", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("evil.example:80", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("evil.example:443", hello_for("evil.example")),
    ] {
        let stage = Arc::new(Stage::new());
        stage.break_journal();
        let (client, serving) = connect(&stage, destination).await;
        assert!(say(client, &bytes).await.is_err(), "{destination}");
        serving.await.unwrap();
        assert!(stage.dialled.lock().unwrap().is_empty(), "{destination}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_is_recorded_with_a_hint() {
    let stage = Arc::new(Stage::new());
    let (client, serving) = connect(&stage, "sts.amazonaws.com:443").await;
    tls(client, None, "sts.amazonaws.com").await.unwrap_err();
    serving.await.unwrap();
    let Event::Refused {
        code, detail, host, ..
    } = stage.last_event()
    else {
        panic!("{:?}", stage.last_event());
    };
    assert_eq!(
        (code.as_str(), host.as_deref()),
        ("client-tls", Some("sts.amazonaws.com"))
    );
    assert!(detail.contains("AWS_CA_BUNDLE"), "{detail}");
}

#[tokio::test]
async fn clients_that_say_nothing_or_nonsense_are_let_go() {
    let hello = hello_for("sts.amazonaws.com");
    let no_name = hello_for("192.0.2.1");
    let cases: [(&str, &[u8], &str); 6] = [
        ("sts.amazonaws.com:443", b"", "timeout"),
        ("sts.amazonaws.com:443", &hello[..50], "timeout"),
        ("sts.amazonaws.com:443", &hello, "timeout"),
        ("evil.example:25", b"", "host-not-allowed"),
        ("203.0.113.9:443", &no_name, "no-server-name"),
        (
            "allowed.example:443",
            b"\x16\x03\x01\xff\xff\x00",
            "malformed-client-hello",
        ),
    ];
    for (destination, bytes, code) in cases {
        let stage = Arc::new(Stage::new());
        let (client, serving) = connect(&stage, destination).await;
        let _ = say(client, bytes).await;
        serving.await.unwrap();
        assert_eq!(stage.refusals(), [code], "{destination} {}", bytes.len());
    }
}

#[tokio::test]
async fn closing_without_a_word_is_recorded_only_where_speaking_was_not_allowed() {
    for (destination, codes) in [
        ("sts.amazonaws.com:443", &[][..]),
        ("allowed.example:443", &[]),
        ("evil.example:443", &["host-not-allowed"]),
        ("203.0.113.9:443", &["no-origin-name"]),
    ] {
        let stage = Arc::new(Stage::new());
        let (client, serving) = connect(&stage, destination).await;
        drop(client);
        serving.await.unwrap();
        assert_eq!(stage.refusals(), codes, "{destination}");
    }
}

#[tokio::test]
async fn the_hosts_loopback_is_reached_at_listed_ports_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut stage = Stage::new();
    stage.loopback = Some(port);
    let stage = Arc::new(stage);
    for host in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let (client, serving) = connect(&stage, &format!("{host}:{port}")).await;
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"served").await.unwrap();
        drop(server);
        assert_eq!(say(client, b"").await.unwrap(), b"served", "{host}");
        serving.await.unwrap();
    }
    let passed =
        |e: &Event| matches!(e, Event::ConnectionPassed { host, .. } if host == "localhost");
    assert!(stage.events().iter().all(passed), "{:?}", stage.events());

    let other = format!("127.0.0.1:{}", port - 1);
    let (client, serving) = connect(&stage, &other).await;
    assert!(say(client, b"").await.is_err());
    serving.await.unwrap();
    assert_eq!(stage.refusals(), ["host-not-allowed"]);
    for elsewhere in ["127.0.0.2", "0.0.0.0"] {
        let (client, serving) = connect(&stage, &format!("{elsewhere}:{port}")).await;
        let reply = say(client, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(reply.starts_with(b"HTTP/1.1 403"));
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn once_the_session_is_over_a_host_is_refused_and_aws_is_left_to_the_gateway() {
    let mut stage = Stage::new();
    stage.term = crate::term::Term::new(Some(crate::term::Limit::starting_now(
        crate::policy::Length::seconds(1),
    )));
    let stage = Arc::new(stage);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let (client, serving) = connect(&stage, "allowed.example:22").await;
    let _ = say(client, b"x").await;
    serving.await.unwrap();
    let Event::Refused { code, detail, .. } = stage.last_event() else {
        panic!("{:?}", stage.events());
    };
    assert_eq!(code, local::ENDED);
    assert!(detail.contains("ended at its time"), "{detail}");
    assert!(stage.dialled.lock().unwrap().is_empty());
    let (client, _) = connect(&stage, "s3.amazonaws.com:443").await;
    let pem = stage.authority().certificate_pem();
    tls(client, Some(pem), "s3.amazonaws.com").await.unwrap();
}
