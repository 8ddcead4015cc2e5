//! Whose a socket is, where the session shares its network namespace with others.
//!
//! A mark belongs to the socket itself, not to its port: a port that passes from the session to another
//! process, by whatever race, is not the session's any more.

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr::null_mut;

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{
    BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock, bpf_sock_tuple,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
};
use aya_ebpf::helpers::generated::{
    bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release, bpf_sk_storage_get, bpf_skc_lookup_tcp,
};
use guard_common::{Endpoint, SocketMark};

use crate::maps::SOCKET_MARKS;

/// A map of a mark per socket, as BTF describes it to the loader. aya's own type lacks `BPF_F_CLONE`.
#[repr(C)]
pub(crate) struct Marks {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const u32,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the pointers only carry types and are never followed.
unsafe impl Sync for Marks {}

impl Marks {
    pub(crate) const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    fn as_ptr(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }
}

/// Who is at an address.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Occupant {
    /// The session, or guard.
    Known,
    /// Another process.
    Foreign,
    /// Nobody.
    None,
}

/// `BPF_F_CURRENT_NETNS`: the namespace of the hook's context.
const CURRENT_NETNS: u64 = u64::MAX;
/// 127.255.255.255 in network byte order: what is sent there reaches every socket of the port.
const LOOPBACK_BROADCAST: u32 = 0x7fff_ffff_u32.to_be();
/// `TCP_TIME_WAIT` (include/net/tcp_states.h).
const TIME_WAIT: u32 = 6;

/// Marks a socket as the session's. `socket` is a socket, or the context of `sock_create`. `false` if the
/// kernel had no room.
#[inline(always)]
pub(crate) fn mark(socket: *mut c_void, mark: SocketMark) -> bool {
    let mut value = mark as u32;
    // SAFETY: the kernel's own socket; the value is copied.
    let stored = unsafe {
        bpf_sk_storage_get(
            SOCKET_MARKS.as_ptr(),
            socket,
            (&raw mut value).cast(),
            BPF_SK_STORAGE_GET_F_CREATE.into(),
        )
    }
    .cast::<u32>();
    if stored.is_null() {
        return false;
    }
    // SAFETY: the map's value, alive as long as the socket.
    unsafe { stored.write_volatile(mark as u32) };
    true
}

/// The mark of a socket, zero if it has none.
#[inline(always)]
pub(crate) fn mark_of(socket: *mut bpf_sock) -> u32 {
    // SAFETY: the kernel's own socket.
    let stored = unsafe { bpf_sk_storage_get(SOCKET_MARKS.as_ptr(), socket.cast(), null_mut(), 0) }
        .cast::<u32>();
    if stored.is_null() {
        return 0;
    }
    // SAFETY: the map's value, alive as long as the socket.
    unsafe { stored.read_volatile() }
}

/// Who takes what `from` sends to `to`.
#[inline(always)]
pub(crate) fn occupant(
    context: *mut c_void,
    is_tcp: bool,
    from: &Endpoint,
    to: &Endpoint,
) -> Occupant {
    if !is_tcp && to.is_v4() && to.address[3] == LOOPBACK_BROADCAST {
        // One lookup finds one of those who get it.
        return Occupant::Foreign;
    }
    with_tuple(from, to, |tuple, size| {
        // SAFETY: the kernel's own context; the tuple has the size it is said to have.
        let socket = unsafe {
            if is_tcp {
                bpf_sk_lookup_tcp(context, tuple, size, CURRENT_NETNS, 0)
            } else {
                bpf_sk_lookup_udp(context, tuple, size, CURRENT_NETNS, 0)
            }
        };
        if socket.is_null() {
            return Occupant::None;
        }
        let mark = mark_of(socket);
        // SAFETY: looked up above, not used after.
        unsafe { bpf_sk_release(socket.cast()) };
        if mark == 0 {
            Occupant::Foreign
        } else {
            Occupant::Known
        }
    })
}

/// Whether a connection between the two has ended, so that no process takes what comes for it.
#[inline(always)]
pub(crate) fn has_ended(context: *mut c_void, from: &Endpoint, to: &Endpoint) -> bool {
    with_tuple(from, to, |tuple, size| {
        // SAFETY: as in `occupant`.
        let socket = unsafe { bpf_skc_lookup_tcp(context, tuple, size, CURRENT_NETNS, 0) };
        if socket.is_null() {
            return false;
        }
        // SAFETY: a field that every kind of socket has.
        let state = unsafe { (&raw const (*socket).state).read_volatile() };
        // SAFETY: looked up above, not used after.
        unsafe { bpf_sk_release(socket.cast()) };
        state == TIME_WAIT
    })
}

#[inline(always)]
fn with_tuple<T>(
    from: &Endpoint,
    to: &Endpoint,
    look: impl Fn(*mut bpf_sock_tuple, u32) -> T,
) -> T {
    let (sport, dport) = ((from.port as u16).to_be(), (to.port as u16).to_be());
    if to.is_v4() {
        let mut tuple = Tuple4 {
            saddr: from.address[3],
            daddr: to.address[3],
            sport,
            dport,
        };
        look((&raw mut tuple).cast(), size_of::<Tuple4>() as u32)
    } else {
        let mut tuple = Tuple6 {
            saddr: from.address,
            daddr: to.address,
            sport,
            dport,
        };
        look((&raw mut tuple).cast(), size_of::<Tuple6>() as u32)
    }
}
