"""Uploads with boto3 in every form it has: checksum algorithms, when they are calculated, whether the payload is
signed. Prints a line for each: what it was, and `well` or what went wrong.

usage: checksums.py [DIRECTORY]   with the one that has awscrt: its checksums, and its signer
"""

import base64
import hashlib
import io
import itertools
import sys
import zlib

# botocore looks for awscrt when it is imported.
sys.path[:0] = sys.argv[1:]

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ALGORITHMS = ["CRC32C", "CRC64NVME"] if sys.argv[1:] else [None, "CRC32", "SHA1", "SHA256"]

CONTENT = bytes(range(256)) * 1200


class Stream(io.RawIOBase):
    """A body that cannot be read twice."""

    def __init__(self):
        self.left = io.BytesIO(CONTENT)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.left.readinto(buffer)


def upload(client, key, body, algorithm):
    extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    client.put_object(Bucket="uploads", Key=key, Body=body, **extra)
    answer = client.get_object(Bucket="uploads", Key=key)
    return "well" if answer["Body"].read() == CONTENT else "came back as something else"


for algorithm, when, signed, streamed in itertools.product(
    ALGORITHMS, ["when_supported", "when_required"], [False, True], [False, True]
):
    config = Config(
        request_checksum_calculation=when,
        s3={"payload_signing_enabled": signed},
        retries={"max_attempts": 1},
    )
    client = boto3.client("s3", config=config)
    key = f"boto3/{algorithm}-{when}-{signed}-{streamed} ü.bin"
    body = io.BytesIO(CONTENT) if streamed else CONTENT
    try:
        outcome = upload(client, key, body, algorithm)
    except ClientError as error:
        outcome = str(error)
    print(key, outcome)

client = boto3.client("s3", config=Config(retries={"max_attempts": 1}))
for name, value in {
    "ChecksumCRC32": base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode(),
    "ChecksumSHA256": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
    "ContentMD5": base64.b64encode(hashlib.md5(CONTENT).digest()).decode(),
}.items():
    client.put_object(Bucket="uploads", Key=f"boto3/{name}", Body=CONTENT, **{name: value})
    print(name, "well")
