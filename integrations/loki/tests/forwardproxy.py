"""A forward proxy on 127.0.0.1: requests with absolute URLs, and CONNECT; it keeps what it was asked."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def may_pass(self):
        self.server.asked.append(f"{self.command} {self.path}")
        if self.server.credentials is None:
            return True
        wanted = f"Basic {base64.b64encode(self.server.credentials.encode()).decode()}"
        if self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.may_pass():
            return
        url = urlsplit(self.path)
        headers = {
            name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")
        }
        connection = http.client.HTTPConnection(url.netloc, timeout=10)
        connection.request("POST", url.path, body, headers)
        response = connection.getresponse()
        text = response.read()
        self.send_response(response.status)
        if response.status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        connection.close()

    def do_CONNECT(self):
        if not self.may_pass():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as there:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            here = self.connection
            with contextlib.suppress(OSError):
                while True:
                    for side in select.select([here, there], [], [], 10)[0] or [None]:
                        data = side.recv(65536) if side else b""
                        if not data:
                            return
                        (there if side is here else here).sendall(data)


class ForwardProxy:
    """The proxy; `url` is its address, `asked` what it was asked for.

    Args:
        credentials: ``user:password`` that it wants; None for none.
    """

    def __init__(self, credentials=None):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.credentials = credentials
        self.asked = self._server.asked = []
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
