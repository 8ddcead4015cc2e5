"""An internet for a network namespace that has none: its only name server, and a listener.

The name server answers with what TABLE (JSON: name to a list of answers, each a list of addresses, given
out in turn) says, and writes every question to LOG. A listener on port 443 of every address writes
"connected" there.

usage: internet.py TABLE LOG       prints "ready"; ends when its stdin closes
"""

import ipaddress
import json
import socket
import struct
import sys
import threading


def main():
    with open(sys.argv[1]) as table:
        table = json.load(table)
    log = open(sys.argv[2], "a", buffering=1)
    asked = {}
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def names():
        while True:
            message, client = server.recvfrom(4096)
            labels, at = [], 12
            while message[at]:
                labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1"))
                at += 1 + message[at]
            (kind,) = struct.unpack(">H", message[at + 1 : at + 3])
            name = ".".join(labels).lower()
            log.write(f"asked {name} {kind}\n")
            answers = table.get(name, [])
            turn = asked.setdefault((name, kind), 0)
            asked[name, kind] += 1
            addresses = [ipaddress.ip_address(a) for a in answers[turn % len(answers)]] if answers else []
            wanted = [a.packed for a in addresses if (a.version, kind) in ((4, 1), (6, 28))]
            flags = 0x8180 if answers else 0x8183
            reply = message[:2] + struct.pack(">5H", flags, 1, len(wanted), 0, 0) + message[12 : at + 5]
            for packed in wanted:
                reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(packed)) + packed
            server.sendto(reply, client)

    def listen(family, host):
        listener = socket.create_server((host, 443), family=family)
        while True:
            listener.accept()[0].close()
            log.write("connected\n")

    threading.Thread(target=names, daemon=True).start()
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        threading.Thread(target=listen, args=(family, host), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


main()
