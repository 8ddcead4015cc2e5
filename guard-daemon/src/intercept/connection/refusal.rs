//! What a refused connection is told, and what the journal is told of it.

use rustls::AlertDescription as Alert;
use tokio::net::TcpStream;

/// Why a connection is refused.
pub(super) struct Refusal {
    /// As in `Event::Refused`.
    pub(super) code: &'static str,
    /// The host that is refused, where one is named.
    pub(super) host: Option<String>,
    /// One sentence for people: what was wrong and what to do.
    pub(super) detail: String,
}

/// Resets the connection when it is dropped, so that the client fails at once.
pub(in crate::intercept) fn reset(stream: &TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = stream.set_zero_linger();
}

pub(super) fn plain_to_aws(host: String, http: bool) -> Refusal {
    let (code, detail) = if http {
        (
            "plain-http",
            format!("{host} is reached by HTTPS only: use an https:// endpoint URL"),
        )
    } else {
        (
            "not-tls",
            format!("{host} is reached by HTTPS only, and this is neither TLS nor HTTP"),
        )
    };
    Refusal {
        code,
        host: Some(host),
        detail,
    }
}

/// A refusal as an HTTP/1.1 response. The text holds only names that were checked.
pub(super) fn forbidden(detail: &str) -> String {
    let body = format!("guard refused this request: {detail}\n");
    format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn looks_like_http(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"TRACE ",
        b"PRI * HTTP/2.0\r\n",
    ];
    METHODS.iter().any(|method| bytes.starts_with(method))
}

/// Says what a failed handshake most likely means.
pub(super) fn explain_handshake(error: &std::io::Error) -> String {
    const HINT: &str = "the client does not trust guard's authority: point it at the bundle in \
                        SSL_CERT_FILE, AWS_CA_BUNDLE or NODE_EXTRA_CA_CERTS, or it pins certificates";
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired),
        )) => format!("the client refused the certificate ({alert:?}): {HINT}"),
        _ if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("the client closed the connection in the handshake; perhaps {HINT}")
        }
        _ => format!("the TLS handshake failed: {error}"),
    }
}

/// A fatal `access_denied` alert in a record of its own (RFC 8446 §6.2).
pub(super) const ACCESS_DENIED: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];
