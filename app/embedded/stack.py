"""The whole service as children of one process: PostgreSQL, Redis and the processes of the Procfile."""

import fcntl
import http.client
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

from app import config
from app.core import names
from app.embedded import passwords, postgres, procfile, redis
from app.embedded.logs import Log
from app.embedded.processes import Keeper, Program, StackError, await_ready, free_port, run, stop_all

ROOT = Path(__file__).resolve().parents[2]
SERVER_SECONDS = 60
READY_SECONDS = 120
GRACE_SECONDS = 30
FLOWER_SETTINGS = ("FLOWER_BASIC_AUTH", "FLOWER_PORT")


def as_shipped() -> dict[str, str]:
    """Every setting blank, which is its default: a stack with these has servers of its own, whatever the shell says."""
    return dict.fromkeys([*_settings(), *FLOWER_SETTINGS], "")


def _settings() -> list[str]:
    return [item.name.upper() for item in fields(config.Settings)]


class Stack:
    """The running stack, as a context: up and answering inside, with nothing of it left running afterwards.

    Data lives in `data_dir` and survives; `env` there holds the settings while the stack runs. `settings` are
    environment variables for all processes; DATABASE_URL and REDIS_URL, there or in our own environment, take the place
    of the embedded servers. `port` 0 is a free one, and without an `api_key` one is made and kept. `durable=False`
    trusts the machine not to lose power; `watched` copies all logs to the terminal. Entering raises StackError.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        api_key: str = "",
        settings: Mapping[str, str] | None = None,
        procfile_path: Path = ROOT / "Procfile",
        durable: bool = True,
        watched: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self.api_key = api_key
        self.environment: dict[str, str] = {**os.environ, **(settings or {})}
        self._commands = procfile.read(procfile_path)
        self._durable = durable
        self._watched = watched
        self._keepers: dict[str, Keeper] = {}
        self._held = ExitStack()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def flower_url(self) -> str:
        """Empty when Flower does not run."""
        return f"http://127.0.0.1:{self.environment['FLOWER_PORT']}" if "flower" in self._keepers else ""

    @property
    def exports(self) -> Path:
        """The running stack's settings, for a shell that wants to be as one of its processes: `. FILE`."""
        return self.data_dir / "env"

    def pids(self, name: str) -> list[int]:
        """Process ids of `postgres`, `redis` or a process of the Procfile: its own, then its descendants'."""
        return self._keepers[name].pids()

    def __enter__(self) -> Self:
        with self._held:
            self._start()
            self._held = self._held.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    def _start(self) -> None:
        self._hold_directory()
        self.port = _claim(self.port)
        self.api_key = self.api_key or passwords.keep(self.data_dir / "api-key", names.api_key())
        self._set_environment()
        self._start_servers()
        self._write_exports()
        self._release()
        self._start_processes()

    def _hold_directory(self) -> None:
        """Make the directory ours alone, until we end in whatever way."""
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = self._held.enter_context((self.data_dir / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"another stack runs on {self.data_dir}: stop it, or set another DATA_DIR") from None

    def _set_environment(self) -> None:
        ours = {"HOST": "127.0.0.1", "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        ours["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.environment.get('PATH', os.defpath)}"
        self.environment.update(ours)
        self.environment.pop("API_KEY", None)  # the release step alone needs it
        if not self.environment.get("SECRET_KEY"):
            self.environment["SECRET_KEY"] = passwords.keep(self.data_dir / "secret-key")
        for setting, folder in (("STORAGE_URL", "storage"), ("WORK_DIR", "work")):
            if not self.environment.get(setting):
                (self.data_dir / folder).mkdir(mode=0o700, exist_ok=True)
                self.environment[setting] = str(self.data_dir / folder)

    def _start_servers(self) -> None:
        if not self.environment.get("DATABASE_URL"):
            database = postgres.prepare(self.data_dir, port=free_port(), durable=self._durable)
            await_ready(self._server(database.program), database.ready, seconds=SERVER_SECONDS)
            self.environment["DATABASE_URL"] = database.url
        if not self.environment.get("REDIS_URL"):
            broker = redis.prepare(self.data_dir, port=free_port())
            await_ready(self._server(broker.program), broker.ready, seconds=SERVER_SECONDS)
            self.environment["REDIS_URL"] = broker.url

    def _server(self, program: Program) -> Keeper:
        keeper = self._keepers[program.name] = Keeper(program, self._log(program.name))
        self._held.callback(stop_all, [keeper], grace_seconds=GRACE_SECONDS)
        keeper.start()
        return keeper

    def _write_exports(self) -> None:
        given = ((name, self.environment.get(name)) for name in _settings())
        passwords.write(self.exports, "".join(f"{name}={shlex.quote(value)}\n" for name, value in given if value))
        self._held.callback(self.exports.unlink, missing_ok=True)

    def _release(self) -> None:
        if procfile.RELEASE not in self._commands:
            return
        program = self._shell(procfile.RELEASE, {"API_KEY": self.api_key})
        with self._log(program.name) as log:
            if status := run(program, log):
                raise StackError(f"the release step ended with status {status}:\n{log.tail()}")

    def _start_processes(self) -> None:
        self.environment["FLOWER_PORT"] = self.environment.get("FLOWER_PORT") or str(free_port())
        wanted = [name for name in self._commands if name != procfile.RELEASE and self._has_credentials(name)]
        keepers = [Keeper(self._shell(name), self._log(name)) for name in wanted]
        self._keepers.update(zip(wanted, keepers, strict=True))
        self._held.callback(stop_all, keepers, grace_seconds=GRACE_SECONDS)
        for keeper in keepers:
            keeper.start()
        if "web" in wanted:
            await_ready(self._keepers["web"], self._answers, seconds=READY_SECONDS)

    def _has_credentials(self, name: str) -> bool:
        return name not in procfile.CREDENTIALS or bool(self.environment.get(procfile.CREDENTIALS[name]))

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _shell(self, name: str, extra: Mapping[str, str] | None = None) -> Program:
        command = ("/bin/sh", "-c", f"exec {self._commands[name]}")  # or the signals would end at the shell
        return Program(name, command, {**self.environment, **(extra or {})}, ROOT)

    def _log(self, name: str) -> Log:
        return Log(self.data_dir / "logs" / f"{name}.log", watched=self._watched)


def _claim(port: int) -> int:
    """The port, or a free one for 0.

    Raises StackError when somebody has it.
    """
    if not 0 <= port < 65536:
        raise StackError(f"there is no port {port}: set another PORT")
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(f"cannot listen on port {port}, {error.strerror}: set another PORT") from None
    return port
