"""A git host, a Python index, an npm registry and a crate registry, each with one package, behind TLS.

They are told apart by the first label of the host name: git, pypi, npm and cargo, all below
registry.example. Every request becomes a line "HOST METHOD PATH" of DIR/requests.

usage: registries.py DIR       writes DIR/ca.pem, then prints "ready PORT"; ends when its stdin closes.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

DOMAIN = "registry.example"
NAME = "guard-demo"


def wheel():
    """guard-demo 1.0 with a module guard_demo."""
    info = "guard_demo-1.0.dist-info"
    files = {
        "guard_demo.py": "ANSWER = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: guard\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return out.getvalue()


def tarball(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(out.getvalue())


def packages():
    """What each host serves: path to content type and body."""
    whl = wheel()
    tgz = tarball(
        {
            "package/package.json": json.dumps({"name": NAME, "version": "1.0.0", "main": "index.js"}),
            "package/index.js": "module.exports = 42;\n",
        }
    )
    crate = tarball(
        {
            f"{NAME}-1.0.0/Cargo.toml": f'[package]\nname = "{NAME}"\nversion = "1.0.0"\nedition = "2021"\n',
            f"{NAME}-1.0.0/src/lib.rs": "pub const ANSWER: u32 = 42;\n",
        }
    )
    whl_name = "guard_demo-1.0-py3-none-any.whl"
    link = f'<a href="/files/{whl_name}#sha256={hashlib.sha256(whl).hexdigest()}">{whl_name}</a>'
    dist = {
        "tarball": f"https://npm.{DOMAIN}/{NAME}/-/{NAME}-1.0.0.tgz",
        "integrity": "sha512-" + base64.b64encode(hashlib.sha512(tgz).digest()).decode(),
    }
    version = {"name": NAME, "version": "1.0.0", "main": "index.js", "dist": dist}
    npm = {"name": NAME, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    index = {
        "name": NAME,
        "vers": "1.0.0",
        "deps": [],
        "cksum": hashlib.sha256(crate).hexdigest(),
        "features": {},
        "yanked": False,
    }
    return {
        f"pypi/simple/{NAME}/": ("text/html", f"<html><body>{link}</body></html>".encode()),
        f"pypi/files/{whl_name}": ("application/octet-stream", whl),
        f"npm/{NAME}": ("application/json", json.dumps(npm).encode()),
        f"npm/{NAME}/-/{NAME}-1.0.0.tgz": ("application/octet-stream", tgz),
        "cargo/index/config.json": (
            "application/json",
            json.dumps({"dl": f"https://cargo.{DOMAIN}/dl/{{crate}}/{{version}}"}).encode(),
        ),
        f"cargo/index/gu/ar/{NAME}": ("text/plain", json.dumps(index).encode() + b"\n"),
        f"cargo/dl/{NAME}/1.0.0": ("application/octet-stream", crate),
    }


def git(*arguments, directory):
    environment = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=stand", "-c", "user.email=stand@registry.example"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=directory, env=environment, check=True, capture_output=True
    ).stdout


def repository(directory):
    """DIR/git/demo.git with one file; whoever reaches it may push."""
    os.makedirs(os.path.join(directory, "git"))
    source = os.path.join(directory, "source")
    os.makedirs(source)
    git("init", "-q", "-b", "main", directory=source)
    with open(os.path.join(source, "README"), "w") as readme:
        readme.write("the answer is 42\n")
    git("add", "README", directory=source)
    git("commit", "-q", "-m", "first", directory=source)
    git("clone", "-q", "--bare", source, os.path.join(directory, "git/demo.git"), directory=directory)
    git("config", "http.receivepack", "true", directory=os.path.join(directory, "git/demo.git"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = {}
    directory = ""

    def do_GET(self):
        host = self.headers.get("Host", "").split(".")[0]
        with open(os.path.join(self.directory, "requests"), "a") as log:
            log.write(f"{host} {self.command} {self.path}\n")
        if host == "git":
            return self.git_backend()
        kind, body = self.served.get(host + self.path.split("?")[0], (None, b"not here\n"))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def git_backend(self):
        path, _, query = self.path.partition("?")
        environment = os.environ | {
            "GIT_PROJECT_ROOT": os.path.join(self.directory, "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.body()
        environment["CONTENT_LENGTH"] = str(len(body))
        answer = subprocess.run(["git", "http-backend"], env=environment, input=body, stdout=subprocess.PIPE).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    directory = sys.argv[1]
    repository(directory)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(os.path.join(directory, "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(f"*.{DOMAIN}").configure_cert(context)
    Handler.served, Handler.directory = packages(), directory
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_address[1]}", flush=True)
    sys.stdin.read()
    # Whoever started it keeps it to its end, and is gone.
    shutil.rmtree(directory, ignore_errors=True)


main()
