"""The AWS stand-in: moto behind TLS and a signature check that guard's authors did not write.

Every request must carry a Signature Version 4 that botocore's own signer reproduces from the "real"
credentials below, or from temporary ones that moto's STS gave out here; a request signed with anything else is
refused, as AWS would. Their secrets are in DIR/secrets. Each request becomes a line of DIR/requests.jsonl, so
that a test can tell what reached "AWS", how often, and signed by whom.

DIR/sts.json, where a test writes it, says what becomes of the next calls of AssumeRole*: a list of
{"status", "code", "message"} for errors, and {"lifetime"} for credentials that end in so many seconds.

usage: stand.py DIR       writes DIR/ca.pem, then prints "ready PORT"; ends when its stdin closes.
"""

import datetime
import gzip
import hashlib
import io
import json
import logging
import os
import re
import secrets
import shutil
import ssl
import sys
import threading
import zlib
from urllib.parse import parse_qs, parse_qsl, quote, unquote_plus, urlsplit

import trustme
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REAL = Credentials("AKIAREALREALREALREAL", "real-secret-key-that-only-guard-may-hold")
# How credentials are called that S3 Express gave out: their token has a header of its own.
EXPRESS = "s3express"
UNENCODED_PATHS = ("s3", "s3express", "s3-outposts", "s3-object-lambda")
NAMES = [
    "*.amazonaws.com",
    "*.s3.amazonaws.com",
    "*.us-east-1.amazonaws.com",
    "portal.sso.us-east-1.amazonaws.com",
    "*.s3.us-east-1.amazonaws.com",
    "*.eu-west-1.amazonaws.com",
    "*.s3.eu-west-1.amazonaws.com",
    "*.us-east-1.api.aws",
    "*.s3express-use1-az4.us-east-1.amazonaws.com",
    "allowed.example",
]


class SignatureError(Exception):
    """Why a request is not signed by the real credentials."""


def check_signature(environ, body, known):
    """Recomputes the request's signature with botocore; raises SignatureError unless it matches.

    `known` has the credentials by access key id. Returns the access key id.
    """
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if "X-Amz-Signature=" in environ["RAW_URI"]:
        raise SignatureError("guard signs in header form, this is a presigned URL")
    scheme, _, rest = authorization.partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        raise SignatureError(f"no SigV4 Authorization header: {authorization[:40]!r}")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    key, _date, region, service, _ = fields["Credential"].split("/")
    credentials = known.get(key)
    if credentials is None:
        raise SignatureError(f"signed with {key}, which is not the real key")
    tokens = [environ.get(f"HTTP_X_AMZ_{name}_TOKEN") for name in ("SECURITY", "S3SESSION")]
    express = credentials.method == EXPRESS
    if tokens != ([None, credentials.token] if express else [credentials.token, None]):
        raise SignatureError(f"not the session token of {key}")
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
    path, mark, query = environ["RAW_URI"].partition("?")
    if service in UNENCODED_PATHS:
        # S3 decodes it, a plus sign to a space, and encodes it again.
        path = quote(unquote_plus(path), safe="/-._~")
    request = AWSRequest(
        method=environ["REQUEST_METHOD"],
        url=f"https://{host}{path}{mark}{query}",
        headers=headers,
        data=body,
    )
    request.context["timestamp"] = headers["x-amz-date"]
    signer = (S3SigV4Auth if service in UNENCODED_PATHS else SigV4Auth)(credentials, service, region)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    if expected != fields["Signature"]:
        raise SignatureError(f"botocore computes another signature over:\n{canonical}")
    return key


# Where AWS takes requests without a signature, as far as tests need it, and those with a bearer token.
UNSIGNED_HOSTS = ("cognito-idp.", "cognito-identity.", "portal.sso.", "public.s3.")
UNSIGNED_ACTIONS = (b"Action=AssumeRoleWithWebIdentity", b"Action=AssumeRoleWithSAML")
BEARER_HOSTS = ("bedrock-runtime.",)
# What is called so, in the path or the body, is answered with what AWS's errors repeat of a request.
ECHO = "echo-of-the-request"
# Parameters of STS that are logged.
LOGGED = ("RoleArn", "RoleSessionName", "SourceIdentity", "Policy", "DurationSeconds", "ExternalId", "WebIdentityToken")


def without_signature(environ, body):
    """What stands in the place of a signature, where that may be: `bearer TOKEN`, `none`; else None."""
    authorization, host = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_HOST", "")
    unsigned = host.startswith(UNSIGNED_HOSTS) or any(action in body for action in UNSIGNED_ACTIONS)
    if authorization is None and unsigned and "X-Amz-Signature=" not in environ["RAW_URI"]:
        return "none"
    if authorization and authorization.startswith("Bearer ") and host.startswith(BEARER_HOSTS):
        return "bearer " + authorization.removeprefix("Bearer ")
    return None


class Stand:
    """A WSGI application: reads the body, checks the signature, logs, and lets moto answer."""

    def __init__(self, directory):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.log = open(os.path.join(directory, "requests.jsonl"), "a", buffering=1)
        self.lock = threading.Lock()
        self.known = {REAL.access_key: REAL}
        self.secrets = os.path.join(directory, "secrets")
        self.outage = os.path.join(directory, "outage")
        self.script = os.path.join(directory, "sts.json")

    def __call__(self, environ, start_response):
        if environ.get("HTTP_HOST", "").startswith("allowed.example"):
            if environ["PATH_INFO"] == "/job-token":
                # As the token endpoint of GitHub Actions.
                told = f"{environ.get('HTTP_AUTHORIZATION', '').removeprefix('bearer ')}.{environ['QUERY_STRING']}"
                answer = json.dumps({"value": told}).encode()
                start_response("200 OK", [("Content-Length", str(len(answer)))])
                return [answer]
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
            return [b"hello\n"]
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        length = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        key, verdict = None, without_signature(environ, body)
        passes = verdict is not None
        try:
            if not passes:
                key = check_signature(environ, body, self.known)
                verdict, passes = "ok", True
        except SignatureError as error:
            verdict = str(error)
        except Exception as error:  # a request so odd that the check itself fails is not signed right
            verdict = f"{type(error).__name__}: {error}"
        self.record(environ, body, verdict, key)
        if not passes:
            message = f"stand: {verdict}".encode()
            start_response("403 Forbidden", [("Content-Length", str(len(message)))])
            return [message]
        if ECHO in environ["RAW_URI"] or ECHO.encode() in body:
            return self.echo(environ, start_response)
        if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
            # moto does not speak RPC v2 CBOR: an empty map, which is PutMetricData's whole answer.
            headers = [("Content-Type", "application/cbor"), ("Smithy-Protocol", "rpc-v2-cbor"), ("Content-Length", "1")]
            start_response("200 OK", headers)
            return [b"\xa0"]
        if environ.get("HTTP_HOST", "").startswith("sts."):
            return self.sts(environ, body, start_response)
        if environ.get("HTTP_HOST", "").startswith("portal.sso."):
            return self.sso(environ, start_response)
        if ".s3express-" in environ.get("HTTP_HOST", ""):
            return self.express(environ, start_response)
        return self.moto(environ, start_response)

    def echo(self, environ, start_response):
        """SignatureDoesNotMatch as S3 (with its ExpiredToken's token), DynamoDB and CloudWatch would answer it."""
        authorization, token = environ["HTTP_AUTHORIZATION"], environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        canonical = f"GET\n/\n\nx-amz-date:{environ.get('HTTP_X_AMZ_DATE')}\nx-amz-security-token:{token}\n"
        told = f"{canonical}\n{authorization}"
        headers = [("x-amzn-errormessage", quote(told, safe=""))]
        host = environ["HTTP_HOST"]
        if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
            text = told.encode()
            body = b"\xa2\x66__type\x78\x19InvalidSignatureException\x67message\x79" + len(text).to_bytes(2) + text
            headers += [("Content-Type", "application/cbor"), ("Smithy-Protocol", "rpc-v2-cbor")]
        elif host.startswith("s3.") or ".s3." in host:
            key = re.search("Credential=([^/]+)", authorization)
            members = {
                "Code": "SignatureDoesNotMatch",
                "Message": "The signature does not match.",
                "AWSAccessKeyId": key.group(1) if key else "",
                "SignatureProvided": authorization.rpartition("=")[2],
                "CanonicalRequest": canonical,
                "CanonicalRequestBytes": told.encode().hex(" "),
                "Token-0": token.replace("=", "&#61;").replace("+", "&#x2B;"),
            }
            inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
            headers.append(("Content-Type", "application/xml"))
        else:
            fault = {"__type": "InvalidSignatureException", "message": f"The Canonical String should have been '{told}'"}
            body = json.dumps(fault).replace("/", "\\/").replace("+", "\\u002b").encode()
            headers += [("Content-Type", "application/x-amz-json-1.0"), ("x-amz-crc32", str(zlib.crc32(body)))]
        if "-compressed" in environ["RAW_URI"]:
            body = gzip.compress(body)
            headers.append(("Content-Encoding", "gzip"))
        if "-large" in environ["RAW_URI"]:
            body += b" " * (1 << 20)
        start_response("403 Forbidden", headers + [("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def sts(self, environ, body, start_response):
        """moto's answer, whose credentials are known from then on; 503 while the file `outage` is there."""
        if os.path.exists(self.outage):
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        step = self.scripted() if b"Action=AssumeRole" in body else {}
        if "status" in step:
            answer = (
                '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
                f"<Code>{step['code']}</Code><Message>{step['message']}</Message></Error>"
                "<RequestId>0</RequestId></ErrorResponse>"
            ).encode()
            start_response(f"{step['status']} Scripted", [("Content-Length", str(len(answer)))])
            return [answer]
        answer = b"".join(self.moto(environ, start_response))
        if "lifetime" in step:
            # As many bytes as before: the head is already on its way.
            end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=step["lifetime"])
            found = re.search(rb"<Expiration>([^<]*)</Expiration>", answer).group(1)
            written = f"{end:%Y-%m-%dT%H:%M:%S}Z" if len(found) == 20 else f"{end:%Y-%m-%dT%H:%M:%S.%f}"[:len(found) - 1] + "Z"
            answer = answer.replace(found, written.encode())
        member = lambda name: re.search(f"<{name}>([^<]+)</{name}>", answer.decode())
        parts = [member(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        if all(parts):
            self.hand_out(Credentials(*(part.group(1) for part in parts)))
        return [answer]

    def hand_out(self, credentials):
        self.known[credentials.access_key] = credentials
        with self.lock, open(self.secrets, "a") as written:
            written.write(f"{credentials.secret_key}\n{credentials.token}\n")

    def sso(self, environ, start_response):
        """IAM Identity Center's portal, for whoever has its access token."""
        if environ["stand.sso_token"] != "sso-access-token":
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        made = Credentials("ASIASSO" + secrets.token_hex(6).upper(), secrets.token_hex(20), secrets.token_hex(60))
        self.hand_out(made)
        found = {"accessKeyId": made.access_key, "secretAccessKey": made.secret_key, "sessionToken": made.token}
        body = json.dumps({"roleCredentials": found | {"expiration": 4102444800000}}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def express(self, environ, start_response):
        """A directory bucket, which moto knows nothing of: sessions, and objects that are nowhere kept."""
        body = b""
        if "session" in parse_qs(urlsplit(environ["RAW_URI"]).query, keep_blank_values=True):
            made = Credentials("ASIAEXPRESS" + secrets.token_hex(5).upper(), secrets.token_hex(20), secrets.token_hex(60), EXPRESS)
            self.hand_out(made)
            members = {"SessionToken": made.token, "SecretAccessKey": made.secret_key, "AccessKeyId": made.access_key}
            members["Expiration"] = "2099-01-01T00:00:00Z"
            inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
            body = f'<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Credentials>{inner}</Credentials></CreateSessionResult>'.encode()
        start_response("200 OK", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
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

    def record(self, environ, body, verdict, key):
        form = dict(parse_qsl(body.decode("latin-1"))) if len(body) < 65536 else {}
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
            "access_key": key,
        }
        if action and environ.get("HTTP_HOST", "").startswith("sts."):
            entry["sts"] = {name: value for name, value in form.items() if name in LOGGED or name.startswith("Tag")}
            entry["sts"] |= {name: value for name, value in form.items() if name.startswith("TransitiveTagKeys")}
        with self.lock:
            self.log.write(json.dumps(entry) + "\n")


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def make_environ(self):
        # werkzeug leaves out headers with an underscore in their names.
        return super().make_environ() | {"stand.sso_token": self.headers.get("x-amz-sso_bearer_token")}

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
    # Whoever started it keeps it to its end, and is gone.
    shutil.rmtree(directory, ignore_errors=True)


main()
