"""What a request says to PostgreSQL, taken from the server's own log, and said again by pgbench."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from app.embedded.postgres import ENVIRONMENT, package_binaries
from app.embedded.processes import StackError

ENTRY = re.compile(r"^\S+ \S+ UTC \[\d+\] ([A-Z]+):  ", re.MULTILINE)
STATEMENT = re.compile(r"(?:statement|execute [^:]+): (.*)", re.DOTALL)
PARAMETER = re.compile(r"\$(\d+) = ('(?:[^']|'')*'|NULL)")
NOT_OF_REQUESTS = ("log_statement", "pg_reload_conf", "alter system", "pg_notify")  # ours, and calls into a channel
PER_SECOND = re.compile(r"tps = ([0-9.]+)")


def recorded(url: str, log: Path, request: Callable[[], None]) -> list[str]:
    """The statements that PostgreSQL ran while a request was answered, with their parameters filled in.

    `log` is where the server writes; nothing else may talk to it meanwhile.
    """
    with _logging(url):
        start = log.stat().st_size
        request()
    with log.open("rb") as file:
        file.seek(start)
        return list(_statements(file.read().decode()))


@contextmanager
def _logging(url: str) -> Iterator[None]:
    """Let the server log every statement, for sessions that are open already, too."""
    with psycopg.connect(url, autocommit=True) as conn:
        for name, value in (("log_statement", "all"), ("log_parameter_max_length", "-1")):
            conn.execute(f"alter system set {name} = '{value}'")
        _reload(conn, "all")
        try:
            yield
        finally:
            conn.execute("alter system reset all")
            _reload(conn, "none")


def _reload(conn: psycopg.Connection, expected: str) -> None:
    conn.execute("select pg_reload_conf()")
    while True:
        row = conn.execute("show log_statement").fetchone()
        if row is not None and row[0] == expected:
            return


def _statements(text: str) -> Iterator[str]:
    """Statements of a log; a DETAIL holds the parameters of the entry before it."""
    pieces = ENTRY.split(text)
    entries = list(zip(pieces[1::2], pieces[2::2], strict=True))
    for number, (kind, said) in enumerate(entries):
        found = STATEMENT.match(said) if kind == "LOG" else None
        if found is None or any(word in said for word in NOT_OF_REQUESTS):
            continue
        after = entries[number + 1] if number + 1 < len(entries) else ("", "")
        values = dict(PARAMETER.findall(after[1])) if after[0] == "DETAIL" else {}
        yield _filled(" ".join(found[1].split()), values)


def _filled(statement: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(\d+)", lambda one: values[one[1]], statement)


def repeated(url: str, script: str, directory: Path, *, clients: int, seconds: float) -> float:
    """How often a second pgbench gets through a script.

    Raises StackError when it does not.
    """
    file = directory / "script.sql"
    file.write_text(script)
    options = ("--no-vacuum", f"--client={clients}", f"--time={seconds:.0f}", f"--file={file}")
    ended = subprocess.run(
        [str(package_binaries() / "pgbench"), *options, url],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = PER_SECOND.search(ended.stdout)
    if ended.returncode or found is None or "failed transactions: 0 " not in ended.stdout:
        raise StackError(f"pgbench: {ended.stderr[-2000:]}{ended.stdout[-2000:]}")
    return float(found[1])
