//! A provider on loopback that the tests make keys for, tokens of every kind, and what becomes of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicEncryptingKey};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::IssuerConfig;
use crate::session::Agent;

/// A key that a provider signs with.
struct Key {
    id: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let key = self.pair.public_key();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
            "n": encode(key.modulus().big_endian_without_leading_zero()),
            "e": encode(key.exponent().big_endian_without_leading_zero()),
        })
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&self.pair).unwrap();
        let pkcs1 = pkcs1_of(der.as_ref());
        jsonwebtoken::encode(header, claims, &EncodingKey::from_rsa_der(pkcs1)).unwrap()
    }
}

/// The RSA key within a PKCS #8 wrapping, whose head is of fixed length for this size of key.
fn pkcs1_of(pkcs8: &[u8]) -> &[u8] {
    &pkcs8[26..]
}

/// A provider that answers from what the test says.
struct Provider {
    issuer: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Provider {
    async fn start(keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(keys));
        let asked = Arc::<AtomicUsize>::default();
        let (known, count, own) = (Arc::clone(&keys), Arc::clone(&asked), issuer.clone());
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let body = if head.starts_with("GET /.well-known/openid-configuration ") {
                    json!({"issuer": own, "jwks_uri": format!("{own}/keys")}).to_string()
                } else {
                    count.fetch_add(1, Ordering::Relaxed);
                    json!({"keys": *known.lock().unwrap()}).to_string()
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self {
            issuer,
            keys,
            asked,
            serving,
        }
    }

    fn identities(&self, change: impl FnOnce(&mut IdentityConfig)) -> Identities {
        let issuer = IssuerConfig {
            audience: vec!["guard".to_owned()],
            ..IssuerConfig::new(&self.issuer)
        };
        let mut config = IdentityConfig {
            issuers: vec![issuer],
            ..IdentityConfig::default()
        };
        change(&mut config);
        Identities::new(&config, &UpstreamConfig::default())
    }

    fn claims(&self) -> Value {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        json!({
            "iss": self.issuer, "sub": "ada", "aud": "guard", "iat": now, "exp": now + 300,
            "email": "ada@acme.example", "email_verified": true,
        })
    }
}

fn header(algorithm: Algorithm, id: &str) -> Header {
    Header {
        kid: Some(id.to_owned()),
        ..Header::new(algorithm)
    }
}

async fn verify(identities: &Identities, token: &str) -> Result<Human, TokenError> {
    identities.verify(&Token::new(token)).await
}

fn starter(token: Option<&str>) -> Starter {
    Starter {
        uid: 0,
        command: vec!["true".to_owned()],
        reason: None,
        agent: None,
        labels: std::collections::BTreeMap::new(),
        token: token.map(Token::new),
    }
}

#[tokio::test]
async fn a_token_of_the_provider_names_its_person() {
    let key = Key::new("a");
    let provider = Provider::start(vec![key.public()]).await;
    let identities = provider.identities(|_| {});
    let token = key.sign(&header(Algorithm::RS256, "a"), &provider.claims());
    let identity = identities
        .establish(starter(Some(&format!(" {token}\n"))), Some(7))
        .await
        .unwrap();
    let human = identity.human.unwrap();
    assert_eq!(
        (human.issuer, human.subject.as_str()),
        (provider.issuer.clone(), "ada")
    );
    assert_eq!(human.email.as_deref(), Some("ada@acme.example"));
    assert_eq!((identity.uid, identity.loginuid), (0, Some(7)));
    assert_eq!(identity.user, "root");
    // The keys are kept.
    for _ in 0..3 {
        verify(&identities, &token).await.unwrap();
    }
    assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_public_key_is_no_secret_and_none_is_no_algorithm() {
    let key = Key::new("a");
    let provider = Provider::start(vec![key.public()]).await;
    let identities = provider.identities(|_| {});
    let claims = provider.claims();
    let good = key.sign(&header(Algorithm::RS256, "a"), &claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();

    // The key, in each of its forms, as the secret of an HMAC.
    let public = key.pair.public_key();
    let spki = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
        &PublicEncryptingKey::from_der(&x509_of(public.as_ref())).unwrap(),
    )
    .unwrap();
    let modulus = public.modulus().big_endian_without_leading_zero();
    for secret in [public.as_ref(), spki.as_ref(), modulus] {
        let token = jsonwebtoken::encode(
            &header(Algorithm::HS256, "a"),
            &claims,
            &EncodingKey::from_secret(secret),
        );
        let error = verify(&identities, &token.unwrap()).await.unwrap_err();
        assert!(matches!(error, TokenError::Algorithm { .. }), "{error}");
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = encode(&claims);
    for algorithm in ["none", "None", "NONE", "rs256", "", "RS1"] {
        let head = encode(&json!({"alg": algorithm, "kid": "a"}));
        for token in [
            format!("{head}.{body}.{signature}"),
            format!("{head}.{body}."),
        ] {
            let error = verify(&identities, &token).await.unwrap_err();
            assert!(
                matches!(
                    error,
                    TokenError::Algorithm { .. } | TokenError::Malformed(_)
                ),
                "{algorithm}: {error}"
            );
        }
    }
    // Another algorithm than the key is for; another key's kid; a changed claim; a key that it brings along.
    let pss = key.sign(&header(Algorithm::PS256, "a"), &claims);
    let error = verify(&identities, &pss).await.unwrap_err();
    assert!(matches!(error, TokenError::Key { .. }), "{error}");
    let own = Key::new("a");
    let brought = Header {
        jwk: serde_json::from_value(own.public()).unwrap(),
        jku: Some(format!("{}/keys", provider.issuer)),
        ..header(Algorithm::RS256, "a")
    };
    let forged = own.sign(&brought, &claims);
    let changed = signed.replacen(
        &body,
        &encode(&json!({"iss": provider.issuer, "sub": "eve"})),
        1,
    );
    let cut = &good[..good.len() - 4];
    for token in [forged.as_str(), &format!("{changed}.{signature}"), cut] {
        let error = verify(&identities, token).await.unwrap_err();
        assert!(matches!(error, TokenError::Signature { .. }), "{error}");
    }
    // Where the issuer is not trusted with it.
    let strict =
        provider.identities(|config| config.issuers[0].algorithms = vec![Algorithm::ES256]);
    let error = verify(&strict, &good).await.unwrap_err().to_string();
    assert!(
        error.contains("\"RS256\"") && error.contains("only ES256"),
        "{error}"
    );
    assert!(verify(&identities, &good).await.is_ok());
}

#[tokio::test]
async fn no_byte_of_a_token_can_be_another() {
    let key = Key::new("a");
    let provider = Provider::start(vec![key.public()]).await;
    let identities = provider.identities(|_| {});
    let good = key.sign(&header(Algorithm::RS256, "a"), &provider.claims());
    verify(&identities, &good).await.unwrap();
    for at in 0..good.len() {
        // One bit, and in the alphabet as far as that goes.
        for other in [b'A', b'.', good.as_bytes()[at] ^ 1] {
            let mut bytes = good.clone().into_bytes();
            if bytes[at] == other {
                continue;
            }
            bytes[at] = other;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                verify(&identities, &changed).await.is_err(),
                "byte {at}: {changed}"
            );
        }
    }
}

/// An RSA public key in X.509's wrapping, of a 2048-bit key.
fn x509_of(pkcs1: &[u8]) -> Vec<u8> {
    let head = "30820122300d06092a864886f70d01010105000382010f00";
    [hex::decode(head).unwrap(), pkcs1.to_vec()].concat()
}

#[tokio::test]
async fn keys_are_followed_as_they_change_and_not_more_often_than_once_a_minute() {
    let (old, new, never) = (Key::new("old"), Key::new("new"), Key::new("never"));
    let provider = Provider::start(vec![old.public()]).await;
    let identities = provider.identities(|_| {});
    let token = |key: &Key| key.sign(&header(Algorithm::RS256, key.id), &provider.claims());
    let (of_old, of_new, of_never) = (token(&old), token(&new), token(&never));
    verify(&identities, &of_old).await.unwrap();
    *provider.keys.lock().unwrap() = vec![new.public()];
    verify(&identities, &of_new).await.unwrap();
    assert_eq!(provider.asked.load(Ordering::Relaxed), 2);
    // The old one is gone; no token makes guard ask again and again.
    for token in [&of_old, &of_never, &of_old] {
        let error = verify(&identities, token).await.unwrap_err().to_string();
        assert!(
            error.contains("publishes no key") && error.contains("looked up again in"),
            "{error}"
        );
    }
    assert_eq!(provider.asked.load(Ordering::Relaxed), 2);
    verify(&identities, &of_new).await.unwrap();
}

#[tokio::test]
async fn a_key_that_took_over_anothers_name_is_followed() {
    let (old, new, forger) = (Key::new("a"), Key::new("a"), Key::new("a"));
    let provider = Provider::start(vec![old.public()]).await;
    let identities = provider.identities(|_| {});
    let token = |key: &Key| key.sign(&header(Algorithm::RS256, key.id), &provider.claims());
    verify(&identities, &token(&old)).await.unwrap();
    *provider.keys.lock().unwrap() = vec![new.public()];
    verify(&identities, &token(&new)).await.unwrap();
    assert_eq!(provider.asked.load(Ordering::Relaxed), 2);
    for key in [&old, &forger] {
        let error = verify(&identities, &token(key)).await.unwrap_err();
        assert!(matches!(error, TokenError::Signature { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("published 0 s ago"), "{said}");
        assert!(said.contains("looked up again in"), "{said}");
    }
    assert_eq!(provider.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_outage_is_bridged_while_keys_are_fresh_and_refuses_otherwise() {
    let key = Key::new("a");
    let provider = Provider::start(vec![key.public()]).await;
    let token = key.sign(&header(Algorithm::RS256, "a"), &provider.claims());
    let identities = provider.identities(|_| {});
    verify(&identities, &token).await.unwrap();
    provider.serving.abort();
    let _ = (&mut { provider.serving }).await;
    verify(&identities, &token).await.unwrap();
    let other = Provider {
        serving: tokio::spawn(async {}),
        ..provider
    };
    let error = verify(&other.identities(|_| {}), &token).await.unwrap_err();
    assert!(matches!(error, TokenError::Keys { .. }), "{error}");
    assert!(
        error.to_string().contains("is the provider running?"),
        "{error}"
    );
}

#[tokio::test]
async fn a_provider_that_is_another_one_is_refused() {
    let key = Key::new("a");
    let provider = Provider::start(vec![key.public()]).await;
    // By the same address under another name: what stands in `iss` is what counts.
    let named = format!("{}/", provider.issuer);
    let identities = provider.identities(|config| config.issuers[0].issuer.clone_from(&named));
    let mut claims = provider.claims();
    let token = key.sign(&header(Algorithm::RS256, "a"), &claims);
    let error = verify(&identities, &token).await.unwrap_err();
    assert!(matches!(error, TokenError::Issuer { .. }), "{error}");
    claims["iss"] = json!(named);
    let token = key.sign(&header(Algorithm::RS256, "a"), &claims);
    let error = verify(&identities, &token).await.unwrap_err().to_string();
    assert!(error.contains("exactly as it stands there"), "{error}");
    for iss in [
        json!([provider.issuer]),
        json!(null),
        json!("https://evil.example"),
    ] {
        claims["iss"] = iss;
        let token = key.sign(&header(Algorithm::RS256, "a"), &claims);
        verify(&identities, &token).await.unwrap_err();
    }
}

#[tokio::test]
async fn what_the_host_requires_must_be_there() {
    let key = Key::new("a");
    let provider = Provider::start(vec![key.public()]).await;
    let refused = |identities: Identities, starter: Starter| async move {
        identities
            .establish(starter, None)
            .await
            .unwrap_err()
            .to_string()
    };
    let error = refused(provider.identities(|it| it.required = true), starter(None)).await;
    assert!(
        error.contains(&provider.issuer) && error.contains("--identity-token-file"),
        "{error}"
    );
    let error = refused(
        provider.identities(|it| it.require_reason = true),
        starter(None),
    )
    .await;
    assert!(error.contains("--reason"), "{error}");
    let error = refused(
        provider.identities(|it| it.require_agent = true),
        starter(None),
    )
    .await;
    assert!(error.contains("--agent"), "{error}");
    // A token that is there must be good, whether one is required or not.
    let error = refused(provider.identities(|_| {}), starter(Some("x"))).await;
    assert!(error.contains("no JSON Web Token"), "{error}");
    let error = refused(
        provider.identities(|it| it.issuers.clear()),
        starter(Some("x.y.z")),
    )
    .await;
    assert!(error.contains("not accepted"), "{error}");

    let all = provider.identities(|it| {
        (it.required, it.require_agent, it.require_reason) = (true, true, true);
    });
    let token = key.sign(&header(Algorithm::RS256, "a"), &provider.claims());
    let told = Starter {
        reason: Some("nightly".to_owned()),
        agent: Some(Agent {
            name: "claude".to_owned(),
            version: None,
            instance: None,
        }),
        ..starter(Some(&token))
    };
    let identity = all.establish(told, None).await.unwrap();
    assert_eq!(identity.agent.unwrap().name, "claude");
    assert!(identity.human.is_some());
}
