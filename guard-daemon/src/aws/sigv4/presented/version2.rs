//! The signature of Version 2, as S3 takes it: `Authorization: AWS KEY:SIGNATURE`, or `AWSAccessKeyId`, `Signature`
//! and `Expires` in the query.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::DATE;

use super::super::{Algorithm, decoded, pairs, version2, version2_parameter};
use super::{Form, Presented, SigV4Error, access_key_id, session_token, stamp};
use crate::aws::RequestView;

/// Bytes of one parameter.
const PARAMETER_BYTES: usize = 512;
/// The last second of the year 9999.
const LATEST: i64 = 253_402_300_799;

/// The parameters of a signature in the query, decoded.
#[derive(Default)]
pub(super) struct QuerySignature {
    key: Option<String>,
    signature: Option<String>,
    expires: Option<String>,
}

impl QuerySignature {
    /// `None` where the query names no access key: `Signature` and `Expires` alone may be anything.
    pub(super) fn read(query: &str) -> Result<Option<Self>, SigV4Error> {
        let mut found = Self::default();
        let mut doubled = None;
        for (encoded, value) in pairs(query) {
            let Some(name) = version2_parameter(encoded) else {
                continue;
            };
            let slot = match name {
                "AWSAccessKeyId" => &mut found.key,
                "Signature" => &mut found.signature,
                "Expires" => &mut found.expires,
                _ => {
                    return Err(SigV4Error::Unsupported(
                        "Signature Version 2 of the query protocol",
                    ));
                }
            };
            if slot.is_some() {
                doubled = Some(name);
            }
            // Nobody's signature is this long, but another parameter of this name may be.
            let value = value.get(..PARAMETER_BYTES).unwrap_or(value);
            *slot = Some(decoded(value).unwrap_or_default());
        }
        match doubled {
            Some(name) if found.key.is_some() => Err(SigV4Error::Doubled(name)),
            _ => Ok(found.key.is_some().then_some(found)),
        }
    }

    pub(super) fn finish(self, request: &RequestView<'_>) -> Result<Presented, SigV4Error> {
        let missing = SigV4Error::Missing;
        let key = self.key.ok_or(missing("AWSAccessKeyId"))?;
        let signature = self.signature.ok_or(missing("Signature"))?;
        let expires = self.expires.ok_or(missing("Expires"))?;
        let until = Some(expires.as_str())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok())
            .filter(|seconds| *seconds <= LATEST)
            .ok_or(SigV4Error::Malformed {
                part: "Expires",
                why: "it must be a time in seconds after the epoch",
            })?;
        assemble(
            request,
            &key,
            signature,
            Form::Until { until },
            String::new(),
        )
    }
}

/// `KEY:SIGNATURE`.
pub(super) fn from_header(value: &str, request: &RequestView<'_>) -> Result<Presented, SigV4Error> {
    let (key, signature) = value.split_once(':').ok_or(SigV4Error::Malformed {
        part: "the Authorization header",
        why: "it must be AWS KEY:SIGNATURE",
    })?;
    let headers = request.headers;
    let date = headers
        .get("x-amz-date")
        .or_else(|| headers.get(DATE))
        .ok_or(SigV4Error::Missing("Date"))?;
    let date = date
        .to_str()
        .ok()
        .and_then(|text| stamp::from_date_header(text.trim()))
        .ok_or(SigV4Error::Malformed {
            part: "Date",
            why: "it must be an HTTP date in GMT",
        })?;
    assemble(request, key, signature.to_owned(), Form::Header, date)
}

fn assemble(
    request: &RequestView<'_>,
    key: &str,
    signature: String,
    form: Form,
    date: String,
) -> Result<Presented, SigV4Error> {
    let Some((_, region)) = version2::host(request.host) else {
        return Err(SigV4Error::Unsupported(
            "Signature Version 2 at services other than S3",
        ));
    };
    // HMAC-SHA1.
    if BASE64_STANDARD.decode(&signature).map(|it| it.len()) != Ok(20) {
        return Err(SigV4Error::Malformed {
            part: "Signature",
            why: "it must be 20 bytes in base64",
        });
    }
    Ok(Presented {
        algorithm: Algorithm::HmacSha1,
        access_key_id: access_key_id(key)?.to_owned(),
        region: region.unwrap_or_else(|| version2::REGION.to_owned()),
        service: "s3".to_owned(),
        signed_headers: Vec::new(),
        signature,
        session_token: session_token(request)?,
        form,
        date,
    })
}
