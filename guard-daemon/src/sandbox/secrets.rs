//! Takes the invoking user's secrets out of the launcher, once it has read them: `/proc/PID/environ` shows what a
//! process was started with for as long as it lives, and the first process of a session is a copy of the launcher.

use std::ffi::CStr;

/// Variables that hold secrets.
const SECRETS: [&[u8]; 6] = [
    b"AWS_BEARER_TOKEN_BEDROCK",
    b"AWS_CONTAINER_AUTHORIZATION_TOKEN",
    b"AWS_SECRET_ACCESS_KEY",
    b"AWS_SECURITY_TOKEN",
    b"AWS_SESSION_TOKEN",
    b"GUARD_IDENTITY_TOKEN",
];

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}

/// Overwrites the values of this process' variables that hold secrets; they are empty afterwards, which means unset
/// to every AWS client. To be called while there is one thread.
pub fn forget_environment() {
    // SAFETY: the C library's own array, ended by a null pointer, of strings that are writable: they stand on the
    // initial stack, or in memory of setenv's. With one thread nobody reads or changes it meanwhile, and what is
    // written stays inside each string.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = *entry;
            let length = CStr::from_ptr(text).count_bytes();
            let bytes = std::slice::from_raw_parts_mut(text.cast::<u8>(), length);
            if let Some(at) = bytes.iter().position(|byte| *byte == b'=')
                && SECRETS.contains(&&bytes[..at])
            {
                zeroize::Zeroize::zeroize(&mut bytes[at + 1..]);
            }
            entry = entry.add(1);
        }
    }
}
