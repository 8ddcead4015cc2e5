//! Which payload line a request was signed with: decides whether the gateway must read the whole body.

use http::HeaderMap;

use super::presented::is_lower_hex;
use super::{Algorithm, Form, Presented, SigV4Error, is_s3, pairs, signature_parameter};
use crate::aws::RequestView;

/// What a request says of its payload's part in the signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeclaredPayload {
    /// Nothing: the signature covers the SHA-256 of the whole body.
    Absent,
    /// The body's SHA-256, 64 lower-case hexadecimal digits. To be compared with what is forwarded.
    Sha256(String),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: aws-chunked, its checksum in a trailer, no signature in it.
    StreamingUnsignedTrailer,
    /// `STREAMING-AWS4-…`: the body carries signatures of its parts.
    Streaming(Streaming),
}

/// How a body carries signatures of its parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Streaming {
    /// aws-chunked, every chunk signed.
    Chunks,
    /// As `Chunks`, with a trailer that is signed too.
    ChunksTrailer,
    /// As `Chunks`, in Signature Version 4A.
    EcdsaChunks,
    /// As `ChunksTrailer`, in Signature Version 4A.
    EcdsaChunksTrailer,
    /// An event stream, every event in a signed envelope.
    Events,
}

impl Streaming {
    const ALL: [Self; 5] = [
        Self::Chunks,
        Self::ChunksTrailer,
        Self::EcdsaChunks,
        Self::EcdsaChunksTrailer,
        Self::Events,
    ];

    /// As `x-amz-content-sha256` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Self::ChunksTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            Self::EcdsaChunks => "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
            Self::EcdsaChunksTrailer => "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
            Self::Events => "STREAMING-AWS4-HMAC-SHA256-EVENTS",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Chunks | Self::ChunksTrailer | Self::Events => Algorithm::HmacSha256,
            Self::EcdsaChunks | Self::EcdsaChunksTrailer => Algorithm::EcdsaP256,
        }
    }

    /// Whether a signed trailer follows the chunks.
    pub fn has_trailer(self) -> bool {
        matches!(self, Self::ChunksTrailer | Self::EcdsaChunksTrailer)
    }
}

/// Reads the `x-amz-content-sha256` header.
pub fn declared_payload(headers: &HeaderMap) -> Result<DeclaredPayload, SigV4Error> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(DeclaredPayload::Absent);
    };
    if values.next().is_some() {
        return Err(SigV4Error::Doubled(HEADER));
    }
    read(value.as_bytes())
}

/// As `declared_payload`, for a presigned URL too, which may declare it in the query, and which S3 takes as
/// `UNSIGNED-PAYLOAD` where it declares nothing.
pub fn declared_payload_of(
    presented: &Presented,
    request: &RequestView<'_>,
) -> Result<DeclaredPayload, SigV4Error> {
    let declared = declared_payload(request.headers)?;
    if let DeclaredPayload::Streaming(kind) = declared
        && kind.algorithm() != presented.algorithm
    {
        return Err(SigV4Error::Malformed {
            part: HEADER,
            why: "its algorithm is not that of the signature",
        });
    }
    if declared != DeclaredPayload::Absent {
        return Ok(declared);
    }
    match (presented.algorithm, presented.form) {
        // It never covers the body.
        (Algorithm::HmacSha1, _) => return Ok(DeclaredPayload::Unsigned),
        (_, Form::Header) => return Ok(declared),
        _ => {}
    }
    match pairs(request.query).find(|(name, _)| signature_parameter(name) == Some(HEADER)) {
        Some((_, value)) => read(value.as_bytes()),
        None if is_s3(&presented.service) => Ok(DeclaredPayload::Unsigned),
        None => Ok(DeclaredPayload::Absent),
    }
}

const HEADER: &str = "x-amz-content-sha256";

fn read(value: &[u8]) -> Result<DeclaredPayload, SigV4Error> {
    match value {
        b"UNSIGNED-PAYLOAD" => Ok(DeclaredPayload::Unsigned),
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(DeclaredPayload::StreamingUnsignedTrailer),
        value => {
            let streaming = Streaming::ALL
                .into_iter()
                .find(|kind| kind.name().as_bytes() == value);
            match (streaming, str::from_utf8(value)) {
                (Some(kind), _) => Ok(DeclaredPayload::Streaming(kind)),
                (None, Ok(hex)) if hex.len() == 64 && hex.bytes().all(is_lower_hex) => {
                    Ok(DeclaredPayload::Sha256(hex.to_owned()))
                }
                _ => Err(SigV4Error::Malformed {
                    part: HEADER,
                    why: "it must be 64 lower-case hexadecimal digits, UNSIGNED-PAYLOAD, \
                          STREAMING-UNSIGNED-PAYLOAD-TRAILER or STREAMING-AWS4-… as AWS documents them",
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn declared(values: &[&str]) -> Result<DeclaredPayload, SigV4Error> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        declared_payload(&headers)
    }

    #[test]
    fn reads_every_form() {
        assert_eq!(declared(&[]), Ok(DeclaredPayload::Absent));
        assert_eq!(
            declared(&[EMPTY]),
            Ok(DeclaredPayload::Sha256(EMPTY.to_owned()))
        );
        assert_eq!(
            declared(&["UNSIGNED-PAYLOAD"]),
            Ok(DeclaredPayload::Unsigned)
        );
        assert_eq!(
            declared(&["STREAMING-UNSIGNED-PAYLOAD-TRAILER"]),
            Ok(DeclaredPayload::StreamingUnsignedTrailer)
        );
        for kind in Streaming::ALL {
            let streaming = Ok(DeclaredPayload::Streaming(kind));
            assert_eq!(declared(&[kind.name()]), streaming);
        }
    }

    #[test]
    fn refuses_what_it_cannot_carry() {
        for odd in [
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILERS",
            "STREAMING-AWS4-HMAC-SHA512-PAYLOAD",
            "",
            "unsigned-payload",
            "STREAMING",
            &EMPTY.to_uppercase(),
            &EMPTY[1..],
        ] {
            assert!(
                matches!(declared(&[odd]), Err(SigV4Error::Malformed { .. })),
                "{odd}"
            );
        }
        assert_eq!(declared(&[EMPTY, EMPTY]), Err(SigV4Error::Doubled(HEADER)));
    }

    #[test]
    fn a_url_declares_in_its_query_too() {
        let of = |form, service: &str, query: &str| {
            let presented = Presented {
                algorithm: Algorithm::HmacSha256,
                access_key_id: String::new(),
                region: String::new(),
                service: service.to_owned(),
                signed_headers: Vec::new(),
                signature: String::new(),
                session_token: None,
                form,
                date: String::new(),
            };
            declared_payload_of(
                &presented,
                &RequestView {
                    method: &http::Method::GET,
                    host: "h",
                    path: "/",
                    query,
                    headers: &HeaderMap::new(),
                    body: crate::aws::BodyView::Unread,
                },
            )
        };
        let url = Form::Query { expires: 60 };
        let hash = format!("X-Amz-Content-Sha256={EMPTY}");
        let unsigned = "a=b&x-amz-content-sha256=UNSIGNED-PAYLOAD";
        for (form, service, query, declared) in [
            (url, "s3", "", DeclaredPayload::Unsigned),
            (
                url,
                "s3",
                hash.as_str(),
                DeclaredPayload::Sha256(EMPTY.to_owned()),
            ),
            (url, "sts", "", DeclaredPayload::Absent),
            (url, "sts", unsigned, DeclaredPayload::Unsigned),
            (Form::Header, "s3", unsigned, DeclaredPayload::Absent),
        ] {
            assert_eq!(of(form, service, query), Ok(declared), "{service} {query}");
        }
    }
}
