//! Finds types and members in the kernel's own description of its types (BTF).
//!
//! Documentation/bpf/btf.rst has the format. aya reads it too, but does not say where a member is.

use std::fs;
use std::io;

/// `BTF_KIND_STRUCT`, `BTF_KIND_UNION`, `BTF_KIND_FUNC`.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNCTION: u32 = 12;

/// How deep anonymous structures are followed.
const DEPTH: u32 = 8;

/// The kernel's types.
pub(super) struct Types {
    data: Vec<u8>,
    strings: usize,
    /// Where each type begins; the first has number 1.
    offsets: Vec<usize>,
}

impl Types {
    /// The running kernel's.
    pub(super) fn of_kernel() -> io::Result<Self> {
        Self::parse(fs::read("/sys/kernel/btf/vmlinux")?)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        let mut types = Self {
            data,
            strings: 0,
            offsets: Vec::new(),
        };
        let header = types.word(4)? as usize;
        let mut at = header + types.word(8)? as usize;
        let end = at + types.word(12)? as usize;
        types.strings = header + types.word(16)? as usize;
        while at < end {
            types.offsets.push(at);
            let info = types.word(at + 4)?;
            let elements = (info & 0xffff) as usize;
            at += 12
                + match info >> 24 & 0x1f {
                    1 | 14 | 17 => 4,                          // INT, VAR, DECL_TAG
                    3 => 12,                                   // ARRAY
                    STRUCT | UNION | 15 | 19 => elements * 12, // DATASEC, ENUM64
                    6 | 13 => elements * 8,                    // ENUM, FUNC_PROTO
                    2 | 7..=FUNCTION | 16 | 18 => 0,
                    _ => return None,
                };
        }
        Some(types)
    }

    /// The number of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        let number = self.find(FUNCTION, name)?;
        u32::try_from(number).ok()
    }

    /// Where a member is in a structure, in bytes. `path` names members of members, with dots between.
    pub(super) fn member(&self, structure: &str, path: &str) -> Option<i32> {
        let mut number = self.find(STRUCT, structure)?;
        let mut offset = 0;
        for name in path.split('.') {
            let (bits, next) = self.member_of(number, name, DEPTH)?;
            if bits % 8 != 0 {
                return None;
            }
            offset += bits / 8;
            number = next;
        }
        i32::try_from(offset).ok()
    }

    /// Offset in bits and type of a member, also of an anonymous one's.
    fn member_of(&self, number: usize, name: &str, depth: u32) -> Option<(u32, usize)> {
        let at = *self.offsets.get(number.checked_sub(1)?)?;
        let info = self.word(at + 4)?;
        if !matches!(info >> 24 & 0x1f, STRUCT | UNION) || depth == 0 {
            return None;
        }
        // In structures with bit fields the upper byte of an offset is a field's size.
        let mask = if info >> 31 == 1 { 0xff_ffff } else { u32::MAX };
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member = at + 12 + index * 12;
            let (its_name, its_type) = (self.word(member)?, self.word(member + 4)? as usize);
            let offset = self.word(member + 8)? & mask;
            if its_name == 0 {
                let (inner, its_type) = self.member_of(its_type, name, depth - 1)?;
                return Some((offset + inner, its_type));
            }
            (self.is_named(its_name, name)).then_some((offset, its_type))
        })
    }

    fn find(&self, kind: u32, name: &str) -> Option<usize> {
        let index = self.offsets.iter().position(|at| {
            self.word(at + 4)
                .is_some_and(|info| info >> 24 & 0x1f == kind)
                && self.word(*at).is_some_and(|its| self.is_named(its, name))
        })?;
        Some(index + 1)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let begin = self.strings + offset as usize;
        let end = begin + name.len();
        self.data.get(begin..end) == Some(name.as_bytes()) && self.data.get(end) == Some(&0)
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.data.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_functions_of_this_kernel_are_found() {
        let Ok(types) = Types::of_kernel() else {
            crate::skip::skip(module_path!(), "this kernel has no BTF");
            return;
        };
        assert_eq!(types.member("path", "mnt"), Some(0));
        assert_eq!(types.member("path", "dentry"), Some(8));
        let root = types.member("fs_struct", "root").unwrap();
        assert_eq!(types.member("fs_struct", "root.dentry"), Some(root + 8));
        // In an anonymous union.
        assert!(types.member("sk_buff", "sk").unwrap() > 0);
        assert_eq!(types.member("path", "absent"), None);
        assert_eq!(types.member("absent", "mnt"), None);
        assert!(types.function("vfs_read").is_some());
        assert!(types.function("no_such_function").is_none());
    }

    #[test]
    fn nonsense_is_no_description() {
        assert!(Types::parse(vec![]).is_none());
        assert!(Types::parse(vec![0xff; 100]).is_none());
    }
}
