//! Masking as a whole, over the toy model.

use proptest::prelude::*;

use super::edits::{PATHS, Step};
use super::toy::Toy;
use super::*;

const MEMBERS: Layout<Toy> = Layout::Members {
    shape: Toy::Output,
    wrappers: 0,
};
const WRAPPED: Layout<Toy> = Layout::Members {
    shape: Toy::Output,
    wrappers: 1,
};

fn credentials(class: Class) -> bool {
    class == Class::Credential
}

fn masked(
    layout: Layout<Toy>,
    protocol: Protocol,
    body: &str,
) -> Result<(String, Vec<String>), MaskError> {
    let masked = mask_document(layout, protocol, body.as_bytes(), &credentials)?;
    Ok(masked.map_or((body.to_owned(), Vec::new()), |masked| {
        (String::from_utf8(masked.body.into()).unwrap(), masked.paths)
    }))
}

fn json(body: &str) -> Result<(String, Vec<String>), MaskError> {
    masked(MEMBERS, Protocol::Json11, body)
}

fn xml(body: &str) -> Result<(String, Vec<String>), MaskError> {
    masked(MEMBERS, Protocol::RestXml, body)
}

#[test]
fn json_values_are_replaced_where_they_stand() {
    for (body, expected, paths) in [
        ("", "", &[][..]),
        (" \n", " \n", &[]),
        ("null", "null", &[]),
        ("{}", "{}", &[]),
        (
            r#"{"Secret":"s"}"#,
            r#"{"Secret":"masked-by-guard"}"#,
            &["Secret"],
        ),
        // Everything else stays byte for byte.
        (
            " {\t\"N\" : 1.0e5 , \"Secret\" :\n \"a\\\"b\\u00e9\u{e9}\" , \"é\\/\":[ 1 ,-0.00 ] }\r\n",
            " {\t\"N\" : 1.0e5 , \"Secret\" :\n \"masked-by-guard\" , \"é\\/\":[ 1 ,-0.00 ] }\r\n",
            &["Secret"],
        ),
        // Each occurrence, and under an escaped name.
        (
            r#"{"Secret":"a","Secret":"b","\u0053ecret":"c","secret":"d"}"#,
            r#"{"Secret":"masked-by-guard","Secret":"masked-by-guard","\u0053ecret":"masked-by-guard","secret":"d"}"#,
            &["Secret"],
        ),
        // Types.
        (
            r#"{"Binary":"AAA=","Pin":1234,"Flag":true,"When":1.5e9}"#,
            r#"{"Binary":"bWFza2VkLWJ5LWd1YXJk","Pin":0,"Flag":false,"When":0}"#,
            &["Binary", "Pin", "Flag", "When"],
        ),
        (
            r#"{"When":"2026-11-24T02:20:31Z","Pin":"Infinity"}"#,
            r#"{"When":"1970-01-01T00:00:00Z","Pin":0}"#,
            &["When", "Pin"],
        ),
        // Not what the model says, but nothing is left of it.
        (
            r#"{"Secret":{"a":"s"},"Secret":7}"#,
            r#"{"Secret":"masked-by-guard","Secret":"masked-by-guard"}"#,
            &["Secret"],
        ),
        // null stays null, other classes stay.
        (
            r#"{"Secret":null,"Credentials":null,"Parameters":null,"Email":"a@b"}"#,
            r#"{"Secret":null,"Credentials":null,"Parameters":null,"Email":"a@b"}"#,
            &[],
        ),
        // Lists, maps, structures, recursion.
        (
            r#"{"Parameters":[{"Name":"n","Value":"v"},null,{"Value":"w"}]}"#,
            r#"{"Parameters":[{"Name":"n","Value":"masked-by-guard"},null,{"Value":"masked-by-guard"}]}"#,
            &["Parameters[].Value"],
        ),
        (
            r#"{"Secrets":{"a":"s","b":null},"Named":{"x":{"Value":"v","Name":"n"}},"Tokens":["t","u"]}"#,
            r#"{"Secrets":{"a":"masked-by-guard","b":null},"Named":{"x":{"Value":"masked-by-guard","Name":"n"}},"Tokens":["masked-by-guard","masked-by-guard"]}"#,
            &["Secrets.*", "Named.*.Value", "Tokens[]"],
        ),
        (
            r#"{"Tree":{"Left":{"Right":{"Secret":"s"}},"Secret":"t"}}"#,
            r#"{"Tree":{"Left":{"Right":{"Secret":"masked-by-guard"}},"Secret":"masked-by-guard"}}"#,
            &["Tree.Left.Right.Secret", "Tree.Secret"],
        ),
        // Masked whole: by model where it speaks, else by JSON type; names stay.
        (
            r#"{"Credentials":{"SecretAccessKey":"s","Expiration":1e9,"X":[1,"y!",{"z":false}],"B":"AAAA","D":"2026-11-24T02:20:31Z","N":null}}"#,
            r#"{"Credentials":{"SecretAccessKey":"masked-by-guard","Expiration":0,"X":[0,"masked-by-guard",{"z":false}],"B":"bWFza2VkLWJ5LWd1YXJk","D":"1970-01-01T00:00:00Z","N":null}}"#,
            &["Credentials"],
        ),
        (
            r#"{"Masked":{"PASSWORD":"p"}}"#,
            r#"{"Masked":{"PASSWORD":"masked-by-guard"}}"#,
            &["Masked"],
        ),
        (
            r#"{"Opaque":"text"}"#,
            r#"{"Opaque":"bWFza2VkLWJ5LWd1YXJk"}"#,
            &["Opaque"],
        ),
    ] {
        let (body, found) = json(body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(body, expected);
        assert_eq!(found, paths, "{body}");
    }
}

#[test]
fn xml_values_are_replaced_where_they_stand() {
    for (body, expected, paths) in [
        ("", "", &[][..]),
        ("<R/>", "<R/>", &[]),
        (
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"urn:x\">\n <A b='c'>1.0e5 &amp; é</A><!-- - -->\n <Secret>s</Secret >\n</R>\n",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"urn:x\">\n <A b='c'>1.0e5 &amp; é</A><!-- - -->\n <Secret>masked-by-guard</Secret >\n</R>\n",
            &["Secret"],
        ),
        // However the value is written.
        (
            "<R><Secret>a&lt;b&#x41;c</Secret></R>",
            "<R><Secret>masked-by-guard</Secret></R>",
            &["Secret"],
        ),
        (
            "<R><Secret>a<![CDATA[</Secret>]]><!-- c -->b</Secret></R>",
            "<R><Secret>masked-by-guard</Secret></R>",
            &["Secret"],
        ),
        (
            "<R><Secret>a<b>s</b>c</Secret></R>",
            "<R><Secret>masked-by-guard</Secret></R>",
            &["Secret"],
        ),
        (
            "<R><Secret/><Secret></Secret></R>",
            "<R><Secret>masked-by-guard</Secret><Secret>masked-by-guard</Secret></R>",
            &["Secret"],
        ),
        (
            "<n:R xmlns:n='u'><n:Secret>s</n:Secret></n:R>",
            "<n:R xmlns:n='u'><n:Secret>masked-by-guard</n:Secret></n:R>",
            &["Secret"],
        ),
        (
            "<R><Secret xmlns='u' hint='h'>s</Secret></R>",
            "<R><Secret xmlns=\"u\">masked-by-guard</Secret></R>",
            &["Secret"],
        ),
        // Types.
        (
            "<R><Binary>AAA=</Binary><Pin>1</Pin><Flag>true</Flag><When>2026-11-24T02:20:31Z</When></R>",
            "<R><Binary>bWFza2VkLWJ5LWd1YXJk</Binary><Pin>0</Pin><Flag>false</Flag><When>1970-01-01T00:00:00Z</When></R>",
            &["Binary", "Pin", "Flag", "When"],
        ),
        (
            "<R><Email>a@b</Email></R>",
            "<R><Email>a@b</Email></R>",
            &[],
        ),
        // Lists and maps, flattened and not.
        (
            "<R><Parameters><member><Name>n</Name><Value>v</Value></member><member/></Parameters></R>",
            "<R><Parameters><member><Name>n</Name><Value>masked-by-guard</Value></member><member/></Parameters></R>",
            &["Parameters[].Value"],
        ),
        (
            "<R><Flat><Value>v</Value></Flat><Flat><Value>w</Value></Flat><FlatToken>t</FlatToken><FlatToken>u</FlatToken></R>",
            "<R><Flat><Value>masked-by-guard</Value></Flat><Flat><Value>masked-by-guard</Value></Flat><FlatToken>masked-by-guard</FlatToken><FlatToken>masked-by-guard</FlatToken></R>",
            &["Flat.Value", "FlatToken"],
        ),
        (
            "<R><Secrets><entry><key>k</key><value>v</value></entry></Secrets><FlatMap><key>k</key><value>v</value></FlatMap></R>",
            "<R><Secrets><entry><key>k</key><value>masked-by-guard</value></entry></Secrets><FlatMap><key>k</key><value>masked-by-guard</value></FlatMap></R>",
            &["Secrets.*", "FlatMap.*"],
        ),
        (
            "<R><Named><entry><Name>k</Name><Item><Name>n</Name><Value>v</Value></Item></entry></Named></R>",
            "<R><Named><entry><Name>k</Name><Item><Name>n</Name><Value>masked-by-guard</Value></Item></entry></Named></R>",
            &["Named.*.Value"],
        ),
        // Masked whole.
        (
            "<R><Credentials>\n <SecretAccessKey>s</SecretAccessKey> stray <!-- c -->\n <Expiration>2026-11-24T02:20:31Z</Expiration><X a='b'><Y>12</Y><Z>true</Z><W/></X></Credentials></R>",
            "<R><Credentials>\n <SecretAccessKey>masked-by-guard</SecretAccessKey>\n <Expiration>1970-01-01T00:00:00Z</Expiration><X><Y>0</Y><Z>false</Z><W/></X></Credentials></R>",
            &["Credentials"],
        ),
        (
            "<R><Masked><entry><key>PASSWORD</key><value>p</value></entry></Masked></R>",
            "<R><Masked><entry><key>PASSWORD</key><value>masked-by-guard</value></entry></Masked></R>",
            &["Masked"],
        ),
        (
            "<R><Opaque>text!</Opaque><Opaque/></R>",
            "<R><Opaque>masked-by-guard</Opaque><Opaque/></R>",
            &["Opaque"],
        ),
    ] {
        let (body, found) = xml(body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(body, expected);
        assert_eq!(found, paths, "{body}");
    }
}

#[test]
fn layouts_say_where_the_members_are() {
    let structure = Layout::Payload {
        shape: Toy::Credentials,
        class: None,
    };
    let whole = Layout::Payload {
        shape: Toy::Credentials,
        class: Some(Class::Credential),
    };
    let blob = |class| Layout::Payload {
        shape: Toy::Leaf(Kind::Blob),
        class,
    };
    for (layout, protocol, body, expected, path) in [
        (
            WRAPPED,
            Protocol::Query,
            "<R><RResult><Secret>s</Secret></RResult><ResponseMetadata><RequestId>i</RequestId></ResponseMetadata></R>",
            "<R><RResult><Secret>masked-by-guard</Secret></RResult><ResponseMetadata><RequestId>i</RequestId></ResponseMetadata></R>",
            "Secret",
        ),
        (
            structure,
            Protocol::S3,
            "<C><SecretAccessKey>s</SecretAccessKey><AccessKeyId>a</AccessKeyId></C>",
            "<C><SecretAccessKey>masked-by-guard</SecretAccessKey><AccessKeyId>a</AccessKeyId></C>",
            "SecretAccessKey",
        ),
        (
            whole,
            Protocol::S3,
            "<C><A>s!</A></C>",
            "<C><A>masked-by-guard</A></C>",
            "(body)",
        ),
        (
            structure,
            Protocol::RestJson,
            r#"{"SecretAccessKey":"s"}"#,
            r#"{"SecretAccessKey":"masked-by-guard"}"#,
            "SecretAccessKey",
        ),
        (
            whole,
            Protocol::RestJson,
            r#"{"A":"s!"}"#,
            r#"{"A":"masked-by-guard"}"#,
            "(body)",
        ),
        (
            blob(Some(Class::Credential)),
            Protocol::RestJson,
            "\u{1}not a document",
            "masked-by-guard",
            "(body)",
        ),
        (
            blob(Some(Class::Content)),
            Protocol::RestJson,
            "kept",
            "kept",
            "",
        ),
        (blob(None), Protocol::Cbor, "kept", "kept", ""),
    ] {
        let (body, paths) = masked(layout, protocol, body).unwrap();
        assert_eq!(body, expected);
        assert_eq!(paths.concat(), path);
    }
    assert!(masks_whole(blob(Some(Class::Credential)), &credentials));
    for open in [blob(None), blob(Some(Class::Content)), whole, MEMBERS] {
        assert!(!masks_whole(open, &credentials));
    }
}

#[test]
fn what_cannot_be_masked_for_sure_is_an_error_that_quotes_nothing() {
    let deep_json =
        |n: usize| "{\"Tree\":".to_owned() + &"{\"Left\":".repeat(n) + "{}" + &"}".repeat(n + 1);
    let deep_xml = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
    for (body, expected) in [
        ("hunter2", "not well-formed JSON"),
        (r#"{"Secret":"hunter2""#, "ends too early"),
        (r#"{"Secret":"hunter2"} x"#, "syntax error"),
        (r#"{"Secret":hunter2}"#, "syntax error"),
        ("{\"hunter2\\ud800\":1}", "syntax error"),
        (r#""hunter2""#, "API model says at (body)"),
        (r#"["hunter2"]"#, "API model says at (body)"),
        (
            r#"{"Parameters":"hunter2"}"#,
            "API model says at Parameters",
        ),
        (
            r#"{"Parameters":[["hunter2"]]}"#,
            "API model says at Parameters[]",
        ),
        (r#"{"Secrets":["hunter2"]}"#, "API model says at Secrets"),
        ("\u{feff}{\"Secret\":\"hunter2\"}", "syntax error"),
        (&deep_json(DEPTH), "nests deeper"),
    ] {
        let error = json(body).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for (body, expected) in [
        ("hunter2", "text outside of the root element"),
        ("<R><Secret>hunter2</Secret>", "ends too early"),
        ("<R><Secret>hunter2</R></Secret>", "syntax error"),
        ("<R><Secret>a & hunter2</Secret></R>", "syntax error"),
        ("<R/><R><Secret>hunter2</Secret></R>", "second root"),
        ("<R/>hunter2", "text outside"),
        (
            "<R>hunter2<Secret>s</Secret></R>",
            "API model says at (body)",
        ),
        (
            "<R><Parameters>hunter2</Parameters></R>",
            "API model says at Parameters",
        ),
        (
            "<R><Parameters><![CDATA[hunter2]]></Parameters></R>",
            "API model says at Parameters",
        ),
        (
            "<R><Secrets><hunter2/></Secrets></R>",
            "API model says at Secrets",
        ),
        ("<R><Secret hunter2>s</Secret></R>", "bad attribute"),
        ("<!DOCTYPE R [<!ENTITY x 'hunter2'>]><R/>", "document type"),
        ("\u{feff}<R><Secret>hunter2</Secret></R>", "byte order mark"),
        ("<?xml version='1.0' encoding='UTF-7'?><R/>", "not UTF-8"),
        (&deep_xml(DEPTH + 1), "nests deeper"),
    ] {
        let error = xml(body).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(json(&deep_json(DEPTH - 2)).is_ok());
    assert!(xml(&deep_xml(DEPTH)).is_ok());
    let latin1 = mask_document(
        MEMBERS,
        Protocol::Json10,
        b"{\"Secret\":\"\xe9\"}",
        &credentials,
    );
    assert!(matches!(latin1, Err(MaskError::Malformed { .. })));
}

#[test]
fn headers_follow_the_body() {
    let run = |headers: &mut HeaderMap, body: &'static str| {
        let body = Bytes::from_static(body.as_bytes());
        mask_body(
            MEMBERS,
            Protocol::Json10,
            headers,
            body,
            vec!["header x".to_owned()],
            &credentials,
            None,
        )
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-length", "14".parse().unwrap());
    headers.insert("content-md5", "old".parse().unwrap());
    let before = headers.clone();
    let (body, paths) = run(&mut headers, r#"{"Public":"s"}"#).unwrap();
    assert_eq!(
        (&body[..], paths),
        (&br#"{"Public":"s"}"#[..], vec!["header x".to_owned()])
    );
    assert_eq!(headers, before, "nothing was masked, so nothing changes");
    let (body, paths) = run(&mut headers, r#"{"Secret":"s"}"#).unwrap();
    assert_eq!(&body[..], br#"{"Secret":"masked-by-guard"}"#);
    assert_eq!(paths, ["header x", "Secret"]);
    assert_eq!(headers["content-length"], "28");
    assert!(!headers.contains_key("content-md5"));
    headers.insert("content-encoding", "gzip".parse().unwrap());
    let error = run(&mut headers, "\u{1f}").unwrap_err();
    assert_eq!(
        error,
        MaskError::Encoded {
            encoding: "gzip".to_owned()
        }
    );
}

#[test]
fn an_answer_in_another_form_than_the_models_does_not_pass() {
    let output = catalog::output("apigateway", "GetApiKeys").unwrap();
    let run = |body: &'static str| {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        let body = Bytes::from_static(body.as_bytes());
        let protocol = Protocol::RestJson;
        mask_response(output, protocol, &mut parts, body, &credentials, None)
    };
    let (body, paths) = run(r#"{"item":[{"id":"i","value":"KEY"}],"position":"p"}"#).unwrap();
    assert_eq!(paths, ["item[].value"]);
    assert!(!String::from_utf8_lossy(&body).contains("KEY"));
    for hal in [
        r#"{"_links":{"self":{"href":"/apikeys"}},"_embedded":{"item":[{"id":"i","value":"KEY"}]}}"#,
        r#"{"\u005fembedded":{"item":{"id":"i","value":"KEY"}}}"#,
        r#"{"item":[{"id":"i","_embedded":{"item":{"value":"KEY"}}}]}"#,
    ] {
        let error = run(hal).unwrap_err();
        assert!(
            matches!(&error, MaskError::Contradiction { path } if path.contains("_embedded")),
            "{error}"
        );
    }
}

#[test]
fn paths_are_bounded() {
    let mut edits = Edits::new(&credentials);
    for at in 0..1000 {
        let left = edits.enter(Step::Member(&format!("m{at}"))).unwrap();
        edits.note();
        edits.leave(left);
    }
    edits.replace(0..0, "");
    let paths = edits.apply(b"").unwrap().paths;
    assert_eq!(paths.len(), PATHS + 1);
    assert_eq!(paths.last().unwrap(), "…");
}

const SECRET: &str = "hunter2-\u{e9}";

/// A JSON document and the same with its secrets masked by hand: arbitrary public parts around them.
fn documents() -> impl Strategy<Value = (String, String)> {
    let public = prop_oneof![
        Just("null".to_owned()),
        "-?[1-9][0-9]{0,5}(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just("[ 1 , {\"Secret\":\"not modelled\"}]".to_owned()),
    ];
    let both = |text: String| (text.clone(), text);
    let space = "[ \t\n\r]{0,3}";
    let member = prop_oneof![
        (any::<String>(), public.clone()).prop_map(move |(name, value)| {
            both(format!(
                "{}:{value}",
                serde_json::to_string(&format!("x{name}")).unwrap()
            ))
        }),
        Just((
            format!("\"Secret\" : \"{SECRET}\""),
            "\"Secret\" : \"masked-by-guard\"".to_owned()
        )),
        Just((
            format!("\"Tokens\":[\"{SECRET}\" ,null]"),
            "\"Tokens\":[\"masked-by-guard\" ,null]".to_owned()
        )),
        public.clone().prop_map(|name| (
            format!("\"Parameters\":[{{\"Value\":\"{SECRET}\",\"N\":{name}}}]"),
            format!("\"Parameters\":[{{\"Value\":\"masked-by-guard\",\"N\":{name}}}]")
        )),
        any::<String>().prop_map(|key| {
            let key = serde_json::to_string(&key).unwrap();
            (
                format!("\"Secrets\":{{{key}:\"{SECRET}\"}}"),
                format!("\"Secrets\":{{{key}:\"masked-by-guard\"}}"),
            )
        }),
    ];
    proptest::collection::vec((space, member), 0..8).prop_map(|members| {
        let join = |pick: fn(&(String, String)) -> &String| {
            let members: Vec<_> = members
                .iter()
                .map(|(space, both)| format!("{space}{}{space}", pick(both)))
                .collect();
            format!("{{{}}}", members.join(","))
        };
        (join(|both| &both.0), join(|both| &both.1))
    })
}

proptest! {
    #[test]
    fn no_json_secret_survives_and_nothing_else_changes((body, expected) in documents()) {
        let (masked, _) = json(&body).unwrap();
        prop_assert!(!masked.contains(SECRET));
        prop_assert_eq!(masked, expected);
    }

    #[test]
    fn no_xml_secret_survives_in_any_form(
        secret in "[a-z<>&\"' \\n\u{e9}]{1,12}",
        cut in 0usize..12,
        public in "[a-zA-Z0-9 ]{0,10}",
    ) {
        use quick_xml::escape::escape;
        let at = secret.floor_char_boundary(cut.min(secret.len()));
        let (plain, cdata) = secret.split_at(at);
        let value = format!("{}<![CDATA[{cdata}]]>", escape(plain));
        let body = |value: &str| format!(
            "<R><P>{public}</P><Secret>{value}</Secret><Parameters>\n<m><Value>{value}</Value></m></Parameters></R>"
        );
        prop_assert_eq!(xml(&body(&value)).unwrap().0, body("masked-by-guard"));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for protocol in [Protocol::Json11, Protocol::Ec2] {
            let _ = mask_document(MEMBERS, protocol, &bytes, &credentials);
        }
    }

    #[test]
    fn random_markup_never_panics_or_leaks(body in "(<R>|</R>|<Secret>|</Secret>|<Secret a='b'/>|<Parameters>|</Parameters>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|&amp;|&|[\\[\\]{}\":,]|\"Secret\":|\"Tree\":|1|null){0,24}") {
        for protocol in [Protocol::Json11, Protocol::S3] {
            if let Ok(Some(masked)) = mask_document(MEMBERS, protocol, body.as_bytes(), &credentials) {
                let again = mask_document(MEMBERS, protocol, &masked.body, &credentials).unwrap();
                prop_assert_eq!(again.map(|again| again.body), Some(masked.body));
            }
        }
    }
}
