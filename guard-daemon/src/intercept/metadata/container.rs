//! The container credentials protocol: one GET.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Container credential provider"; Amazon ECS Developer Guide, "Task
//! IAM role"; Amazon EKS User Guide, "EKS Pod Identity".

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, CONTAINER_URI, Service, parts_of};
use crate::broker::{DummyCredentials, Issue};

/// Answers one request.
///
/// A tree that ran before guard has a path or a token that its orchestrator gave it, and that guard cannot know:
/// any is taken. What it gets is of no worth but to this very session.
pub(super) fn answer(parts: &Parts, own: &DummyCredentials, service: Service) -> Answer {
    let path = parts.uri.path();
    let own_path = CONTAINER_URI.strip_prefix("http://169.254.170.23");
    let guards = service == Service::Pod && own_path == Some(path);
    let known = match service {
        // Besides credentials, the address has the task's metadata, by version.
        Service::Task => {
            let mut parts = path.split('/').skip(1).filter(|part| !part.is_empty());
            match (parts.next(), parts.next()) {
                (Some("v2"), below) => below == Some("credentials"),
                (Some("v3" | "v4" | "guard") | None, _) => false,
                (Some(_), _) => true,
            }
        }
        Service::Pod => path == "/v1/credentials" || guards,
        Service::Instance => false,
    };
    if !known {
        return Answer::NotFound;
    }
    if parts.method != Method::GET {
        return Answer::Refused(StatusCode::METHOD_NOT_ALLOWED, "it takes GET alone");
    }
    let token = parts
        .headers
        .get(AUTHORIZATION)
        .map(http::HeaderValue::as_bytes);
    if guards && !token.is_some_and(|token| own.is_container_token(token)) {
        return Answer::Refused(
            StatusCode::UNAUTHORIZED,
            "the token of AWS_CONTAINER_AUTHORIZATION_TOKEN is needed",
        );
    }
    Answer::ContainerCredentials
}

/// The credentials, as the protocol writes them.
pub(super) fn credentials(issue: &Issue) -> String {
    parts_of(issue).to_string()
}
