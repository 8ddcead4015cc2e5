//! The signature in a presigned URL's query.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::super::{SIGNATURE_PARAMETERS, pairs, signature_parameter};
use super::{AUTHORIZATION_BYTES, Found, algorithm};
use super::{Form, Presented, SigV4Error, stamp};
use crate::aws::RequestView;

/// Seven days in seconds: the longest a presigned URL may live.
const MAX_EXPIRES: u32 = 604_800;

/// The parameters of a signature in the query, decoded.
#[derive(Default)]
pub(super) struct QuerySignature<'a> {
    algorithm: Option<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    signed: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    regions: Option<Cow<'a, str>>,
}

impl<'a> QuerySignature<'a> {
    /// `None` where the query holds no part that only a signature has.
    pub(super) fn read(query: &'a str) -> Result<Option<Self>, SigV4Error> {
        let mut found = Self::default();
        let mut others = 0_u16;
        for (encoded, value) in pairs(query) {
            let Some(name) = signature_parameter(encoded) else {
                continue;
            };
            let slot = match name {
                "x-amz-algorithm" => &mut found.algorithm,
                "x-amz-credential" => &mut found.credential,
                "x-amz-date" => &mut found.date,
                "x-amz-expires" => &mut found.expires,
                "x-amz-signedheaders" => &mut found.signed,
                "x-amz-signature" => &mut found.signature,
                "x-amz-region-set" => &mut found.regions,
                _ => {
                    // Read elsewhere or not at all; here it only must not stand twice.
                    let bit = 1 << other_index(name);
                    if others & bit != 0 {
                        return Err(SigV4Error::Doubled(name));
                    }
                    others |= bit;
                    continue;
                }
            };
            let malformed = |why| SigV4Error::Malformed { part: name, why };
            if value.len() > AUTHORIZATION_BYTES {
                return Err(malformed("it is longer than 8 KiB"));
            }
            let Ok(value) = percent_decode_str(value).decode_utf8() else {
                return Err(malformed("it is not UTF-8"));
            };
            if slot.replace(value).is_some() {
                return Err(SigV4Error::Doubled(name));
            }
        }
        let some =
            found.algorithm.is_some() || found.credential.is_some() || found.signature.is_some();
        Ok(some.then_some(found))
    }

    pub(super) fn finish(self, request: &RequestView<'_>) -> Result<Presented, SigV4Error> {
        let missing = SigV4Error::Missing;
        let name = self.algorithm.ok_or(missing("X-Amz-Algorithm"))?;
        let algorithm = algorithm(&name).ok_or(SigV4Error::Unsupported("this X-Amz-Algorithm"))?;
        let credential = self.credential.ok_or(missing("X-Amz-Credential"))?;
        let date = self.date.ok_or(missing("X-Amz-Date"))?;
        let signed = self.signed.ok_or(missing("X-Amz-SignedHeaders"))?;
        let signature = self.signature.ok_or(missing("X-Amz-Signature"))?;
        let expires = self.expires.ok_or(missing("X-Amz-Expires"))?;
        let expires = Some(expires.as_ref())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|seconds| (1..=MAX_EXPIRES).contains(seconds))
            .ok_or(SigV4Error::Malformed {
                part: "X-Amz-Expires",
                why: "it must be 1 to 604800 seconds",
            })?;
        if stamp::seconds(&date).is_none() {
            return Err(SigV4Error::Malformed {
                part: "X-Amz-Date",
                why: "it must be YYYYMMDDTHHMMSSZ",
            });
        }
        let found = Found {
            algorithm,
            credential: &credential,
            signed: &signed,
            signature: &signature,
            regions: self.regions.as_deref(),
            date: date.into_owned(),
            form: Form::Query { expires },
        };
        found.assemble(request)
    }
}

fn other_index(name: &str) -> usize {
    SIGNATURE_PARAMETERS
        .iter()
        .position(|known| *known == name)
        .unwrap_or_default()
}
