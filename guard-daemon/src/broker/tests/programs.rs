//! Programs that give credentials.

use super::*;

#[tokio::test]
async fn a_program_that_was_changed_is_not_run() {
    let home = Home::new();
    home.process(&given(62));
    let source = home.source().await.unwrap();
    let own = home.path("process");
    let own = own.to_str().unwrap();
    assert!(
        source.warnings().len() == 1 && source.warnings()[0].contains(own),
        "{:?}",
        source.warnings()
    );
    home.process("touch evil");
    let error = source.credentials().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("{own} was changed")) && error.contains("start a new session"),
        "{error}"
    );
    assert!(!home.path("evil").exists());

    // The next daemon knows what it was, too.
    let known = source.programs().to_vec();
    let again = home.launch(None, Scripted::new([]), Some(known)).await;
    let again = again.unwrap();
    assert!(again.credentials().await.is_err());
    assert!(!home.path("evil").exists());
    // As it was, it runs.
    home.process(&given(62));
    let renewed = home.source().await.unwrap();
    assert!(renewed.credentials().await.is_ok());
}

#[tokio::test]
async fn a_program_or_shell_that_another_takes_the_place_of_is_not_run() {
    for name in ["give", "sh"] {
        let mut home = Home::new();
        fs::create_dir(home.path("early")).unwrap();
        fs::create_dir(home.path("late")).unwrap();
        let path = ["early", "late"].map(|name| home.path(name).display().to_string());
        let path = format!("{}:/usr/bin:/bin", path.join(":"));
        home.selection.variables.insert("PATH".to_owned(), path);
        home.process(&given(3600));
        fs::rename(home.path("process"), home.path("late/give")).unwrap();
        home.write(
            ".aws/config",
            "[default]\ncredential_process = give --now\n",
        );
        let source = home.source().await.unwrap();
        fs::write(home.path("early").join(name), "#!/bin/sh\ntouch evil\n").unwrap();
        fs::set_permissions(
            home.path("early").join(name),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        let error = source.credentials().await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("early/{name} now")) && error.contains("start a new session"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_program_is_that_of_the_source_that_is_used() {
    let mut home = Home::new();
    let names = |source: &Source| -> Vec<String> {
        let programs = source.programs().iter();
        programs.map(|it| it.name().to_owned()).collect()
    };
    home.write(
        ".aws/config",
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = process\n\
         [profile process]\ncredential_process = /bin/true --a \"b c\"\n\
         [profile sso]\nsso_session = s\ncredential_process = /bin/true\n\
         [profile kept]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = keys\n\
         [profile keys]\naws_access_key_id = a\naws_secret_access_key = b\ncredential_process = /bin/true\n\
         [profile file]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = both\n\
         [profile both]\ncredential_process = /bin/true\n\
         [profile odd]\ncredential_process = $HOME/x s3cret\n",
    );
    home.write(
        ".aws/credentials",
        "[both]\naws_access_key_id = AKIAFILE\naws_secret_access_key = b\n",
    );
    for (profile, expected) in [
        ("role", &["sh", "/bin/true"][..]),
        ("process", &["sh", "/bin/true"]),
        ("sso", &[]),
        // As the AWS CLI chooses between them.
        ("kept", &["sh", "/bin/true"]),
        ("keys", &["sh", "/bin/true"]),
        ("file", &[]),
        ("both", &[]),
        ("odd", &["sh", "credential_process"]),
    ] {
        home.selection.profile = Some(profile.to_owned());
        let source = home.source().await.unwrap();
        assert_eq!(names(&source), expected, "{profile}");
        if profile == "odd" {
            let error = source.credentials().await.unwrap_err().to_string();
            assert!(
                error.contains("write the program's path first") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn keys_in_the_credentials_file_come_before_a_program_and_that_before_keys_in_the_config_file()
 {
    let home = Home::new();
    home.process(&given(3600));
    let config = fs::read_to_string(home.path(".aws/config")).unwrap();
    let keys = "aws_access_key_id = AKIAFILE\naws_secret_access_key = b\n";
    home.write(".aws/config", &format!("{config}{keys}"));
    let source = home.source().await.unwrap();
    let credentials = source.credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "AKIAPROCESS");
    assert_eq!(home.runs(), 1);

    home.write(".aws/credentials", &format!("[default]\n{keys}"));
    let source = home.source().await.unwrap();
    let credentials = source.credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "AKIAFILE");
    assert_eq!(home.runs(), 1);
}

#[tokio::test]
async fn what_a_program_says_of_its_failure_stays_with_it() {
    let home = Home::new();
    home.process("echo s3cret >&2; echo s3cret; exit 7");
    let source = home.source().await.unwrap();
    let error = source.credentials().await.unwrap_err().to_string();
    assert!(
        error.contains("exit status: 7") && !error.contains("s3cret"),
        "{error}"
    );
}

#[tokio::test]
async fn a_program_that_hangs_ends_with_the_session() {
    let home = Home::new();
    home.process("sleep 600 & echo $$ $! > pids; wait");
    let source = home.source().await.unwrap();
    let waiting = source.clone();
    let waiting = tokio::spawn(async move { waiting.credentials().await });
    let pids = loop {
        let pids = fs::read_to_string(home.path("pids")).unwrap_or_default();
        if pids.ends_with('\n') {
            break pids;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    waiting.abort();
    drop(source);
    for pid in pids.split_whitespace() {
        let status = format!("/proc/{pid}/stat");
        let mut left = 300;
        while fs::read_to_string(&status).is_ok_and(|it| !it.contains(") Z ")) {
            left -= 1;
            assert!(left > 0, "{pid} of {pids} lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn configured_programs_run_as_the_owner_with_a_clean_environment() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can read credentials as another user");
        return;
    }
    let mut home = Home::new();
    home.owner = Owner {
        uid: 65534,
        gid: 65534,
    };
    home.process(&format!(
        "env > env; id -u > uid; id -G > groups; stat -c %u /proc/$RESOLVER/environ /proc/$RESOLVER/mem > closed; cat <&0 > stdin; {}",
        given(3600)
    ));
    for name in ["", ".aws"] {
        nix::unistd::chown(&home.path(name), Some(65534.into()), Some(65534.into())).unwrap();
    }
    let source = home.source().await.unwrap();
    let warnings = source.warnings().concat();
    assert!(
        warnings.contains(home.path("process").to_str().unwrap()) && !warnings.contains("sh,"),
        "{warnings}"
    );
    source.credentials().await.unwrap();
    let read = |name: &str| fs::read_to_string(home.path(name)).unwrap();
    assert_eq!(
        (read("uid").trim(), read("groups").trim()),
        ("65534", "65534")
    );
    // The kernel gives the files of a process that is not dumpable to root.
    assert_eq!(read("closed"), "0\n0\n");
    assert_eq!(read("stdin"), "");
    let env = read("env");
    let mut names: Vec<&str> = env
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    names.sort_unstable();
    names.retain(|name| !["_", "PWD", "OLDPWD", "SHLVL"].contains(name));
    assert_eq!(
        names,
        ["AWS_EC2_METADATA_DISABLED", AS_RESOLVER, "HOME", "PATH"]
    );

    // A file that the owner may not read is not read for them.
    home.write(
        "secret",
        "[default]\naws_access_key_id = AKIAROOT\naws_secret_access_key = a\n",
    );
    fs::set_permissions(home.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    home.selection.credentials_file = Some(home.path("secret"));
    let error = home.source().await.err().unwrap();
    assert!(
        matches!(&error, BrokerError::Configuration(text) if !text.contains("AKIAROOT")),
        "{error}"
    );
}
