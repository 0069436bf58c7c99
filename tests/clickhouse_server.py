"""A ClickHouse server to stop, start and kill: the HTTP interface, as far as clients need it, over the embedded engine in a process.

`python -m tests.clickhouse_server PORT FOLDER` runs one. It asks for the password `secret` of the user `shop`.
"""

import asyncio
import base64
import re
import signal
import socket
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

from tests.serving import REPOSITORY

START_SECONDS = 120
INSERT = re.compile(r"INSERT INTO (?P<table>\S+) \((?P<columns>.*?)\)\s+FORMAT (?P<format>\w+)\s*", re.DOTALL)
TRANSPORT = {"query", "database", "default_format", "compress", "decompress", "wait_end_of_query", "session_id", "query_id"}
TRANSPORT |= {"enable_http_compression", "client_protocol_version", "send_progress_in_http_headers", "http_headers_progress_interval_ms"}
CREDENTIALS = base64.b64encode(b"shop:secret").decode()


class ClickHouseServer:
    """The address and the data stay the same over stops and starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.process: asyncio.subprocess.Process | None = None
        self.url = f"http://shop:secret@127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start, unless it runs."""
        if self.process is not None and self.process.returncode is None:
            return
        command = [sys.executable, "-m", "tests.clickhouse_server", str(self._port), str(self._folder)]
        self.process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stderr=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(START_SECONDS):
            while not await asyncio.to_thread(self._answers):
                assert self.process.returncode is None
                await asyncio.sleep(0.05)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await self.process.wait()

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/ping", timeout=1) as response:
                return bool(response.read() == b"Ok.\n")
        except OSError:
            return False


class Engine:
    """One connection for all requests, one at a time. `rows_read` are the rows that all of them together have read of tables."""

    def __init__(self, folder: str) -> None:
        from clickhouse_connect.driver._backend.chdb_backend import ChdbBackend

        self._backend = ChdbBackend(connection_string=folder)
        self._lock = threading.Lock()
        self.rows_read = 0

    def run(self, sql: str, options: dict[str, str], body: bytes) -> bytes:
        values = {name.removeprefix("param_"): value for name, value in options.items() if name.startswith("param_")}
        settings = {name: value for name, value in options.items() if name not in TRANSPORT and not name.startswith("param_")}
        with self._lock:
            if found := INSERT.match(sql):
                rows = body if "query" in options else body[len(found[0].encode()) :]
                return self._insert(found, settings, options.get("database"), rows)
            result = self._backend._run_with_settings(sql, "TabSeparated", settings, params=values, database=options.get("database"))
            self.rows_read += result.storage_rows_read()
            return bytes(result.bytes() or b"")

    def _insert(self, insert: re.Match[str], settings: dict[str, str], database: str | None, body: bytes) -> bytes:
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            given = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
            target = f"{insert['table']} ({insert['columns']})"
            sql = f"INSERT INTO {target} FROM INFILE '{file.name}' SETTINGS {given} FORMAT {insert['format']}"
            self._backend._run(sql, "TabSeparated", database=database)
        return b""


class Handler(BaseHTTPRequestHandler):
    """One request: what is in the address and, where that has no query, in the body."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        if self.path.startswith("/ping"):
            self._answer(200, b"Ok.\n")
        elif self.path == "/rows_read":
            self._answer(200, str(self.engine.rows_read).encode())
        else:
            self.do_POST()

    def do_POST(self) -> None:
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        if self.headers.get("Authorization") != f"Basic {CREDENTIALS}":
            self._refuse("516", "Code: 516. DB::Exception: shop: Authentication failed. (AUTHENTICATION_FAILED)")
            return
        sql = options["query"] if "query" in options else body.decode()
        try:
            answer = self.engine.run(sql, options, body)
        except Exception as error:
            code = getattr(error, "code", None)
            self._refuse(str(code or 1), str(error))
        else:
            self._answer(200, answer, {"X-ClickHouse-Timezone": "UTC"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refuse(self, code: str, message: str) -> None:
        self._answer(500, message.encode(), {"X-ClickHouse-Exception-Code": code})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests read their own logs."""


def main(port: int, folder: str) -> None:
    Handler.engine = Engine(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    Handler.engine._backend.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
