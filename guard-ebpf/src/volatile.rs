//! Access to the kernel's context structures, one field at a time.
//!
//! The verifier rewrites each access and takes only known offsets and widths. Volatile access keeps
//! the compiler from merging neighbours or from computing an address of a field first.

/// Reads a field.
macro_rules! read {
    ($context:expr, $($field:tt)+) => {
        // SAFETY: the kernel passes a valid context, and the verifier checks each access to it.
        unsafe { core::ptr::read_volatile(&raw const (*$context).$($field)+) }
    };
}

/// Writes a field.
macro_rules! write {
    ($context:expr, $value:expr, $($field:tt)+) => {
        // SAFETY: as for `read`.
        unsafe { core::ptr::write_volatile(&raw mut (*$context).$($field)+, $value) }
    };
}

pub(crate) use {read, write};
