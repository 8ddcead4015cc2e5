"""Verifies SigV4 signatures with botocore's own signer: a check that guard's code has no part in. For Version 4A
botocore makes the canonical request, and `cryptography` checks what is signed of it.

As a program: one JSON request per line on stdin, `ok` or the reason per line on stdout.
    {"method", "url", "headers": [[name, value]…], "body": base64, "secret"}
"""

import base64
import hashlib
import hmac
import json
import re
import sys
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

S3_NAMES = {"s3", "s3express", "s3-object-lambda", "s3-outposts"}


def verify(method, url, headers, body, secret):
    """None where the signature in the Authorization header is right, else what is wrong."""
    lower = [(name.lower(), value) for name, value in headers]
    authorizations = [value for name, value in lower if name == "authorization"]
    if len(authorizations) != 1:
        return f"{len(authorizations)} Authorization headers"
    if "X-Amz-Signature" in url or "X-Amz-Credential" in url:
        return "a signature is left in the query"
    algorithm, _, rest = authorizations[0].partition(" ")
    asymmetric = algorithm == "AWS4-ECDSA-P256-SHA256"
    if algorithm != "AWS4-HMAC-SHA256" and not asymmetric:
        return f"algorithm {algorithm}"
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    key, day, *region, service, _ = fields["Credential"].split("/")
    region = None if asymmetric else region[0]
    signed = fields["SignedHeaders"].split(";")
    unsigned = [name for name, _ in lower if name.startswith("x-amz-") and name not in signed]
    if unsigned or "host" not in signed:
        return f"not signed: {unsigned or 'host'}"
    stamp = dict(lower).get("x-amz-date", "")
    if stamp[:8] != day:
        return "x-amz-date is not on the scope's day"
    declared = dict(lower).get("x-amz-content-sha256")
    if declared and len(declared) == 64 and declared != hashlib.sha256(body).hexdigest():
        return "x-amz-content-sha256 is not the body's"
    if service in S3_NAMES and not declared:
        return "S3 without x-amz-content-sha256"

    kind = S3SigV4Auth if service in S3_NAMES else SigV4Auth
    if service in S3_NAMES:
        url = spelt_by_s3(url)
    signer = kind(Credentials(key, secret), service, region)
    request = AWSRequest(method=method, url=url, data=body)
    for name, value in headers:
        request.headers[name] = value
    request.context["timestamp"] = stamp

    to_sign = HTTPHeaders()
    for name, value in lower:
        if name in signed:
            to_sign[name] = value
    signer.headers_to_sign = lambda _: to_sign
    if asymmetric:
        digest = hashlib.sha256(signer.canonical_request(request).encode()).hexdigest()
        string = f"{algorithm}\n{stamp}\n{day}/{service}/aws4_request\n{digest}"
        return asymmetric_mismatch(key, secret, string, fields["Signature"])
    string = signer.string_to_sign(request, signer.canonical_request(request))
    if not hmac.compare_digest(signer.signature(string, request), fields["Signature"]):
        return "the signature differs"
    return None


def spelt_by_s3(url):
    """botocore signs S3's path as it stands; S3 decodes it and encodes it again. What of %2F is not known."""
    scheme, host, path, query, _ = urlsplit(url)
    parts = re.split("(%2[Ff])", path)
    parts[::2] = [quote(unquote(part, "latin-1"), safe="/-._~", encoding="latin-1") for part in parts[::2]]
    return urlunsplit((scheme, host, "".join(parts), query, ""))


def asymmetric_mismatch(key, secret, string, signature):
    """None where it is the signature of the string; the key as the IAM User Guide derives it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for counter in range(1, 255):
        context = b"\0\0\0\1AWS4-ECDSA-P256-SHA256\0" + key.encode() + bytes([counter]) + (256).to_bytes(4, "big")
        number = int.from_bytes(hmac.digest(b"AWS4A" + secret.encode(), context, "sha256"), "big")
        if number <= order - 2:
            break
    public = ec.derive_private_key(number + 1, ec.SECP256R1()).public_key()
    try:
        public.verify(bytes.fromhex(signature), string.encode(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        return "the signature differs"
    return None


def main():
    for line in sys.stdin:
        request = json.loads(line)
        body = base64.b64decode(request["body"])
        wrong = verify(request["method"], request["url"], request["headers"], body, request["secret"])
        print(wrong or "ok", flush=True)


if __name__ == "__main__":
    main()
