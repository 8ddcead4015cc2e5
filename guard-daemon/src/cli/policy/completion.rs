//! What the shell completes: names of actions, from the catalog.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::aws::catalog;

/// Completes action names: services until there is a colon, then the service's actions.
pub(super) fn actions() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed.to_str().unwrap_or_default()))
}

fn candidates(typed: &str) -> Vec<CompletionCandidate> {
    let matches = |name: &str| {
        name.get(..typed.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(typed))
    };
    let mut found: Vec<&str> = catalog::actions()
        .map(catalog::ActionModel::name)
        .map(|name| match (typed.contains(':'), name.find(':')) {
            (false, Some(colon)) => &name[..=colon],
            _ => name,
        })
        .filter(|name| matches(name))
        .collect();
    found.dedup();
    found.into_iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(typed: &str) -> Vec<String> {
        let found = candidates(typed);
        let texts = found.iter().map(|it| it.get_value().to_string_lossy());
        texts.map(std::borrow::Cow::into_owned).collect()
    }

    #[test]
    fn services_then_their_actions() {
        assert_eq!(completed("dynamod"), ["dynamodb:"]);
        assert_eq!(completed("s3:deletebucketp"), ["s3:DeleteBucketPolicy"]);
        assert!(completed("s3:").len() > 100);
        assert!(completed("nosuchservice").is_empty());
    }
}
