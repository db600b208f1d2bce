"""Memory of the device that a run trains on: what this process holds, its peak, and how much more it can get.

Of a GPU it is the GPU's own, else main memory, as far as the machine, a cgroup and the process' limits let it.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
_SHARE = 0.95  # of what there is; allocators and kernels need some themselves
_MACHINE = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_CACHES = ("inactive_file", "active_file")  # the kernel drops them before it kills


@dataclass(frozen=True)
class Room:
    """Bytes that this process can still get, a twentieth left over."""

    now: int
    ever: int  # once no other process holds any


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
    else:
        with suppress(OSError):  # another system's, or one to read only
            _CLEAR.write_text(_CLEAR_PEAK)


def room(device: str) -> Room | None:
    """How much more this process can get; None where the system does not say, or where growth cannot be measured."""
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return _room(device, [(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated(), total)])
    available = _field(_MACHINE, "MemAvailable")  # free, or caches that the kernel can drop
    if not available or not os.access(_CLEAR, os.W_OK):
        return None
    machine = available, _field(_MACHINE, "MemTotal")
    return _room(device, [machine, *_of_process(), *_of_cgroups(_text(Path("/proc/self/cgroup")))])


def _room(device: str, bounds: list[tuple[int, int]]) -> Room:
    """The room within all bounds, each as what it has left now and what this process can hold of it at the most."""
    now = int(_SHARE * min(left for left, _ in bounds))
    return Room(now, max(now, int(_SHARE * min(most for _, most in bounds)) - held(device)))


def _of_process() -> Iterator[tuple[int, int]]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        left = limit - _status("VmSize")
        yield left, left + _status("VmRSS")


def _of_cgroups(memberships: str) -> Iterator[tuple[int, int]]:
    """The bounds of this process' groups, version 1 and 2; one without a limit may be left out."""
    for line in memberships.splitlines():
        _, controllers, name = line.split(":", 2)
        for place in (Path(name), *Path(name).parents):
            inside = str(place).lstrip("/")
            if not controllers:
                yield from _left(_CGROUPS / inside, "memory.max", "memory.current", "")
            elif "memory" in controllers.split(","):
                group = _CGROUPS / "memory" / inside
                yield from _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _left(group: Path, limit: str, used: str, prefix: str) -> Iterator[tuple[int, int]]:
    """The group's limit less what it holds, and the limit; nothing where it is not there or its limit is "max"."""
    with suppress(OSError, ValueError):
        bound, taken = int((group / limit).read_text()), int((group / used).read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield bound - taken + sum(int(counts.get(prefix + name, 0)) for name in _CACHES), bound


def _status(name: str) -> int:
    return _field(Path("/proc/self/status"), name)


def _field(path: Path, name: str) -> int:
    """Bytes behind a name of one of the kernel's lists of kB; 0 where there is none."""
    for line in _text(path).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
