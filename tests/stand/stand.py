"""The AWS stand-in: moto behind TLS and a signature check that guard's authors did not write.

Every request must carry a Signature Version 4 that botocore's own signer reproduces from the "real"
credentials below, or from credentials that the stand-in itself handed out; a request signed with anything else
is refused, as AWS would. Each request becomes a line of DIR/requests.jsonl, so that a test can tell what
reached "AWS", how often, and signed by whom.

DIR/sts.json, where a test writes it, says what becomes of the next calls of AssumeRole*: a list of
{"status", "code", "message"} for an error, or {"lifetime"} for an answer whose credentials end in so many seconds.

usage: stand.py DIR       writes DIR/ca.pem, then prints "ready PORT"; ends when its stdin closes.
"""

import datetime
import hashlib
import io
import json
import logging
import os
import re
import ssl
import sys
import threading
from urllib.parse import parse_qsl, urlsplit

import trustme
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REAL = Credentials("AKIAREALREALREALREAL", "real-secret-key-that-only-guard-may-hold")
UNENCODED_PATHS = ("s3", "s3express", "s3-outposts", "s3-object-lambda")
NAMES = [
    "*.amazonaws.com",
    "*.s3.amazonaws.com",
    "*.us-east-1.amazonaws.com",
    "*.s3.us-east-1.amazonaws.com",
    "*.eu-west-1.amazonaws.com",
    "*.s3.eu-west-1.amazonaws.com",
    "*.us-east-1.api.aws",
    "allowed.example",
]


class SignatureError(Exception):
    """Why a request is not signed by credentials that hold."""


# Credentials that answers handed out, by access key id.
HANDED_OUT = {}
MEMBERS = {
    "accesskeyid": "access_key",
    "secretaccesskey": "secret_key",
    "secretkey": "secret_key",
    "sessiontoken": "token",
}


def remember(body):
    """Keeps the credentials in an answer, XML or JSON: a key id, its secret, and the token that may follow."""
    found = {}
    text = body.decode("utf-8", "replace")
    pattern = r"""(?i)[<"](accesskeyid|secretaccesskey|secretkey|sessiontoken)(?:>|"\s*:\s*")([^<"]+)"""
    for name, value in re.findall(pattern, text):
        member = MEMBERS[name.lower()]
        if member in found:
            found = {}
        found[member] = value
        if "access_key" in found and "secret_key" in found:
            HANDED_OUT[found["access_key"]] = Credentials(found["access_key"], found["secret_key"], found.get("token"))


def check_signature(environ, body):
    """Recomputes the request's signature with botocore; raises SignatureError unless it matches."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if "X-Amz-Signature=" in environ["RAW_URI"]:
        raise SignatureError("guard signs in header form, this is a presigned URL")
    scheme, _, rest = authorization.partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        raise SignatureError(f"no SigV4 Authorization header: {authorization[:40]!r}")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    key, _date, region, service, _ = fields["Credential"].split("/")
    credentials = REAL if key == REAL.access_key else HANDED_OUT.get(key)
    if credentials is None:
        raise SignatureError(f"signed with {key}, which is neither the real key nor one that was handed out")
    if environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != credentials.token:
        raise SignatureError(f"the session token is not that of {key}")
    host = environ["HTTP_HOST"]
    headers = {}
    for name in fields["SignedHeaders"].split(";"):
        if name == "host":
            continue
        variable = name.upper().replace("-", "_")
        value = environ.get(variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + variable)
        if value is None:
            raise SignatureError(f"signed header {name} is missing")
        headers[name] = value
    unsigned = [
        name
        for name in environ
        if name.startswith("HTTP_X_AMZ_") and name[5:].replace("_", "-").lower() not in headers
    ]
    if unsigned:
        raise SignatureError(f"headers AWS acts on are not signed: {unsigned}")
    declared = headers.get("x-amz-content-sha256")
    if declared and len(declared) == 64 and declared != hashlib.sha256(body).hexdigest():
        raise SignatureError("x-amz-content-sha256 is not the hash of the body")
    request = AWSRequest(
        method=environ["REQUEST_METHOD"],
        url=f"https://{host}{environ['RAW_URI']}",
        headers=headers,
        data=body,
    )
    request.context["timestamp"] = headers["x-amz-date"]
    signer = (S3SigV4Auth if service in UNENCODED_PATHS else SigV4Auth)(credentials, service, region)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    if expected != fields["Signature"]:
        raise SignatureError(f"botocore computes another signature over:\n{canonical}")


# Where AWS takes requests without a signature, as far as tests need it, and those with a bearer token.
UNSIGNED_HOSTS = ("cognito-idp.", "cognito-identity.", "public.s3.")
BEARER_HOSTS = ("bedrock-runtime.",)
UNSIGNED_ACTIONS = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")


def signing_key(environ):
    """The access key id that a header names."""
    found = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return found and found[1]


def without_signature(environ, action):
    """What stands in the place of a signature, where that may be: `bearer TOKEN`, `none`; else None."""
    authorization, host = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_HOST", "")
    if authorization is None and host.startswith("sts.") and action in UNSIGNED_ACTIONS:
        return "none"
    if authorization is None and host.startswith(UNSIGNED_HOSTS) and "X-Amz-Signature=" not in environ["RAW_URI"]:
        return "none"
    if authorization and authorization.startswith("Bearer ") and host.startswith(BEARER_HOSTS):
        return "bearer " + authorization.removeprefix("Bearer ")
    return None


class Stand:
    """A WSGI application: reads the body, checks the signature, logs, and lets moto answer."""

    def __init__(self, directory):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.script = os.path.join(directory, "sts.json")
        self.log = open(os.path.join(directory, "requests.jsonl"), "a", buffering=1)
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        if environ.get("HTTP_HOST", "").startswith("allowed.example"):
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
            return [b"hello\n"]
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        length = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True)) if len(body) < 65536 else {}
        other = without_signature(environ, form.get("Action"))
        if other is not None:
            self.record(environ, body, form, other)
            return self.answer(environ, form, start_response)
        try:
            check_signature(environ, body)
            verdict = "ok"
        except SignatureError as error:
            verdict = str(error)
        except Exception as error:  # a request so odd that the check itself fails is not signed right
            verdict = f"{type(error).__name__}: {error}"
        self.record(environ, body, form, verdict)
        if verdict != "ok":
            message = f"stand: {verdict}".encode()
            start_response("403 Forbidden", [("Content-Length", str(len(message)))])
            return [message]
        if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
            # moto does not speak RPC v2 CBOR: an empty map, which is PutMetricData's whole answer.
            headers = [("Content-Type", "application/cbor"), ("Smithy-Protocol", "rpc-v2-cbor"), ("Content-Length", "1")]
            start_response("200 OK", headers)
            return [b"\xa0"]
        return self.answer(environ, form, start_response)

    def answer(self, environ, form, start_response):
        """moto's answer, or what the test scripted; the credentials in it hold from now on."""
        host, action = environ.get("HTTP_HOST", ""), form.get("Action") or ""
        scripted = self.scripted() if action.startswith("AssumeRole") else {}
        if "status" in scripted:
            body = (
                '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
                f"<Code>{scripted['code']}</Code><Message>{scripted['message']}</Message></Error>"
                "<RequestId>0</RequestId></ErrorResponse>"
            ).encode()
            start_response(
                f"{scripted['status']} Scripted", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
            )
            return [body]
        if not host.startswith(("sts.", "iam.", "cognito-identity.", "portal.sso.")):
            return self.moto(environ, start_response)
        head = []
        body = b"".join(self.moto(environ, lambda status, headers, *_: head.extend((status, headers))))
        if "lifetime" in scripted:
            end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=scripted["lifetime"])
            end = f"<Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration>".encode()
            body = re.sub(rb"<Expiration>[^<]*</Expiration>", end, body)
        remember(body)
        status, headers = head
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def scripted(self):
        """Takes the next step off the script."""
        with self.lock:
            try:
                with open(self.script) as file:
                    steps = json.load(file)
            except FileNotFoundError:
                return {}
            with open(self.script, "w") as file:
                json.dump(steps[1:], file)
            return steps[0] if steps else {}

    def record(self, environ, body, form, verdict):
        action = form.get("Action")
        entry = {
            "method": environ["REQUEST_METHOD"],
            "host": environ.get("HTTP_HOST"),
            "path": urlsplit(environ["RAW_URI"]).path,
            "query": urlsplit(environ["RAW_URI"]).query,
            "target": environ.get("HTTP_X_AMZ_TARGET"),
            "action": action,
            "bytes": len(body),
            "signature": verdict,
            "access_key": signing_key(environ),
        }
        if action and action.startswith("AssumeRole"):
            entry["parameters"] = form
        with self.lock:
            self.log.write(json.dumps(entry) + "\n")


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def main():
    directory = sys.argv[1]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(os.path.join(directory, "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(context)
    server = make_server(
        "127.0.0.1", 0, Stand(directory), threaded=True, request_handler=Handler, ssl_context=context
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.port}", flush=True)
    sys.stdin.read()


main()
