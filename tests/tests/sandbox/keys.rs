//! The user's own AWS keys: in no session's reach by any path, unless the profile shows them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{World, for_all, said};

const PLAIN: &str = "name = \"p\"";

/// What every file here holds.
const MARK: &str = "wJalrXUtnFEMIsecret";

/// Writes a file of the user's, and the directories above it.
fn write(world: &World, name: &str) -> PathBuf {
    let path = world.own().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("{MARK} {name}\n")).unwrap();
    own(world);
    path
}

/// Gives the user everything in the user's directory.
fn own(world: &World) {
    fn all(path: &Path, user: u32) {
        lchown(path, Some(user), Some(user)).unwrap();
        if path.symlink_metadata().unwrap().is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                all(&entry.unwrap().path(), user);
            }
        }
    }
    all(&world.own(), world.user);
}

/// Says which files hold the mark, by every path below the user's directory and through other processes.
const SEARCH: &str = "grep -rs wJalrXUtnFEMIsecret . $(ls -d /proc/[0-9]*/cwd/ /proc/[0-9]*/environ); env | grep -c wJalr; true";

#[test]
fn files_of_aws_tools_are_hidden() {
    for_all(PLAIN, |world| {
        for name in [
            ".aws/config",
            ".aws/credentials",
            ".aws/sso/cache/1.json",
            ".aws/cli/cache/2.json",
            ".aws/login/cache/3.json",
            ".awsvault/keys/k",
            ".granted/config",
            ".kube/cache/aws-iam-authenticator/credentials.yaml",
            ".config/rclone/rclone.conf",
            ".s3cfg",
            ".boto",
            ".passwd-s3fs",
            "token",
        ] {
            write(world, name);
        }
        let named = write(world, "elsewhere/keys");
        let login = write(world, "logins/a.json");
        let config = world.own().join("my-config");
        let token = write(world, "elsewhere/token");
        let text = format!(
            "# {MARK}\n[default]\nweb_identity_token_file = {}\n",
            token.display()
        );
        fs::write(&config, text).unwrap();
        own(world);
        let output = world
            .run(&["sh", "-c", &format!("{SEARCH}; ls -A .aws; echo x > .aws/credentials; cat .aws/credentials; cat .s3cfg; (echo x > .s3cfg) 2>/dev/null; rm .s3cfg 2>/dev/null; rmdir .aws 2>/dev/null; ls -d .aws; stat -c '%U' .aws")])
            .env("AWS_SHARED_CREDENTIALS_FILE", &named)
            .env("AWS_CONFIG_FILE", "my-config")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", "token")
            .env("AWS_LOGIN_CACHE_DIRECTORY", login.parent().unwrap())
            .env("AWS_SECRET_ACCESS_KEY", MARK)
            .env("AWS_ACCESS_KEY_ID", "AKIAFOREIGNXXXXXXXXX")
            .env("TF_VAR_key", format!("key={MARK}"))
            .output()
            .unwrap();
        let user = if world.user == 0 { "root" } else { "nobody" };
        assert_eq!(said(&output), format!("0\nx\n.aws\n{user}"));
        // The host's are as they were.
        let text = fs::read_to_string(world.own().join(".aws/credentials")).unwrap();
        assert_eq!(text, format!("{MARK} .aws/credentials\n"));
    });
}

#[test]
fn links_and_other_mounts_lead_to_none_of_them() {
    for_all(PLAIN, |world| {
        write(world, "dotfiles/aws/credentials");
        write(world, "dotfiles/aws/sso/cache/1.json");
        write(world, "s3/real");
        symlink("dotfiles/aws", world.own().join(".aws")).unwrap();
        symlink("s3/real", world.own().join(".s3cfg")).unwrap();
        own(world);
        let mounts = [
            (world.own().join("dotfiles"), "all"),
            (world.own().join("dotfiles/aws"), "aws"),
            (world.own().join("dotfiles/aws/sso"), "sso"),
            (world.own().join("s3/real"), "file"),
        ];
        let places = mounts.map(|(source, name)| {
            let place = world.own().join("mnt").join(name);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            if source.is_dir() {
                fs::create_dir(&place).unwrap();
            } else {
                fs::write(&place, "").unwrap();
            }
            let mut bind = Command::new("mount");
            bind.arg("--bind").arg(source).arg(&place);
            assert!(bind.status().unwrap().success());
            place
        });
        let output = world.shell(&format!("{SEARCH}; ls -A mnt/*; cat .s3cfg mnt/file"));
        for place in &places {
            assert!(
                Command::new("umount")
                    .arg(place)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        assert_eq!(
            said(&output),
            "0\nmnt/file\n\nmnt/all:\naws\n\nmnt/aws:\n\nmnt/sso:"
        );
    });
}

#[test]
fn what_links_in_hidden_directories_lead_to_is_hidden_too() {
    for_all(PLAIN, |world| {
        write(world, "dotfiles/aws-credentials");
        write(world, "dotfiles/sso/1.json");
        write(world, "rclone.conf");
        for directory in [".aws/cli", ".config/rclone"] {
            fs::create_dir_all(world.own().join(directory)).unwrap();
        }
        for (link, target) in [
            (".aws/credentials", "../dotfiles/aws-credentials"),
            (".aws/cli/cache", "../../dotfiles/sso"),
            (".config/rclone/rclone.conf", "../../rclone.conf"),
            (".aws/python", "/usr/bin/python3"),
        ] {
            symlink(target, world.own().join(link)).unwrap();
        }
        own(world);
        let place = world.own().join("mnt");
        fs::create_dir(&place).unwrap();
        let bound = |command: &mut Command| assert!(command.status().unwrap().success());
        bound(
            Command::new("mount")
                .arg("--bind")
                .args([&world.own().join("dotfiles"), &place]),
        );
        let output = world.shell(&format!(
            "{SEARCH}; cat dotfiles/aws-credentials; ls -A dotfiles/sso; /usr/bin/python3 -c 'print(1)'"
        ));
        bound(Command::new("umount").arg(&place));
        assert_eq!(said(&output), "0\n1");

        let shown = [world.own().join(".aws/credentials")];
        fs::write(
            world.stand.home().join("profile.toml"),
            format!("{PLAIN}\n[sandbox]\nshow = {shown:?}\n"),
        )
        .unwrap();
        let found = world.says("cat .aws/credentials; grep -rls wJalrXUtnFEMIsecret .");
        let text = format!("{MARK} dotfiles/aws-credentials");
        assert_eq!(found, format!("{text}\n./dotfiles/aws-credentials"));
    });
}

#[test]
fn what_the_profile_shows_stays() {
    for_all(PLAIN, |world| {
        for name in [
            ".aws/config",
            ".aws/credentials",
            ".aws/cli/alias",
            ".s3cfg",
            ".boto",
        ] {
            write(world, name);
        }
        let shown = [".aws/config", ".aws/cli", ".s3cfg"].map(|name| world.own().join(name));
        fs::write(
            world.stand.home().join("profile.toml"),
            format!("{PLAIN}\n[sandbox]\nshow = {shown:?}\n"),
        )
        .unwrap();
        let found = world.says("grep -rls wJalrXUtnFEMIsecret . | sort");
        assert_eq!(found, "./.aws/cli/alias\n./.aws/config\n./.s3cfg");
    });
}

#[test]
fn what_is_put_there_later_is_hidden_too() {
    for_all(PLAIN, |world| {
        let mut session = world
            .run(&["sh", "-c", &format!("echo ready; read go; {SEARCH}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        write(world, ".aws/sso/cache/1.json");
        session.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let said: Vec<_> = lines.map(Result::unwrap).collect();
        assert!(session.wait().unwrap().success());
        assert_eq!(said, ["0"]);
    });
}
