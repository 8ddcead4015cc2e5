//! Takes the invoking user's secrets out of the launcher, once it has read them: `/proc/PID/environ` shows what a
//! process was started with for as long as it lives, and the first process of a session is a copy of the launcher.

use std::ffi::CStr;

use zeroize::{Zeroize, Zeroizing};

/// Variables that hold secrets.
const SECRETS: [&[u8]; 6] = [
    b"AWS_BEARER_TOKEN_BEDROCK",
    b"AWS_CONTAINER_AUTHORIZATION_TOKEN",
    b"AWS_SECRET_ACCESS_KEY",
    b"AWS_SECURITY_TOKEN",
    b"AWS_SESSION_TOKEN",
    b"GUARD_IDENTITY_TOKEN",
];

/// Bytes of a secret that is looked for under other names; shorter ones are in ordinary words.
pub(super) const SHORTEST_SECRET: usize = 16;

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}

/// Overwrites the values of this process' variables that hold secrets, and of those that hold the value of one
/// under another name; they are empty afterwards, which means unset to every AWS client. To be called while there is
/// one thread.
pub fn forget_environment() {
    let mut secrets: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    each_variable(|name, value| {
        if SECRETS.contains(&name) {
            if value.len() >= SHORTEST_SECRET {
                secrets.push(Zeroizing::new(value.to_vec()));
            }
            value.zeroize();
        }
    });
    each_variable(|_, value| {
        let holds = |secret: &Zeroizing<Vec<u8>>| {
            value
                .windows(secret.len())
                .any(|it| it == secret.as_slice())
        };
        if secrets.iter().any(holds) {
            value.zeroize();
        }
    });
}

/// Visits name and value of each variable, where they stand.
fn each_variable(mut visit: impl FnMut(&[u8], &mut [u8])) {
    // SAFETY: the C library's own array, ended by a null pointer, of strings that are writable: they stand on the
    // initial stack, or in memory of setenv's. With one thread nobody reads or changes it meanwhile, and what is
    // written stays inside each string.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = *entry;
            let length = CStr::from_ptr(text).count_bytes();
            let bytes = std::slice::from_raw_parts_mut(text.cast::<u8>(), length);
            if let Some(at) = bytes.iter().position(|byte| *byte == b'=') {
                let (name, value) = bytes.split_at_mut(at);
                visit(name, &mut value[1..]);
            }
            entry = entry.add(1);
        }
    }
}
