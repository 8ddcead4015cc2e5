//! Signs what leaves, with the real credentials, in header form.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningParams,
    SigningSettings, UriPathNormalizationMode, sign as sign_http,
};
use aws_sigv4::sign::{v4, v4a};
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{AUTHORIZATION, DATE, HOST, HeaderName, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;

use super::canonical::s3_path;
use super::{Algorithm, Payload, SigV4Error, is_s3, signature_parameter, version2_parameter};
use crate::aws::Scope;

/// What a client authenticates with; none of it leaves.
const CLIENT_AUTHENTICATION: [HeaderName; 7] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    DATE,
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-region-set"),
    HeaderName::from_static("x-amz-s3session-token"),
    HeaderName::from_static("x-amz-security-token"),
];

/// What may change between here and AWS, or what botocore leaves unsigned for that reason. Proxies and AWS's own front
/// ends add to some of these, or put their own in the place.
const UNSIGNED: [&str; 24] = [
    "accept-encoding",
    "baggage",
    "cache-control",
    "cdn-loop",
    "connection",
    "expect",
    "forwarded",
    "host", // Signed, but from the argument.
    "keep-alive",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-amz-content-sha256", // Signed, but from the payload.
    "x-amzn-trace-id",
    "x-real-ip",
];

/// The beginning of further ones: `x-forwarded-for` and its like.
const UNSIGNED_START: &str = "x-forwarded-";

/// How a request is signed: by default with Signature Version 4, a session token as any service takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignAs {
    /// What the client signed it with. What came in Version 2 leaves in Version 4.
    pub algorithm: Algorithm,
    /// Whether the credentials are of S3's `CreateSession`, whose token has a header of its own. Not in Version 4A,
    /// which those buckets do not take.
    pub s3_session: bool,
}

/// What a request was signed with: the signatures inside its body go on from there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// What the signature was made with.
    pub algorithm: Algorithm,
    /// The signature, hexadecimal: the seed.
    pub signature: String,
    /// `YYYYMMDDTHHMMSSZ`.
    pub date: String,
}

/// Strips every client signature (header and query) from `parts` and signs it in header form. The path and
/// the rest of the query leave byte for byte as they came; `Host` becomes `host`. What is signed of an S3 path is how
/// S3 spells it.
///
/// `x-amz-content-sha256` is set from `payload` for S3, and wherever the client sent it. For Version 4A the scope's
/// region is a set of regions.
pub fn sign(
    parts: &mut Parts,
    host: &str,
    payload: Payload<'_>,
    scope: Scope<'_>,
    credentials: &Credentials,
    how: SignAs,
    now: SystemTime,
) -> Result<Signed, SigV4Error> {
    let s3 = is_s3(scope.service);
    let checksum = s3 || parts.headers.contains_key(CONTENT_SHA256);
    for name in CLIENT_AUTHENTICATION {
        parts.headers.remove(name);
    }
    parts.headers.remove(CONTENT_SHA256);
    strip_query(parts)?;
    let host_value = HeaderValue::from_str(host)
        .map_err(|_invalid| SigV4Error::Unsignable("its host is not a header value"))?;
    parts.headers.insert(HOST, host_value);

    let mut settings = SigningSettings::default();
    if s3 {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    if checksum {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    if how.s3_session && how.algorithm != Algorithm::EcdsaP256 {
        settings.session_token_name_override = Some("x-amz-s3session-token");
    }
    let identity: Identity = credentials.clone().into();
    let algorithm = match how.algorithm {
        Algorithm::EcdsaP256 => Algorithm::EcdsaP256,
        Algorithm::HmacSha256 | Algorithm::HmacSha1 => Algorithm::HmacSha256,
    };
    let params = params(algorithm, &identity, scope, settings, now)?;

    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if !target.starts_with('/') {
        return Err(SigV4Error::Unsignable("its target is not a path"));
    }
    let path = parts.uri.path();
    let query = &target[path.len()..];
    let spelt = if s3 { s3_path(path) } else { path.into() };
    let request = SignableRequest::new(
        parts.method.as_str(),
        format!("https://{host}{spelt}{query}"),
        signed_headers(&parts.headers, host)?.into_iter(),
        body(payload),
    )
    .map_err(|_invalid| SigV4Error::Unsignable("its host, path and query do not make a URL"))?;
    let (instructions, signature) = sign_http(request, &params)
        .map_err(|_invalid| {
            SigV4Error::Unsignable("a header or credential has a value that cannot be sent")
        })?
        .into_parts();

    let (headers, _) = instructions.into_parts();
    for header in headers {
        let mut value = HeaderValue::from_str(header.value()).map_err(|_invalid| {
            SigV4Error::Unsignable("a credential has characters that cannot be sent")
        })?;
        value.set_sensitive(header.sensitive() || header.name() == AUTHORIZATION.as_str());
        parts.headers.insert(header.name(), value);
    }
    let date = parts
        .headers
        .get("x-amz-date")
        .and_then(|date| date.to_str().ok());
    Ok(Signed {
        algorithm,
        signature,
        date: date.unwrap_or_default().to_owned(),
    })
}

const CONTENT_SHA256: &str = "x-amz-content-sha256";

fn params<'a>(
    algorithm: Algorithm,
    identity: &'a Identity,
    scope: Scope<'a>,
    settings: SigningSettings,
    now: SystemTime,
) -> Result<SigningParams<'a>, SigV4Error> {
    let incomplete = || SigV4Error::Unsignable("its scope is not complete");
    if algorithm == Algorithm::EcdsaP256 {
        let params = v4a::SigningParams::builder()
            .identity(identity)
            .region_set(scope.region)
            .name(scope.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|_invalid| incomplete())?;
        return Ok(params.into());
    }
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(scope.region)
        .name(scope.service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|_invalid| incomplete())?;
    Ok(params.into())
}

/// Takes the parameters of a signature out of the query and leaves every other byte alone.
fn strip_query(parts: &mut Parts) -> Result<(), SigV4Error> {
    let Some(query) = parts.uri.query() else {
        return Ok(());
    };
    // The signer would sign another query than the one that leaves.
    if percent_decode_str(query).decode_utf8().is_err() {
        return Err(SigV4Error::Unsignable(
            "its query is not UTF-8 once decoded",
        ));
    }
    let version2 = query
        .split('&')
        .any(|pair| version2_parameter(name_of(pair)) == Some("AWSAccessKeyId"));
    let of_signature = |pair: &&str| {
        let name = name_of(pair);
        signature_parameter(name).is_some() || version2 && version2_parameter(name).is_some()
    };
    if !query.split('&').any(|pair| of_signature(&pair)) {
        return Ok(());
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !of_signature(pair))
        .collect();
    let kept = kept.join("&");
    replace_query(parts, &kept)
}

/// Gives a request another query; none where it is empty.
pub(super) fn replace_query(parts: &mut Parts, query: &str) -> Result<(), SigV4Error> {
    let path = parts.uri.path();
    let target = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let unusable = SigV4Error::Unsignable("its path and query do not make a URL");
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_invalid| unusable.clone())?);
    parts.uri = http::Uri::from_parts(uri).map_err(|_invalid| unusable)?;
    Ok(())
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn signed_headers<'a>(
    headers: &'a HeaderMap,
    host: &'a str,
) -> Result<Vec<(&'a str, &'a str)>, SigV4Error> {
    let mut signed = vec![("host", host)];
    for (name, value) in headers {
        let name = name.as_str();
        if UNSIGNED.contains(&name) || name.starts_with(UNSIGNED_START) {
            continue;
        }
        let value = str::from_utf8(value.as_bytes())
            .map_err(|_invalid| SigV4Error::Unsignable("a header's value is not UTF-8"))?;
        signed.push((name, value));
    }
    Ok(signed)
}

fn body(payload: Payload<'_>) -> SignableBody<'_> {
    match payload {
        Payload::Bytes(bytes) => SignableBody::Bytes(bytes),
        Payload::Sha256(hex) => SignableBody::Precomputed(hex.to_owned()),
        Payload::Unsigned => SignableBody::UnsignedPayload,
        Payload::StreamingUnsignedTrailer => SignableBody::StreamingUnsignedPayloadTrailer,
        Payload::Streaming(kind) => SignableBody::Precomputed(kind.name().to_owned()),
    }
}
