//! The profiles that every guard has: `observe`, `standard`, `readonly`.
//!
//! A file of the same name in the profile directory takes a built-in profile's place.

/// The profile of sessions that name none.
pub const STANDARD: &str = "standard";

/// The text of a built-in profile, as `Profile::parse` takes it.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN
        .iter()
        .find(|(own, _)| *own == name)
        .map(|(_, text)| *text)
}

/// The built-in profiles, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    (
        "observe",
        concat!(
            include_str!("../profiles/observe.toml"),
            include_str!("../profiles/statements.toml"),
            include_str!("../profiles/credentials.toml")
        ),
    ),
    (
        "readonly",
        concat!(
            include_str!("../profiles/readonly.toml"),
            include_str!("../profiles/credentials.toml")
        ),
    ),
    (
        STANDARD,
        concat!(
            include_str!("../profiles/standard.toml"),
            include_str!("../profiles/statements.toml"),
            include_str!("../profiles/credentials.toml")
        ),
    ),
];

#[cfg(test)]
mod tests;
