use std::time::Duration;

use super::answer::tests::{answer, error};
use super::request::tests::{naming, role};
use super::*;
use crate::broker::tests::{Home, Scripted, Step, given};
use crate::broker::{GithubRequest, Origin, Source};
use crate::policy::WebIdentity;
use SessionPolicyMode::{Auto, Required};

const KEY: &str = "ASIAROLEROLEROLEROLE";

fn asking(role: Role, policy: Result<SessionPolicy, NoSessionPolicy>) -> RoleRequest {
    RoleRequest {
        role,
        naming: naming(),
        policy,
    }
}

fn plain(role: Role) -> RoleRequest {
    asking(role, Err(NoSessionPolicy::Unlimited))
}

fn small_policy() -> SessionPolicy {
    SessionPolicy {
        text: "{}".to_owned(),
        extent: Extent::Whole,
    }
}

fn with(web_identity: WebIdentity) -> Role {
    Role {
        source_identity: false,
        session_tags: false,
        web_identity: Some(web_identity),
        ..role()
    }
}

/// STS's answer with credentials that last so many seconds.
fn granted(operation: &str, key: &str, seconds: i64) -> String {
    let end = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let end = end
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    answer(operation, key, &end)
}

fn keyed() -> Home {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    home.selection.keys = Some(Keys {
        access_key_id: "AKIAKEYSKEYSKEYSKEYS".to_owned(),
        secret_access_key: "a".to_owned(),
        session_token: None,
    });
    home
}

/// A source that does not pause for long between tries.
async fn source(home: &Home, request: RoleRequest, way: &Arc<Scripted>) -> Source {
    let source = home
        .source_with(Some(request), Arc::clone(way))
        .await
        .unwrap();
    if let Origin::Role(role) = &mut source.shared.refresh.lock().await.origin {
        role.hurried(PATIENCE);
    }
    source
}

#[tokio::test]
async fn a_role_is_assumed_with_the_owners_keys_and_tells_who_it_is() {
    let way = Scripted::new([Step::Answer(200, granted("AssumeRole", KEY, 3600))]);
    let source = source(&keyed(), asking(role(), Ok(small_policy())), &way).await;
    assert_eq!(source.principal(), None);
    let credentials = source.credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), KEY);
    // Without a call of its own.
    let principal = source.resolve_principal(true).await.unwrap();
    assert_eq!(principal.account, "123456789012");
    assert_eq!(
        principal.arn.as_deref(),
        Some("arn:aws:sts::123456789012:assumed-role/agent/claude")
    );
    let [(call, body)] = way.calls().try_into().unwrap();
    assert_eq!(
        (call.service.as_str(), call.operation.as_str()),
        ("sts", "AssumeRole")
    );
    assert_eq!(call.signing_key.as_deref(), Some("AKIAKEYSKEYSKEYSKEYS"));
    let assumes = call.assumes.unwrap();
    assert_eq!(assumes.session_name, "claude-7b1e09c44f2ad310");
    assert_eq!(assumes.source_identity.as_deref(), Some("ada@example.com"));
    assert_eq!(assumes.tags["guard:session"], "7b1e09c44f2ad310");
    assert_eq!(
        assumes.policy_sha256.as_deref(),
        Some("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    );
    assert!(
        body.contains("Policy=%7B%7D") && body.contains("Tags.member.1.Key="),
        "{body}"
    );
    let events = way.events();
    let [Event::CredentialsObtained { real_key, .. }] = events.as_slice() else {
        panic!("not on record");
    };
    assert_eq!(real_key, KEY);
}

#[tokio::test]
async fn the_principal_may_be_asked_for_first() {
    let way = Scripted::new([Step::Answer(200, granted("AssumeRole", KEY, 3600))]);
    let source = source(&keyed(), plain(role()), &way).await;
    assert!(source.resolve_principal(true).await.unwrap().arn.is_some());
    assert_eq!(way.calls().len(), 1);
}

#[tokio::test]
async fn a_role_is_assumed_with_what_a_profile_gives() {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    home.process(&given(3600));
    let way = Scripted::new([
        Step::Answer(200, granted("AssumeRole", KEY, 3600)),
        Step::Answer(200, granted("AssumeRole", "ASIAROLEROLEROLE2222", 3600)),
    ]);
    let source = source(&home, plain(role()), &way).await;
    assert_eq!(source.credentials().await.unwrap().access_key_id(), KEY);
    assert_eq!(way.calls()[0].0.signing_key.as_deref(), Some("AKIAPROCESS"));
    assert_eq!(home.runs(), 1);
}

#[tokio::test]
async fn one_flight_serves_all_who_wait() {
    let way = Scripted::new([Step::Slow(200, granted("AssumeRole", KEY, 3600))]);
    let source = source(&keyed(), plain(role()), &way).await;
    let waiting: Vec<_> = (0..50)
        .map(|_| source.clone())
        .map(|source| tokio::spawn(async move { source.credentials().await }))
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().access_key_id(), KEY);
    }
    assert_eq!(way.calls().len(), 1);
}

#[tokio::test]
async fn usable_credentials_are_used_while_new_ones_are_fetched() {
    let way = Scripted::new([
        Step::Answer(200, granted("AssumeRole", KEY, 120)),
        Step::Slow(300, granted("AssumeRole", "ASIAROLEROLEROLE2222", 3600)),
    ]);
    let source = source(&keyed(), plain(role()), &way).await;
    source.credentials().await.unwrap();
    source.shared.refresh.lock().await.last = None;
    for _ in 0..20 {
        let before = Instant::now();
        assert_eq!(source.credentials().await.unwrap().access_key_id(), KEY);
        assert!(before.elapsed() < Duration::from_millis(100));
    }
    drop(source.shared.refresh.lock().await);
    assert_eq!(
        source.credentials().await.unwrap().access_key_id(),
        "ASIAROLEROLEROLE2222"
    );
    assert_eq!(way.calls().len(), 2);
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let down = || Step::Answer(503, String::new());
    let busy = || Step::Answer(400, error("Throttling", "slow down"));
    let way = Scripted::new([
        down(),
        Step::Unreached { passing: true },
        busy(),
        Step::Answer(200, granted("AssumeRole", KEY, 3600)),
    ]);
    let tried = source(&keyed(), plain(role()), &way).await;
    assert_eq!(tried.credentials().await.unwrap().access_key_id(), KEY);
    assert_eq!(way.calls().len(), 4);

    let way = Scripted::new([down(), down(), down(), down()]);
    let tried = source(&keyed(), plain(role()), &way).await;
    let failed = tried.credentials().await.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "no credentials of arn:aws:iam::123456789012:role/agent: STS answered 503 Service Unavailable: ; guard tries \
         again with the next call"
    );
    // And for a while nobody asks again.
    assert_eq!(tried.credentials().await.unwrap_err(), failed);
    assert_eq!(way.calls().len(), 4);

    let way = Scripted::new([Step::Unreached { passing: false }]);
    let tried = source(&keyed(), plain(role()), &way).await;
    assert!(
        tried
            .credentials()
            .await
            .unwrap_err()
            .to_string()
            .contains("no way out")
    );
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    for (code, message, says) in [
        (
            "AccessDenied",
            "User: x is not authorized to perform: sts:TagSession on resource: y",
            "session_tags = false",
        ),
        (
            "AccessDenied",
            "User: x is not authorized to perform: sts:SetSourceIdentity on resource: y",
            "source_identity = false",
        ),
        (
            "AccessDenied",
            "User: x is not authorized to perform: sts:AssumeRole on resource: y",
            "allow sts:AssumeRole",
        ),
        ("ExpiredToken", "", "renew them"),
        ("ValidationError", "", "MaxSessionDuration"),
        ("RegionDisabledException", "", "activate STS"),
        ("PackedPolicyTooLarge", "", "session_tags = false"),
    ] {
        let way = Scripted::new([Step::Answer(403, error(code, message))]);
        let source = source(&keyed(), plain(role()), &way).await;
        let failed = source.credentials().await.unwrap_err().to_string();
        assert!(
            failed.contains(code) && failed.contains(message) && failed.contains(says),
            "{failed}"
        );
    }
}

#[tokio::test]
async fn a_policy_that_sts_does_not_take_is_dropped_unless_it_is_required() {
    let large = || Step::Answer(400, error("PackedPolicyTooLarge", "too large"));
    let way = Scripted::new([
        large(),
        Step::Answer(200, granted("AssumeRole", KEY, 120)),
        Step::Answer(200, granted("AssumeRole", KEY, 3600)),
    ]);
    let dropped = source(&keyed(), asking(role(), Ok(small_policy())), &way).await;
    dropped.credentials().await.unwrap();
    let bodies = |way: &Scripted| -> Vec<bool> {
        way.calls()
            .iter()
            .map(|(_, body)| body.contains("Policy="))
            .collect()
    };
    assert_eq!(bodies(&way), [true, false]);
    let Event::Finding { code, .. } = &way.events()[0] else {
        panic!("not on record");
    };
    assert_eq!(code, "session-policy-dropped");
    // It stays out.
    dropped.shared.refresh.lock().await.last = None;
    dropped.credentials().await.unwrap();
    drop(dropped.shared.refresh.lock().await);
    assert_eq!(bodies(&way), [true, false, false]);

    let required = Role {
        session_policy: Required,
        ..role()
    };
    let way = Scripted::new([large()]);
    let refused = source(&keyed(), asking(required, Ok(small_policy())), &way).await;
    let failed = refused.credentials().await.unwrap_err().to_string();
    assert!(failed.contains("PackedPolicyTooLarge"), "{failed}");

    let off = Role {
        session_policy: SessionPolicyMode::Off,
        ..role()
    };
    let way = Scripted::new([Step::Answer(200, granted("AssumeRole", KEY, 3600))]);
    let without = source(&keyed(), asking(off, Ok(small_policy())), &way).await;
    without.credentials().await.unwrap();
    assert_eq!(bodies(&way), [false]);
}

#[tokio::test]
async fn a_token_is_read_anew_for_every_set_of_credentials() {
    let operation = "AssumeRoleWithWebIdentity";
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    let token = home.path("token");
    home.write("token", "eyJh.first.c2ln\n");
    let way = Scripted::new([
        Step::Answer(200, granted(operation, KEY, 90)),
        Step::Answer(200, granted(operation, KEY, 3600)),
    ]);
    let source = source(&home, plain(with(WebIdentity::File(token.clone()))), &way).await;
    source.credentials().await.unwrap();
    home.write("token", "eyJh.second.c2ln\n");
    source.shared.refresh.lock().await.last = None;
    source.credentials().await.unwrap();
    drop(source.shared.refresh.lock().await);
    let calls = way.calls();
    assert!(calls[0].1.contains("WebIdentityToken=eyJh.first.c2ln"));
    assert!(calls[1].1.contains("WebIdentityToken=eyJh.second.c2ln"));
    for (call, body) in &calls {
        assert_eq!(call.signing_key, None);
        assert!(call.assumes.as_ref().unwrap().tags.is_empty());
        assert!(
            !body.contains("SourceIdentity") && !body.contains("Tags."),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_token_comes_from_a_command_a_variable_or_github() {
    let operation = "AssumeRoleWithWebIdentity";
    let answer = || Step::Answer(200, granted(operation, KEY, 3600));
    let token_of = |way: &Scripted| {
        let (_, body) = way.calls().pop().unwrap();
        body.split("WebIdentityToken=").nth(1).unwrap().to_owned()
    };
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());

    let way = Scripted::new([answer()]);
    let words = ["sh", "-c", "echo command.token.$(id -u)"]
        .map(str::to_owned)
        .to_vec();
    let found = source(&home, plain(with(WebIdentity::Command(words))), &way).await;
    found.credentials().await.unwrap();
    assert_eq!(
        token_of(&way),
        format!("command.token.{}", nix::unistd::geteuid())
    );

    let way = Scripted::new([answer()]);
    home.selection
        .tokens
        .insert("ID_TOKEN".to_owned(), BearerToken::new("variable.token.x"));
    let variable = WebIdentity::Variable("ID_TOKEN".to_owned());
    let found = source(&home, plain(with(variable)), &way).await;
    found.credentials().await.unwrap();
    assert_eq!(token_of(&way), "variable.token.x");
    let absent = WebIdentity::Variable("OTHER".to_owned());
    let error = home
        .source_with(Some(plain(with(absent))), Arc::clone(&way))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("--web-identity-variable OTHER"),
        "{error}"
    );

    let github = || WebIdentity::GithubActions {
        audience: "sts.amazonaws.com".to_owned(),
    };
    let error = home
        .source_with(Some(plain(with(github()))), Arc::clone(&way))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("id-token: write"), "{error}");
    home.selection.github = Some(GithubRequest {
        url: "https://pipelines.example/x?a=b".to_owned(),
        token: BearerToken::new("s3cret"),
    });
    let value = r#"{"value":"github.token.x"}"#.to_owned();
    let way = Scripted::new([Step::Answer(200, value), answer()]);
    let found = source(&home, plain(with(github())), &way).await;
    found.credentials().await.unwrap();
    assert_eq!(token_of(&way), "github.token.x");
    let (call, _) = &way.calls()[0];
    assert_eq!(
        (call.service.as_str(), call.host.as_str()),
        ("github-actions", "pipelines.example")
    );

    let way = Scripted::new([]);
    let absent = WebIdentity::File(home.path("absent"));
    let found = source(&home, plain(with(absent)), &way).await;
    let error = found.credentials().await.unwrap_err();
    assert!(
        matches!(&error, BrokerError::Token { text } if text.contains("absent")),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_that_was_changed_is_not_run() {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    // The profile's own program has no part in it.
    home.process("exit 1");
    let script = |text: &str| {
        use std::os::unix::fs::PermissionsExt;

        home.write("get-token", &format!("#!/bin/sh\n{text}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path("get-token"), mode).unwrap();
    };
    script("echo command.token.x");
    let command = home.path("get-token").to_str().unwrap().to_owned();
    let way = Scripted::new([Step::Answer(
        200,
        granted("AssumeRoleWithWebIdentity", KEY, 90),
    )]);
    let command = WebIdentity::Command(vec![command]);
    let source = source(&home, plain(with(command)), &way).await;
    assert_eq!(source.programs().len(), 1);
    source.credentials().await.unwrap();
    let evil = home.path("evil");
    script(&format!("touch {}; echo command.token.x", evil.display()));
    let mut refresh = source.shared.refresh.lock().await;
    let Origin::Role(role) = &mut refresh.origin else {
        panic!("no role");
    };
    let error = role.assume().await.err().unwrap().to_string();
    assert!(error.contains("get-token was changed"), "{error}");
    assert!(!evil.exists());
}

#[tokio::test]
async fn githubs_endpoint_is_tried_again_where_that_may_help() {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    home.selection.github = Some(GithubRequest {
        url: "https://pipelines.example/x?a=b".to_owned(),
        token: BearerToken::new("s3cret"),
    });
    let github = || {
        plain(with(WebIdentity::GithubActions {
            audience: "sts.amazonaws.com".to_owned(),
        }))
    };
    let down = || Step::Answer(503, String::new());
    let way = Scripted::new([
        down(),
        Step::Unreached { passing: true },
        Step::Answer(429, String::new()),
        Step::Answer(200, r#"{"value":"github.token.x"}"#.to_owned()),
        down(),
        Step::Answer(200, granted("AssumeRoleWithWebIdentity", KEY, 3600)),
    ]);
    let tried = source(&home, github(), &way).await;
    assert_eq!(tried.credentials().await.unwrap().access_key_id(), KEY);
    assert_eq!(way.calls().len(), 6);

    let way = Scripted::new([down(), down(), down(), down()]);
    let tried = source(&home, github(), &way).await;
    let failed = tried.credentials().await.unwrap_err().to_string();
    assert!(
        failed.contains("GitHub answered 503") && !failed.contains("id-token"),
        "{failed}"
    );
    assert_eq!(way.calls().len(), 4);

    let way = Scripted::new([Step::Answer(403, String::new())]);
    let tried = source(&home, github(), &way).await;
    let failed = tried.credentials().await.unwrap_err().to_string();
    assert!(failed.contains("id-token: write"), "{failed}");
}

#[tokio::test]
async fn a_slow_source_leaves_sts_its_time() {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    home.selection.github = Some(GithubRequest {
        url: "https://pipelines.example/x?a=b".to_owned(),
        token: BearerToken::new("s3cret"),
    });
    let github = WebIdentity::GithubActions {
        audience: "sts.amazonaws.com".to_owned(),
    };
    let way = Scripted::new([
        Step::Slow(600, r#"{"value":"github.token.x"}"#.to_owned()),
        Step::Slow(600, granted("AssumeRoleWithWebIdentity", KEY, 3600)),
    ]);
    let source = source(&home, plain(with(github)), &way).await;
    if let Origin::Role(role) = &mut source.shared.refresh.lock().await.origin {
        role.hurried(Duration::from_secs(1));
    }
    assert_eq!(source.credentials().await.unwrap().access_key_id(), KEY);
}

#[test]
fn a_required_policy_must_be_whole() {
    let session = SessionId::random();
    let identity = Identity {
        uid: 0,
        user: "root".to_owned(),
        loginuid: None,
        host: "h".to_owned(),
        reason: None,
        command: Vec::new(),
        human: None,
        agent: None,
        labels: BTreeMap::new(),
    };
    let required = |text: &str, mode| {
        let profile = Profile::parse("p", text).unwrap();
        let role = Role {
            session_policy: mode,
            ..role()
        };
        RoleRequest::new(role, &session, &identity, &profile)
    };
    let denial = |n: u32| format!("[[statement]]\neffect = \"deny\"\naction = \"s3:Get{n:030}\"\n");
    let denies = (0..60).map(denial).collect::<Vec<_>>().concat();
    let allows = format!("[[statement]]\neffect = \"allow\"\naction = \"s3:*\"\n{denies}");
    assert!(required(&allows, Required).is_err());
    assert_eq!(required(&allows, Auto).unwrap().warnings().len(), 1);
    assert!(required("mode = \"observe\"\n", Required).is_err());
    assert!(required("default = \"allow\"\n", Required).is_ok());
    assert!(
        required("default = \"deny\"\n", Required)
            .unwrap()
            .warnings()
            .is_empty()
    );
}
