"""Who was killed for memory: the kernel counts such kills, and chooses trainers before their supervisors."""

from contextlib import suppress
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
FIRST_TO_GO = 500  # of 1000


def kills() -> int:
    """Processes that this machine's kernel has killed for memory so far; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in VMSTAT.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def prefer(pid: int) -> None:
    """Let the kernel kill this process first when memory runs out; elsewhere than on Linux there is no such wish."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(FIRST_TO_GO))
