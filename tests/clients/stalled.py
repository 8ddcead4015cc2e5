"""Uploads two signed chunks of 16 MiB sixteen times at once, to a server that reads nothing, until no more is taken."""

import os
import threading
import time

from chunk_signing import Chain

CHUNK = bytes(16 * 1024 * 1024)
PIECE = 64 * 1024
taken = [0] * 16


def upload(number):
    chain = Chain(f"/stalled/{number}", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 2 * len(CHUNK))
    head = lambda piece: f"{len(piece):x};chunk-signature={chain.chunk(piece)}\r\n".encode()
    body = b"".join([head(CHUNK), CHUNK, b"\r\n", head(CHUNK), CHUNK, b"\r\n", head(b""), b"\r\n"])

    def pieces():
        for at in range(0, len(body), PIECE):
            yield body[at : at + PIECE]
            taken[number] = at

    chain.send(pieces(), len(body))


for number in range(len(taken)):
    threading.Thread(target=upload, args=[number], daemon=True).start()
before = None
while before != taken or not all(taken):
    before = list(taken)
    time.sleep(2)
print(f"{sum(taken) >> 20} MiB of {len(taken)} uploads were taken", flush=True)
os._exit(0)
