//! A provider's public keys, and which of them a token's header may mean.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::strict;

/// Keys of a set at the most.
const MOST_KEYS: usize = 64;

/// A provider's keys for signatures.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// What it may be used with, where its provider says so.
    algorithm: Option<KeyAlgorithm>,
    curve: Option<EllipticCurve>,
    public: DecodingKey,
}

impl Keys {
    /// Reads a key set (RFC 7517). A key of another kind or use is left out; the error says why the set is none.
    pub(super) fn read(document: &[u8]) -> Result<Self, String> {
        let mut set = strict::object(document).map_err(|error| error.to_string())?;
        let Some(Value::Array(keys)) = set.remove("keys") else {
            return Err("it has no list `keys`".to_owned());
        };
        if keys.len() > MOST_KEYS {
            return Err(format!("it has {} keys, more than {MOST_KEYS}", keys.len()));
        }
        Ok(Self(keys.into_iter().filter_map(Key::read).collect()))
    }

    /// The keys that may have made a signature: those of the token's `kid`, or where it names none, all; and of them
    /// those that are for its algorithm.
    pub(super) fn of<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        self.0
            .iter()
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
            .filter(move |key| key.is_for(algorithm))
            .map(|key| &key.public)
    }
}

impl Key {
    fn read(mut value: Value) -> Option<Self> {
        // RFC 9864's name for the same.
        if value.get("alg").and_then(Value::as_str) == Some("Ed25519") {
            value["alg"] = "EdDSA".into();
        }
        let key: Jwk = serde_json::from_value(value).ok()?;
        let common = &key.common;
        let signs = match &common.public_key_use {
            None => true,
            Some(usage) => *usage == PublicKeyUse::Signature,
        };
        let verifies = match &common.key_operations {
            None => true,
            Some(operations) => operations.contains(&KeyOperations::Verify),
        };
        let curve = match &key.algorithm {
            AlgorithmParameters::RSA(_) => None,
            AlgorithmParameters::EllipticCurve(it) => Some(it.curve.clone()),
            AlgorithmParameters::OctetKeyPair(it) => Some(it.curve.clone()),
            // A shared secret has no place in a public set; and nothing is known of other kinds.
            _ => return None,
        };
        (signs && verifies).then_some(())?;
        Some(Self {
            id: common.key_id.clone(),
            algorithm: common.key_algorithm,
            curve,
            public: DecodingKey::from_jwk(&key).ok()?,
        })
    }

    /// Never by the token's word alone: the kind of the key decides what it can be used with, and so does its `alg`,
    /// where it has one. One without may be used with every algorithm of its kind that the issuer is trusted with.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let curve = match algorithm {
            Algorithm::ES256 => Some(EllipticCurve::P256),
            Algorithm::ES384 => Some(EllipticCurve::P384),
            Algorithm::EdDSA => Some(EllipticCurve::Ed25519),
            _ => None,
        };
        let family = self.public.family();
        let stated = self.algorithm.is_none_or(|it| it == algorithm.into());
        family != AlgorithmFamily::Hmac
            && family.algorithms().contains(&algorithm)
            && self.curve == curve
            && stated
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(keys: &str, id: Option<&str>, algorithm: Algorithm) -> usize {
        let keys = Keys::read(format!("{{\"keys\":[{keys}]}}").as_bytes()).unwrap();
        keys.of(id, algorithm).count()
    }

    #[test]
    fn a_key_is_used_for_what_it_is() {
        use Algorithm::{ES256, ES384, EdDSA, HS256, PS256, RS256};

        // The last bits of a whole number of bytes are zero.
        let n = format!("{}Q", "s".repeat(341));
        let rsa = |more: &str| format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"{more}}}"#);
        let (x, y) = (
            format!("{}A", "x".repeat(42)),
            format!("{}A", "y".repeat(42)),
        );
        let ec = |curve: &str| format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#);
        let ed = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"Ed25519"}}"#);
        let secret = r#"{"kty":"oct","k":"c2VjcmV0"}"#;
        for (key, fits) in [
            (rsa(""), &[RS256, PS256][..]),
            (rsa(r#","alg":"RS256""#), &[RS256]),
            (rsa(r#","alg":"PS256","use":"sig""#), &[PS256]),
            (rsa(r#","alg":"HS256""#), &[]),
            (rsa(r#","alg":"none""#), &[]),
            (rsa(r#","use":"enc""#), &[]),
            (rsa(r#","key_ops":["encrypt"]"#), &[]),
            (rsa(r#","key_ops":["verify"]"#), &[RS256, PS256]),
            (ec("P-256"), &[ES256]),
            (ec("P-384"), &[ES384]),
            (ec("secp256k1"), &[]),
            (ed, &[EdDSA]),
            (secret.to_owned(), &[]),
            (r#"{"kty":"unheard-of"}"#.to_owned(), &[]),
            ("7".to_owned(), &[]),
        ] {
            for algorithm in [RS256, PS256, ES256, ES384, EdDSA, HS256] {
                let usable = count(&key, None, algorithm) == 1;
                assert_eq!(usable, fits.contains(&algorithm), "{key} {algorithm:?}");
            }
        }
        let two = format!("{},{}", rsa(r#","kid":"a""#), rsa(r#","kid":"b""#));
        assert_eq!(count(&two, Some("a"), RS256), 1);
        assert_eq!(count(&two, Some("c"), RS256), 0);
        assert_eq!(count(&two, None, RS256), 2);
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        let many = vec!["{}"; MOST_KEYS + 1].join(",");
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert!(Keys::read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Keys::read(format!("{{\"keys\":[{many}]}}").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,100}", n in "[A-Za-z0-9_=-]{0,40}") {
            let _ = Keys::read(text.as_bytes());
            let key = format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"{n}"}}]}}"#);
            if let Ok(keys) = Keys::read(key.as_bytes()) {
                for key in keys.of(None, Algorithm::RS256) {
                    let _ = jsonwebtoken::crypto::verify(&n, text.as_bytes(), key, Algorithm::RS256);
                }
            }
        }
    }
}
