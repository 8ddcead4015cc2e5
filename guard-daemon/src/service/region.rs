//! The region a session's commands start with.
//!
//! The confined tree cannot read the user's AWS configuration, so the region that it would have found
//! there is handed to it by name.

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};

use crate::broker::Selection;

/// The selected region, else the one of the selected profile in the user's files.
pub(super) async fn of(selection: &Selection) -> Option<String> {
    if let Some(region) = &selection.region {
        return Some(region.clone());
    }
    let at_home = |name: &str| selection.home.as_ref().map(|home| home.join(".aws").join(name));
    let config = selection.config_file.clone().or_else(|| at_home("config"));
    let credentials = selection.credentials_file.clone().or_else(|| at_home("credentials"));
    // Given files must exist, or loading fails as a whole.
    let existing = |file: Option<std::path::PathBuf>| file.filter(|path| path.is_file());
    let mut files = ProfileFiles::builder();
    let mut any = false;
    for (kind, file) in [
        (ProfileFileKind::Config, existing(config)),
        (ProfileFileKind::Credentials, existing(credentials)),
    ] {
        if let Some(file) = file {
            files = files.with_file(kind, file);
            any = true;
        }
    }
    if !any {
        return None;
    }
    let provider = ProfileFileRegionProvider::builder()
        .profile_files(files.build())
        .profile_name(selection.profile.as_deref().unwrap_or("default"))
        .build();
    provider.region().await.map(|region| region.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn comes_from_flags_or_the_selected_profile() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(
            home.path().join(".aws/config"),
            "[default]\nregion = eu-west-1\n[profile other]\nregion = eu-north-1\n",
        )
        .unwrap();
        let mut selection = Selection {
            home: Some(home.path().to_owned()),
            ..Selection::default()
        };
        assert_eq!(of(&selection).await.as_deref(), Some("eu-west-1"));
        selection.profile = Some("other".to_owned());
        assert_eq!(of(&selection).await.as_deref(), Some("eu-north-1"));
        selection.profile = Some("absent".to_owned());
        assert_eq!(of(&selection).await, None);
        selection.region = Some("us-east-2".to_owned());
        assert_eq!(of(&selection).await.as_deref(), Some("us-east-2"));
        assert_eq!(of(&Selection::default()).await, None);
    }
}
