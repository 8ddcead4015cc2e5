//! The parents of a process, from `/proc`.

use std::fs;

use crate::record::entry::Parent;

/// Parents that are told of.
const PARENTS: usize = 8;
/// Process 1 is everybody's parent in the end, and says nothing.
const INIT: u32 = 1;

/// The parents of the process with this `/proc/PID/stat`, nearest first. A number that is given out again
/// meanwhile is not told from the parent's; what reads more than once can be no better.
pub(super) fn of(stat: &[u8]) -> Vec<Parent> {
    let mut parents = Vec::new();
    let mut next = parent(stat);
    while let Some(pid) = next.filter(|pid| *pid > INIT) {
        parents.push(Parent {
            pid,
            exe: executable(pid),
        });
        if parents.len() == PARENTS {
            break;
        }
        next = self::stat(pid).as_deref().and_then(parent);
    }
    parents
}

/// The executable of a process, if it can be read.
pub(super) fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// The `/proc/PID/stat` of a process.
pub(super) fn stat(pid: u32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/stat")).ok()
}

/// Field 2 of a `stat`: the task's name.
pub(super) fn name(stat: &[u8]) -> String {
    let begin = stat.iter().position(|byte| *byte == b'(').map(|at| at + 1);
    let end = stat.iter().rposition(|byte| *byte == b')');
    let name = begin.zip(end).and_then(|(begin, end)| stat.get(begin..end));
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

/// A field behind the name, which is field 2, by its number in proc_pid_stat(5).
pub(super) fn field(stat: &[u8], number: usize) -> Option<&str> {
    // The name stands in parentheses, and may hold spaces and parentheses itself.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    fields.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

fn parent(stat: &[u8]) -> Option<u32> {
    field(stat, 4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_parents_are_found() {
        let own = stat(std::process::id()).unwrap();
        let parents = of(&own);
        let expected = std::os::unix::process::parent_id();
        if expected > INIT {
            assert_eq!(parents[0].pid, expected);
            assert_eq!(parents[0].exe, executable(expected));
        }
        assert!(parents.len() <= PARENTS);
    }

    #[test]
    fn names_may_hold_anything() {
        let stat = b"7 (a) (b) S 5 6";
        assert_eq!((name(stat), parent(stat)), ("a) (b".to_owned(), Some(5)));
        assert_eq!((name(b""), parent(b"")), (String::new(), None));
        assert_eq!(field(b"7 (a) S 5", 2), None);
    }
}
