//! A signed request as it would arrive, and guard's answer to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guard_daemon::aws::sigv4::{
    DeclaredPayload, Payload, Presented, SigV4Error, declared_payload_of, presented, verify,
};
use guard_daemon::aws::{BodyView, RequestView};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) method: Method,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn new<'a>(
        method: &str,
        host: &str,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value.trim()).unwrap();
            map.append(HeaderName::try_from(name).unwrap(), value);
        }
        Self {
            method: method.parse().unwrap(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: map,
            body: body.to_vec(),
        }
    }

    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: BodyView::Whole(&self.body),
        }
    }

    /// As the gateway does.
    pub(crate) fn check(&self, secret: &str, now: u64) -> Result<Presented, SigV4Error> {
        let presented = presented(&self.view())?.ok_or(SigV4Error::Missing("a signature"))?;
        self.check_as(presented, secret, now)
    }

    /// With the signature that was read of it.
    pub(crate) fn check_as(
        &self,
        presented: Presented,
        secret: &str,
        now: u64,
    ) -> Result<Presented, SigV4Error> {
        let payload = match declared_payload_of(&presented, &self.view())? {
            DeclaredPayload::Absent | DeclaredPayload::Sha256(_) => Payload::Bytes(&self.body),
            DeclaredPayload::Unsigned => Payload::Unsigned,
            DeclaredPayload::StreamingUnsignedTrailer => Payload::StreamingUnsignedTrailer,
            DeclaredPayload::Streaming(kind) => Payload::Streaming(kind),
        };
        verify(&presented, &self.view(), payload, secret, at(now))?;
        Ok(presented)
    }
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}
