//! A person's token as it is written: bounded, taken apart once, not yet believed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::{TokenError, shown};
use super::strict;

/// Bytes of a token at the most.
pub const LARGEST_TOKEN: usize = 16 * 1024;

/// A JSON Web Token, as who starts a session hands it over. Whoever has it can be taken for the person, so it is
/// wiped when dropped, and never shown.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token from a file or variable; white space around it is not part of it.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// Takes it apart. Nothing of what it says is checked yet but its form.
    pub(super) fn read(&self) -> Result<Read<'_>, TokenError> {
        let wrong = |why: &str| TokenError::Malformed(why.to_owned());
        let text = self.0.as_str();
        if text.len() > LARGEST_TOKEN {
            return Err(wrong("it is longer than 16 KiB"));
        }
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(wrong(match parts.len() {
                5 => "it is encrypted (JWE)",
                _ => "it is no JSON Web Token",
            }));
        };
        let signed = &text[..header.len() + 1 + claims.len()];
        let header = Header::of(&part(header, "header")?)?;
        if signature.is_empty() {
            return Err(TokenError::Malformed(format!(
                "it has no signature (its algorithm is {})",
                shown(&header.algorithm)
            )));
        }
        Ok(Read {
            header,
            claims: part(claims, "claims")?,
            signed,
            signature,
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A token, taken apart.
pub(super) struct Read<'a> {
    pub(super) header: Header,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'a str,
    /// The signature, base64url.
    pub(super) signature: &'a str,
}

impl Read<'_> {
    /// Who it says has issued it.
    pub(super) fn issuer(&self) -> Result<&str, TokenError> {
        let issuer = self.claims.get("iss").and_then(Value::as_str);
        issuer.ok_or_else(|| TokenError::Claim {
            claim: "iss".to_owned(),
            why: "is missing or no text; every ID token has it".to_owned(),
        })
    }
}

/// What of a header counts. Keys that it brings along or points to (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) key: Option<String>,
}

impl Header {
    fn of(members: &Map<String, Value>) -> Result<Self, TokenError> {
        let wrong = |why: String| TokenError::Malformed(why);
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(format!("`{name}` of its header is no text"))),
        };
        // Whoever does not understand what is in it must refuse the token (RFC 7515, 4.1.11).
        if members.contains_key("crit") {
            return Err(wrong(
                "its header has `crit`, and guard knows no extensions".to_owned(),
            ));
        }
        if let Some(kind) = text("typ")? {
            let kind = kind.to_ascii_lowercase();
            // Other kinds, such as `logout+jwt`, are of the same issuer and say something else.
            if !matches!(
                kind.strip_prefix("application/").unwrap_or(&kind),
                "jwt" | "at+jwt"
            ) {
                return Err(wrong(format!("it is of the type {}", shown(&kind))));
            }
        }
        Ok(Self {
            algorithm: text("alg")?.ok_or_else(|| wrong("its header has no `alg`".to_owned()))?,
            key: text("kid")?,
        })
    }
}

fn part(text: &str, name: &str) -> Result<Map<String, Value>, TokenError> {
    let wrong = |why: &dyn fmt::Display| TokenError::Malformed(format!("its {name}: {why}"));
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| wrong(&error))?;
    let bytes = Zeroizing::new(bytes);
    strict::object(&bytes).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str) -> Token {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        Token::new(&format!("{}.{}.c2ln", encode(header), encode(claims)))
    }

    #[test]
    fn only_the_plain_form_is_read() {
        let plain = r#"{"alg":"RS256","kid":"a","jwk":{},"jku":"https://evil.example"}"#;
        let read = token(plain, r#"{"iss":"https://i"}"#);
        let read = read.read().unwrap();
        assert_eq!(read.issuer(), Ok("https://i"));
        assert_eq!(read.header.key.as_deref(), Some("a"));
        for (header, claims, part) in [
            (r#"{"alg":"RS256","crit":["b64"]}"#, "{}", "crit"),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, "{}", "logout"),
            (r#"{"alg":"RS256","alg":"none"}"#, "{}", "twice"),
            (r#"{"alg":7}"#, "{}", "`alg`"),
            ("{}", "{}", "no `alg`"),
            (r#"{"alg":"RS256","kid":1}"#, "{}", "`kid`"),
            (r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#, "twice"),
            (r#"{"alg":"RS256"}"#, "[]", "object"),
        ] {
            let error = token(header, claims).read().err().unwrap().to_string();
            assert!(error.contains(part), "{header} {claims}: {error}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            "a.b.c.d.e",
            "e30=.e30.x",
            "e30.e30.",
        ] {
            assert!(Token::new(bad).read().is_err(), "{bad}");
        }
        let long = Token::new(&"a".repeat(LARGEST_TOKEN + 1));
        assert!(long.read().err().unwrap().to_string().contains("16 KiB"));
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(…)");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}|[A-Za-z0-9_.-]{0,200}", header in "\\PC{0,60}") {
            let _ = Token::new(&text).read();
            let _ = token(&header, &text).read();
        }
    }
}
