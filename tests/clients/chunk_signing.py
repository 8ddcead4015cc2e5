"""Signs aws-chunked bodies: the head with botocore, chunks and trailers as the Amazon S3 API Reference says."""

import hashlib
import hmac
import http.client
import os
import ssl

import botocore.auth
import botocore.awsrequest
import botocore.credentials

HOST = "uploads.s3.us-east-1.amazonaws.com"
EMPTY = hashlib.sha256(b"").hexdigest()
CREDENTIALS = botocore.credentials.Credentials(
    os.environ["AWS_ACCESS_KEY_ID"],
    os.environ["AWS_SECRET_ACCESS_KEY"],
    os.environ.get("AWS_SESSION_TOKEN"),
)


class Head(botocore.auth.S3SigV4Auth):
    """A head that says how its body is signed."""

    def payload(self, request):
        return request.headers["x-amz-content-sha256"]

    def _modify_request_before_signing(self, request):
        form = request.headers["x-amz-content-sha256"]
        super()._modify_request_before_signing(request)
        del request.headers["x-amz-content-sha256"]
        request.headers["x-amz-content-sha256"] = form


class Chain:
    """A request's head, and the signatures inside its body after it."""

    def __init__(self, path, form, length, **headers):
        self.path = path
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": form,
            "x-amz-decoded-content-length": str(length),
            **headers,
        }
        request = botocore.awsrequest.AWSRequest("PUT", f"https://{HOST}{path}", headers)
        Head(CREDENTIALS, "s3", "us-east-1").add_auth(request)
        self.headers = dict(request.headers.items())
        self.date = request.headers["x-amz-date"]
        self.previous = request.headers["authorization"].rsplit("=", 1)[1]
        self.key = ("AWS4" + CREDENTIALS.secret_key).encode()
        for part in (self.date[:8], "us-east-1", "s3", "aws4_request"):
            self.key = hmac.digest(self.key, part.encode(), "sha256")

    def sign(self, kind, *hashes):
        scope = f"{self.date[:8]}/us-east-1/s3/aws4_request"
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", self.date, scope, self.previous, *hashes])
        self.previous = hmac.digest(self.key, text.encode(), "sha256").hex()
        return self.previous

    def chunk(self, data):
        return self.sign("PAYLOAD", EMPTY, hashlib.sha256(data).hexdigest())

    def trailer(self, line):
        return self.sign("TRAILER", hashlib.sha256(f"{line}\n".encode()).hexdigest())

    def send(self, body, length):
        """Sends it; returns the status and what was said."""
        connection = http.client.HTTPSConnection(HOST, context=ssl.create_default_context(), timeout=60)
        try:
            connection.request("PUT", self.path, body, {**self.headers, "content-length": str(length)})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()
