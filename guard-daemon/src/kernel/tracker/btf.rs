//! Where the running kernel's structures have their members: a reader of its BTF
//! (Documentation/bpf/btf.rst), for structures and nothing else.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Typedef, volatile, const, restrict, and a type's tag: they stand for the type that they name.
const NAMES_FOR: [u32; 5] = [8, 9, 10, 11, 18];
/// Names for a type may name one another so often.
const INDIRECTIONS: u32 = 16;

/// A kernel's type information.
pub(super) struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins; the first is type 1.
    types: Vec<usize>,
    strings: usize,
    /// The structures with a name.
    structures: HashMap<String, usize>,
}

impl Btf {
    /// Reads that of the running kernel.
    pub(super) fn of_kernel() -> Result<Self, String> {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let bytes =
            fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::parse(bytes).ok_or_else(|| format!("{} is not BTF as guard knows it", path.display()))
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut btf = Self {
            bytes,
            types: Vec::new(),
            strings: 0,
            structures: HashMap::new(),
        };
        let magic = u16::from_ne_bytes(btf.bytes.get(..2)?.try_into().ok()?);
        if magic != MAGIC {
            return None;
        }
        let header = btf.word(4)? as usize;
        let mut at = header + btf.word(8)? as usize;
        let end = at.checked_add(btf.word(12)? as usize)?;
        btf.strings = header + btf.word(16)? as usize;
        while at < end {
            let (kind, members) = btf.kind(at)?;
            if kind == STRUCT && members > 0 {
                let name = btf.name(btf.word(at)?)?.to_owned();
                if !name.is_empty() {
                    // Of several with one name none is the kernel's own for certain; guard reads none such.
                    btf.structures.entry(name).or_insert(at);
                }
            }
            btf.types.push(at);
            at += 12 + size_of_rest(kind, members)?;
        }
        Some(btf)
    }

    /// The offset in bytes of a member: `member`, or `member.member`, of a structure. `None` where this kernel
    /// has none, or not at a byte's boundary.
    pub(super) fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let mut at = *self.structures.get(structure)?;
        let mut bits = 0_u32;
        for name in member.split('.') {
            let (offset, member_type) = self.member(at, name)?;
            bits = bits.checked_add(offset)?;
            at = self.resolve(member_type).unwrap_or(at);
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// A member's offset in bits and its type; also one within structures and unions without a name.
    fn member(&self, at: usize, wanted: &str) -> Option<(u32, u32)> {
        let (kind, members) = self.kind(at)?;
        if kind != STRUCT && kind != UNION {
            return None;
        }
        let bitfields = self.word(at + 4)? >> 31 == 1;
        for member in 0..members {
            let at = at + 12 + member * 12;
            let (name, member_type, place) =
                (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let (offset, width) = if bitfields {
                (place & 0x00ff_ffff, place >> 24)
            } else {
                (place, 0)
            };
            let name = self.name(name)?;
            if name == wanted {
                return (width == 0).then_some((offset, member_type));
            }
            if name.is_empty()
                && let Some(inner) = self.resolve(member_type)
                && let Some((within, member_type)) = self.member(inner, wanted)
            {
                return Some((offset.checked_add(within)?, member_type));
            }
        }
        None
    }

    /// Where the type begins that a number stands for.
    fn resolve(&self, number: u32) -> Option<usize> {
        let mut number = number;
        for _ in 0..INDIRECTIONS {
            let at = *self.types.get((number as usize).checked_sub(1)?)?;
            if !NAMES_FOR.contains(&self.kind(at)?.0) {
                return Some(at);
            }
            number = self.word(at + 8)?;
        }
        None
    }

    /// A type's kind, and how many members it has.
    fn kind(&self, at: usize) -> Option<(u32, usize)> {
        let information = self.word(at + 4)?;
        Some((information >> 24 & 0x1f, (information & 0xffff) as usize))
    }

    fn name(&self, offset: u32) -> Option<&str> {
        let rest = self.bytes.get(self.strings + offset as usize..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }
}

/// What follows the twelve bytes that each type has; `None` for a kind that is not known.
fn size_of_rest(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables, and a declaration's tag.
        1 | 14 | 17 => 4,
        // Pointers, forward declarations, functions, floats, and what stands for other types.
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, 64-bit enumerations.
        4 | 5 | 15 | 19 => members * 12,
        // Enumerations and parameters.
        6 | 13 => members * 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Option<Btf> {
        match Btf::of_kernel() {
            Ok(btf) => Some(btf),
            Err(reason) => {
                crate::skip::skip(module_path!(), reason);
                None
            }
        }
    }

    #[test]
    fn finds_members_also_within_nameless_ones() {
        let Some(btf) = kernel() else { return };
        // Known everywhere.
        assert_eq!(btf.offset("list_head", "next"), Some(0));
        assert_eq!(btf.offset("list_head", "prev"), Some(8));
        assert_eq!(btf.offset("path", "dentry"), Some(8));
        // Within an anonymous structure of mm_struct, and within a member.
        assert!(btf.offset("mm_struct", "arg_start").unwrap() > 0);
        assert_eq!(
            btf.offset("sock", "__sk_common.skc_family"),
            btf.offset("sock_common", "skc_family")
        );
        assert!(btf.offset("dentry", "d_name.name") > btf.offset("dentry", "d_name"));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let Some(btf) = kernel() else { return };
        assert_eq!(btf.offset("list_head", "nothing"), None);
        assert_eq!(btf.offset("no_such_structure", "next"), None);
        assert_eq!(btf.offset("list_head", "next.no"), None);
        // A bit field has no address.
        assert_eq!(btf.offset("task_struct", "sched_reset_on_fork"), None);
    }

    #[test]
    fn other_bytes_are_not_btf() {
        for bytes in [
            &b""[..],
            b"\x9f\xeb",
            b"\x9f\xeb\x01\x00\xff\xff\xff\xff",
            &[0; 64],
        ] {
            assert!(Btf::parse(bytes.to_vec()).is_none(), "{bytes:?}");
        }
    }
}
