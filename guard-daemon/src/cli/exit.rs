//! guard's exit codes, in one place.
//!
//! `guard run` ends as its command does: with its code, or of its signal (which shells show as 128 plus
//! its number). 124 is as in timeout(1), 125, 126 and 127 are as in env(1); 69, 77 and 78 as in sysexits.h.

use std::process::ExitCode;

use super::run::BadConfig;
use super::token::{NoSession, Refused};
use crate::config::ConfigError;
use crate::control::client::ClientError;
use crate::sandbox::launch::LaunchError;
use crate::sandbox::user::UserError;
use crate::service::ServiceError;
use crate::service::embedded::EmbeddedError;

/// An exit code with a meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It worked.
    Success = 0,
    /// It did not, for a reason that has no code of its own.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No daemon answers.
    Unavailable = 69,
    /// The user may not do this.
    NotPermitted = 77,
    /// The configuration is wrong.
    Config = 78,
    /// `run`: the session ended at its time, as in timeout(1).
    Expired = 124,
    /// `run`: guard failed before the command ran.
    Guard = 125,
    /// `run`: the command cannot be executed.
    NotExecutable = 126,
    /// `run`: the command was not found.
    NotFound = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code for an error, by the most telling of its causes; `otherwise` where none tells.
    pub(crate) fn of(error: &anyhow::Error, otherwise: Self) -> Self {
        error
            .chain()
            .find_map(|cause| {
                if let Some(error) = cause.downcast_ref() {
                    return Some(Self::of_launch(error));
                }
                if let Some(error) = cause.downcast_ref() {
                    return Self::of_client(error);
                }
                // A transparent error hides the one inside from the chain.
                if let Some(EmbeddedError::Client(error)) = cause.downcast_ref() {
                    return Self::of_client(error);
                }
                if cause.is::<ConfigError>() || cause.is::<BadConfig>() {
                    return Some(Self::Config);
                }
                if cause.is::<NoSession>() {
                    return Some(Self::Unavailable);
                }
                if cause.is::<Refused>() {
                    return Some(Self::NotPermitted);
                }
                let not_root = matches!(cause.downcast_ref(), Some(UserError::NotRoot))
                    || matches!(cause.downcast_ref(), Some(ServiceError::NotRoot));
                not_root.then_some(Self::NotPermitted)
            })
            .unwrap_or(otherwise)
    }

    fn of_launch(error: &LaunchError) -> Self {
        match error {
            LaunchError::NotFound { .. } => Self::NotFound,
            LaunchError::NotExecutable { .. } => Self::NotExecutable,
            _ => Self::Guard,
        }
    }

    fn of_client(error: &ClientError) -> Option<Self> {
        match error {
            ClientError::NotRunning { .. } => Some(Self::Unavailable),
            ClientError::NotPermitted { .. } => Some(Self::NotPermitted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_error() -> ClientError {
        ClientError::NotRunning {
            socket: "/run/guard/guard.sock".into(),
        }
    }

    #[test]
    fn errors_have_their_codes_also_below_a_context() {
        let missing = LaunchError::NotFound {
            command: "x".into(),
        };
        let plain = anyhow::anyhow!("something");
        for (error, expected) in [
            (UserError::NotRoot.into(), Exit::NotPermitted),
            (anyhow::Error::from(missing).context("run"), Exit::NotFound),
            (
                anyhow::Error::from(client_error()).context("status"),
                Exit::Unavailable,
            ),
            (
                EmbeddedError::Client(client_error()).into(),
                Exit::Unavailable,
            ),
            (LaunchError::NulByte.into(), Exit::Guard),
            (ServiceError::NotRoot.into(), Exit::NotPermitted),
            (plain, Exit::Failure),
        ] {
            assert_eq!(Exit::of(&error, Exit::Failure), expected, "{error:#}");
        }
        assert_eq!(Exit::of(&anyhow::anyhow!("x"), Exit::Guard), Exit::Guard);
    }
}
