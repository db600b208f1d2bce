"""Memory of the device that a run trains on: what this process holds, its peak, and how much more it can get.

Of a GPU it is the GPU's own, else main memory, as far as the machine, a cgroup and the process' limits let it.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
_SHARE = 0.95  # of what is left; allocators and kernels need some themselves
_CGROUPS = Path("/sys/fs/cgroup")
_CACHES = ("inactive_file", "active_file")  # the kernel drops them before it kills


def held(device: str) -> int:
    """Bytes that this process holds now; 0 where the system does not say."""
    return int(torch.cuda.memory_allocated()) if device == "cuda" else _status("VmRSS")


def peak(device: str) -> int:
    """The most bytes that this process has held, since `forget_peak` where that can be forgotten."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    if found := _status("VmHWM"):  # the other figure may be that of the process that started this one
        return found
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def give_back() -> None:
    """Let malloc return what it has kept back of main memory: what is taken next shows as growth."""
    with suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak(device: str) -> None:
    """Let the peak begin anew at what is held now, as CUDA and Linux can."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        _CLEAR.write_text(_CLEAR_PEAK)


def room(device: str) -> int | None:
    """Bytes that this process can still get, a twentieth left over.

    None where the system does not say, or where growth cannot be measured.
    """
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(_SHARE * (free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()))
    if not os.access(_CLEAR, os.W_OK):
        return None
    return int(_SHARE * min([_available(), *_of_process(), *_of_cgroups(Path("/proc/self/cgroup").read_text())]))


def _available() -> int:
    """Of the machine: free, or caches that the kernel can drop."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _of_process() -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - _status("VmSize")


def _of_cgroups(memberships: str) -> Iterator[int]:
    """What the groups of this process have left, version 1 and 2; one without a limit may be left out."""
    for line in memberships.splitlines():
        _, controllers, name = line.split(":", 2)
        for place in (Path(name), *Path(name).parents):
            inside = str(place).lstrip("/")
            if not controllers:
                yield from _left(_CGROUPS / inside, "memory.max", "memory.current", "")
            elif "memory" in controllers.split(","):
                group = _CGROUPS / "memory" / inside
                yield from _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _left(group: Path, limit: str, used: str, prefix: str) -> Iterator[int]:
    """The group's limit less what it holds; nothing for a group that is not there or whose limit is the word "max"."""
    with suppress(OSError, ValueError):
        bound, taken = int((group / limit).read_text()), int((group / used).read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield bound - taken + sum(int(counts.get(prefix + name, 0)) for name in _CACHES)


def _status(name: str) -> int:
    return _field(Path("/proc/self/status"), name)


def _field(path: Path, name: str) -> int:
    """Bytes behind a name of one of the kernel's lists of kB; 0 where there is none."""
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
