//! Tells aya that the shared types may be copied as plain bytes.
#![allow(
    unsafe_code,
    reason = "aya's marker is an unsafe trait, and only the crate that owns a type may implement it"
)]

use crate::tracking::{AllowedSocket, Label, Offsets, TrackedSession};
use crate::{Endpoint, Origin, OriginKey, Settings};

// SAFETY: repr(C), integers only, no padding (the tests of its file), valid for every bit pattern.
unsafe impl aya::Pod for Endpoint {}
// SAFETY: as above.
unsafe impl aya::Pod for Origin {}
// SAFETY: as above.
unsafe impl aya::Pod for OriginKey {}
// SAFETY: as above.
unsafe impl aya::Pod for Settings {}
// SAFETY: as above.
unsafe impl aya::Pod for Label {}
// SAFETY: as above.
unsafe impl aya::Pod for Offsets {}
// SAFETY: as above.
unsafe impl aya::Pod for TrackedSession {}
// SAFETY: as above.
unsafe impl aya::Pod for AllowedSocket {}
