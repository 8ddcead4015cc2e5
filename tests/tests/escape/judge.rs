//! Who got out: by what the internet saw, and by what each technique says it holds.

use std::collections::BTreeMap;

use guard_tests::escape::world::{Place, Said, User, World};
use guard_tests::escape::{
    ALLOWED, Company, Evidence, NOBODY, Needs, Technique, marked, techniques,
};
use guard_tests::internet::{Frame, ROUTER4};
use serde::{Deserialize, Serialize};

use crate::known;
use crate::pass::Pass;
use crate::stage::Stage;

/// How long after a technique's end a packet without a mark may still be its own.
const LATE: u64 = 60_000_000;

/// A line of the table.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) family: String,
    pub(crate) technique: String,
    pub(crate) title: String,
    pub(crate) place: Place,
    pub(crate) user: User,
    pub(crate) outcome: Outcome,
    /// What closed it; or why it is open, or cannot be tested.
    pub(crate) control: String,
    /// What the technique said.
    pub(crate) said: String,
}

/// What came of a technique.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It gets out outside, and does not inside.
    Closed,
    /// It gets out inside.
    Open,
    /// This user has no way outside, either.
    NoWay,
    /// The host lacks what it needs.
    NotTestable,
}

/// Compares a pass inside with the one outside. What must not be goes to `wrong`.
pub(crate) fn judge(
    stage: &Stage,
    outside: &Pass,
    inside: &Pass,
    wrong: &mut Vec<String>,
) -> Vec<Row> {
    let (free, _) = leaks(outside);
    let (leaked, unexpected) = leaks(inside);
    let place = inside.world.place;
    for frame in unexpected {
        wrong.push(format!(
            "{place:?}: a packet of nobody's: {}",
            hex(&frame.bytes)
        ));
    }
    let mut rows = Vec::new();
    for (number, family, technique) in techniques() {
        if !stage.only.is_empty() && !stage.only.iter().any(|id| id == technique.id) {
            continue;
        }
        let was_out = got_out(outside, &free, number, technique);
        let is_out = got_out(inside, &leaked, number, technique);
        if technique.id == ALLOWED {
            for (pass, out) in [(outside, was_out), (inside, is_out)] {
                // Where there is no user namespace, nothing ran.
                if !out && !said(pass, technique).starts_with("unshare(CLONE_NEWUSER)") {
                    wrong.push(format!(
                        "{:?}: what policy allows does not work: {}",
                        pass.world.place,
                        said(pass, technique)
                    ));
                }
            }
            continue;
        }
        let outcome = match (was_out, is_out) {
            (_, true) => Outcome::Open,
            (true, false) => Outcome::Closed,
            (false, false) if expected(technique, stage.user) => {
                if !outside
                    .said
                    .get(technique.id)
                    .is_some_and(|said| said.unavailable)
                {
                    wrong.push(format!(
                        "{}: does not get out outside: {}",
                        technique.id,
                        said(outside, technique)
                    ));
                }
                Outcome::NotTestable
            }
            (false, false) => Outcome::NoWay,
        };
        let said = said(inside, technique);
        let known = known::known(technique.id, place, stage.user);
        let outcome = match (outcome, known) {
            // This time guard was the quicker one.
            (Outcome::Closed, Some(known)) if !known.always => Outcome::Open,
            (outcome, _) => outcome,
        };
        let control = match (outcome, known) {
            (Outcome::Closed, _) => technique.control(place, &said).to_owned(),
            (Outcome::Open, known) => known.map_or("?", |known| known.reason).to_owned(),
            (Outcome::NotTestable, _) => self::said(outside, technique),
            (Outcome::NoWay, _) => String::new(),
        };
        match (outcome, known) {
            (Outcome::Open, None) => {
                wrong.push(format!("{}: open in {place:?}: {said}", technique.id));
            }
            (Outcome::Closed, Some(_)) => {
                wrong.push(format!(
                    "{}: said to be open in {place:?}, and is closed: {said}",
                    technique.id
                ));
            }
            _ => {}
        }
        rows.push(Row {
            family: family.to_owned(),
            technique: technique.id.to_owned(),
            title: technique.title.to_owned(),
            place,
            user: stage.user,
            outcome,
            control,
            said,
        });
    }
    rows
}

/// The techniques that should have got out outside and did not: on a slow machine, once more may do.
pub(crate) fn missing(stage: &Stage, outside: &Pass) -> Vec<String> {
    let (free, _) = leaks(outside);
    let due = techniques().filter(|(number, _, technique)| {
        let said = outside.said.get(technique.id);
        // Root of a user namespace gets out by some; by which, only trying tells.
        let may = stage.user == User::Userns
            && technique.needs == Needs::Nothing
            && said.is_some_and(|said| said.worked);
        (may || expected(technique, stage.user))
            && technique.evidence == Evidence::Packet
            && !free.contains_key(number)
            && said.is_some_and(|said| !said.unavailable)
    });
    due.map(|(_, _, technique)| technique.id.to_owned())
        .collect()
}

/// The techniques that are known to be always open inside, and what policy allows, that did not get out.
pub(crate) fn unexpectedly_closed(stage: &Stage, outside: &Pass, inside: &Pass) -> Vec<String> {
    let (free, leaked) = (leaks(outside).0, leaks(inside).0);
    let closed = techniques().filter(|&(number, _, technique)| {
        inside.said.contains_key(technique.id)
            && (technique.id == ALLOWED
                || known::known(technique.id, inside.world.place, stage.user)
                    .is_some_and(|known| known.always))
            && got_out(outside, &free, number, technique)
            && !got_out(inside, &leaked, number, technique)
    });
    closed
        .map(|(_, _, technique)| technique.id.to_owned())
        .collect()
}

/// By what the internet saw, and by what the technique says it holds.
fn got_out(pass: &Pass, seen: &BTreeMap<u16, usize>, number: u16, technique: &Technique) -> bool {
    seen.contains_key(&number)
        || (technique.evidence == Evidence::Possession
            && pass.said.get(technique.id).is_some_and(|said| said.worked))
}

/// Whether a user must get out outside.
fn expected(technique: &Technique, user: User) -> bool {
    matches!(
        (technique.needs, user),
        (Needs::Nothing, User::Ordinary | User::Root)
            | (Needs::Root, User::Root)
            | (Needs::Ordinary, User::Ordinary)
    )
}

fn said(pass: &Pass, technique: &Technique) -> String {
    let said = pass.said.get(technique.id);
    said.map_or_else(|| "nothing".to_owned(), |said| said.said.clone())
}

/// The frames of each technique, and those of none.
fn leaks(pass: &Pass) -> (BTreeMap<u16, usize>, Vec<&Frame>) {
    let mut leaks = BTreeMap::new();
    let mut unexpected = Vec::new();
    for frame in &pass.frames {
        match attribute(pass, frame) {
            Some(NOBODY) => {}
            Some(number) => *leaks.entry(number).or_default() += 1,
            None => unexpected.push(frame),
        }
    }
    (leaks, unexpected)
}

/// Whose frame it is: by its mark, by an address in it, by a port, by the time.
fn attribute(pass: &Pass, frame: &Frame) -> Option<u16> {
    let bytes = frame.bytes.get(14..)?;
    if let Some(number) = marked(bytes, &pass.world.nonce) {
        return Some(number);
    }
    let after = |pattern: &[u8]| {
        let at = bytes
            .windows(pattern.len())
            .position(|window| window == pattern)?;
        bytes.get(at + pattern.len()..)
    };
    let one = |pattern: &[u8], base: u16| after(pattern)?.first().map(|&low| base + u16::from(low));
    let two = |pattern: &[u8]| match after(pattern)? {
        &[high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    };
    let v6 = |first: &[u8], rest: [u8; 4]| {
        let mut pattern = first.to_vec();
        pattern.resize(10, 0);
        pattern.extend(rest);
        two(&pattern)
    };
    let by_address = one(&[203, 0, 113], 0)
        .or_else(|| one(&[198, 51, 100], 256))
        .or_else(|| two(&[239, guard_tests::escape::pass(&pass.world.nonce)]))
        .or_else(|| v6(&[0x20, 1, 0x0d, 0xb8, 0, 2], [0; 4]))
        .or_else(|| {
            v6(
                &[0xff, 0x15],
                [0, 0, 0, guard_tests::escape::pass(&pass.world.nonce)],
            )
        });
    if by_address.is_some() {
        return by_address;
    }
    // A reset for a port that nobody listens on any more is the kernel's answer to the internet, and says nothing.
    if is_bare_reset(bytes) {
        return Some(NOBODY);
    }
    // IGMP, or ICMPv6 behind options: the kernel takes its time to say that groups of the pass before were left.
    let reports_others = match bytes[0] >> 4 {
        4 => bytes[9] == 2,
        _ => bytes[6] == 0,
    };
    if reports_others {
        return Some(NOBODY);
    }
    let number = |id: &str| {
        let mut all = techniques();
        all.find(|(_, _, technique)| technique.id == id)
            .map(|(number, _, _)| number)
    };
    if after(&[169, 254, 169, 254]).is_some() {
        return number("tcp-metadata");
    }
    let source = match bytes[0] >> 4 {
        4 => bytes.get(20..22)?,
        _ => bytes.get(40..42)?,
    };
    let port = u16::from_be_bytes([source[0], source[1]]);
    // The handshake of a listener that was made outside is its maker's; an answer has the mark.
    let listening = techniques().find(|(number, _, _)| guard_tests::escape::port(*number) == port);
    match listening {
        _ if port == World::LISTENER_PORT => return Some(NOBODY),
        Some((_, _, technique)) if technique.id == "passed-listener" => return Some(NOBODY),
        Some((number, _, technique)) if technique.id.starts_with("listen-") => return Some(number),
        _ => {}
    }
    let at_time = |said: &&Said| (said.from..said.until + LATE).contains(&frame.at);
    if after(&ROUTER4.octets()).is_some() && bytes.get(22..24) == Some(&8443_u16.to_be_bytes()) {
        return pass
            .said
            .values()
            .filter(|said| alone(said))
            .find(at_time)
            .and_then(|said| number(&said.id));
    }
    // What the suite's own inherited connection says at its beginning and at its end.
    (bytes[0] >> 4 == 4
        && bytes.get(16..20) == Some(&ROUTER4.octets())
        && bytes.get(22..24) == Some(&[0, 80]))
    .then_some(NOBODY)
}

fn alone(said: &Said) -> bool {
    techniques()
        .any(|(_, _, technique)| technique.company != Company::Any && technique.id == said.id)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().take(96).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A TCP segment with RST and no payload. One of a connection that was made follows a SYN that counts.
fn is_bare_reset(packet: &[u8]) -> bool {
    let (protocol, header) = match packet[0] >> 4 {
        4 => (packet.get(9), usize::from(packet[0] & 15) * 4),
        _ => (packet.get(6), 40),
    };
    let length = |tcp: &[u8]| Some(usize::from(tcp.get(12)? >> 4) * 4);
    let total = match packet[0] >> 4 {
        4 => packet.get(2..4),
        _ => packet.get(4..6),
    };
    let total = total.map_or(0, |bytes| {
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
    });
    let end = if packet[0] >> 4 == 4 {
        total
    } else {
        total + 40
    };
    packet.get(header..).is_some_and(|tcp| {
        protocol == Some(&6)
            && tcp.get(13).is_some_and(|flags| flags & 4 != 0)
            && length(tcp).is_some_and(|length| header + length == end)
    })
}
