"""Writes requests of every AWS operation, as botocore makes them, as JSON lines for `guard identify`.

    python tests/identify/requests.py [--jobs N] [SERVICE...]

Each line is a request (`method`, `url`, `headers`, `body` in base64) with what it is: `truth` holds service,
operation, protocol and variant. The variants:

- `minimal`: required members only;
- `full`: every member, at every depth, recursive shapes once;
- `odd`: about half of the optional members, chosen by a fixed seed; path labels and S3 keys with characters that must
  be percent-encoded; unions take another alternative;
- `host`: one operation of each service at the endpoint of another partition, region, FIPS or dual-stack variant.

All come out of botocore's clients: serializer, event hooks, endpoint rules and signer are its own. A service is asked
in the protocol that botocore takes, and again in every other one that its model lists. What botocore cannot make is
written as a line with `truth` and `impossible`, so that nothing is left out silently. Nothing is sent.
"""

import argparse
import base64
import io
import json
import multiprocessing
import random
import re
import sys
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.serialize import create_serializer
from botocore.tokens import FrozenAuthToken

ACCOUNT = "123456789012"
REGION = "us-east-1"
# Protocols that a serializer stands for, as models name them.
SERIALIZERS = {"query", "ec2", "json", "rest-json", "rest-xml", "smithy-rpc-v2-cbor"}
# region, FIPS, dual stack
ELSEWHERE = [
    (region, fips, dual)
    for region in (
        "us-west-2", "ap-southeast-3", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1",
        "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1",
    )
    for fips in (False, True)
    for dual in (False, True)
]


class Example:
    """Makes inputs of a service."""

    def __init__(self, service, variant, seed=0):
        self.service = service
        self.variant = variant
        self.random = random.Random(seed)
        self.known = {}
        self.stack = []

    def input(self, shape):
        self.stack = []
        return {} if shape is None else self.structure(shape, True)

    def structure(self, shape, top=False):
        self.stack.append(shape.name)
        required = list(shape.required_members)
        if getattr(shape, "is_tagged_union", False):
            names = list(shape.members)
            chosen = names[0] if self.variant == "minimal" else self.random.choice(names)
            # One that leads back here would have to be cut off, which leaves a union without a member.
            if self.recursive(shape.members[chosen]):
                chosen = next((it for it in names if not self.recursive(shape.members[it])), chosen)
            chosen = required = [chosen]
        elif self.variant == "minimal" or len(self.stack) > 24:
            chosen = required
        elif self.variant == "full":
            chosen = list(shape.members)
        else:
            chosen = [name for name in shape.members if name in required or self.random.random() < 0.5]
        made = {}
        for name in chosen:
            member = shape.members[name]
            if name not in required and self.recursive(member):
                continue
            label = top and member.serialization.get("location") == "uri"
            made[name] = self.value(member, name, label)
        self.stack.pop()
        return made

    def recursive(self, shape):
        kind = shape.type_name
        while shape.type_name in ("list", "map"):
            shape = shape.member if shape.type_name == "list" else shape.value
        return shape.type_name == "structure" and shape.name in self.stack

    def value(self, shape, name, label=False):
        kind = shape.type_name
        if kind == "structure":
            if getattr(shape, "is_document_type", False):
                return {"document": [1, "two"]}
            if getattr(shape, "is_eventstream", False) or shape.serialization.get("eventstream"):
                return {}
            # The same shape is the same value: large models would take minutes otherwise.
            if shape.name not in self.known:
                self.known[shape.name] = self.structure(shape)
            return self.known[shape.name]
        if kind == "list":
            low = max(1, shape.metadata.get("min", 1))
            if self.variant != "minimal" and low < 2 <= shape.metadata.get("max", 2):
                low = 2 if shape.member.type_name not in ("structure", "list", "map") else 1
            if self.recursive(shape.member):
                return []
            return [self.value(shape.member, name) for _ in range(low)]
        if kind == "map":
            key = self.string(shape.key, name)
            return {} if self.recursive(shape.value) else {key: self.value(shape.value, name)}
        if kind == "string":
            return self.string(shape, name, label)
        if kind in ("integer", "long"):
            low = shape.metadata.get("min", 1)
            return min(max(1, low), shape.metadata.get("max", max(1, low)))
        if kind in ("float", "double"):
            return max(1.0, float(shape.metadata.get("min", 1)))
        if kind == "boolean":
            return True
        if kind == "timestamp":
            return 1_700_000_000
        if kind == "blob":
            size = max(1, shape.metadata.get("min", 1))
            body = b"\x00\x01blob" if size < 6 else b"b" * size
            return io.BytesIO(body) if shape.serialization.get("streaming") else body
        raise AssertionError(kind)

    def string(self, shape, name, label=False):
        special = self.special(shape, name)
        if special is not None:
            return special
        if shape.enum:
            return shape.enum[0] if self.variant != "odd" else self.random.choice(shape.enum)
        low, high = shape.metadata.get("min", 1), shape.metadata.get("max", 1 << 20)
        if label and self.variant == "odd" and low <= len(ODD) <= high:
            return ODD
        pattern = shape.metadata.get("pattern", "")
        if "arn:" in pattern or name.lower().endswith("arn"):
            arn = f"arn:aws:{self.service}:{REGION}:{ACCOUNT}:thing/one"
            if len(arn) <= high:
                return arn.ljust(low, "x")
        text = "2a9c" if pattern.startswith(("^[0-9a-f]", "[0-9a-f]", "^[a-f0-9]", "[a-f0-9]")) else "Example-1"
        text = text.ljust(low, "a")[: max(low, min(high, len(text)))]
        return text or "a"

    def special(self, shape, name):
        """Members that endpoint rules, host prefixes or event hooks look at."""
        low = name.lower()
        if low in ("accountid", "account", "awsaccountid", "owneraccountid") or shape.name.lower() == "accountid":
            return ACCOUNT
        if name == "Bucket" and self.service == "s3":
            return "some-bucket"
        if name == "Bucket" and self.service == "s3control":
            return f"arn:aws:s3-outposts:{REGION}:{ACCOUNT}:outpost/op-01234567890123456/bucket/mybucket"
        if self.service in ("s3", "s3control"):
            if name == "OutpostId":
                return "op-01234567890123456"
            if name == "CopySource":
                return "source-bucket/source%20key"
            if name == "RequestRoute":
                return "route-1"
            if name == "Key" and shape.name == "ObjectKey":
                return "a dir/k\u00e9y+1//../%2F" if self.variant == "odd" else "a dir/key+1"
            if name.startswith(("SSECustomerKey", "CopySourceSSECustomerKey")) and "MD5" in name:
                return "MTIzNDU2Nzg5MDEyMzQ1Ng=="
            if name == "ChecksumAlgorithm":
                return "SHA256"
            if name.startswith("Checksum") and name not in ("ChecksumAlgorithm", "ChecksumType", "ChecksumMode"):
                return "AAAAAA=="
        if name == "QueueUrl":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/queue"
        if name == "PredictEndpoint":
            return "https://realtime.machinelearning.us-east-1.amazonaws.com"
        if self.service == "kinesis" and low.endswith("arn"):
            kind = low.removesuffix("arn")
            arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:{kind if kind in ('queue', 'channel') else 'stream'}/one"
            return arn + "/consumer/two:1700000000" if kind == "consumer" else arn
        if self.service == "cloudfront-keyvaluestore" and name == "KvsARN":
            return f"arn:aws:cloudfront::{ACCOUNT}:key-value-store/2a9c"
        return None


# A path label that must be escaped.
ODD = "a/b c+d%2F\u00e9:e"


class Signature4A(botocore.auth.SigV4Auth):
    """Stands for the signer that botocore takes from `awscrt`: what it writes has that one's shape."""

    def add_auth(self, request):
        super().add_auth(request)
        header = request.headers["Authorization"].replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
        del request.headers["Authorization"]
        request.headers["Authorization"] = header.replace(f"/{self._region_name}/", "/")
        request.headers["X-Amz-Region-Set"] = self._region_name


botocore.auth.AUTH_TYPE_MAPS["v4a"] = Signature4A


class Caught(Exception):
    """Stops a call just before it is sent."""


class Answer(io.BytesIO):
    """A body as an `AWSResponse` reads it."""

    def stream(self, **_):
        yield self.read()


class Calls:
    """Takes a client's requests as they would leave."""

    def __init__(self, session, service, **config):
        self.service = service
        self.session = session
        self.client = session.create_client(
            service,
            region_name=config.pop("region", REGION),
            config=Config(retries={"total_max_attempts": 1}, ignore_configured_endpoint_urls=True, **config),
        )
        self.model = self.client.meta.service_model
        self.request = None
        self.client.meta.events.register_last("before-send", self.take)

    def take(self, request, **_):
        # Timestream is first asked where to send the call.
        if request.headers.get("X-Amz-Target", b"").endswith(b".DescribeEndpoints") and not self.asked:
            address = f"cell1.timestream.{REGION}.amazonaws.com"
            body = json.dumps({"Endpoints": [{"Address": address, "CachePeriodInMinutes": 60}]}).encode()
            return AWSResponse(request.url, 200, {}, Answer(body))
        self.request = request
        raise Caught

    def protocols(self):
        metadata = self.model.metadata
        yield self.model.resolved_protocol
        listed = list(metadata.get("protocols", [])) + [metadata["protocol"]]
        # Services that moved from query to another protocol still take it from older clients.
        if metadata.get("awsQueryCompatible") is not None:
            listed.append("query")
        for protocol in dict.fromkeys(listed):
            if protocol != self.model.resolved_protocol and protocol in SERIALIZERS:
                yield protocol

    def speak(self, protocol):
        self.client._serializer = create_serializer(protocol, True)

    def line(self, operation, parameters, truth):
        """One line, as bytes."""
        truth = {"service": self.service, "operation": operation, **truth}
        self.request, why = None, None
        self.asked = operation == "DescribeEndpoints"
        try:
            # Not by its method: operations that take a stream of events have none.
            self.client._make_api_call(operation, parameters)
        except Caught:
            pass
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:300]
        request = self.request
        if request is not None and truth["variant"] == "host":
            truth["partition"] = self.partition(request)
        if request is None:
            return encode({"truth": truth, "impossible": why or "no request"})
        body = request.body or b""
        if hasattr(body, "read"):
            if hasattr(body, "seek") and not hasattr(body, "_raw"):
                body.seek(0)
            body = body.read()
        if isinstance(body, str):
            body = body.encode()
        headers = {}
        for name, value in request.headers.items():
            value = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            headers.setdefault(name, []).append(value)
        # `aws-chunked` bodies are framed by the connection, which is not there.
        headers.pop("Content-Length", None)
        headers.pop("Transfer-Encoding", None)
        line = {
            "truth": truth,
            "method": request.method,
            "url": request.url,
            "headers": {name: values[0] if len(values) == 1 else values for name, values in headers.items()},
        }
        if body:
            line["body"] = base64.b64encode(body).decode()
        return encode(line)

    def partition(self, request):
        """Of the region in the host, else in the signature; `None` where neither tells."""
        authorization = request.headers.get("Authorization", b"")
        if isinstance(authorization, bytes):
            authorization = authorization.decode()
        for text in (urlsplit(request.url).netloc, authorization):
            if region := re.search(r"\b(us|eu|ap|cn|eusc)(-[a-z]+)+-\d\b", text):
                return self.session.get_partition_for_region(region[0])
        return None

    def everything(self):
        operations = list(self.model.operation_names)
        for place, protocol in enumerate(self.protocols()):
            self.speak(protocol)
            for variant in ("minimal", "full", "odd"):
                example = Example(self.service, variant, seed=f"{self.service}:{protocol}")
                for operation in operations:
                    shape = self.model.operation_model(operation).input_shape
                    truth = {"protocol": protocol, "variant": variant}
                    yield self.line(operation, example.input(shape), truth)
        self.speak(self.model.resolved_protocol)

    def elsewhere(self):
        """One operation at other endpoints; combinations that the rules know no endpoint for are left out."""
        builtins = self.client._ruleset_resolver._builtins
        operation = next(iter(sorted(self.model.operation_names)))
        shape = self.model.operation_model(operation).input_shape
        seen = set()
        for region, fips, dual in ELSEWHERE:
            for name, value in (("AWS::Region", region), ("AWS::UseFIPS", fips), ("AWS::UseDualStack", dual)):
                for key in builtins:
                    if getattr(key, "value", key) == name:
                        builtins[key] = value
            self.client._request_signer._region_name = region
            parameters = Example(self.service, "minimal").input(shape)
            place = f"{region}{' fips' if fips else ''}{' dualstack' if dual else ''}"
            truth = {"protocol": self.model.resolved_protocol, "variant": "host", "place": place}
            line = self.line(operation, parameters, truth)
            if b'"impossible":' not in line:
                yield line


def encode(line):
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def requests(service):
    session = botocore.session.get_session()
    session.set_credentials("AKIDEXAMPLE000000000", "secret", account_id=ACCOUNT)
    session.get_auth_token = lambda **_: FrozenAuthToken("token")
    lines = []
    calls = Calls(session, service)
    lines.extend(calls.everything())
    lines.extend(calls.elsewhere())
    if service == "s3":
        calls = Calls(session, service, s3={"addressing_style": "path"})
        lines.extend(calls.everything())
    return b"".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("services", nargs="*")
    arguments = parser.parse_args()
    session = botocore.session.get_session()
    services = arguments.services or session.get_available_services()
    # The largest first, so that no process is left with one of them at the end.
    services = sorted(services, key=lambda it: (it not in LARGE, it))
    out = sys.stdout.buffer
    if arguments.jobs < 2:
        for service in services:
            out.write(requests(service))
        return
    with multiprocessing.Pool(arguments.jobs) as pool:
        for lines in pool.imap_unordered(requests, services):
            out.write(lines)


LARGE = {"ec2", "sagemaker", "s3", "iam", "glue", "quicksight", "connect", "rds", "redshift", "securityhub", "datazone"}


if __name__ == "__main__":
    main()
