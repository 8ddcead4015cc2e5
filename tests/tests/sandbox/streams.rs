//! What may come in as a standard stream, and the working directory.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use super::World;

fn refused(world: &World, stream: impl Into<Stdio>) -> String {
    let output = world.run(&["true"]).stdin(stream).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn streams_that_lead_out_are_refused() {
    let world = World::new(65534, "name = \"p\"");
    for path in [
        "/",
        "/proc/self/mem",
        "/proc/self/ns/net",
        "/sys/kernel/mm",
        "/dev/kmsg",
    ] {
        let Ok(file) = File::open(path) else { continue };
        let text = refused(&world, file);
        assert!(text.contains("standard input is"), "{path}: {text}");
    }
}

#[test]
fn a_unix_socket_may_be_a_stream() {
    let world = World::new(65534, "name = \"p\"");
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    let status = world
        .run(&["cat"])
        .stdin(OwnedFd::from(theirs))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_kernel_file_system_is_no_working_directory() {
    let world = World::new(0, "name = \"p\"");
    for place in ["/proc", "/sys/kernel"] {
        let output = world.run(&["true"]).current_dir(place).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("working directory"), "{text}");
    }
    let output = world
        .run(&["true"])
        .current_dir(world.stand.home())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let hidden = world.stand.home().join("state");
    let output = world.run(&["true"]).current_dir(hidden).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}
