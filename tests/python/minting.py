"""Answers with temporary credentials, for every operation of botocore that mints them.

usage: minting.py samples   prints a line of JSON per operation: service, operation, protocol, body (as moto writes
                            it, from botocore's models, with every member), secrets, sets; or, for one whose only
                            protocol is CBOR, no body
       minting.py check     reads lines of service, operation, protocol, body, masked, dummy: what botocore reads from
                            `masked` must be what it reads from `body`, but for credentials, which are `dummy`
"""

import base64
import gzip
import json
import pathlib
import re
import sys
from datetime import datetime, timezone

import botocore
from botocore.loaders import Loader
from botocore.parsers import create_parser
from botocore.serialize import RpcV2CBORSerializer
from moto.core.model import ServiceModel
from moto.core.serialize import get_serializer_class

KEY, SECRET, TOKEN = ("accesskeyid",), ("secretaccesskey", "secretkey"), ("sessiontoken", "token")
TEXT = ("query", "json", "rest-json", "rest-xml")
CBOR = "smithy-rpc-v2-cbor"
loader = Loader()


def candidates():
    """Services whose model has the word for a secret: to read all of them takes minutes."""
    word = re.compile(rb"\"secret(access)?key\"", re.IGNORECASE)
    data = pathlib.Path(botocore.__file__).parent / "data"
    for name in loader.list_available_services("service-2"):
        version = loader.determine_latest_version(name, "service-2")
        model = data / name / version / "service-2.json"
        text = model.read_bytes() if model.exists() else gzip.decompress(model.with_suffix(".json.gz").read_bytes())
        if word.search(text):
            yield name


def service_model(name):
    return ServiceModel(loader.load_service_model(name, "service-2"), name)


def parts(shape):
    """The names of the three members of a structure of credentials; None where it is none."""
    lower = {name.lower(): name for name in shape.members}
    found = [next((lower[name] for name in names if name in lower), None) for names in (KEY, SECRET, TOKEN)]
    return found if all(found) else None


def mints(shape, seen=frozenset()):
    if shape is None or shape.name in seen:
        return False
    seen = seen | {shape.name}
    if shape.type_name == "structure":
        return bool(parts(shape)) or any(mints(member, seen) for member in shape.members.values())
    below = {"list": "member", "map": "value"}.get(shape.type_name)
    return bool(below) and mints(getattr(shape, below), seen)


class Sample:
    """A value with every member of a shape, and the secrets in it."""

    def __init__(self):
        self.secrets, self.sets = [], 0

    def of(self, shape, name="", seen=()):
        kind = shape.type_name
        if kind == "structure":
            members = {n: s for n, s in shape.members.items() if s.name not in seen or not hasattr(s, "members")}
            if shape.is_tagged_union:
                one = next((n for n, s in members.items() if mints(s)), next(iter(members)))
                members = {one: members[one]}
            value = {n: self.of(s, n, (*seen, shape.name)) for n, s in members.items()}
            if names := parts(shape):
                self.sets += 1
                made = [f"ASIAREAL{self.sets:012}", f"Secret/{self.sets}+é<&\"", f"Token/{self.sets}+=é>&'" + "x" * 900]
                value |= dict(zip(names, made))
                self.secrets += made[1:]
            return value
        if kind == "list":
            return [self.of(shape.member, "", seen), self.of(shape.member, "", seen)]
        if kind == "map":
            return {"name": self.of(shape.value, "", seen)}
        if kind == "timestamp" or (kind == "long" and name.lower() == "expiration"):
            at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
            return at if kind == "timestamp" else int(at.timestamp() * 1000)
        if kind == "string":
            return (getattr(shape, "enum", None) or ["arn:aws:sts::123456789012:assumed-role/R/s"])[0]
        return {"boolean": True, "blob": b"blob", "float": 1.5, "double": 1.5}.get(kind, 1)


def written(name, operation, protocol, value):
    if protocol == CBOR:
        body = bytearray()
        RpcV2CBORSerializer()._serialize_data_item(body, value, operation.output_shape)
        return bytes(body)
    body = get_serializer_class(name, protocol)(operation).serialize(value)["body"]
    return body if isinstance(body, bytes) else body.encode()


def samples():
    for name in candidates():
        model = service_model(name)
        for operation in map(model.operation_model, model.operation_names):
            if not mints(operation.output_shape):
                continue
            offered = model.metadata.get("protocols") or [model.metadata["protocol"]]
            for forms in (TEXT, (CBOR,)):
                protocol = next((it for it in forms if it in offered), None)
                if protocol:
                    sample = Sample()
                    value = sample.of(operation.output_shape)
                    body = base64.b64encode(written(name, operation, protocol, value)).decode()
                    line = {"service": name, "operation": operation.name, "protocol": protocol, "body": body}
                    print(json.dumps(line | {"secrets": sample.secrets, "sets": sample.sets}))


def expected(shape, value, dummy):
    """What is to be read in the place of `value`."""
    if shape.type_name == "structure" and value is not None:
        made = {name: expected(shape.members[name], it, dummy) for name, it in value.items() if name in shape.members}
        names = parts(shape)
        return made | dict(zip(names, dummy)) if names and set(names) <= set(value) else made
    if shape.type_name == "list":
        return [expected(shape.member, it, dummy) for it in value]
    return value


def check():
    for line in map(json.loads, sys.stdin):
        shape = service_model(line["service"]).operation_model(line["operation"]).output_shape
        parser = create_parser(line["protocol"])
        answer = {"headers": {"smithy-protocol": "rpc-v2-cbor"}, "status_code": 200}
        read = lambda body: parser.parse(answer | {"body": base64.b64decode(body)}, shape)
        before, after = read(line["body"]), read(line["masked"])
        for answer in (before, after):
            answer.pop("ResponseMetadata", None)
        wanted = expected(shape, before, line["dummy"])
        assert wanted != before, f"{line['service']}:{line['operation']}: botocore reads no credentials"
        assert wanted == after, f"{line['service']}:{line['operation']}: {after}"
    print("ok")


{"samples": samples, "check": check}[sys.argv[1]]()
