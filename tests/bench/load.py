"""`python -m tests.bench.load`: a process that sends one request over and over, and times each answer.

It reads a Request as JSON on stdin and prints the seconds of every answer as JSON. Sockets are read by hand: the
generator must cost the machine little beside the server that it measures.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass

from app.embedded.processes import StackError
from app.embedded.stack import ROOT

SOCKET_SECONDS = 30


@dataclass(frozen=True)
class Request:
    """One request, sent by `clients` at once, each over a connection of its own, for `seconds`."""

    port: int
    method: str
    path: str
    headers: dict[str, str]
    clients: int
    seconds: float
    body: str = ""

    def encoded(self) -> bytes:
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        body = self.body.encode()
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body


@dataclass(frozen=True)
class Load:
    """What a run of requests took, all clients together."""

    per_second: float
    p50_ms: float
    p99_ms: float


def generate(request: Request) -> Load:
    """Send the request from another process.

    Raises StackError when an answer is not 200.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        cwd=ROOT,
        input=json.dumps(asdict(request)),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise StackError(f"{request.method} {request.path}: {ended.stderr[-2000:]}")
    spent = sorted(json.loads(ended.stdout))
    return Load(
        per_second=len(spent) / request.seconds,
        p50_ms=1000 * spent[len(spent) // 2],
        p99_ms=1000 * spent[int(len(spent) * 0.99)],
    )


class Client(threading.Thread):
    """Sends the request until the time is over; `spent` holds seconds, `error` why it stopped early."""

    def __init__(self, request: Request, until: float) -> None:
        super().__init__()
        self._bytes, self._until = request.encoded(), until
        self._socket = socket.create_connection(("127.0.0.1", request.port), timeout=SOCKET_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.spent: list[float] = []
        self.error = ""

    def run(self) -> None:
        try:
            while (began := time.perf_counter()) < self._until:
                self._socket.sendall(self._bytes)
                self._await_answer()
                self.spent.append(time.perf_counter() - began)
        except (OSError, ValueError) as error:
            self.error = str(error)

    def _await_answer(self) -> None:
        """Read one answer whole. Raises ValueError when it is not a 200 of a known length."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._received()
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(answer[:2000].decode(errors="replace"))
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._received()

    def _received(self) -> bytes:
        part = self._socket.recv(65536)
        if not part:
            raise ValueError("the server closed the connection")
        return part


def main() -> int:
    request = Request(**json.load(sys.stdin))
    until = time.perf_counter() + request.seconds
    clients = [Client(request, until) for _ in range(request.clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for error in filter(None, (client.error for client in clients)):
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([seconds for client in clients for seconds in client.spent]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
