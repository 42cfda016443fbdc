"""ClickHouse's engine behind as much of its HTTP interface as the Collector's exporter and we need.

Usage: engine.py DIRECTORY PORT. The engine is chdb-core's, the data are below DIRECTORY.

The exporter's driver first asks for the server's version in a block of the newest revision. The revision that
it is answered there is 0, of which blocks have no headers: from then on, what the engine writes and reads as
`FORMAT Native` is what the driver reads and writes.
"""

import gzip
import os
import sys
import tempfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chdb import session

HELLO = "SELECT displayName(), version(), revision(), timezone()"
OLD_REVISION = 0
INSERT = "FORMAT Native"


def hello(version: str) -> bytes:
    """A block of one row, in the form of revisions since 54454."""

    def text(value: str) -> bytes:
        value = value.encode()
        return bytes([len(value)]) + value

    columns = [
        ("displayName()", "String", text("chdb")),
        ("version()", "String", text(version)),
        ("revision()", "UInt32", OLD_REVISION.to_bytes(4, "little")),
        ("timezone()", "String", text("UTC")),
    ]
    info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    block = info + bytes([len(columns), 1])
    for name, kind, value in columns:
        # The zero: nothing special in how it is serialized.
        block += text(name) + text(kind) + b"\x00" + value
    return block


class Engine:
    """One query at a time: the engine is not to be entered twice."""

    def __init__(self, directory: str):
        self.session = session.Session(os.path.join(directory, "store"))
        self.directory = directory
        self.lock = threading.Lock()
        self.version = str(self.query("SELECT version()", "TSVRaw"), "utf-8").strip()

    def query(self, query: str, form: str) -> bytes:
        with self.lock:
            return self.session.query(query, form).bytes()

    def insert(self, query: str, block: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".native") as file:
            file.write(block)
            file.flush()
            return self.query(query.replace(INSERT, f"SELECT * FROM file('{file.name}', Native)"), "Native")


class Handler(BaseHTTPRequestHandler):
    """POST with the query as body, or with the query as parameter and a block as body."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def do_POST(self):
        parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        body = self.body()
        form = parameters.get("default_format", "TSV")
        try:
            if query := parameters.get("query"):
                self.answer(200, self.server.engine.insert(query, body))
            elif (query := body.decode().strip()) == HELLO:
                self.answer(200, hello(self.server.engine.version))
            else:
                self.answer(200, self.server.engine.query(query, form))
        except Exception as error:
            self.answer(500, str(error).encode())

    def answer(self, status: int, body: bytes):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main():
    directory, port = sys.argv[1], int(sys.argv[2])
    server = Server(("127.0.0.1", port), Handler)
    server.engine = Engine(directory)
    print("ready", flush=True)
    server.serve_forever()


main()
