"""A hostile client, for the tests to run confined: sends one malformed request and prints the answer.

usage: bad_input.py CASE      prints the first 2,000 bytes that come back, or how the connection ended.
"""

import datetime
import os
import socket
import ssl
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

S3 = "s3.us-east-1.amazonaws.com"
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


def signed(method="GET", path="/bad-input/key", host=S3, headers=None, key=KEY, secret=SECRET, service="s3", body=b""):
    """The head lines of a request that botocore signs."""
    request = AWSRequest(method, f"https://{host}{path}", headers=headers or {}, data=body)
    request.context["payload_signing_enabled"] = False
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(Credentials(key, secret), service, "us-east-1").add_auth(request)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    return lines + [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "host"]


def head(lines):
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def backdated(minutes):
    real = datetime.datetime
    import botocore.auth

    then = real.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes)
    botocore.auth.get_current_datetime = lambda *a, **k: then.replace(tzinfo=None)


def put(*more, body=b""):
    return head(signed("PUT", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}) + list(more)) + body


def case(name):
    """(server name, bytes to send)"""
    plain = signed()
    if name == "both-lengths":
        return S3, put("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    if name == "both-lengths-reversed":
        return S3, put("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n")
    if name == "two-lengths":
        return S3, put("Content-Length: 5", "Content-Length: 6", body=b"hello!")
    if name == "odd-length":
        return S3, put("Content-Length: +5", body=b"hello")
    if name == "two-hosts":
        return S3, head(plain + ["Host: sts.us-east-1.amazonaws.com"])
    if name == "obs-fold":
        return S3, head(plain + ["X-Folded: a", " b"])
    if name == "bare-lf":
        return S3, head(plain).replace(b"\r\n", b"\n")
    if name == "space-before-colon":
        return S3, head(plain + ["Content-Length : 0"])
    if name == "bad-chunk-size":
        return S3, put("Transfer-Encoding: chunked", body=b"ZZ\r\nhello\r\n0\r\n\r\n")
    if name == "chunk-size-overflow":
        return S3, put("Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n")
    if name == "odd-encoding":
        return S3, put("Transfer-Encoding: xchunked", body=b"0\r\n\r\n")
    if name == "absolute-target":
        return S3, head([f"GET https://sts.us-east-1.amazonaws.com/ HTTP/1.1", f"Host: {S3}"])
    if name == "connect":
        return S3, head(["CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1", f"Host: {S3}"])
    if name == "other-host":
        return S3, head(signed(host="sts.us-east-1.amazonaws.com"))
    if name == "huge-header":
        return S3, head(plain + ["X-Huge: " + "a" * 200_000])
    if name == "many-headers":
        return S3, head(plain + [f"X-{i}: a" for i in range(500)])
    if name == "unknown-host":
        host = "nosuchservice.us-east-1.amazonaws.com"
        return host, head(signed(host=host, service="nosuchservice"))
    if name == "other-service":
        return S3, head(signed(service="sts"))
    if name == "expired":
        backdated(30)
        return S3, head(signed())
    if name == "wrong-signature":
        return S3, head(signed(secret="not-the-secret"))
    if name == "foreign-key":
        return S3, head(signed(key="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
    if name == "unsigned":
        return S3, head([f"GET /bad-input/key HTTP/1.1", f"Host: {S3}"])
    if name == "both-auth-forms":
        return S3, head(signed(path="/bad-input/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"))
    if name == "two-actions":
        host, body = "iam.amazonaws.com", b"Action=ListUsers&Version=2010-05-08&Action=DeleteUser&UserName=x"
        lines = signed("POST", "/", host, {"Content-Type": "application/x-www-form-urlencoded"}, service="iam", body=body)
        return host, head(lines + [f"Content-Length: {len(body)}"]) + body
    if name == "good":
        return S3, head(plain)
    raise SystemExit(f"no such case: {name}")


def main():
    name = sys.argv[1]
    if name == "client-hello":
        raw = socket.create_connection((S3, 443), timeout=30)
        raw.sendall(b"\x16\x03\x01\x00\x20" + b"\xff" * 32)
        return show(raw)
    if name == "no-server-name":
        context = ssl._create_unverified_context()
        context.check_hostname = False
        raw = socket.create_connection((S3, 443), timeout=30)
        return show(context.wrap_socket(raw))
    if name == "plain-http":
        raw = socket.create_connection((S3, 80), timeout=30)
        raw.sendall(f"GET / HTTP/1.1\r\nHost: {S3}\r\n\r\n".encode())
        return show(raw)
    host, data = case(name)
    raw = socket.create_connection((host, 443), timeout=30)
    tls = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"]).wrap_socket(raw, server_hostname=host)
    tls.sendall(data)
    show(tls)


def show(connection):
    got = b""
    try:
        while len(got) < 2000:
            part = connection.recv(2000)
            if not part:
                break
            got += part
            # Whatever else belongs to the answer is close behind; the connection may stay open.
            connection.settimeout(1)
    except TimeoutError:
        pass
    sys.stdout.buffer.write(got or b"closed\n")


try:
    main()
except (OSError, ssl.SSLError) as error:
    print(f"\n{type(error).__name__}: {error}")
