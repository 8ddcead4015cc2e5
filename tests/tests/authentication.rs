//! Who a request comes from: unsigned ones, bearer tokens, presigned URLs, foreign keys.

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, Stand};
use serde_json::Value;

/// The owner's real bearer token.
const REAL_TOKEN: &str = "real-bedrock-token-that-only-guard-may-hold";

const ALL: &str = "default = \"allow\"\n";

const ANONYMOUS: &str = r#"
default = "deny"

[[statement]]
sid = "sign-in"
effect = "allow"
action = ["cognito-idp:InitiateAuth", "s3:GetObject"]
condition = { StringEquals = { "aws:PrincipalType" = "Anonymous" } }

[[statement]]
effect = "allow"
action = "s3:ListAllMyBuckets"
"#;

/// The decision on the only exchange of an operation.
fn decided(guard: &Guard, operation: &str) -> Value {
    let mut found = guard.entries("exchange_decided");
    found.retain(|entry| entry["operation"][0] == operation);
    assert_eq!(found.len(), 1, "{operation}: {found:#?}");
    found.remove(0)
}

const UNSIGNED: &str = "\
import boto3\n\
from botocore import UNSIGNED\n\
from botocore.config import Config\n\
from botocore.exceptions import ClientError\n\
def tell(name, call):\n\
\ttry:\n\
\t\tcall(); print(name, 'passed')\n\
\texcept ClientError as error:\n\
\t\tprint(name, error.response['Error']['Code'], error.response['Error'].get('Message'))\n\
s3 = boto3.client('s3', config=Config(signature_version=UNSIGNED))\n\
idp = boto3.client('cognito-idp')\n\
tell('get', lambda: s3.get_object(Bucket='public', Key='page'))\n\
tell('buckets', lambda: s3.list_buckets())\n\
tell('sign-in', lambda: idp.initiate_auth(ClientId='client', AuthFlow='USER_PASSWORD_AUTH', AuthParameters={}))\n";

#[test]
fn an_unsigned_request_needs_a_statement_that_names_anonymous_callers() {
    let stand = Stand::shared();
    stand.prepare(
        "s3 = client('s3'); s3.create_bucket(Bucket='public'); s3.put_object(Bucket='public', Key='page', Body=b'x', ACL='public-read')",
    );

    let closed = Guard::new(ALL, "");
    let said = succeeded(&closed.python(stand, UNSIGNED));
    for name in [
        "get AccessDenied",
        "buckets AccessDenied",
        "sign-in AccessDeniedException",
    ] {
        assert!(said.contains(name), "{said}");
    }
    assert!(said.contains("aws:PrincipalType = Anonymous"), "{said}");
    let entry = decided(&closed, "GetObject");
    assert_eq!(entry["decision"], "deny");
    assert_eq!(entry["authentication"], "none");

    let open = Guard::new(ANONYMOUS, "");
    let said = succeeded(&open.python(stand, UNSIGNED));
    assert!(said.contains("get passed"), "{said}");
    // Allowed, but not to anybody.
    assert!(said.contains("buckets AccessDenied"), "{said}");
    // moto has no such client; the call reached it.
    assert!(said.contains("sign-in ResourceNotFoundException"), "{said}");
    for operation in ["GetObject", "InitiateAuth"] {
        let entry = decided(&open, operation);
        assert_eq!(entry["decision"], "allow", "{entry:#}");
        assert_eq!(entry["signing_key"], Value::Null, "{entry:#}");
    }
    for request in stand.requests("\"GET\", \"host\": \"public.s3") {
        assert_ne!(
            request["signature"], "ok",
            "the session's credentials left: {request}"
        );
    }
}

const BEDROCK: &str = "\
import boto3, os\n\
from botocore.config import Config\n\
from botocore.exceptions import ClientError\n\
def invoke(model='amazon.titan-text-lite-v1'):\n\
\tclient = boto3.client('bedrock-runtime', config=Config(retries={'total_max_attempts': 1}))\n\
\ttry:\n\
\t\tclient.invoke_model(modelId=model, body=b'{}')\n\
\texcept ClientError as error:\n\
\t\tprint(error.response['ResponseMetadata']['HTTPStatusCode'], error.response['Error'])\n";

#[test]
fn bedrocks_bearer_tokens_are_the_sessions_and_leave_as_the_owners() {
    let stand = Stand::shared();
    let guard = Guard::new(ALL, "");
    let script = format!(
        "{BEDROCK}print(os.environ['AWS_BEARER_TOKEN_BEDROCK'])\ninvoke()\n\
         invoke('echo-of-the-request')\n\
         os.environ['AWS_BEARER_TOKEN_BEDROCK'] = 'foreign-token'\ninvoke()\n"
    );
    let output = guard
        .run(stand)
        .env("AWS_BEARER_TOKEN_BEDROCK", REAL_TOKEN)
        .arg(guard_tests::python_program("python"))
        .args(["-c", &script])
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    assert!(!said.contains(REAL_TOKEN), "{said}");
    let own = said.lines().next().expect("a line");
    assert!(said.contains(&format!("Bearer {own}")), "{said}");
    assert!(
        said.contains("the bearer token is not this session's"),
        "{said}"
    );
    let sent = stand.requests("titan-text-lite");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(
        sent[0]["signature"],
        format!("bearer {REAL_TOKEN}"),
        "{sent:?}"
    );
    let entries = guard.entries("exchange_decided");
    let of: Vec<_> = entries
        .iter()
        .map(|entry| (entry["authentication"].as_str(), entry["decision"].as_str()))
        .collect();
    assert_eq!(of.len(), 3, "{entries:#?}");
    assert_eq!(of[0], (Some("bearer"), Some("allow")));
    assert_eq!(of[1], (Some("bearer"), Some("allow")));
    assert_eq!(of[2], (Some("bearer"), Some("deny")));
    let journal = format!("{entries:?}");
    assert!(!journal.contains(REAL_TOKEN), "{journal}");
}

#[test]
fn a_bearer_token_made_of_the_dummies_leaves_as_a_signature() {
    let stand = Stand::shared();
    let guard = Guard::new(ALL, "");
    // Amazon's own generator makes the token.
    let script = format!(
        "{BEDROCK}from aws_bedrock_token_generator import provide_token\n\
         os.environ['AWS_BEARER_TOKEN_BEDROCK'] = provide_token(region='us-east-1')\n\
         invoke()\n\
         s3 = boto3.client('s3')\n\
         import urllib.request\n\
         request = urllib.request.Request('https://s3.us-east-1.amazonaws.com/', headers={{'Authorization': 'Bearer ' + \
         os.environ['AWS_BEARER_TOKEN_BEDROCK']}})\n\
         try:\n\turllib.request.urlopen(request)\n\
         except urllib.error.HTTPError as error:\n\tprint('s3', error.code, error.read().decode())\n"
    )
    .replace("amazon.titan-text-lite-v1", "made-of-dummies");
    let said = succeeded(&guard.python(stand, &script));
    let sent = stand.requests("made-of-dummies");
    assert_eq!(sent.len(), 1, "{sent:?}\n{said}");
    assert_eq!(sent[0]["signature"], "ok", "{sent:?}");
    assert!(
        said.contains("s3 400") && said.contains("Bedrock alone"),
        "{said}"
    );
    let entry = decided(&guard, "InvokeModel");
    assert_eq!(entry["authentication"], "bearer");
    assert_eq!(entry["signing_key"], REAL_ACCESS_KEY_ID);
}

#[test]
fn a_foreign_key_is_refused_in_every_form_and_recorded() {
    let stand = Stand::shared();
    let guard = Guard::new(ALL, "");
    let script = "\
import boto3, urllib.request\n\
from botocore.config import Config\n\
from botocore.exceptions import ClientError\n\
def client(name, key, **more):\n\
\treturn boto3.client(name, aws_access_key_id=key, aws_secret_access_key='theirs', **more)\n\
for name, call in (('sts', 'get_caller_identity'), ('s3', 'list_buckets'), ('dynamodb', 'list_tables'), ('ec2', 'describe_vpcs')):\n\
\ttry:\n\
\t\tgetattr(client(name, 'AKIAFOREIGN' + name.upper().ljust(9, 'X')), call)()\n\
\texcept ClientError as error:\n\
\t\tprint(name, error.response['Error']['Code'])\n\
for version, key in (('s3v4', 'AKIAFOREIGNURLVFOUR'), ('s3', 'AKIAFOREIGNURLVTWOX')):\n\
\turl = client('s3', key, config=Config(signature_version=version)).generate_presigned_url('get_object', \
Params={'Bucket': 'b', 'Key': 'foreign'})\n\
\ttry:\n\
\t\turllib.request.urlopen(url)\n\
\texcept urllib.error.HTTPError as error:\n\
\t\tprint(version, error.code, error.read().decode())\n";
    let said = succeeded(&guard.python(stand, script));
    for expected in [
        "sts InvalidClientTokenId",
        "s3 InvalidAccessKeyId",
        "dynamodb UnrecognizedClientException",
        "ec2 AuthFailure",
        "s3v4 403",
        "s3 403",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(stand.requests("AKIAFOREIGN").len(), 0);
    let entries = guard.entries("exchange_decided");
    for key in [
        "AKIAFOREIGNSTSXXXXXX",
        "AKIAFOREIGNS3XXXXXXX",
        "AKIAFOREIGNDYNAMODBX",
        "AKIAFOREIGNEC2XXXXXX",
        "AKIAFOREIGNURLVFOUR",
        "AKIAFOREIGNURLVTWOX",
    ] {
        let found: Vec<_> = entries
            .iter()
            .filter(|entry| entry["presented_key"] == key)
            .collect();
        assert_eq!(found.len(), 1, "{key}: {entries:#?}");
        assert_eq!(found[0]["decision"], "deny", "{key}");
    }
}

#[test]
fn a_presigned_url_is_decided_as_what_it_embeds() {
    let stand = Stand::shared();
    stand.prepare(
        "s3 = client('s3'); s3.create_bucket(Bucket='urls'); s3.put_object(Bucket='urls', Key='mine', Body=b'body')",
    );
    let guard = Guard::new(
        "default = \"allow\"\n[[statement]]\nsid = \"no-delete\"\neffect = \"deny\"\naction = \"s3:DeleteObject\"\n",
        "",
    );
    let script = "\
import boto3, urllib.request\n\
from botocore.config import Config\n\
for version in ('s3v4', 's3'):\n\
\ts3 = boto3.client('s3', config=Config(signature_version=version))\n\
\tfor call, method in (('get_object', 'GET'), ('delete_object', 'DELETE')):\n\
\t\turl = s3.generate_presigned_url(call, Params={'Bucket': 'urls', 'Key': 'mine'}, ExpiresIn=60)\n\
\t\tfor told in (url, url.replace('mine', 'other')):\n\
\t\t\ttry:\n\
\t\t\t\tprint(version, method, urllib.request.urlopen(urllib.request.Request(told, method=method)).read().decode())\n\
\t\t\texcept urllib.error.HTTPError as error:\n\
\t\t\t\tprint(version, method, error.code, error.read().decode().replace('\\n', ' '))\n";
    let said = succeeded(&guard.python(stand, script));
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("s3")).collect();
    for version in ["s3v4", "s3"] {
        let of: Vec<_> = lines
            .iter()
            .filter_map(|line| line.strip_prefix(version)?.strip_prefix(' '))
            .collect();
        assert_eq!(of.len(), 4, "{said}");
        assert_eq!(of[0], "GET body", "{said}");
        assert!(of[1].contains("SignatureDoesNotMatch"), "{said}");
        assert!(of[2].contains("no-delete"), "{said}");
        assert!(of[3].contains("SignatureDoesNotMatch"), "{said}");
    }
    for request in stand.requests("\"/mine\"") {
        assert_eq!(request["signature"], "ok", "{request}");
        assert_eq!(
            request["query"]
                .as_str()
                .map(|query| query.contains("ignature")),
            Some(false),
            "{request}"
        );
    }
}

/// Decided by how an object is encrypted.
const ENCRYPTED: &str = "default = \"deny\"\n[[statement]]\nsid = \"encrypted\"\neffect = \"allow\"\n\
    action = \"s3:PutObject\"\ncondition = { StringEquals = { \"s3:x-amz-server-side-encryption\" = \"AES256\" } }\n";

#[test]
fn what_a_url_carries_in_place_of_a_header_is_decided_and_done_and_elsewhere_refused() {
    let stand = Stand::shared();
    stand.prepare("client('s3').create_bucket(Bucket='hoisted')");
    let guard = Guard::new(ENCRYPTED, "");
    // Version 2 moves headers into the query.
    let script = "\
import boto3, http.client, os, ssl\n\
from botocore.auth import S3SigV4Auth\n\
from botocore.awsrequest import AWSRequest\n\
from botocore.config import Config\n\
from urllib.parse import urlsplit\n\
def put(what, url, headers):\n\
\tparts = urlsplit(url)\n\
\tconnection = http.client.HTTPSConnection(parts.hostname, context=ssl.create_default_context(cafile=os.environ['AWS_CA_BUNDLE']))\n\
\tconnection.request('PUT', parts.path + '?' + parts.query, body=b'x', headers=headers)\n\
\tanswer = connection.getresponse()\n\
\tprint(what, answer.status, answer.getheader('x-amz-server-side-encryption'), answer.read().decode().replace('\\n', ' '))\n\
s3 = boto3.client('s3', config=Config(signature_version='s3', s3={'addressing_style': 'path'}))\n\
def url(**more):\n\
\treturn s3.generate_presigned_url('put_object', Params={'Bucket': 'hoisted', 'Key': 'k', **more})\n\
put('plain', url(), {})\n\
moved = url(ServerSideEncryption='AES256')\n\
assert 'x-amz-server-side-encryption=AES256' in moved, moved\n\
put('moved', moved, {})\n\
put('both', moved, {'x-amz-server-side-encryption': 'aws:kms'})\n\
target = 'https://s3.us-east-1.amazonaws.com/hoisted/k?x-amz-server-side-encryption=AES256'\n\
request = AWSRequest('PUT', target, data=b'x')\n\
S3SigV4Auth(boto3.Session().get_credentials(), 's3', 'us-east-1').add_auth(request)\n\
put('signed', target, dict(request.headers))\n\
put('unsigned', target, {})\n";
    let said = succeeded(&guard.python(stand, script));
    let line = |what: &str| {
        let mut lines = said.lines();
        lines.find(|line| line.starts_with(what)).expect("a line")
    };
    assert!(line("plain").starts_with("plain 403"), "{said}");
    assert!(line("moved").starts_with("moved 200 AES256"), "{said}");
    assert!(line("both").starts_with("both 4"), "{said}");
    for ignored in ["signed", "unsigned"] {
        assert!(line(ignored).contains("which S3 ignores there"), "{said}");
    }
    let sent = stand.requests("\"/hoisted/k\"");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0]["query"], "", "{sent:?}");
}

#[test]
fn a_path_of_s3_may_be_sent_as_it_stands_or_as_s3_spells_it() {
    let stand = Stand::shared();
    stand.prepare("client('s3').create_bucket(Bucket='spelt')");
    let guard = Guard::new(ALL, "");
    let script = "\
import boto3, http.client, os, ssl\n\
from botocore.auth import S3SigV4Auth\n\
from botocore.awsrequest import AWSRequest\n\
def put(sent, signed):\n\
\thost = 's3.us-east-1.amazonaws.com'\n\
\trequest = AWSRequest('PUT', 'https://' + host + signed, data=b'x')\n\
\tS3SigV4Auth(boto3.Session().get_credentials(), 's3', 'us-east-1').add_auth(request)\n\
\tconnection = http.client.HTTPSConnection(host, context=ssl.create_default_context(cafile=os.environ['AWS_CA_BUNDLE']))\n\
\tconnection.request('PUT', sent, body=b'x', headers=dict(request.headers))\n\
\tanswer = connection.getresponse()\n\
\tprint(answer.status, answer.read().decode()[:300])\n\
spelt = '/spelt/a%3D%28b%29%40c'\n\
put(spelt, spelt)\n\
put('/spelt/a=(b)@c', spelt)\n\
put('/spelt/a=(b)@c', '/spelt/a=(b)@c')\n\
put('/spelt/a+c', '/spelt/a+c')\n";
    let said = succeeded(&guard.python(stand, script));
    let statuses: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    // S3 takes a plus sign for a space, which nobody decided on.
    assert_eq!(statuses[..4], ["200", "200", "200", "403"], "{said}");
    let paths: Vec<String> = stand
        .requests("\"/spelt/")
        .iter()
        .map(|it| it["path"].as_str().map(str::to_owned).unwrap_or_default())
        .collect();
    assert_eq!(
        paths,
        [
            "/spelt/a%3D%28b%29%40c",
            "/spelt/a=(b)@c",
            "/spelt/a=(b)@c",
            "/spelt/a+c"
        ]
    );
}
