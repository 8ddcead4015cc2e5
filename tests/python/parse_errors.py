"""Puts guard's answers through botocore's own parsers and retry decisions.

First prints every [service, protocol] of botocore's models as one JSON line; then reads answers as JSON lines until
its input ends, and prints what is wrong with them, and how many it read, as one JSON line.
"""

import base64
import json
import sys

import botocore.parsers
import botocore.retries.standard as standard
import botocore.retryhandler
import botocore.session
import botocore.translate
from botocore.awsrequest import AWSResponse
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError

MESSAGE = 'why <not> & "é"'
CODES = {
    "AccessDenied": {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"},
    "SignatureDoesNotMatch": {"SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"},
    "InvalidAccessKey": {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"},
    "RequestExpired": {"AccessDenied", "AccessDeniedException", "SignatureDoesNotMatch", "AuthFailure"},
    "InvalidRequest": {"InvalidRequest", "ValidationError", "ValidationException"},
    "RequestTooLarge": {"EntityTooLarge", "RequestEntityTooLarge", "RequestEntityTooLargeException"},
    "UpstreamUnavailable": {"GuardUpstreamUnavailable", "GuardUpstreamUnavailableException"},
}

session = botocore.session.get_session()
loader = session.get_component("data_loader")
legacy = loader.load_data("_retry")
factory = ClientExceptionsFactory()


class Service:
    """What botocore makes of one service's answers."""

    def __init__(self, name):
        self.model = session.get_service_model(name)
        self.operation = self.model.operation_model(self.model.operation_names[0])
        self.exceptions = factory.create_client_exceptions(self.model)
        config = botocore.translate.build_retry_config(
            self.model.endpoint_prefix, legacy["retry"], legacy.get("definitions", {}), {}
        )
        self.legacy = botocore.retryhandler.create_retry_handler(config, self.operation.name)

    def protocols(self):
        metadata = self.model.metadata
        for protocol in metadata.get("protocols") or [metadata["protocol"]]:
            if protocol == "json":
                yield "json-" + metadata.get("jsonVersion", "1.0")
            elif protocol == "rest-xml" and self.model.service_name in ("s3", "s3control"):
                yield "s3"
            else:
                yield protocol

    def modelled(self, code):
        """The exception class where the service models one of this code."""
        return self.exceptions.from_code(code)

    def wrong(self, answer):
        body = base64.b64decode(answer["body"])
        protocol = {"s3": "rest-xml", "json-1.0": "json", "json-1.1": "json"}.get(answer["protocol"], answer["protocol"])
        headers = botocore.awsrequest.HeadersDict(answer["headers"])
        parser = botocore.parsers.create_parser(protocol)
        response = {"status_code": answer["status"], "headers": headers, "body": body}
        parsed = parser.parse(response, self.operation.output_shape)
        code, message = parsed["Error"].get("Code"), parsed["Error"].get("Message")
        if code not in CODES[answer["code"]]:
            return f"code {code}"
        if message != MESSAGE:
            return f"message {message!r}"
        if not parsed["ResponseMetadata"].get("RequestId", "").startswith("guard-"):
            return "no request id"
        if answer["code"] == "AccessDenied":
            for name in ("AccessDenied", "AccessDeniedException"):
                if code != name and self.modelled(name) is not ClientError and self.modelled(code) is ClientError:
                    return f"{code}, but the service models {name}"
        http = AWSResponse("https://guard", answer["status"], headers, None)
        again = self.legacy(
            response=(http, parsed),
            attempts=1,
            caught_exception=None,
            operation=self.operation,
            request_dict={"context": {}},
        )
        if again is not None:
            return "sent again in the legacy mode"
        context = standard.RetryContext(1, self.operation, parsed, http, None, None)
        if standard.StandardRetryConditions().is_retryable(context):
            return "sent again in the standard mode"
        return None


def main():
    services = {name: Service(name) for name in session.get_available_services()}
    pairs = [[name, protocol] for name, service in services.items() for protocol in service.protocols()]
    print(json.dumps(pairs), flush=True)
    wrong, read = [], 0
    for line in sys.stdin:
        answer = json.loads(line)
        reason = services[answer["service"]].wrong(answer)
        read += 1
        if reason:
            wrong.append(f"{answer['service']} {answer['protocol']} {answer['code']}: {reason}")
    print(json.dumps({"wrong": wrong, "read": read}))


main()
