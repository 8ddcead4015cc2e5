#[test]
fn a_shell_reads_the_changes_as_they_are() {
    let value = "a 'quoted' $(value)\n`x` \\ end";
    let changes = Changes {
        set: [("ODD".to_owned(), value.to_owned())].into(),
        unset: vec!["GONE".to_owned()],
    };
    let script = format!(
        "{}printf '%s|%s' \"$ODD\" \"${{GONE-none}}\"",
        changes.as_shell()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("GONE", "there")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{value}|none")
    );
}

use super::*;

fn files() -> Files<'static> {
    Files {
        bundle: Path::new("/s/ca-bundle.pem"),
        extra: Path::new("/s/ca-extra.pem"),
        trust_store: Path::new("/s/trust.p12"),
        empty: Path::new("/s/empty"),
    }
}

fn handed<'a>(dummy: &'a DummyCredentials, region: Option<&'a str>) -> Handed<'a> {
    Handed {
        dummy,
        bearer: false,
        delivery: Delivery::Env,
        region,
    }
}

fn dummy() -> DummyCredentials {
    DummyCredentials {
        access_key_id: "AKIAEXAMPLEEXAMPLE00".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: None,
    }
}

fn user(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    relevant(pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())))
}

fn changes_for(pairs: &[(&str, &str)], region: Option<&str>) -> Changes {
    changes(
        &SessionId::random(),
        handed(&dummy(), region),
        files(),
        &user(pairs),
    )
}

#[test]
fn every_root_variable_names_a_file_of_the_session() {
    let set = changes_for(&[("SSL_CERT_FILE", "/mine.pem")], None).set;
    for name in BUNDLE {
        assert_eq!(set[name], "/s/ca-bundle.pem", "{name}");
    }
    for name in EXTRA {
        assert_eq!(set[name], "/s/ca-extra.pem", "{name}");
    }
}

#[test]
fn only_dummy_credentials_remain() {
    let changes = changes_for(&[], Some("eu-central-1"));
    assert_eq!(changes.set["AWS_ACCESS_KEY_ID"], "AKIAEXAMPLEEXAMPLE00");
    assert_eq!(changes.set["AWS_SECRET_ACCESS_KEY"], "secret");
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        assert_eq!(changes.set[name], "/s/empty", "{name}");
    }
    for name in [
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "HTTPS_PROXY",
        "https_proxy",
        "SSL_CERT_DIR",
    ] {
        assert!(changes.unset.iter().any(|n| n == name), "{name}");
        assert!(!changes.set.contains_key(name), "{name}");
    }
}

#[test]
fn the_region_is_set_only_when_known() {
    let known = changes_for(&[], Some("eu-central-1")).set;
    assert_eq!(known["AWS_REGION"], "eu-central-1");
    assert_eq!(known["AWS_DEFAULT_REGION"], "eu-central-1");
    assert!(!changes_for(&[], None).set.contains_key("AWS_REGION"));
}

#[test]
fn collects_the_users_roots_once_each() {
    let roots = roots(&user(&[
        ("SSL_CERT_FILE", "/a.pem"),
        ("AWS_CA_BUNDLE", "/b.pem"),
        ("REQUESTS_CA_BUNDLE", "/a.pem"),
        ("CURL_CA_BUNDLE", ""),
        ("NODE_EXTRA_CA_CERTS", "/n.pem"),
        ("SSL_CERT_DIR", "/d::/e"),
        ("HOME", "/root"),
    ]));
    assert_eq!(roots.bundles, [PathBuf::from("/a.pem"), "/b.pem".into()]);
    assert_eq!(roots.extras, [PathBuf::from("/n.pem")]);
    assert_eq!(roots.directories, [PathBuf::from("/d"), "/e".into()]);
}

#[test]
fn variables_of_hidden_sockets_are_forgotten_unless_allowed() {
    let left = |unix: &[&str]| {
        let mut variables: BTreeMap<OsString, OsString> = [
            ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
            (
                "DBUS_SESSION_BUS_ADDRESS",
                "unix:path=/run/user/7/bus,guid=1",
            ),
            ("DISPLAY", ":1.0"),
            ("XAUTHORITY", "/home/u/.Xauthority"),
            ("WAYLAND_DISPLAY", "wayland-0"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("DOCKER_HOST", "unix:///run/docker.sock"),
            ("CONTAINER_HOST", "ssh://host/run/podman.sock"),
            ("TMUX", "/tmp/tmux-7/default,1,0"),
            ("LISTEN_FDS", "3"),
            ("HOME", "/home/u"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let unix: Vec<PathBuf> = unix.iter().map(PathBuf::from).collect();
        forget_hidden(&mut variables, &unix);
        let names = variables
            .into_keys()
            .map(|name| name.into_string().unwrap());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(left(&[]), "CONTAINER_HOST HOME XDG_RUNTIME_DIR");
    let all = [
        "/tmp/ssh-x/agent.1",
        "/run/user/7/bus",
        "/tmp/.X11-unix/X1",
        "/run/user/7/wayland-0",
        "/run/docker.sock",
        "/tmp/tmux-7/default",
    ];
    assert_eq!(
        left(&all),
        "CONTAINER_HOST DBUS_SESSION_BUS_ADDRESS DISPLAY DOCKER_HOST HOME SSH_AUTH_SOCK TMUX \
         WAYLAND_DISPLAY XAUTHORITY XDG_RUNTIME_DIR"
    );
}

#[test]
fn the_container_endpoint_takes_the_place_of_keys() {
    let dummy = dummy();
    let handed = Handed {
        delivery: Delivery::Container,
        ..handed(&dummy, None)
    };
    let changes = changes(&SessionId::random(), handed, files(), &BTreeMap::new());
    for name in [KEY_ID, SECRET_KEY] {
        assert!(changes.unset.iter().any(|it| it == name) && !changes.set.contains_key(name));
    }
    assert_eq!(
        changes.set["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        CONTAINER_URI
    );
    let token = &changes.set["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    assert_eq!(*token, *dummy.container_token());
}

#[test]
fn keys_are_forgotten_under_every_name() {
    let secret = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY";
    let nested = format!("{{\"key\": \"{secret}\"}}");
    let mut variables: BTreeMap<OsString, OsString> = [
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_SESSION_TOKEN", "short"),
        ("TF_VAR_secret", secret),
        ("DEPLOY_JSON", nested.as_str()),
        ("AWS_BEARER_TOKEN_ELSEWHERE", "bearer-token-of-the-user"),
        ("COPY", "bearer-token-of-the-user"),
        ("RCLONE_CONFIG_B_SECRET_ACCESS_KEY", "x"),
        ("RCLONE_CONFIG_B_TYPE", "s3"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000"),
        ("UNRELATED", "a short text"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    forget_keys(&mut variables);
    let left: Vec<_> = variables.into_keys().collect();
    let expected = ["AWS_ENDPOINT_URL_S3", "RCLONE_CONFIG_B_TYPE", "UNRELATED"];
    assert_eq!(left, expected);
}

#[test]
fn java_options_are_appended() {
    let ours = java_options(None, Path::new("/s/trust.p12"));
    assert!(
        ours.starts_with("-Djavax.net.ssl.trustStore=/s/trust.p12 "),
        "{ours}"
    );
    let both = java_options(Some(&"-Xmx1g".to_owned()), Path::new("/s/trust.p12"));
    assert_eq!(both, format!("-Xmx1g {ours}"));
    let spaced = java_options(None, Path::new("/a b/t"));
    assert!(
        spaced.starts_with("\"-Djavax.net.ssl.trustStore=/a b/t\" "),
        "{spaced}"
    );
}
