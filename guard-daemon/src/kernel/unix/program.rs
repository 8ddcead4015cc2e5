//! The program on unix sockets, as the kernel's instructions: aya's compiler side has neither these hooks nor
//! calls of kernel functions.
//!
//! It lets a call through where its address is, byte for byte, one of the allowed paths, and the calling process
//! sees the files that guard sees: else the same path could be another file. Everything else is reported and
//! refused.

use std::os::fd::{AsRawFd, BorrowedFd};

use guard_common::RefusalCode;

use super::btf::Types;

/// Bytes of a `sockaddr_un`, and what of the record of a refusal it takes, rounded up.
const ADDRESS: i32 = 110;
const ADDRESS_ROOM: i16 = 112;
/// `guard_common::Refusal`.
const REFUSAL: i16 = 72;
/// Where things are on the stack: the record of a refusal with the address at its end, then a word.
const WORD_AT: i16 = -8;
const ADDRESS_AT: i16 = WORD_AT - ADDRESS_ROOM;
const RECORD_AT: i16 = ADDRESS_AT - REFUSAL;

/// Helpers (`enum bpf_func_id`).
const MAP_LOOKUP_ELEM: i32 = 1;
const GET_CURRENT_PID_TGID: i32 = 14;
const GET_CURRENT_UID_GID: i32 = 15;
const GET_CURRENT_COMM: i32 = 16;
const GET_CURRENT_TASK: i32 = 35;
const PROBE_READ_KERNEL: i32 = 113;
const KTIME_GET_BOOT_NS: i32 = 125;
const RINGBUF_OUTPUT: i32 = 130;

/// Where a process must be for a path to be the file that guard sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct View {
    /// The number of the mount namespace.
    pub(super) mount_namespace: u32,
    /// Inode number of the root directory.
    pub(super) root: u64,
    /// The root's filesystem, as the kernel numbers devices.
    pub(super) device: u32,
}

/// The maps that refusals are reported in.
#[derive(Clone, Copy)]
pub(super) struct Reports<'a> {
    pub(super) refusals: BorrowedFd<'a>,
    pub(super) lost: BorrowedFd<'a>,
}

/// The program that refuses everything and cannot say what.
pub(super) fn refuse_all(reports: Reports<'_>) -> Vec<u64> {
    let mut program = Assembler::default();
    program.clear_stack();
    program.refuse(reports);
    program.finish()
}

/// The program that lets `paths` through; `None` if this kernel's types are not as expected. Paths have 107
/// bytes at the most.
pub(super) fn allow(
    types: &Types,
    view: View,
    paths: &[&[u8]],
    reports: Reports<'_>,
) -> Option<Vec<u64>> {
    let mut program = Assembler::default();
    program.mov(6, 1);
    program.clear_stack();

    // The address, with zeros after it.
    program.mov(1, 6);
    program.call_kernel(types.function("bpf_cast_to_kern_ctx")?);
    let context = "bpf_sock_addr_kern";
    program.load(
        DOUBLE,
        7,
        0,
        types.member(context, "uaddr")?.try_into().ok()?,
    );
    program.load(
        WORD,
        8,
        0,
        types.member(context, "uaddrlen")?.try_into().ok()?,
    );
    program.jump_if(JEQ, 7, 0, Label::Refuse);
    program.jump_if(JGT, 8, ADDRESS, Label::Refuse);
    program.mov(1, 10);
    program.add(1, ADDRESS_AT.into());
    program.mov(2, 8);
    program.mov(3, 7);
    program.call(PROBE_READ_KERNEL);
    program.jump_if(JNE, 0, 0, Label::Refuse);

    program.call(GET_CURRENT_TASK);
    program.mov(9, 0);
    program.follow(types.member("task_struct", "nsproxy")?);
    program.follow(types.member("nsproxy", "mnt_ns")?);
    program.follow(types.member("mnt_namespace", "ns.inum")?);
    program.keep_word(0);
    program.jump_if_not(0, view.mount_namespace.into());
    program.mov(0, 9);
    program.follow(types.member("task_struct", "fs")?);
    program.follow(types.member("fs_struct", "root.dentry")?);
    program.follow(types.member("dentry", "d_inode")?);
    program.mov(9, 0);
    program.follow(types.member("inode", "i_ino")?);
    program.jump_if_not(0, view.root);
    program.mov(0, 9);
    program.follow(types.member("inode", "i_sb")?);
    program.follow(types.member("super_block", "s_dev")?);
    program.keep_word(0);
    program.jump_if_not(0, view.device.into());

    for path in paths {
        program.allow(path);
    }
    program.refuse(reports);
    Some(program.finish())
}

/// Instruction codes (Documentation/bpf/standardization/instruction-set.rst).
const JEQ: u8 = 0x15;
const JGT: u8 = 0x25;
const JNE: u8 = 0x55;
const JNE_REGISTER: u8 = 0x5d;
/// Sizes of loads and stores.
const WORD: u8 = 0x00;
const BYTE: u8 = 0x10;
const DOUBLE: u8 = 0x18;

/// Where a jump goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Label {
    /// The report at the end.
    Refuse,
    /// The next path.
    Next,
    /// The end, which refuses.
    End,
}

#[derive(Default)]
struct Assembler {
    code: Vec<u64>,
    /// Jumps whose end is not known yet.
    open: Vec<(usize, Label)>,
}

impl Assembler {
    fn emit(&mut self, code: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        let registers = u64::from(destination) | u64::from(source) << 4;
        self.code.push(
            u64::from(code)
                | registers << 8
                | u64::from(offset.cast_unsigned()) << 16
                | u64::from(immediate.cast_unsigned()) << 32,
        );
    }

    fn mov(&mut self, destination: u8, source: u8) {
        self.emit(0xbf, destination, source, 0, 0);
    }

    fn set(&mut self, destination: u8, immediate: i32) {
        self.emit(0xb7, destination, 0, 0, immediate);
    }

    fn set_double(&mut self, destination: u8, value: u64) {
        let bytes = value.to_le_bytes();
        let half = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        self.emit(0x18, destination, 0, 0, half(0));
        self.emit(0, 0, 0, 0, half(4));
    }

    /// Sets a register to a map of the loading process (`BPF_PSEUDO_MAP_FD`).
    fn set_map(&mut self, destination: u8, map: BorrowedFd<'_>) {
        self.emit(0x18, destination, 1, 0, map.as_raw_fd());
        self.emit(0, 0, 0, 0, 0);
    }

    fn add(&mut self, destination: u8, immediate: i32) {
        self.emit(0x07, destination, 0, 0, immediate);
    }

    fn load(&mut self, size: u8, destination: u8, source: u8, offset: i16) {
        self.emit(0x61 | size, destination, source, offset, 0);
    }

    fn store(&mut self, size: u8, destination: u8, offset: i16, source: u8) {
        self.emit(0x63 | size, destination, source, offset, 0);
    }

    fn call(&mut self, helper: i32) {
        self.emit(0x85, 0, 0, 0, helper);
    }

    /// Calls a function of the kernel by its type's number (`BPF_PSEUDO_KFUNC_CALL`).
    fn call_kernel(&mut self, function: u32) {
        self.emit(0x85, 0, 2, 0, function.cast_signed());
    }

    fn jump_if(&mut self, condition: u8, register: u8, immediate: i32, to: Label) {
        self.open.push((self.code.len(), to));
        self.emit(condition, register, 0, 0, immediate);
    }

    /// Refuses if a register does not have a value.
    fn jump_if_not(&mut self, register: u8, value: u64) {
        self.set_double(1, value);
        self.open.push((self.code.len(), Label::Refuse));
        self.emit(JNE_REGISTER, register, 1, 0, 0);
    }

    /// Keeps the lower 32 bits of a register.
    fn keep_word(&mut self, register: u8) {
        self.emit(0xbc, register, register, 0, 0);
    }

    /// Reads what is `offset` bytes behind the pointer in r0 into r0.
    fn follow(&mut self, offset: i32) {
        self.mov(3, 0);
        self.add(3, offset);
        self.mov(1, 10);
        self.add(1, WORD_AT.into());
        self.set(2, 8);
        self.call(PROBE_READ_KERNEL);
        self.jump_if(JNE, 0, 0, Label::Refuse);
        self.load(DOUBLE, 0, 10, WORD_AT);
    }

    fn clear_stack(&mut self) {
        self.set(0, 0);
        for at in (RECORD_AT..0).step_by(8) {
            self.store(DOUBLE, 10, at, 0);
        }
    }

    /// Lets the call through if the address is this path.
    fn allow(&mut self, path: &[u8]) {
        let family = [1, 0]; // AF_UNIX
        let address: Vec<u8> = family.iter().chain(path).chain(&[0]).copied().collect();
        let mut at = ADDRESS_AT;
        let (words, bytes) = address.as_chunks::<8>();
        for word in words {
            self.load(DOUBLE, 0, 10, at);
            self.set_double(1, u64::from_le_bytes(*word));
            self.open.push((self.code.len(), Label::Next));
            self.emit(JNE_REGISTER, 0, 1, 0, 0);
            at += 8;
        }
        for byte in bytes {
            self.load(BYTE, 0, 10, at);
            self.jump_if(JNE, 0, (*byte).into(), Label::Next);
            at += 1;
        }
        self.set(0, 1);
        self.emit(0x95, 0, 0, 0, 0);
        self.close(Label::Next);
    }

    /// Reports the call with what is known of its address, and refuses it.
    fn refuse(&mut self, reports: Reports<'_>) {
        self.close(Label::Refuse);
        self.call(KTIME_GET_BOOT_NS);
        self.store(DOUBLE, 10, RECORD_AT, 0);
        self.call(GET_CURRENT_PID_TGID);
        self.emit(0x77, 0, 0, 0, 32); // r0 >>= 32
        self.store(WORD, 10, RECORD_AT + 8, 0);
        self.call(GET_CURRENT_UID_GID);
        self.store(WORD, 10, RECORD_AT + 12, 0);
        self.mov(1, 10);
        self.add(1, i32::from(RECORD_AT) + 16);
        self.set(2, 16);
        self.call(GET_CURRENT_COMM);
        self.set(0, RefusalCode::Unix as i32);
        self.store(WORD, 10, RECORD_AT + 56, 0);
        self.set_map(1, reports.refusals);
        self.mov(2, 10);
        self.add(2, RECORD_AT.into());
        self.set(3, i32::from(REFUSAL + ADDRESS_ROOM));
        self.set(4, 0);
        self.call(RINGBUF_OUTPUT);
        self.jump_if(JEQ, 0, 0, Label::End);
        self.set(0, 0);
        self.store(WORD, 10, WORD_AT, 0);
        self.set_map(1, reports.lost);
        self.mov(2, 10);
        self.add(2, WORD_AT.into());
        self.call(MAP_LOOKUP_ELEM);
        self.jump_if(JEQ, 0, 0, Label::End);
        self.load(DOUBLE, 1, 0, 0);
        self.add(1, 1);
        self.store(DOUBLE, 0, 0, 1);
        self.close(Label::End);
        self.set(0, 0);
        self.emit(0x95, 0, 0, 0, 0);
    }

    /// Ends the jumps to a label here.
    fn close(&mut self, label: Label) {
        let here = self.code.len();
        let code = &mut self.code;
        self.open.retain(|(at, to)| {
            if *to != label {
                return true;
            }
            // Programs here are a few thousand instructions long.
            let distance = u16::try_from(here - at - 1).unwrap_or(u16::MAX);
            code[*at] |= u64::from(distance) << 16;
            false
        });
    }

    fn finish(self) -> Vec<u64> {
        self.code
    }
}
