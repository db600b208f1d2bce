"""How much memory there is, and who was killed for it: the kernel counts kills, and chooses trainers first."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
GPUS = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
FIRST_TO_GO = 500  # of 1000


def largest_gpu() -> int:
    """Bytes of the largest GPU of this machine; 0 when there is none."""
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        told = subprocess.run(GPUS, capture_output=True, text=True, timeout=20, check=True).stdout
        return max((int(line) << 20 for line in told.split()), default=0)
    return 0


def of_machine() -> int:
    """Bytes of main memory that this machine, or the container on it, may use."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # a missing file, or the word "max"
            found.append(int(path.read_text()))
    return min(found)


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
