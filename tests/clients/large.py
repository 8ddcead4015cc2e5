"""Uploads 200 MB three times: in parts with boto3, and at once in unsigned and in signed chunks. Prints for each its
key, the content's SHA-256 and the seconds it took."""

import base64
import hashlib
import io
import time
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from chunk_signing import Chain

MIB = 1024 * 1024
BLOCK = bytes(zlib.crc32(at.to_bytes(4, "big")) & 0xFF for at in range(MIB))
CONTENT = b"".join(number.to_bytes(16, "big") + BLOCK[16:] for number in range(200))
CHUNK = 256 * 1024
PIECES = [CONTENT[at : at + CHUNK] for at in range(0, len(CONTENT), CHUNK)]
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CRC32 = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()


def parts():
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    boto3.client("s3").upload_fileobj(io.BytesIO(CONTENT), "uploads", "large/parts", Config=config)


def unsigned():
    form = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    chain = Chain("/large/unsigned", form, len(CONTENT), **{"x-amz-trailer": "x-amz-checksum-crc32"})
    end = f"0\r\nx-amz-checksum-crc32:{CRC32}\r\n\r\n".encode()
    frames = [f"{CHUNK:x}\r\n".encode() + piece + b"\r\n" for piece in PIECES] + [end]
    return chain, frames


def signed():
    chain = Chain("/large/signed", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", len(CONTENT))
    head = lambda piece: f"{len(piece):x};chunk-signature={chain.chunk(piece)}\r\n".encode()
    frames = [head(piece) + piece + b"\r\n" for piece in PIECES]
    return chain, [*frames, head(b"") + b"\r\n"]


started = time.monotonic()
parts()
print(f"large/parts {SHA256} {time.monotonic() - started:.2f} s")
for make in (unsigned, signed):
    # What the client itself computes does not count.
    chain, frames = make()
    started = time.monotonic()
    status, text = chain.send(iter(frames), sum(map(len, frames)))
    assert status == 200, text
    print(f"{chain.path[1:]} {SHA256} {time.monotonic() - started:.2f} s")
