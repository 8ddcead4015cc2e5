//! Signature Version 4A: the key pair that follows from an access key, and ECDSA over P-256 with it.
//!
//! A signature is no secret's alone: it is checked with the public key. Each is another one, so that none can be
//! recomputed.
//!
//! Source: AWS IAM User Guide, "Create a signed AWS API request", SigV4a; NIST SP 800-108 (KDF in counter mode),
//! FIPS 186-5 A.2.2.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use zeroize::Zeroizing;

use super::SigV4Error;

/// The algorithm's name.
pub(super) const ALGORITHM: &str = "AWS4-ECDSA-P256-SHA256";
/// Hexadecimal digits of the longest signature: two integers of 33 bytes in DER.
pub(super) const SIGNATURE_DIGITS: usize = 144;

/// The order of P-256 less two.
const ORDER_LESS_TWO: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x4f,
];

/// The key pair of an access key. aws-lc zeroises it on drop.
pub(super) struct KeyPair(EcdsaKeyPair);

impl KeyPair {
    /// Derives it.
    pub(super) fn of(access_key_id: &str, secret: &str) -> Result<Self, SigV4Error> {
        let failed = || SigV4Error::Unsignable("no Version 4A key follows from its credentials");
        let scalar = scalar(access_key_id, secret).ok_or_else(failed)?;
        let pair = || {
            let private = PrivateKey::from_private_key(&ECDH_P256, scalar.as_slice()).ok()?;
            let public = private.compute_public_key().ok()?;
            EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                scalar.as_slice(),
                public.as_ref(),
            )
            .ok()
        };
        pair().map(Self).ok_or_else(failed)
    }

    /// The signature, DER in hexadecimal.
    pub(super) fn sign(&self, to_sign: &str) -> Result<String, SigV4Error> {
        let signature = self.0.sign(&SystemRandom::new(), to_sign.as_bytes());
        let failed = |_failed| SigV4Error::Unsignable("its Version 4A signature cannot be made");
        signature.map(hex::encode).map_err(failed)
    }

    /// Whether this is a signature, DER in lower-case hexadecimal.
    pub(super) fn verifies(&self, to_sign: &str, signature: &str) -> bool {
        let canonical = !signature.bytes().any(|digit| digit.is_ascii_uppercase());
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0.public_key());
        match hex::decode(signature) {
            Ok(bytes) if canonical => public.verify(to_sign.as_bytes(), &bytes).is_ok(),
            _ => false,
        }
    }
}

/// The private key: the first candidate of the KDF that is in range, plus one. All but one in 2^32 secrets have it
/// in the first.
fn scalar(access_key_id: &str, secret: &str) -> Option<Zeroizing<[u8; 32]>> {
    let secret = Zeroizing::new(format!("AWS4A{secret}"));
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    (1..=254_u8).find_map(|counter| {
        let mut context = hmac::Context::with_key(&key);
        for part in [
            &1_u32.to_be_bytes()[..],
            ALGORITHM.as_bytes(),
            &[0],
            access_key_id.as_bytes(),
            &[counter],
            &256_u32.to_be_bytes(),
        ] {
            context.update(part);
        }
        let mut candidate = Zeroizing::new([0; 32]);
        candidate.copy_from_slice(context.sign().as_ref());
        if *candidate > ORDER_LESS_TWO {
            return None;
        }
        for byte in candidate.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
        Some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of AWS's signing test suite.
    #[test]
    fn the_published_key_comes_out() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let pair = KeyPair::of("AKIDEXAMPLE", secret).unwrap();
        let point = concat!(
            "04",
            "b6618f6a65740a99e650b33b6b4b5bd0d43b176d721a3edfea7e7d2d56d936b1",
            "865ed22a7eadc9c5cb9d2cbaca1b3699139fedc5043dc6661864218330c8e518"
        );
        assert_eq!(hex::encode(pair.0.public_key()), point);
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let pair = KeyPair::of("AKIAIOSFODNN7EXAMPLE", "secret").unwrap();
        let other = KeyPair::of("AKIAIOSFODNN7EXAMPLE", "another").unwrap();
        for _ in 0..20 {
            let signature = pair.sign("text").unwrap();
            assert!(signature.len() <= SIGNATURE_DIGITS);
            assert!(pair.verifies("text", &signature));
            assert!(!pair.verifies("texT", &signature));
            assert!(!other.verifies("text", &signature));
            assert!(!pair.verifies("text", &signature.to_uppercase()));
            assert!(!pair.verifies("text", &format!("{signature}00")));
            assert!(!pair.verifies("text", &signature[..signature.len() - 2]));
        }
        assert!(!pair.verifies("text", ""));
    }
}
