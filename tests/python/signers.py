"""Signs requests with botocore, in every form that it has: what guard must accept.

One JSON request per line on stdin, the signed one per line on stdout.
    {"signer", "now", "method", "url", "headers": [[name, value]…], "body": base64, "payload", "service", "region",
     "key", "secret", "token"}
The first argument is the directory of awscrt, which signs in Version 4A; without it there are no such lines.
"""

import base64
import datetime
import email.utils
import json
import sys
import time
import urllib.parse

import botocore.auth
import botocore.compat
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SIGNERS = {
    "v4": botocore.auth.SigV4Auth,
    "s3": botocore.auth.S3SigV4Auth,
    "v4 url": botocore.auth.SigV4QueryAuth,
    "s3 url": botocore.auth.S3SigV4QueryAuth,
    "v2": botocore.auth.HmacV1Auth,
    "v2 url": botocore.auth.HmacV1QueryAuth,
}


def asymmetric(directory):
    sys.path.insert(0, directory)
    import awscrt.auth

    # botocore looked for it before it was there.
    botocore.compat.awscrt, botocore.compat.HAS_CRT = awscrt, True
    import botocore.crt.auth as crt

    crt.get_current_datetime = now
    SIGNERS["v4a"] = crt.CrtSigV4AsymAuth
    SIGNERS["s3 v4a"] = crt.CrtS3SigV4AsymAuth
    SIGNERS["v4a url"] = crt.CrtSigV4AsymQueryAuth
    SIGNERS["s3 v4a url"] = crt.CrtS3SigV4AsymQueryAuth


NOW = 0


def now(remove_tzinfo=True):
    moment = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
    return moment.replace(tzinfo=None) if remove_tzinfo else moment


def signed(line):
    global NOW
    NOW = line["now"]
    url, kind = line["url"], line["signer"]
    body = base64.b64decode(line["body"])
    # A URL is signed before there is a body.
    request = AWSRequest(method=line["method"], url=url, data="" if "url" in kind else body)
    for name, value in line["headers"]:
        request.headers[name] = value
    if line["payload"] == "trailer":
        request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    request.context["payload_signing_enabled"] = line["payload"] == "bytes"
    request.context["timestamp"] = now().strftime(botocore.auth.SIGV4_TIMESTAMP)
    credentials = Credentials(line["key"], line["secret"], line["token"])
    parts = urllib.parse.urlsplit(url)
    if kind.startswith("v2"):
        bucket = parts.hostname.split(".s3")[0]
        if bucket != parts.hostname and not parts.hostname.startswith("s3."):
            request.auth_path = f"/{bucket}{parts.path}"
        signer = SIGNERS[kind](credentials)
    else:
        signer = SIGNERS[kind](credentials, line["service"], line["region"])
    signer.add_auth(request)
    text = lambda value: value.decode() if isinstance(value, bytes) else value
    host, _, target = request.url.split("://", 1)[1].partition("/")
    return {**line, "url": f"https://{host}/{target}", "headers": [["host", host]] + [
        [text(name), text(value)] for name, value in request.headers.items() if name.lower() != "host"]}


def main():
    botocore.auth.get_current_datetime = now
    botocore.auth.formatdate = lambda **_: email.utils.formatdate(NOW, usegmt=True)
    botocore.auth.time = type("Clock", (), {"time": staticmethod(lambda: NOW), "strftime": time.strftime})
    if len(sys.argv) > 1:
        asymmetric(sys.argv[1])
    for text in sys.stdin:
        line = json.loads(text)
        if line["signer"] in SIGNERS:
            print(json.dumps(signed(line)), flush=True)


if __name__ == "__main__":
    main()
