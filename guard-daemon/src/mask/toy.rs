//! A small model with one of everything, for tests.

use super::{Class, Format, Kind, Shape};

/// A shape of the model, by name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Toy {
    /// The output: members of every kind.
    Output,
    /// `AccessKeyId` (public), `SecretAccessKey`, `Expiration`, all masked below one class.
    Credentials,
    /// A list of `Parameter`; XML element `member`.
    Parameters,
    /// `Name`, `Value`.
    Parameter,
    /// Text → secret text.
    Secrets,
    /// Text → `Parameter`, XML names `Name` and `Item`.
    Named,
    /// A list whose elements are masked.
    Tokens,
    /// A tree: `Left`, `Right` of its own shape, `Secret`.
    Tree,
    Leaf(Kind),
}

impl Shape for Toy {
    fn kind(self) -> Kind {
        match self {
            Self::Output | Self::Credentials | Self::Parameter | Self::Tree => Kind::Structure,
            Self::Parameters | Self::Tokens => Kind::List,
            Self::Secrets | Self::Named => Kind::Map,
            Self::Leaf(kind) => kind,
        }
    }

    #[expect(clippy::match_same_arms, reason = "a table, one line per member")]
    fn member(self, name: &str, format: Format) -> Option<(Self, Option<Class>)> {
        const SECRET: Option<Class> = Some(Class::Credential);
        Some(match (self, name) {
            (Self::Output, "Secret") => (Self::Leaf(Kind::String), SECRET),
            (Self::Output, "Binary") => (Self::Leaf(Kind::Blob), SECRET),
            (Self::Output, "Pin") => (Self::Leaf(Kind::Number), SECRET),
            (Self::Output, "Flag") => (Self::Leaf(Kind::Boolean), SECRET),
            (Self::Output, "When") => (Self::Leaf(Kind::Timestamp), SECRET),
            (Self::Output, "Email") => (Self::Leaf(Kind::String), Some(Class::Pii)),
            (Self::Output, "Credentials") => (Self::Credentials, SECRET),
            (Self::Output, "Opaque") => (Self::Credentials, SECRET),
            (Self::Output, "Parameters") => (Self::Parameters, None),
            (Self::Output, "Secrets") => (Self::Secrets, None),
            (Self::Output, "Masked") => (Self::Secrets, SECRET),
            (Self::Output, "Named") => (Self::Named, None),
            (Self::Output, "Tokens") => (Self::Tokens, None),
            (Self::Output, "Tree") => (Self::Tree, None),
            (Self::Output, "Flat") if format == Format::Xml => (Self::Parameter, None),
            (Self::Output, "FlatMap") if format == Format::Xml => (Self::Secrets, None),
            (Self::Output, "FlatToken") if format == Format::Xml => {
                (Self::Leaf(Kind::String), SECRET)
            }
            (Self::Credentials, "SecretAccessKey") => (Self::Leaf(Kind::String), SECRET),
            (Self::Credentials, "Expiration") => (Self::Leaf(Kind::Timestamp), None),
            (Self::Parameter, "Value") => (Self::Leaf(Kind::String), SECRET),
            (Self::Tree, "Left" | "Right") => (Self::Tree, None),
            (Self::Tree, "Secret") => (Self::Leaf(Kind::String), SECRET),
            _ => return None,
        })
    }

    fn element(self) -> Option<(Self, Option<Class>)> {
        match self {
            Self::Parameters | Self::Named => Some((Self::Parameter, None)),
            Self::Secrets | Self::Tokens => {
                Some((Self::Leaf(Kind::String), Some(Class::Credential)))
            }
            _ => None,
        }
    }

    fn entry_names(self) -> (&'static str, &'static str) {
        if matches!(self, Self::Named) {
            ("Name", "Item")
        } else {
            ("key", "value")
        }
    }
}
