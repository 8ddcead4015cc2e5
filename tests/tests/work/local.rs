//! Programs that serve, start and talk to each other on the session's own loopback and terminals.

use std::time::{Duration, Instant};

use guard_tests::{is_root, python_program, skip};

use crate::{PROFILE, Work, is_there};

#[test]
fn a_development_server_and_its_clients_talk_over_loopback() {
    if !is_root("a_development_server_and_its_clients_talk_over_loopback") {
        return;
    }
    let work = Work::new(PROFILE);
    work.write("page", "hello\n");
    let said = work.done(&format!(
        "{python} -m http.server --bind 127.0.0.1 8000 > log4 2>&1 & {python} -m http.server --bind ::1 8000 > log6 2>&1 &
        {python} -m http.server --bind 0.0.0.0 8001 > log 2>&1 &
        for url in 127.0.0.1:8000 '[::1]:8000' localhost:8000 localhost:8001 127.0.0.2:8001; do
            curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://$url/page
        done",
        python = python_program("python").display()
    ));
    assert_eq!(said, "hello\n".repeat(5));
    assert!(work.guard.entries("refused").is_empty());
}

#[test]
fn node_serves_fetches_and_starts_processes() {
    let test = "node_serves_fetches_and_starts_processes";
    if !is_root(test) {
        return;
    }
    if !is_there("node") {
        return skip(test, "needs node: `cargo xtask setup` installs it");
    }
    let work = Work::new(PROFILE);
    work.write(
        "work.mjs",
        r#"
import { execFileSync, fork } from 'node:child_process';
import { createServer } from 'node:http';
import { Worker } from 'node:worker_threads';

if (process.argv[2] === 'child') {
  process.send('from the child');
  process.disconnect();
} else {
  console.log(execFileSync('sh', ['-c', 'echo from a shell']).toString().trim());
  console.log(await new Promise((done) => fork(process.argv[1], ['child']).on('message', done)));
  const worker = new Worker("require('worker_threads').parentPort.postMessage('from a thread')", { eval: true });
  console.log(await new Promise((done) => worker.on('message', done)));
  const server = createServer((_, response) => response.end('from a server'));
  for (const host of ['127.0.0.1', '::1']) {
    await new Promise((done) => server.listen(0, host, done));
    const url = `http://${host === '::1' ? '[::1]' : host}:${server.address().port}/`;
    console.log(await (await fetch(url)).text());
    await new Promise((done) => { server.close(done); server.closeAllConnections(); });
  }
  console.log((await (await fetch('https://npm.registry.example/guard-demo')).json()).name);
  console.log((await fetch('https://other.example/').catch((error) => error.cause)).code);
}
"#,
    );
    assert_eq!(
        work.done("node work.mjs"),
        "from a shell\nfrom the child\nfrom a thread\nfrom a server\nfrom a server\nguard-demo\nENOTFOUND\n"
    );
}

#[test]
fn tmux_runs_a_terminal() {
    let test = "tmux_runs_a_terminal";
    if !is_root(test) {
        return;
    }
    if !is_there("tmux") {
        return skip(test, "needs tmux: `cargo xtask setup` installs it");
    }
    let work = Work::new(PROFILE);
    let said = work.done(
        "tmux -L work -f /dev/null new-session -d -s agent -x 80 -y 24 'PS1=\"> \" sh'
        tmux -L work send-keys -t agent 'echo it is $((6 * 7))' Enter
        for _ in $(seq 100); do
            tmux -L work capture-pane -p -t agent > pane
            if grep -q 'it is 42' pane; then break; fi
            sleep 0.1
        done
        grep -o 'it is 42' pane
        tmux -L work list-sessions -F '#{session_name}'
        tmux -L work kill-server",
    );
    assert_eq!(said, "it is 42\nagent\n");
}

#[test]
fn pytest_runs_tests_with_temporary_directories_and_processes() {
    let test = "pytest_runs_tests_with_temporary_directories_and_processes";
    if !is_root(test) {
        return;
    }
    if !std::path::Path::new("/usr/bin/pytest-3").exists() {
        return skip(
            test,
            "needs pytest: `cargo xtask setup` installs python3-pytest",
        );
    }
    let work = Work::new(PROFILE);
    work.write(
        "test_work.py",
        "
import multiprocessing, socket, subprocess, sys, tempfile, threading

def double(n):
    return 2 * n

def test_files(tmp_path):
    (tmp_path / 'x').write_text('y')
    with tempfile.NamedTemporaryFile() as file:
        assert file.write(b'z') == 1

def test_pool():
    for method in ('fork', 'spawn', 'forkserver'):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(double, [1, 2, 3]) == [2, 4, 6]

def test_shared_memory():
    from multiprocessing.shared_memory import SharedMemory
    memory = SharedMemory(create=True, size=16)
    memory.buf[0] = 7
    other = SharedMemory(memory.name)
    assert other.buf[0] == 7
    other.close()
    memory.close()
    memory.unlink()

def test_process():
    assert subprocess.run([sys.executable, '-c', 'print(42)'], capture_output=True).stdout == b'42\\n'

def test_sockets(tmp_path):
    for family, address in ((socket.AF_INET, ('127.0.0.1', 0)), (socket.AF_INET6, ('::1', 0)),
                            (socket.AF_UNIX, str(tmp_path / 's'))):
        with socket.socket(family) as server:
            server.bind(address)
            server.listen()
            with socket.socket(family) as client:
                client.connect(server.getsockname())
                server.accept()[0].sendall(b'x')
                assert client.recv(1) == b'x'
    near, far = socket.socketpair()
    near.send(b'x')
    assert far.recv(1) == b'x'

def test_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(('127.0.0.1', 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b'x', server.getsockname())
        assert server.recv(1) == b'x'
",
    );
    let said = work.done("/usr/bin/pytest-3 -q -p no:cacheprovider test_work.py");
    assert!(said.contains("6 passed"), "{said}");
}

#[test]
fn java_runs_a_program_and_reaches_aws_through_guard() {
    let test = "java_runs_a_program_and_reaches_aws_through_guard";
    if !is_root(test) {
        return;
    }
    if !is_there("javac") {
        return skip(
            test,
            "needs a JDK: `cargo xtask setup` installs default-jdk-headless",
        );
    }
    let work = Work::new(PROFILE);
    work.write(
        "Work.java",
        r#"
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.IntStream;

class Work {
    public static void main(String[] arguments) throws Exception {
        System.out.println(IntStream.range(0, 100).parallel().sum());
        var client = HttpClient.newHttpClient();
        for (var host : arguments) {
            var request = HttpRequest.newBuilder(URI.create("https://" + host + "/guard-demo")).build();
            try {
                System.out.println(host + " " + client.send(request, BodyHandlers.ofString()).statusCode());
            } catch (Exception e) {
                System.out.println(host + " " + e.getClass().getSimpleName());
            }
        }
    }
}
"#,
    );
    let said =
        work.done("java Work.java s3.us-east-1.amazonaws.com npm.registry.example other.example");
    assert_eq!(
        said,
        "4950\ns3.us-east-1.amazonaws.com 403\nnpm.registry.example 200\nother.example ConnectException\n"
    );
}

#[test]
fn ssh_to_a_host_that_is_not_allowed_fails_at_once_and_says_why() {
    let test = "ssh_to_a_host_that_is_not_allowed_fails_at_once_and_says_why";
    if !is_root(test) {
        return;
    }
    if !is_there("ssh") {
        return skip(
            test,
            "needs ssh: `cargo xtask setup` installs openssh-client",
        );
    }
    let work = Work::new(PROFILE);
    // (destination, what ssh says, the code in the journal)
    let cases = [
        ("git@github.example", "Could not resolve hostname", None),
        ("git@192.0.2.22", "Connection reset", Some("no-origin-name")),
        (
            "git@git.registry.example",
            "Connection reset",
            Some("host-not-allowed"),
        ),
    ];
    for (destination, words, code) in cases {
        let started = Instant::now();
        let output = work.sh(&format!(
            "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {destination} true"
        ));
        let error = String::from_utf8_lossy(&output.stderr);
        let took = started.elapsed();
        assert!(!output.status.success());
        assert!(
            error.contains(words) || code.is_some() && error.contains("closed by"),
            "{destination}: {error}"
        );
        assert!(took < Duration::from_secs(45), "{destination}: {took:?}");
        let refused = work.guard.entries("refused");
        assert!(
            code.is_none_or(|code| refused.iter().any(|entry| entry["code"] == code)),
            "{destination}: {refused:#?}"
        );
    }
}
