"""Makes tokens with AWS's own clients, at a fixed time and with fixed keys.

Reads {"now", "access_key", "secret_key", "session_token", "cases": [request...]} from standard input and prints one
line per case: a token, or username and password separated by a space.
"""

import base64
import datetime
import json
import sys
from urllib.parse import urlencode

import botocore.auth
import botocore.compat
import botocore.session
from awscli.customizations import codecommit
from awscli.customizations.eks import get_token
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as msk
from botocore.credentials import CredentialProvider, Credentials
from botocore.model import ServiceId
from botocore.signers import RequestSigner

given = json.load(sys.stdin)
now = datetime.datetime.fromtimestamp(given["now"], datetime.timezone.utc)


def frozen(*_args, **_kwargs):
    return now.replace(tzinfo=None)


botocore.auth.get_current_datetime = frozen
codecommit.get_current_datetime = frozen
keys = (given["access_key"], given["secret_key"], given["session_token"])


def session():
    made = botocore.session.Session()
    made.set_credentials(*keys)
    return made


def client(name, region):
    return session().create_client(name, region_name=region)


def presigned(case, service, name, params):
    """As in ElastiCache's and MemoryDB's documentation."""
    made = session()
    signer = RequestSigner(
        ServiceId(service), case["region"], service, "v4", made.get_credentials(), made.get_component("event_emitter")
    )
    request = {
        "method": "GET",
        "url": f"https://{name}/?{urlencode(params)}",
        "body": {},
        "headers": {},
        "context": {},
    }
    url = signer.generate_presigned_url(request, operation_name="connect", expires_in=900, region_name=case["region"])
    return url.removeprefix("https://")


def token(case):
    kind = case["for"]
    if kind == "rds":
        return client("rds", case["region"]).generate_db_auth_token(case["hostname"], case["port"], case["username"])
    if kind == "eks":
        sts = get_token.STSClientFactory(session()).get_sts_client(region_name=case["region"])
        return get_token.TokenGenerator(sts).get_token(case["cluster"])
    if kind == "codecommit":
        command = codecommit.CodeCommitGetCommand(session())
        signed = command.sign_request(
            command.extract_region(case, None), command.extract_url({"protocol": "https", **case})
        )
        return f"{keys[0]}%{keys[2]} {signed}" if keys[2] else f"{keys[0]} {signed}"
    if kind == "msk":
        class Provider(CredentialProvider):
            def load(self):
                return Credentials(*keys)

        return msk.generate_auth_token_from_credentials_provider(case["region"], Provider())[0]
    if kind == "elasticache":
        params = {"Action": "connect", "User": case["username"]}
        if case["serverless"]:
            params["ResourceType"] = "ServerlessCache"
        return presigned(case, "elasticache", case["cache"], params)
    if kind == "memorydb":
        return presigned(case, "memorydb", case["cluster"], {"Action": "connect", "User": case["username"]})
    if kind == "dsql":
        dsql = client("dsql", case["region"])
        make = dsql.generate_db_connect_admin_auth_token if case["admin"] else dsql.generate_db_connect_auth_token
        return make(case["hostname"], case["region"])
    raise ValueError(kind)


for case in given["cases"]:
    print(token(case))
