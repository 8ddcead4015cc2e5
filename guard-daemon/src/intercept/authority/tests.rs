use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConnection};

use super::*;

const SUFFIXES: [&str; 3] = ["amazonaws.com", ".api.aws", "On.AWS"];

fn authority(directory: &Path) -> Authority {
    Authority::load_or_create_for(directory, &SUFFIXES).unwrap()
}

/// A leaf for any name, as somebody with the key could make one.
fn leaf(authority: &Authority, name: &str) -> rcgen::Certificate {
    issue::leaf(name)
        .unwrap()
        .signed_by(&authority.leaf_key, &authority.issuer)
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_authority_is_private_and_stays_the_same() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("made/ca");
    let first = authority(&directory);
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("ca.key")), 0o600);
    assert_eq!(mode(&directory.join("ca.pem")), 0o644);
    assert_eq!(
        fs::read_to_string(directory.join("ca.pem")).unwrap(),
        first.certificate_pem()
    );
    let files = fs::read_dir(&directory).unwrap().count();
    assert_eq!(files, 2, "nothing temporary is left");

    assert_eq!(
        authority(&directory).certificate_pem(),
        first.certificate_pem()
    );
}

#[test]
fn two_starts_at_once_agree_on_one_authority() {
    let state = tempfile::tempdir().unwrap();
    let made: Vec<String> = std::thread::scope(|scope| {
        let make = || scope.spawn(|| authority(state.path()).certificate_pem().to_owned());
        let threads: Vec<_> = (0..4).map(|_| make()).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(made.iter().all(|pem| *pem == made[0]));
}

#[test]
fn damaged_or_exposed_files_are_named_with_a_remedy() {
    type Damage = fn(&Path);
    let other = |directory: &Path| {
        let elsewhere = tempfile::tempdir().unwrap();
        authority(elsewhere.path());
        fs::copy(elsewhere.path().join("ca.pem"), directory.join("ca.pem")).unwrap();
    };
    let cases: [(&str, Damage, &str); 9] = [
        (
            "no key",
            |d| fs::remove_file(d.join("ca.key")).unwrap(),
            "ca.key: is missing",
        ),
        (
            "no certificate",
            |d| fs::remove_file(d.join("ca.pem")).unwrap(),
            "ca.pem: is missing",
        ),
        (
            "empty key",
            |d| fs::write(d.join("ca.key"), "").unwrap(),
            "does not hold a private key",
        ),
        (
            "cut certificate",
            |d| {
                let text = fs::read_to_string(d.join("ca.pem")).unwrap();
                fs::write(d.join("ca.pem"), &text[..200]).unwrap();
            },
            "does not hold a certificate",
        ),
        (
            "binary",
            |d| fs::write(d.join("ca.pem"), [0xff; 9]).unwrap(),
            "does not hold PEM",
        ),
        (
            "another pair's certificate",
            other,
            "was not made for the key",
        ),
        (
            "readable key",
            |d| chmod(&d.join("ca.key"), 0o640),
            "chmod 600",
        ),
        ("open directory", |d| chmod(d, 0o775), "chmod 700"),
        (
            "a link",
            |d| {
                fs::rename(d.join("ca.key"), d.join("elsewhere")).unwrap();
                std::os::unix::fs::symlink(d.join("elsewhere"), d.join("ca.key")).unwrap();
            },
            "cannot open",
        ),
    ];
    for (what, damage, expected) in cases {
        let state = tempfile::tempdir().unwrap();
        authority(state.path());
        damage(state.path());
        match Authority::load_or_create_for(state.path(), &SUFFIXES) {
            Err(error) => assert!(error.to_string().contains(expected), "{what}: {error}"),
            Ok(_) => panic!("{what} was accepted"),
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_authority_without_constraints_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let error = Authority::load_or_create_for(state.path(), &[])
        .err()
        .unwrap();
    assert!(error.to_string().contains("name constraints"), "{error}");
}

#[test]
fn leaves_are_made_for_permitted_names_only() {
    let state = tempfile::tempdir().unwrap();
    let authority = authority(state.path());
    for name in [
        "amazonaws.com",
        "s3.us-east-1.amazonaws.com",
        "sts.api.aws",
        "x.on.aws",
    ] {
        assert!(authority.server_config(name).is_ok(), "{name}");
    }
    for name in [
        "notamazonaws.com",
        "amazonaws.com.evil.example",
        "aws",
        "",
        "pypi.org",
    ] {
        let refused = authority.server_config(name).err();
        assert!(
            matches!(refused, Some(AuthorityError::NotPermitted { .. })),
            "{name}"
        );
    }
}

#[test]
fn a_configuration_is_kept_and_the_cache_is_bounded() {
    let state = tempfile::tempdir().unwrap();
    let authority = authority(state.path());
    let first = authority.server_config("s3.amazonaws.com").unwrap();
    assert!(Arc::ptr_eq(
        &first,
        &authority.server_config("s3.amazonaws.com").unwrap()
    ));
    for n in 0..=CACHED_LEAVES {
        authority
            .server_config(&format!("bucket{n}.s3.amazonaws.com"))
            .unwrap();
        assert!(authority.minted.lock().unwrap().len() <= CACHED_LEAVES);
    }
}

#[test]
fn leaves_differ_in_their_serial_numbers() {
    let state = tempfile::tempdir().unwrap();
    let authority = authority(state.path());
    let serial = |name| {
        let leaf = leaf(&authority, name);
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf.der()).unwrap();
        parsed.raw_serial().to_vec()
    };
    assert_ne!(serial("s3.amazonaws.com"), serial("s3.amazonaws.com"));
}

#[test]
fn webpki_holds_leaves_to_the_constraints() {
    let state = tempfile::tempdir().unwrap();
    let authority = authority(state.path());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap())
        .unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::new(tls::default_provider()),
    )
    .build()
    .unwrap();
    let accepts = |name: &str| {
        let leaf = leaf(&authority, name);
        let server = ServerName::try_from(name).unwrap();
        verifier
            .verify_server_cert(leaf.der(), &[], &server, &[], UnixTime::now())
            .is_ok()
    };
    assert!(accepts("bucket.s3.amazonaws.com"));
    assert!(!accepts("evil.example"));
    assert!(!accepts("notamazonaws.com"));
}

/// The pair on disk, with leaves inside and outside the constraints, for outside checkers.
fn for_outsiders() -> (tempfile::TempDir, Authority) {
    let state = tempfile::tempdir().unwrap();
    let authority = authority(state.path());
    for (file, name) in [("good", "bucket.s3.amazonaws.com"), ("bad", "evil.example")] {
        fs::write(state.path().join(file), leaf(&authority, name).pem()).unwrap();
    }
    (state, authority)
}

#[test]
fn openssl_holds_leaves_to_the_constraints_in_its_strict_mode() {
    let (state, _) = for_outsiders();
    let verify = |file: &str| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]);
        command
            .arg(state.path().join("ca.pem"))
            .arg(state.path().join(file))
            .output()
    };
    let Ok(good) = verify("good") else {
        crate::skip::skip(module_path!(), "no openssl command on this host");
        return;
    };
    assert!(good.status.success(), "{good:?}");
    let bad = verify("bad").unwrap();
    assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("permitted"));
}

#[test]
fn python_in_strict_mode_holds_leaves_to_the_constraints() {
    let script = "import socket,ssl,sys\n\
        c=ssl.create_default_context(cafile=sys.argv[1])\n\
        c.verify_flags|=ssl.VERIFY_X509_STRICT\n\
        s=c.wrap_socket(socket.create_connection(('127.0.0.1',int(sys.argv[2]))),\
        server_hostname=sys.argv[3])\n\
        s.sendall(b'x');print(s.recv(9))\n";
    outsider("python3", &["-c", script], "permitted subtree violation");
}

#[test]
fn node_holds_leaves_to_the_constraints() {
    let script = "const [ca,port,servername]=process.argv.slice(1);\
        const s=require('tls').connect({host:'127.0.0.1',port,servername,\
        ca:require('fs').readFileSync(ca)},()=>{s.write('x');s.on('data',()=>process.exit(0))});\
        s.on('error',e=>{console.error(e);process.exit(1)})";
    outsider("node", &["-e", script], "permitted subtree violation");
}

/// Lets a client connect to a leaf inside the constraints, which it must accept, and to one outside, which
/// it must refuse with `complaint`. The client gets the authority's file, a port and a name.
fn outsider(program: &str, arguments: &[&str], complaint: &str) {
    let (state, authority) = for_outsiders();
    for (name, accepted) in [("bucket.s3.amazonaws.com", true), ("evil.example", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = unconstrained_config(&authority, name);
        let mut command = Command::new(program);
        command.args(arguments).arg(state.path().join("ca.pem"));
        let client = command.arg(port.to_string()).arg(name);
        client
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let Ok(client) = client.spawn() else {
            crate::skip::skip(module_path!(), format!("no {program} on this host"));
            return;
        };
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = ServerConnection::new(config).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let served = stream
            .read(&mut [0; 9])
            .and_then(|_| stream.write(b"y"))
            .is_ok();
        drop(socket);
        let output = client.wait_with_output().unwrap();
        assert_eq!(
            (output.status.success(), served),
            (accepted, accepted),
            "{name}: {output:?}"
        );
        if !accepted {
            assert!(
                String::from_utf8_lossy(&output.stderr).contains(complaint),
                "{output:?}"
            );
        }
    }
}

/// As `Authority::mint`, but for any name.
fn unconstrained_config(authority: &Authority, name: &str) -> Arc<ServerConfig> {
    let chain = vec![leaf(authority, name).into()];
    let certified = CertifiedKey::new(chain, authority.signing_key.clone());
    let config = ServerConfig::builder_with_provider(authority.provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Arc::new(config)
}
