"""Uploads in the aws-chunked forms whose chunks are signed. Prints a line for each: what it was, and `well` or what
went wrong."""

import base64
import zlib

from chunk_signing import Chain


def upload(name, content, sizes, trailer=False, end="\r\n", spoil=None, length=None, keep=None):
    form = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    announced = {"x-amz-trailer": "x-amz-checksum-crc32"} if trailer else {}
    chain = Chain(f"/chunks/{name}", form, len(content) if length is None else length, **announced)
    chunks, at = [], 0
    for size in sizes:
        chunks.append(content[at : at + size])
        at += size
    assert at == len(content)
    body = b""
    for number, chunk in enumerate([*chunks, b""]):
        signature = "0" * 64 if spoil == number else chain.chunk(chunk)
        body += f"{len(chunk):x};chunk-signature={signature}\r\n".encode()
        body += chunk + b"\r\n" if chunk else b""
    if trailer:
        checksum = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        line = f"x-amz-checksum-crc32:{checksum}"
        signature = "0" * 64 if spoil == "trailer" else chain.trailer(line)
        body += f"{line}{end}x-amz-trailer-signature:{signature}\r\n".encode()
    body = (body + b"\r\n")[:keep]
    return chain.send(body, len(body))


def tell(name, outcome, wanted=(200,), text=""):
    status, said = outcome
    print(name, "well" if status in wanted and text in said else f"{status} {said!r}")


CONTENT = bytes(range(256)) * 1024
EVEN = [65536] * 4
tell("even", upload("even", CONTENT, EVEN))
tell("odd", upload("odd", CONTENT, [8193, 131071, 1, 122879]))
tell("one", upload("one", CONTENT, [len(CONTENT)]))
tell("nothing", upload("nothing", b"", []))
tell("trailer", upload("trailer", CONTENT, EVEN, trailer=True))
tell("trailer-lf", upload("trailer-lf", CONTENT, EVEN, trailer=True, end="\n\r\n"))
tell("trailer-nothing", upload("trailer-nothing", b"", [], trailer=True))

refused = {"wanted": (400, 403), "text": "signature inside the body"}
tell("spoilt-0", upload("spoilt-0", CONTENT, EVEN, spoil=0), **refused)
tell("spoilt-2", upload("spoilt-2", CONTENT, EVEN, spoil=2), **refused)
tell("spoilt-end", upload("spoilt-end", CONTENT, EVEN, spoil=4), **refused)
tell("spoilt-trailer", upload("spoilt-trailer", CONTENT, EVEN, trailer=True, spoil="trailer"), **refused)
short = {"wanted": (400,), "text": "x-amz-decoded-content-length"}
tell("short", upload("short", CONTENT, EVEN, length=len(CONTENT) - 1), **short)
tell("long", upload("long", CONTENT, EVEN, length=len(CONTENT) + 1), **short)

ENDED = len("0;chunk-signature=") + 64 + len("\r\n\r\n")
cut = {"wanted": (400,), "text": "breaks off before its end"}
tell("cut-chunk", upload("cut-chunk", CONTENT, EVEN, keep=-ENDED), **cut)
tell("cut-last", upload("cut-last", CONTENT, EVEN, keep=-2), **cut)
tell("cut-trailer", upload("cut-trailer", CONTENT, EVEN, trailer=True, keep=-2), **cut)
tell("no-body", upload("no-body", b"", [], keep=0), wanted=(400,), text="there is no body")
