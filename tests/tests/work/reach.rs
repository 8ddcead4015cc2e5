//! What the profile opens between the session's loopback and the host: `allow_loopback` and `publish`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use guard_tests::guard::succeeded;
use guard_tests::{is_root, python_program};

use crate::Work;

/// A service on the host that says hello to everybody, as long as the test lasts.
fn service(address: &str) -> u16 {
    let listener = TcpListener::bind(address).expect("binds");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"hello from the host\n");
        }
    });
    port
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("bound").port()
}

#[test]
fn listed_ports_of_the_hosts_loopback_are_reached_and_no_others() {
    if !is_root("listed_ports_of_the_hosts_loopback_are_reached_and_no_others") {
        return;
    }
    let (listed, listed6) = (service("127.0.0.1:0"), service("[::1]:0"));
    let (unlisted, closed) = (service("127.0.0.1:0"), free_port());
    let work = Work::new(&format!(
        "default = \"deny\"\n[network]\nallow_loopback = [{listed}, {listed6}, {closed}]\n"
    ));
    let script = format!(
        "
import socket
for host, port in (('127.0.0.1', {listed}), ('::1', {listed}), ('localhost', {listed6}), ('127.0.0.1', {unlisted}),
                   ('127.0.0.2', {listed}), ('127.0.0.1', {closed})):
    try:
        with socket.create_connection((host, port), timeout=20) as s:
            print(s.makefile().readline().strip())
    except OSError as e:
        print(type(e).__name__)
"
    );
    let output = work
        .command()
        .arg(python_program("python"))
        .args(["-c", &script])
        .output()
        .expect("guard runs");
    let refused = "ConnectionRefusedError\n";
    assert_eq!(
        succeeded(&output),
        format!(
            "{}{refused}{refused}ConnectionResetError\n",
            "hello from the host\n".repeat(3)
        )
    );
    let passed = work.guard.entries("connection_passed");
    let to_listed = passed
        .iter()
        .filter(|entry| entry["host"] == "localhost" && entry["port"] == listed)
        .collect::<Vec<_>>();
    assert_eq!(to_listed.len(), 2, "{passed:#?}");
    assert!(
        to_listed.iter().all(|entry| {
            let argv = entry["process"]["argv"].to_string();
            argv.contains("create_connection")
                && entry["process"]["uid"] == guard_tests::guard::USER
        }),
        "{passed:#?}"
    );
    let refused = work.guard.entries("refused");
    assert!(
        refused
            .iter()
            .any(|entry| entry["code"] == "upstream-connect"),
        "{refused:#?}"
    );
}

#[test]
fn published_ports_are_reached_from_the_host_while_the_session_lasts() {
    if !is_root("published_ports_are_reached_from_the_host_while_the_session_lasts") {
        return;
    }
    let (port, port6, empty) = (free_port(), free_port(), free_port());
    let work = Work::new(&format!(
        "default = \"deny\"\n[network]\npublish = [\"{port}:3000\", \"127.0.0.1:{port6}:3001\", \"{empty}\"]\n"
    ));
    let script = "
import socket, sys, threading
def serve(family, address):
    server = socket.create_server(address, family=family)
    def each():
        while True:
            s, peer = server.accept()
            s.sendall(b'heard ' + s.recv(4))
            s.close()
    threading.Thread(target=each, daemon=True).start()
serve(socket.AF_INET, ('127.0.0.1', 3000))
serve(socket.AF_INET6, ('::1', 3001))
print('up', flush=True)
sys.stdin.read()
";
    let mut session = work
        .command()
        .arg(python_program("python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut line = String::new();
    BufReader::new(session.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("read");
    assert_eq!(line, "up\n");
    let talk = |port: u16| {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"ping")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).map(|_| reply)
    };
    assert_eq!(talk(port).expect("answers"), "heard ping");
    assert_eq!(talk(port6).expect("answers"), "heard ping");
    assert!(talk(empty).is_err(), "nobody serves it in the session");
    assert!(
        talk(3000).is_err(),
        "the session's own port is not the host's"
    );
    drop(session.stdin.take());
    assert!(session.wait().expect("ends").success());
    assert!(
        TcpStream::connect(("127.0.0.1", port)).is_err(),
        "it outlived the session"
    );

    let published = work.guard.entries("connection_published");
    assert_eq!(published.len(), 3, "{published:#?}");
    assert_eq!(published[0]["host"], format!("127.0.0.1:{port}"));
    assert_eq!(published[0]["port"], 3000);
}

#[test]
fn ports_that_cannot_be_opened_stop_the_session_before_it_starts() {
    if !is_root("ports_that_cannot_be_opened_stop_the_session_before_it_starts") {
        return;
    }
    let taken = service("127.0.0.1:0");
    // (what the profile opens, what the error says)
    let cases = [
        (
            format!("publish = [\"{taken}:3000\"]"),
            format!("127.0.0.1:{taken}"),
        ),
        (
            "allow_loopback = [61080]".to_owned(),
            "guard's own".to_owned(),
        ),
        (
            "allow_loopback = [3000]\npublish = [\"3001:3000\"]".to_owned(),
            "publish another".to_owned(),
        ),
    ];
    for (opened, words) in cases {
        let work = Work::new(&format!("default = \"deny\"\n[network]\n{opened}\n"));
        let output = work
            .command()
            .args(["touch", "ran"])
            .output()
            .expect("guard runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{opened}");
        assert!(error.contains(&words), "{opened}: {error}");
        assert!(!work.place.join("ran").exists(), "{opened}");
        assert!(work.guard.entries("session_started").is_empty(), "{opened}");
    }
}
