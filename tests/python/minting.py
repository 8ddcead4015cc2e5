"""Prints every operation of botocore whose output has a structure of a secret key and a session token: one line
`service operation path {member: name, ...}` of JSON each. `[]` in a path is a list."""

import json

import botocore.session
from botocore.model import OperationModel

SECRET = ("secretaccesskey", "secretkey")
TOKEN = ("sessiontoken", "token")


def structures(shape, path, seen):
    if shape is None or shape.name in seen or len(path) > 8:
        return
    seen = seen | {shape.name}
    if shape.type_name == "structure":
        lower = {name.lower(): name for name in shape.members}
        secret = next((lower[name] for name in SECRET if name in lower), None)
        token = next((lower[name] for name in TOKEN if name in lower), None)
        if secret and token:
            yield ".".join(path), shape
        for name, member in shape.members.items():
            yield from structures(member, path + [name], seen)
    elif shape.type_name == "list":
        yield from structures(shape.member, path[:-1] + [path[-1] + "[]"], seen)
    elif shape.type_name == "map":
        yield from structures(shape.value, path[:-1] + [path[-1] + "{}"], seen)


session = botocore.session.get_session()
for service in session.get_available_services():
    model = session.get_service_model(service)
    for name in model.operation_names:
        operation = model.operation_model(name)
        for path, shape in structures(operation.output_shape, [], frozenset()):
            names = {member: found.serialization.get("name", member) for member, found in shape.members.items()}
            print(json.dumps([service, name, path, names, model.metadata["protocol"]]))
