"""boto3 meeting denials, for the tests to run confined: makes every call that the test's profile refuses, and
prints what it raises, one JSON object a line.

usage: denials.py once|modes|pending
  once      each call with the default configuration, and what boto3 builds upon calls: paginators, waiters, transfers
  modes     each call in botocore's standard and adaptive retry modes
  pending   calls that wait for a person, all at once
"""

import io
import json
import os
import sys
import threading

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

ACCOUNT = "123456789012"
QUEUE = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/denied-queue"
BUCKET = {"Bucket": "denied-bucket"}
OBJECT = {**BUCKET, "Key": "denied-key"}


class Stream(io.RawIOBase):
    """A body that is read as it is sent: of a known length, and not to be rewound."""

    def __init__(self, length):
        self.left = length

    def __len__(self):
        return self.left

    def readable(self):
        return True

    def read(self, size=-1):
        size = self.left if size is None or size < 0 else min(size, self.left)
        self.left -= size
        return b"x" * size


DENIED = [
    ("sts", "get_session_token", {}),
    ("ec2", "describe_instances", {}),
    ("dynamodb", "get_item", {"TableName": "denied", "Key": {"k": {"S": "1"}}}),
    ("secretsmanager", "get_secret_value", {"SecretId": "denied"}),
    ("lambda", "invoke", {"FunctionName": "denied", "Payload": b"{}"}),
    ("s3", "get_object", OBJECT),
    ("s3", "head_object", OBJECT),
    ("s3", "head_bucket", BUCKET),
    ("s3", "put_object", {**OBJECT, "Body": b"x" * 1_000_000}),
    ("s3", "upload_part", {**OBJECT, "Body": Stream(3_000_000), "PartNumber": 1, "UploadId": "denied"}),
    ("s3control", "get_public_access_block", {"AccountId": ACCOUNT}),
    ("route53", "list_hosted_zones", {}),
    ("cloudfront", "list_distributions", {}),
    ("cloudwatch", "list_metrics", {}),
    ("sqs", "send_message", {"QueueUrl": QUEUE, "MessageBody": "denied"}),
]

PENDING = [
    ("sts", "assume_role", {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/denied", "RoleSessionName": "denied"}),
    ("ec2", "terminate_instances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    ("dynamodb", "delete_item", {"TableName": "denied", "Key": {"k": {"S": "1"}}}),
    ("lambda", "delete_function", {"FunctionName": "denied"}),
    ("s3", "delete_object", OBJECT),
    ("s3", "put_object_tagging", {**OBJECT, "Tagging": {"TagSet": []}}),
    ("sqs", "purge_queue", {"QueueUrl": QUEUE}),
    ("route53", "delete_hosted_zone", {"Id": "Z0"}),
]


def say(call, error, client=None):
    seen = {"call": call, "type": type(error).__name__, "message": str(error)}
    response = getattr(error, "response", None) or getattr(error, "last_response", None)
    if isinstance(response, dict) and "Error" in response:
        metadata = response["ResponseMetadata"]
        seen |= {
            "code": response["Error"].get("Code"),
            "told": response["Error"].get("Message"),
            "retries": metadata["RetryAttempts"],
            "status": metadata["HTTPStatusCode"],
            "reason": metadata["HTTPHeaders"].get("x-guard-reason"),
            "request": metadata.get("RequestId"),
        }
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


def make(client, service, operation, arguments, suffix=""):
    try:
        getattr(client, operation)(**arguments)
    except ClientError as error:
        say(f"{service} {operation}{suffix}", error)
    else:
        sys.exit(f"{service} {operation} was allowed")


def built_upon():
    """What boto3 makes of several calls: each must stop at the first."""
    try:
        list(boto3.client("dynamodb").get_paginator("list_tables").paginate())
    except ClientError as error:
        say("dynamodb list_tables paginator", error)
    try:
        boto3.client("dynamodb").get_waiter("table_exists").wait(TableName="denied")
    except WaiterError as error:
        say("dynamodb describe_table waiter", error)
    try:
        boto3.client("s3").upload_fileobj(io.BytesIO(b"x" * 20_000_000), "denied-bucket", "many")
    except Exception as error:
        say("s3 create_multipart_upload transfer", error)
    try:
        boto3.resource("dynamodb").Table("denied").scan()
    except ClientError as error:
        say("dynamodb scan resource", error)


def main():
    mode = sys.argv[1]
    if mode == "once":
        clients = {service: boto3.client(service) for service, *_ in DENIED}
        for service, operation, arguments in DENIED:
            make(clients[service], service, operation, arguments)
        built_upon()
    elif mode == "modes":
        for retries in ("standard", "adaptive"):
            config = Config(retries={"mode": retries})
            clients = {service: boto3.client(service, config=config) for service, *_ in DENIED}
            for service, operation, arguments in DENIED:
                if operation != "upload_part":
                    make(clients[service], service, operation, arguments, f" {retries}")
    elif mode == "pending":
        clients = {service: boto3.client(service) for service, *_ in PENDING}
        threads = [threading.Thread(target=make, args=(clients[call[0]], *call)) for call in PENDING]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        sys.exit(__doc__)


main()
