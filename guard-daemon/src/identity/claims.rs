//! What a token must say, once its signature is known to be its issuer's (OpenID Connect Core 1.0, 3.1.3.7).

use serde_json::{Map, Value};

use super::error::{TokenError, shown};
use crate::config::{EmailVerified, IssuerConfig, RequiredClaim};
use crate::session::Human;

/// Bytes of a subject or address at the most. OpenID Connect says 255; workloads' subjects name repositories and
/// branches, and are longer.
const LONGEST_NAME: usize = 1024;

/// Audiences that are looked at.
const MOST_AUDIENCES: usize = 64;

type Claims = Map<String, Value>;

/// Whom the token is of; `now` is in seconds since the epoch.
pub(super) fn check(claims: &Claims, issuer: &IssuerConfig, now: u64) -> Result<Human, TokenError> {
    audience(claims, issuer)?;
    times(claims, issuer, now)?;
    for (claim, wanted) in &issuer.required_claims {
        required(claims, claim, wanted)?;
    }
    let subject = text(claims, &issuer.subject)?.ok_or_else(|| {
        wrong(
            &issuer.subject,
            "is missing; `subject` of its [[identity.issuer]] names it",
        )
    })?;
    Ok(Human {
        issuer: issuer.issuer.clone(),
        subject: subject.to_owned(),
        email: email(claims, issuer)?,
    })
}

fn audience(claims: &Claims, issuer: &IssuerConfig) -> Result<(), TokenError> {
    let malformed = || wrong("aud", "is neither a text nor a list of texts");
    let found: Vec<&str> = match claims.get("aud") {
        None => return Err(wrong("aud", "is missing; every ID token has it")),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) if list.len() <= MOST_AUDIENCES => list
            .iter()
            .map(|it| it.as_str().ok_or_else(malformed))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(malformed()),
    };
    let accepted = |audience: &str| issuer.audience.iter().any(|it| it == audience);
    if !found.iter().any(|audience| accepted(audience)) {
        return Err(TokenError::Audience {
            found: shown(&found.join(", ")),
            accepted: issuer.audience.join(", "),
        });
    }
    // Of several, the one that it was issued to must be this host's, or another service could pass it on.
    if found.len() > 1 && !text(claims, "azp")?.is_some_and(accepted) {
        return Err(wrong(
            "azp",
            "names none of this host's audiences, and it has several; ask for a token with one",
        ));
    }
    Ok(())
}

fn times(claims: &Claims, issuer: &IssuerConfig, now: u64) -> Result<(), TokenError> {
    let leeway = issuer.leeway.as_secs();
    let missing = |name: &str| wrong(name, "is missing; every ID token has it");
    let expires = time(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    if now >= expires.saturating_add(leeway) {
        return Err(TokenError::Expired {
            seconds: now - expires,
        });
    }
    let made = time(claims, "iat")?.ok_or_else(|| missing("iat"))?;
    let begins = time(claims, "nbf")?.unwrap_or(0);
    for (claim, time) in [("iat", made), ("nbf", begins)] {
        if time > now.saturating_add(leeway) {
            return Err(TokenError::Early {
                claim,
                seconds: time - now,
            });
        }
    }
    let (age, most) = (now.saturating_sub(made), issuer.max_age.as_secs());
    if age > most.saturating_add(leeway) {
        return Err(TokenError::Old { seconds: age, most });
    }
    Ok(())
}

/// A number of seconds, whole or not (RFC 7519, 2), of which the whole ones count.
fn time(claims: &Claims, name: &str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    // A float's cast saturates; what is not a number is not a time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is in the bounds of u64, and fractions do not count"
    )]
    let whole = |seconds: f64| (0.0..=1e15).contains(&seconds).then_some(seconds as u64);
    let seconds = value.as_u64().or_else(|| value.as_f64().and_then(whole));
    match seconds {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(wrong(name, "is not a time in seconds since 1970")),
    }
}

fn required(claims: &Claims, claim: &str, wanted: &RequiredClaim) -> Result<(), TokenError> {
    let found = claims.get(claim);
    // A list, as of groups, must have it among its elements.
    let elements = match found {
        Some(Value::Array(list)) => list.as_slice(),
        other => other.map(std::slice::from_ref).unwrap_or_default(),
    };
    let is = |value: &Value| match (wanted, value) {
        (RequiredClaim::Text(wanted), Value::String(value)) => wanted == value,
        (RequiredClaim::Flag(wanted), Value::Bool(value)) => wanted == value,
        (RequiredClaim::Number(wanted), Value::Number(value)) => value.as_i64() == Some(*wanted),
        _ => false,
    };
    if elements.iter().any(is) {
        return Ok(());
    }
    let found = found.map_or_else(|| "missing".to_owned(), |found| shown(&found.to_string()));
    Err(TokenError::Claim {
        claim: claim.to_owned(),
        why: format!(
            "is {found}, and must be {wanted} (`required_claims` of its [[identity.issuer]])"
        ),
    })
}

/// The address, where the provider says that it is the person's.
fn email(claims: &Claims, issuer: &IssuerConfig) -> Result<Option<String>, TokenError> {
    let verified = match issuer.email_verified {
        EmailVerified::Trust => true,
        // Some providers write it as text.
        EmailVerified::Required => match claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        },
    };
    if !verified {
        return Ok(None);
    }
    Ok(text(claims, &issuer.email)?.map(str::to_owned))
}

/// A claim's text; what is no text, empty, long, or obeyed by a terminal is an error.
fn text<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            if text.is_empty() || text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
                return Err(wrong(
                    name,
                    "is empty, longer than 1024 bytes, or has control characters",
                ));
            }
            Ok(Some(text))
        }
        Some(_) => Err(wrong(name, "is no text")),
    }
}

fn wrong(claim: &str, why: &str) -> TokenError {
    TokenError::Claim {
        claim: claim.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn issuer() -> IssuerConfig {
        let required = RequiredClaim::Text("acme".to_owned());
        IssuerConfig {
            audience: vec!["guard".to_owned(), "guard-2".to_owned()],
            leeway: Duration::from_secs(30),
            max_age: Duration::from_mins(10),
            required_claims: [("owner".to_owned(), required)].into(),
            ..IssuerConfig::new("https://issuer.example")
        }
    }

    fn with(changes: &Value) -> Claims {
        let mut claims = json!({
            "iss": "https://issuer.example", "sub": "ada", "aud": "guard", "owner": "acme",
            "exp": NOW + 300, "iat": NOW - 5, "nbf": NOW - 5,
            "email": "ada@acme.example", "email_verified": true,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let Value::Object(mut claims) = claims else {
            panic!()
        };
        claims.retain(|_, value| *value != json!("absent"));
        claims
    }

    #[test]
    fn a_token_that_says_what_it_must_names_a_person() {
        let accepted = |changes: Value| check(&with(&changes), &issuer(), NOW).unwrap();
        let human = accepted(json!({}));
        assert_eq!(human.subject, "ada");
        assert_eq!(human.issuer, "https://issuer.example");
        assert_eq!(human.email.as_deref(), Some("ada@acme.example"));
        for changes in [
            json!({"aud": ["guard-2"]}),
            json!({"aud": ["other", "guard"], "azp": "guard"}),
            // Issued to another client of the same provider, for this host alone.
            json!({"aud": "guard", "azp": "other"}),
            json!({"exp": NOW - 29}),
            json!({"iat": NOW + 30, "nbf": NOW + 30}),
            json!({"iat": NOW - 630}),
            json!({"exp": 1_700_000_300.5}),
            json!({"nbf": "absent"}),
            json!({"owner": ["other", "acme"]}),
        ] {
            accepted(changes);
        }
        for verified in [json!(false), json!("absent"), json!("yes"), json!(1)] {
            assert_eq!(accepted(json!({ "email_verified": verified })).email, None);
        }
        assert_eq!(accepted(json!({"email": "absent"})).email, None);
        let trusting = IssuerConfig {
            email_verified: EmailVerified::Trust,
            ..issuer()
        };
        let claims = with(&json!({"email_verified": "absent"}));
        assert!(check(&claims, &trusting, NOW).unwrap().email.is_some());
    }

    #[test]
    fn whatever_is_amiss_is_named() {
        for (changes, part) in [
            (json!({"aud": "other"}), "it is for \"other\""),
            (
                json!({"aud": ["other"]}),
                "accepts tokens for guard, guard-2",
            ),
            (json!({"aud": ["other", "guard"]}), "`azp`"),
            (json!({"aud": ["other", "guard"], "azp": "other"}), "`azp`"),
            (json!({"aud": []}), "it is for"),
            (json!({"aud": 7}), "`aud`"),
            (json!({"aud": ["guard", 7]}), "`aud`"),
            (json!({"aud": "absent"}), "`aud` is missing"),
            (json!({"exp": NOW - 30}), "expired 30 s ago"),
            (json!({"exp": "absent"}), "`exp` is missing"),
            (json!({"exp": "soon"}), "`exp` is not a time"),
            (json!({"exp": -5}), "`exp` is not a time"),
            (json!({"exp": 1e300}), "`exp` is not a time"),
            (json!({"iat": "absent"}), "`iat` is missing"),
            (json!({"iat": NOW + 31}), "`iat` is 31 s ahead"),
            (json!({"nbf": NOW + 31}), "`nbf` is 31 s ahead"),
            (json!({"iat": NOW - 631}), "issued 631 s ago"),
            (json!({"iat": 0}), "at most 600 s"),
            (json!({"owner": "acme2"}), "must be \"acme\""),
            (json!({"owner": "ACME"}), "must be \"acme\""),
            (json!({"owner": "absent"}), "is missing"),
            (json!({"owner": {"acme": "acme"}}), "must be \"acme\""),
            (json!({"owner": [["acme"]]}), "must be \"acme\""),
            (json!({"sub": "absent"}), "`sub` is missing"),
            (json!({"sub": ""}), "`sub` is empty"),
            (json!({"sub": "a\nb"}), "control"),
            (json!({"sub": "x".repeat(1025)}), "1024"),
            (json!({"sub": 7}), "`sub` is no text"),
            (json!({"email": "a\u{1b}b"}), "control"),
            (json!({"email": ["a"]}), "`email` is no text"),
        ] {
            let error = check(&with(&changes), &issuer(), NOW)
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{changes}: {error}");
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn claims_are_compared_with_their_type() {
        for (wanted, good, bad) in [
            (RequiredClaim::Flag(true), json!(true), json!("true")),
            (RequiredClaim::Number(7), json!(7), json!("7")),
            (RequiredClaim::Text("7".to_owned()), json!("7"), json!(7)),
        ] {
            let claims = with(&json!({ "x": good }));
            required(&claims, "x", &wanted).unwrap();
            let claims = with(&json!({ "x": bad }));
            required(&claims, "x", &wanted).unwrap_err();
        }
    }

    proptest! {
        /// No combination of times is accepted outside of the bounds, and none panics.
        #[test]
        fn times_are_held_to_their_bounds(exp in any::<u64>(), iat in any::<u64>(), now in any::<u64>()) {
            let claims = with(&json!({"exp": exp, "iat": iat, "nbf": "absent"}));
            if check(&claims, &issuer(), now).is_ok() {
                prop_assert!(now < exp.saturating_add(30));
                prop_assert!(iat <= now.saturating_add(30));
                prop_assert!(now.saturating_sub(iat) <= 630);
            }
        }
    }
}
