"""The last resort where no redis-server can be had: `python -m app.embedded.fake_redis CONFIGURATION`.

fakeredis' own server checks a password that is sent but asks for none, and hangs up after an answer that is an error:
here a connection must open with the right password, and outlives errors as it does in a real Redis.
"""

import select
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from redis import ResponseError

GREETING_SECONDS = 5


class Connection(TCPFakeRequestHandler):  # type: ignore[misc]
    """One client. With Nagle's algorithm, which delays the small answers, a queue does 11 tasks a second, not 300."""

    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        answer = self.current_client.read_response
        self.current_client.read_response = lambda: _answer_or_error(answer)

    def handle(self) -> None:
        if self._opens_with_password():
            super().handle()
        else:
            self.wfile.write(b"-NOAUTH Authentication required.\r\n")

    def _opens_with_password(self) -> bool:
        """Whether the first command, left unread for the server, is AUTH or HELLO with the password."""
        if not select.select([self.connection], [], [], GREETING_SECONDS)[0]:
            return False
        words = self.connection.recv(4096, socket.MSG_PEEK).split()
        password = self.server.fake_server.config[b"requirepass"]
        return any(word.upper() in (b"AUTH", b"HELLO") for word in words[:3]) and password in words


def _answer_or_error(answer: Callable[[], object]) -> object:
    try:
        return answer()
    except ResponseError as error:
        return error


def serve(configuration: Path) -> None:
    settings = dict(line.split(" ", 1) for line in configuration.read_text().splitlines())
    server = TcpFakeServer((settings["bind"], int(settings["port"])), bind_and_activate=False)
    server.RequestHandlerClass = Connection
    server.daemon_threads = True
    server.fake_server.config[b"requirepass"] = settings["requirepass"].encode()
    server.server_bind()
    server.server_activate()
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
