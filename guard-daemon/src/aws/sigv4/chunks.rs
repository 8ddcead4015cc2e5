//! The signatures inside a body: those of aws-chunked chunks, of their trailer, and of event-stream envelopes.
//!
//! Each covers the one before it; the first covers the signature of the request's head, the seed. The gateway
//! runs two chains side by side: one checks what the agent signed with its dummy secret, the other makes what
//! leaves with the real one. Nothing is framed here.
//!
//! Source: Amazon S3 API Reference, "Transferring Payload in Multiple Chunks (Chunked Upload)" and "… with Trailing
//! Headers"; Amazon Transcribe Developer Guide, "Event stream encoding".

use std::borrow::Cow;
use std::fmt;

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, Key};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::version4a::KeyPair;
use super::{Algorithm, Presented, SigV4Error, Signed, hmac_key, stamp, version4a};
use crate::aws::Scope;

/// The SHA-256 of nothing, hexadecimal: a chunk's header line, which is always empty.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What the parts are signed with.
enum PartKey {
    Hmac {
        secret: Zeroizing<String>,
        key: Box<Key>,
    },
    Ecdsa(KeyPair),
}

/// A chain of signatures. Its secret and key are zeroised on drop.
pub struct ChunkSigner {
    key: PartKey,
    /// The scope's day is that of `date`.
    date: String,
    region: String,
    service: String,
    /// The last signature, hexadecimal: at first the seed.
    previous: String,
}

impl ChunkSigner {
    /// The chain that a client's request begins, with the secret of its dummies. The request's signature must
    /// have been verified.
    pub fn of_client(presented: &Presented, secret: &str) -> Result<Self, SigV4Error> {
        let scope = Scope {
            region: &presented.region,
            service: &presented.service,
        };
        let key = (presented.access_key_id.as_str(), secret);
        Self::new(
            presented.algorithm,
            key,
            &presented.date,
            scope,
            &presented.signature,
        )
    }

    /// The chain of what leaves: `scope` and `credentials` are those that its head was signed with.
    pub fn leaving(
        signed: &Signed,
        scope: Scope<'_>,
        credentials: &Credentials,
    ) -> Result<Self, SigV4Error> {
        let key = (credentials.access_key_id(), credentials.secret_access_key());
        Self::new(
            signed.algorithm,
            key,
            &signed.date,
            scope,
            &signed.signature,
        )
    }

    fn new(
        algorithm: Algorithm,
        (access_key_id, secret): (&str, &str),
        date: &str,
        scope: Scope<'_>,
        seed: &str,
    ) -> Result<Self, SigV4Error> {
        let key = match algorithm {
            Algorithm::HmacSha256 => PartKey::Hmac {
                key: Box::new(hmac_key(secret, day(date), scope)),
                secret: Zeroizing::new(secret.to_owned()),
            },
            Algorithm::EcdsaP256 => PartKey::Ecdsa(KeyPair::of(access_key_id, secret)?),
            Algorithm::HmacSha1 => {
                return Err(SigV4Error::Unsupported(
                    "signatures inside a body in Signature Version 2",
                ));
            }
        };
        Ok(Self {
            key,
            date: date.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service.to_owned(),
            previous: seed.to_owned(),
        })
    }

    /// Signs a chunk whose data have this SHA-256 (hexadecimal, lower case). The last chunk has none: the SHA-256
    /// of nothing. Returns its `chunk-signature`: 64 digits, in Version 4A 144, padded with `*`.
    pub fn chunk(&mut self, sha256: &str) -> Result<Cow<'_, str>, SigV4Error> {
        let to_sign = self.chunk_to_sign(sha256);
        self.sign(&to_sign)
    }

    /// Signs the trailer, whose SHA-256 (hexadecimal, lower case) is that of its `name:value\n` lines. Returns its
    /// `x-amz-trailer-signature`, as `chunk` does.
    pub fn trailer(&mut self, sha256: &str) -> Result<Cow<'_, str>, SigV4Error> {
        let to_sign = self.trailer_to_sign(sha256);
        self.sign(&to_sign)
    }

    /// Signs an envelope dated `millis` after the epoch (its `:date` header, here as it is encoded). An empty
    /// `payload` ends the stream. Returns its `:chunk-signature`. There are none in Version 4A.
    pub fn event(
        &mut self,
        millis: i64,
        date_header: &[u8],
        payload: &[u8],
    ) -> Result<[u8; 32], SigV4Error> {
        let to_sign = self.event_to_sign(millis, date_header, payload)?;
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(self.event_key()?, to_sign.as_bytes()).as_ref());
        self.previous = hex::encode(signature);
        Ok(signature)
    }

    /// As `chunk`, for a chunk that is signed: compares in constant time. A chain ends with its first mismatch.
    pub fn verify_chunk(&mut self, sha256: &str, signature: &str) -> Result<(), SigV4Error> {
        let to_sign = self.chunk_to_sign(sha256);
        self.verify(&to_sign, signature)
    }

    /// As `verify_chunk`, for the trailer.
    pub fn verify_trailer(&mut self, sha256: &str, signature: &str) -> Result<(), SigV4Error> {
        let to_sign = self.trailer_to_sign(sha256);
        self.verify(&to_sign, signature)
    }

    /// As `verify_chunk`, for an envelope. How old it may be is the caller's to say.
    pub fn verify_event(
        &mut self,
        millis: i64,
        date_header: &[u8],
        payload: &[u8],
        signature: &[u8],
    ) -> Result<(), SigV4Error> {
        let to_sign = self.event_to_sign(millis, date_header, payload)?;
        hmac::verify(self.event_key()?, to_sign.as_bytes(), signature)
            .map_err(|_other| SigV4Error::PartMismatch)?;
        self.previous = hex::encode(signature);
        Ok(())
    }

    fn chunk_to_sign(&self, sha256: &str) -> String {
        self.to_sign("PAYLOAD", &format!("{EMPTY}\n{sha256}"))
    }

    fn trailer_to_sign(&self, sha256: &str) -> String {
        self.to_sign("TRAILER", sha256)
    }

    /// Each envelope has a date of its own, and the scope follows it over midnight.
    fn event_to_sign(
        &mut self,
        millis: i64,
        date_header: &[u8],
        payload: &[u8],
    ) -> Result<String, SigV4Error> {
        let date = OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000))
            .ok()
            .and_then(stamp::of)
            .ok_or(SigV4Error::Malformed {
                part: ":date",
                why: "it must be a time of this age",
            })?;
        if let PartKey::Hmac { secret, key } = &mut self.key
            && day(&date) != day(&self.date)
        {
            let scope = Scope {
                region: &self.region,
                service: &self.service,
            };
            **key = hmac_key(secret, day(&date), scope);
        }
        self.date = date;
        let hash = |bytes| hex::encode(digest(&SHA256, bytes));
        Ok(self.to_sign(
            "PAYLOAD",
            &format!("{}\n{}", hash(date_header), hash(payload)),
        ))
    }

    fn event_key(&self) -> Result<&Key, SigV4Error> {
        match &self.key {
            PartKey::Hmac { key, .. } => Ok(key),
            PartKey::Ecdsa(_) => Err(SigV4Error::Unsupported("events in Version 4A")),
        }
    }

    fn to_sign(&self, part: &str, hashes: &str) -> String {
        let day = day(&self.date);
        let (algorithm, region) = match self.key {
            PartKey::Hmac { .. } => ("AWS4-HMAC-SHA256", format!("{}/", self.region)),
            PartKey::Ecdsa(_) => (version4a::ALGORITHM, String::new()),
        };
        format!(
            "{algorithm}-{part}\n{}\n{day}/{region}{}/aws4_request\n{}\n{hashes}",
            self.date, self.service, self.previous,
        )
    }

    fn sign(&mut self, to_sign: &str) -> Result<Cow<'_, str>, SigV4Error> {
        match &self.key {
            PartKey::Hmac { key, .. } => {
                self.previous = hex::encode(hmac::sign(key, to_sign.as_bytes()));
                Ok(Cow::Borrowed(&self.previous))
            }
            PartKey::Ecdsa(pair) => {
                self.previous = pair.sign(to_sign)?;
                let width = version4a::SIGNATURE_DIGITS;
                Ok(Cow::Owned(format!("{:*<width$}", self.previous)))
            }
        }
    }

    fn verify(&mut self, to_sign: &str, signature: &str) -> Result<(), SigV4Error> {
        let (signature, verified) = match &self.key {
            PartKey::Hmac { key, .. } => {
                let mut bytes = [0; 32];
                let canonical = signature.bytes().all(|digit| !digit.is_ascii_uppercase())
                    && hex::decode_to_slice(signature, &mut bytes).is_ok();
                let verified = hmac::verify(key, to_sign.as_bytes(), &bytes).is_ok();
                (signature, canonical && verified)
            }
            // The next one goes on from this one without its padding.
            PartKey::Ecdsa(pair) => {
                let digits = signature.trim_end_matches('*');
                (digits, pair.verifies(to_sign, digits))
            }
        };
        if !verified {
            return Err(SigV4Error::PartMismatch);
        }
        signature.clone_into(&mut self.previous);
        Ok(())
    }
}

/// Says nothing of the secret.
impl fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigner")
            .field("date", &self.date)
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn day(date: &str) -> &str {
    date.get(..8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn chain(seed: &str) -> ChunkSigner {
        let scope = Scope {
            region: "us-east-1",
            service: "s3",
        };
        let date = "20130524T000000Z";
        ChunkSigner::new(Algorithm::HmacSha256, (KEY, SECRET), date, scope, seed).unwrap()
    }

    fn sha256(data: &[u8]) -> String {
        hex::encode(digest(&SHA256, data))
    }

    /// Amazon S3 API Reference, both pages' examples: 66 560 letters `a` in chunks of 64 KiB.
    #[test]
    fn the_documented_examples_come_out() {
        let letters = vec![b'a'; 65_536];
        let parts = [&letters[..], &letters[..1024], b""];
        let plain = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        let with_trailer = [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ];
        let lines = b"x-amz-checksum-crc32c:sOO8/Q==\n";
        let trailer = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
        for (seed, signatures, trailer) in [
            (
                "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
                plain,
                None,
            ),
            (
                "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
                with_trailer,
                Some(trailer),
            ),
        ] {
            let (mut made, mut checked) = (chain(seed), chain(seed));
            for (data, signature) in parts.iter().zip(signatures) {
                assert_eq!(made.chunk(&sha256(data)).unwrap(), signature);
                assert_eq!(checked.verify_chunk(&sha256(data), signature), Ok(()));
            }
            if let Some(signature) = trailer {
                assert_eq!(made.trailer(&sha256(lines)).unwrap(), signature);
                assert_eq!(checked.verify_trailer(&sha256(lines), signature), Ok(()));
            }
        }
    }

    #[test]
    fn a_chunk_out_of_its_place_is_refused() {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let mut made = chain(seed);
        let first = made.chunk(&sha256(b"a")).unwrap().into_owned();
        let second = made.chunk(&sha256(b"a")).unwrap().into_owned();
        let wrong = Err(SigV4Error::PartMismatch);
        for (data, signature) in [
            ("a", second.as_str()),
            ("b", &first),
            ("a", &first.to_uppercase()),
            ("a", &first[1..]),
            ("a", ""),
        ] {
            let data = sha256(data.as_bytes());
            assert_eq!(chain(seed).verify_chunk(&data, signature), wrong);
        }
        assert_eq!(
            chain(&second).verify_chunk(&sha256(b"a"), &first),
            wrong,
            "another request's chunk"
        );
    }

    /// The string to sign, as aws-c-auth has it: no region, the signature before without its padding.
    #[test]
    fn version_4a_pads_what_it_signs() {
        let scope = Scope {
            region: "*",
            service: "s3",
        };
        let date = "20130524T000000Z";
        let chain =
            || ChunkSigner::new(Algorithm::EcdsaP256, (KEY, SECRET), date, scope, "3045").unwrap();
        let (mut made, mut checked) = (chain(), chain());
        let pair = KeyPair::of(KEY, SECRET).unwrap();
        let mut previous = "3045".to_owned();
        for _ in 0..8 {
            let digest = sha256(b"data");
            let signature = made.chunk(&digest).unwrap().into_owned();
            assert_eq!(signature.len(), 144);
            assert_eq!(checked.verify_chunk(&digest, &signature), Ok(()));
            let digits = signature.trim_end_matches('*');
            let text = format!(
                "AWS4-ECDSA-P256-SHA256-PAYLOAD\n{date}\n20130524/s3/aws4_request\n{previous}\n{EMPTY}\n{digest}"
            );
            assert!(pair.verifies(&text, digits));
            digits.clone_into(&mut previous);
        }
        let lines = sha256(b"x-amz-checksum-crc32c:sOO8/Q==\n");
        let signature = made.trailer(&lines).unwrap().into_owned();
        assert_eq!(checked.verify_trailer(&lines, &signature), Ok(()));
        let moved = Err(SigV4Error::PartMismatch);
        assert_eq!(chain().verify_trailer(&lines, &signature), moved);
        assert!(made.event(0, b"", b"").is_err());
    }

    #[test]
    fn an_envelope_is_covered_with_its_date_and_its_place() {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let midnight = 1_369_353_600_000_i64;
        let mut made = chain(seed);
        let mut sent = Vec::new();
        // The second is of another day.
        for (millis, payload) in [
            (midnight, &b"one"[..]),
            (midnight + 86_400_000, b"two"),
            (midnight + 86_400_999, b""),
        ] {
            let header = millis.to_be_bytes();
            let signature = made.event(millis, &header, payload).unwrap();
            sent.push((millis, header, payload, signature));
        }
        let mut checked = chain(seed);
        for (millis, header, payload, signature) in &sent {
            assert_eq!(
                checked.verify_event(*millis, header, payload, signature),
                Ok(())
            );
        }
        let (millis, header, payload, signature) = &sent[1];
        let wrong = Err(SigV4Error::PartMismatch);
        let mut skipped = chain(seed);
        assert_eq!(
            skipped.verify_event(*millis, header, payload, signature),
            wrong
        );
        for far in [i64::MIN, i64::MAX] {
            assert!(chain(seed).event(far, b"", b"").is_err());
        }
    }
}
