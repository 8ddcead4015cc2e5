//! ClientHellos by hand, and a client that believes any certificate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::Stop;

/// A ClientHello (RFC 8446, 4.1.2) with this server name, whatever bytes it has.
pub(super) fn hello(name: Option<&str>) -> Vec<u8> {
    hello_with(&name.map(server_name).unwrap_or_default())
}

/// With these extensions besides the usual ones.
pub(super) fn hello_with(extensions: &[u8]) -> Vec<u8> {
    let mut all = extensions.to_vec();
    // Versions: 1.3, 1.2. Groups: x25519. Signatures: ECDSA, RSA-PSS. A key share.
    all.extend([0, 43, 0, 5, 4, 3, 4, 3, 3]);
    all.extend([0, 10, 0, 4, 0, 2, 0, 29]);
    all.extend([0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1]);
    all.extend([0, 51, 0, 38, 0, 36, 0, 29, 0, 32]);
    all.extend([9; 32]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 0x01, 0xc0, 0x2b, 1, 0]);
    body.extend((all.len() as u16).to_be_bytes());
    body.extend(all);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    message
}

/// Handshake messages in records of this size.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in message.chunks(size) {
        bytes.extend([22, 3, 1]);
        bytes.extend((part.len() as u16).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

/// The extension with a server name (RFC 6066, 3).
pub(super) fn server_name(name: &str) -> Vec<u8> {
    let size = name.len() as u16;
    let mut extension = vec![0, 0];
    extension.extend((size + 5).to_be_bytes());
    extension.extend((size + 3).to_be_bytes());
    extension.push(0);
    extension.extend(size.to_be_bytes());
    extension.extend(name.bytes());
    extension
}

/// Says this within TLS to whoever answers for the name, and returns the start of the answer.
pub(super) fn say(
    stream: &mut TcpStream,
    name: &str,
    alpn: &[u8],
    request: &[u8],
) -> Result<String, Stop> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |error: Error| Stop::Nothing(format!("TLS: {error}"));
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_bad| Stop::Nothing("bad name".to_owned()))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(failed)?;
    let mut tls = rustls::Stream::new(&mut connection, stream);
    tls.write_all(request).map_err(Stop::io("TLS"))?;
    let mut answer = [0; 64];
    let size = tls.read(&mut answer).map_err(Stop::io("TLS"))?;
    let line = String::from_utf8_lossy(&answer[..size]).into_owned();
    Ok(line.lines().next().unwrap_or_default().to_owned())
}

/// Believes everybody: what is tested is where the connection goes.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
