//! OpenID Connect tokens that a role is assumed with.
//!
//! Files and commands are the resolver's, as the owner; GitHub's endpoint is asked by the daemon through the session's
//! way out.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use zeroize::{Zeroize, Zeroizing};

use super::child;
use super::selection::GithubRequest;

/// Characters that STS takes
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=20_000;

/// Bytes that are read of a file or of what a command prints.
const READ: usize = 32 * 1024;

/// Checks that a text is one token and nothing else.
pub(super) fn checked(text: &str) -> Result<Zeroizing<String>, String> {
    let token = text.trim();
    if LENGTHS.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Zeroizing::new(token.to_owned()));
    }
    Err(match token.len() {
        0 => "it is empty".to_owned(),
        length if !LENGTHS.contains(&length) => {
            format!("it has {length} characters, and STS takes tokens of 4 to 20,000")
        }
        _ => "it is not one token alone".to_owned(),
    })
}

/// Reads a token from a file, in the resolver.
pub(super) async fn from_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    // Before it is opened: a pipe would wait for somebody who writes.
    let is_file = tokio::fs::metadata(path).await.map_err(failed)?.is_file();
    if !is_file {
        return Err(format!("{} is not a file", path.display()));
    }
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let text = text(file).await.map_err(failed)?;
    checked(&text).map_err(|wrong| format!("{}: {wrong}", path.display()))
}

/// Runs a command for a token, in the resolver.
pub(super) async fn from_command(words: &[String]) -> Result<Zeroizing<String>, String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    let printed = child::printed(command, READ).await;
    let bytes = printed.map_err(|failure| format!("{program}: {failure}"))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_invalid| format!("{program}: what it printed is not text"))?;
    checked(text).map_err(|wrong| format!("what {program} printed: {wrong}"))
}

async fn text(source: impl tokio::io::AsyncRead + Unpin) -> io::Result<Zeroizing<String>> {
    // At once as large as it gets: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ + 1));
    source.take(READ as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > READ {
        return Err(io::Error::other("it is longer than any token"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::Error::other("it is not text")),
    }
}

/// The request for a token of the running job
/// (<https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>).
pub(super) fn github_request(
    github: &GithubRequest,
    audience: &str,
) -> Result<Request<Bytes>, String> {
    let wrong = || "ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL with a query".to_owned();
    let audience =
        percent_encoding::utf8_percent_encode(audience, percent_encoding::NON_ALPHANUMERIC);
    let join = if github.url.contains('?') { '&' } else { '?' };
    let uri: http::Uri = format!("{}{join}audience={audience}", github.url)
        .parse()
        .map_err(|_invalid| wrong())?;
    let authority = uri.authority().map(|it| it.as_str().to_owned());
    let (Some("https"), Some(host)) = (uri.scheme_str(), authority) else {
        return Err(wrong());
    };
    let bearer = Zeroizing::new(format!("bearer {}", github.token.secret()));
    let mut bearer = http::HeaderValue::from_str(&bearer)
        .map_err(|_invalid| "ACTIONS_ID_TOKEN_REQUEST_TOKEN cannot be sent".to_owned())?;
    bearer.set_sensitive(true);
    Request::get(uri)
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, bearer)
        .body(Bytes::new())
        .map_err(|_invalid| wrong())
}

/// The token in the endpoint's answer.
pub(super) fn github_answer(response: &Response<Bytes>) -> Result<Zeroizing<String>, String> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }

    impl Drop for Answer {
        fn drop(&mut self) {
            self.value.zeroize();
        }
    }

    let status = response.status();
    if github_passes(status) {
        return Err(format!("GitHub answered {status}"));
    }
    if status != StatusCode::OK {
        return Err(format!(
            "GitHub answered {status}; the job needs `permissions: id-token: write`"
        ));
    }
    let answer: Answer = serde_json::from_slice(response.body())
        .map_err(|_unlike| "GitHub's answer has no token".to_owned())?;
    checked(&answer.value).map_err(|wrong| format!("GitHub's token: {wrong}"))
}

/// Whether the endpoint may answer better in a moment.
pub(super) fn github_passes(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BearerToken;

    #[test]
    fn a_token_stands_alone() {
        for (text, right) in [
            ("abcd", true),
            ("  eyJh.eyJz.c2ln\n", true),
            ("abc", false),
            ("", false),
            ("two tokens", false),
            ("té.st", false),
        ] {
            assert_eq!(checked(text).is_ok(), right, "{text:?}");
        }
        assert!(checked(&"a".repeat(20_000)).is_ok());
        assert!(checked(&"a".repeat(20_001)).is_err());
    }

    #[tokio::test]
    async fn files_are_read_whole_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(from_file(&path).await.is_err());
        std::fs::write(&path, "eyJh.eyJz.c2ln\n").unwrap();
        assert_eq!(from_file(&path).await.unwrap().as_str(), "eyJh.eyJz.c2ln");
        std::fs::write(&path, "a".repeat(READ + 1)).unwrap();
        assert!(from_file(&path).await.unwrap_err().contains("longer"));
        assert!(
            from_file(directory.path())
                .await
                .unwrap_err()
                .contains("not a file")
        );
        nix::unistd::mkfifo(
            &directory.path().join("pipe"),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
        assert!(from_file(&directory.path().join("pipe")).await.is_err());
    }

    #[tokio::test]
    async fn commands_print_it() {
        let run = |script: &'static str| async move {
            let words = ["sh", "-c", script].map(str::to_owned);
            from_command(&words).await
        };
        assert_eq!(
            run("echo eyJh.eyJz.c2ln").await.unwrap().as_str(),
            "eyJh.eyJz.c2ln"
        );
        assert!(
            run("echo eyJh.eyJz.c2ln; exit 3")
                .await
                .unwrap_err()
                .contains("exit status: 3")
        );
        assert!(run("yes").await.is_err());
        assert!(run("true").await.unwrap_err().contains("empty"));
        assert!(from_command(&["/nonexistent".to_owned()]).await.is_err());
    }

    #[test]
    fn githubs_endpoint_is_asked_as_documented() {
        let github = |url: &str| GithubRequest {
            url: url.to_owned(),
            token: BearerToken::new("s3cret"),
        };
        let request = github_request(
            &github("https://pipelines.example/x?api-version=2.0"),
            "sts.amazonaws.com",
        )
        .unwrap();
        assert_eq!(
            request.uri(),
            "https://pipelines.example/x?api-version=2.0&audience=sts%2Eamazonaws%2Ecom"
        );
        assert_eq!(request.headers()["authorization"], "bearer s3cret");
        assert!(!format!("{request:?}").contains("s3cret"));
        for wrong in [
            "http://pipelines.example/x",
            "pipelines.example",
            "",
            "https://",
        ] {
            assert!(github_request(&github(wrong), "a").is_err(), "{wrong}");
        }
        let answer = |status: u16, body: &str| {
            let body = Bytes::from(body.to_owned());
            github_answer(&Response::builder().status(status).body(body).unwrap())
        };
        assert_eq!(
            answer(200, r#"{"count":1,"value":"eyJh.eyJz.c2ln"}"#)
                .unwrap()
                .as_str(),
            "eyJh.eyJz.c2ln"
        );
        assert!(answer(403, "{}").unwrap_err().contains("id-token: write"));
        for odd in ["", "{}", r#"{"value":""}"#, r#"{"value":1}"#] {
            assert!(answer(200, odd).is_err(), "{odd}");
        }
    }
}
