//! Whose the credentials are.

use super::*;

/// A `credential_process` that gives a key for so many seconds.
fn key_for(seconds: i64, key: &str) -> String {
    let given = given(seconds).replace("AKIAPROCESS", key);
    given.replace(r#","AccountId":"123456789012""#, "")
}

fn identity_of(account: &str) -> Step {
    let arn = format!("arn:aws:iam::{account}:user/a");
    Step::Answer(
        200,
        format!("<R><Arn>{arn}</Arn><Account>{account}</Account></R>"),
    )
}

#[tokio::test]
async fn the_principal_is_that_of_the_credentials_that_are_used() {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    home.process(". ./prints");
    home.process_prints(&key_for(120, "ASIAFIRST"));
    let way = Scripted::new([identity_of("111111111111"), identity_of("222222222222")]);
    let source = home.source_with(None, Arc::clone(&way)).await.unwrap();
    let account = async || source.resolve_principal(true).await.unwrap().account;
    let renewed = async || {
        source.shared.refresh.lock().await.last = None;
        source.credentials().await.unwrap();
        drop(source.shared.refresh.lock().await);
    };
    assert_eq!(account().await, "111111111111");
    let decided = [source.principal().unwrap()];
    assert_eq!(
        source
            .credentials_of(&decided)
            .await
            .unwrap()
            .access_key_id(),
        "ASIAFIRST"
    );
    // Renewed with the same key, nothing is asked again.
    renewed().await;
    assert_eq!(account().await, "111111111111");
    assert_eq!((way.calls().len(), home.runs()), (1, 2));

    home.process_prints(&key_for(3600, "ASIASECOND"));
    renewed().await;
    // What was decided as another's is not signed with these.
    let error = source.credentials_of(&decided).await.unwrap_err();
    assert_eq!(error, BrokerError::Renewed);
    let waiting: Vec<_> = (0..8)
        .map(|_| source.clone())
        .map(|source| tokio::spawn(async move { source.resolve_principal(true).await }))
        .collect();
    for waiting in waiting {
        let found = waiting.await.unwrap().unwrap();
        assert_eq!(found.account, "222222222222");
    }
    assert_eq!(way.calls().len(), 2);
    assert!(source.credentials_of(&[]).await.is_ok());
}

#[tokio::test]
async fn the_principal_is_asked_for_once() {
    let mut home = Home::new();
    home.selection.region = Some("eu-west-1".to_owned());
    home.selection.keys = Some(Keys {
        access_key_id: "AKIAKEYSKEYSKEYSKEYS".to_owned(),
        secret_access_key: "a".to_owned(),
        session_token: None,
    });
    let way = Scripted::new([
        Step::Unreached { passing: false },
        Step::Answer(200, "<R><Account>123456789012</Account></R>".to_owned()),
        Step::Answer(
            200,
            "<R><Arn>arn:aws:iam::123456789012:user/a</Arn><Account>123456789012</Account></R>"
                .to_owned(),
        ),
    ]);
    let source = home.source_with(None, Arc::clone(&way)).await.unwrap();
    assert_eq!(source.resolve_principal(false).await, None);
    assert_eq!(source.resolve_principal(false).await, None);
    assert_eq!(way.calls().len(), 1);

    *source.shared.ask.lock().await = None;
    let found = source.resolve_principal(false).await.unwrap();
    assert_eq!((found.account.as_str(), found.arn), ("123456789012", None));
    assert!(source.resolve_principal(false).await.is_some());
    assert_eq!(way.calls().len(), 2);

    let found = source.resolve_principal(true).await.unwrap();
    assert_eq!(
        found.arn.as_deref(),
        Some("arn:aws:iam::123456789012:user/a")
    );
    assert_eq!(source.resolve_principal(true).await, Some(found));
    let calls = way.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].0.host, "sts.eu-west-1.amazonaws.com");
    assert_eq!(
        calls[0].0.signing_key.as_deref(),
        Some("AKIAKEYSKEYSKEYSKEYS")
    );
}
