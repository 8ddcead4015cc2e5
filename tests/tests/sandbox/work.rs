//! Ordinary work goes on in a session.

use super::{for_all, has};

const PLAIN: &str = "name = \"p\"";

#[test]
fn pipelines_jobs_and_here_documents() {
    for_all(PLAIN, |world| {
        let script = "seq 100 | sort -rn | head -1; (sleep 0.1; echo later) & wait; \
            bash -c 'diff <(echo a) <(echo a) && cat <<< here'; mkfifo f; echo x > f & cat f";
        assert_eq!(world.says(script), "100\nlater\nhere\nx");
    });
}

#[test]
fn python_with_processes_threads_and_shared_memory() {
    for_all(PLAIN, |world| {
        let script = "
import multiprocessing, threading, tempfile, subprocess, asyncio
from multiprocessing import shared_memory
if __name__ == '__main__':
    for method in ('fork', 'forkserver', 'spawn'):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2], method
    memory = shared_memory.SharedMemory(create=True, size=10); memory.close(); memory.unlink()
    t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()
    with tempfile.NamedTemporaryFile() as f: f.write(b'x')
    async def served():
        done = asyncio.Event()
        async def talk(reader, writer):
            writer.write(await reader.readline()); writer.close(); done.set()
        server = await asyncio.start_server(talk, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.write(b'loopback\\n'); print((await reader.readline()).decode().strip())
    asyncio.run(served())
";
        let path = world.own().join("job.py");
        std::fs::write(&path, script).unwrap();
        assert_eq!(world.says("/usr/bin/python3 job.py"), "thread\nloopback");
    });
}

#[test]
fn git_in_the_working_directory() {
    if !has("sandbox::work::git_in_the_working_directory", "git") {
        return;
    }
    for_all(PLAIN, |world| {
        let script = "git init -q . && git config user.email a@b && git config user.name n && echo x > f && \
            git add f && git commit -qm first && git clone -q . copy && git -C copy log --format=%s";
        assert_eq!(world.says(script), "first");
    });
}

#[test]
fn node_with_workers_and_a_server() {
    if !has("sandbox::work::node_with_workers_and_a_server", "node") {
        return;
    }
    for_all(PLAIN, |world| {
        let script = "
const {Worker} = require('worker_threads'), http = require('http'), cp = require('child_process');
const fs = require('fs');
new Worker('require(\"worker_threads\").parentPort.postMessage(1)', {eval: true}).on('message', () => {
  console.log(cp.execFileSync('echo', ['child']).toString().trim());
  fs.readFile('/etc/passwd', (error) => {
    const server = http.createServer((q, s) => s.end('served')).listen(0, '127.0.0.1', () => {
      http.get({port: server.address().port, host: '127.0.0.1'}, (r) => {
        r.on('data', (d) => console.log(error || d.toString())); r.on('end', () => server.close()); });
    });
  });
});
";
        std::fs::write(world.own().join("job.js"), script).unwrap();
        assert_eq!(world.says("node job.js"), "child\nserved");
    });
}

#[test]
fn tmux_in_a_session() {
    if !has("sandbox::work::tmux_in_a_session", "tmux") {
        return;
    }
    for_all(PLAIN, |world| {
        let script = "export TERM=xterm LC_ALL=C.UTF-8 SHELL=/bin/sh; tmux new-session -d -s w 'tty; sleep 30' && sleep 0.5 && \
            tmux capture-pane -p -t w | head -1 && tmux list-sessions -F '#{session_name}' && tmux kill-server";
        let said = world.says(script);
        assert!(
            said.starts_with("/dev/pts/") && said.ends_with("\nw"),
            "{said}"
        );
    });
}

#[test]
fn script_gives_a_terminal() {
    if !has("sandbox::work::script_gives_a_terminal", "script") {
        return;
    }
    for_all(PLAIN, |world| {
        let said = world.says("TERM=xterm SHELL=/bin/sh script -qec tty /dev/null < /dev/null");
        assert!(said.trim().starts_with("/dev/pts/"), "{said}");
    });
}

#[test]
fn names_of_users_and_times() {
    for_all(PLAIN, |world| {
        let name = if world.user == 0 { "root" } else { "nobody" };
        assert_eq!(world.says("id -un"), name);
        world.says("date > /dev/null; uname -a > /dev/null; df / > /dev/null; nproc > /dev/null");
    });
}

#[test]
fn root_installs_for_others() {
    let world = super::World::new(0, PLAIN);
    let script = "touch f && chown 65534:65534 f && chmod 4755 f && stat -c '%u %a' f && \
        setpriv --reuid 65534 --regid 65534 --clear-groups id -u";
    assert_eq!(world.says(script), "65534 4755\n65534");
}
