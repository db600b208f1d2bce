"""What the figures were measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")
"""CPU features that decide how fast a step is, as Linux names them."""

LIBRARIES = ("torch", "transformers", "peft", "trl")


def describe() -> list[str]:
    """One line each on processor, features, load and versions."""
    model, flags = _processor()
    return [
        f"processor  {os.cpu_count()} cores, {model}",
        f"features   {' '.join(flag for flag in FLAGS if flag in flags) or 'none of ' + ', '.join(FLAGS)}",
        f"load       {load()}",
        f"versions   Python {platform.python_version()}, {', '.join(map(_version, LIBRARIES))}",
    ]


def load() -> str:
    """How many threads wanted a core in the last 1 and 5 minutes; above the cores, figures are noisy."""
    one, five, _ = os.getloadavg()
    return f"{one:.1f} threads over 1 minute, {five:.1f} over 5"


def _processor() -> tuple[str, set[str]]:
    """Name and flags of the first processor, as far as the system tells."""
    listing = Path("/proc/cpuinfo")
    if not listing.exists():
        return platform.processor() or platform.machine(), set()
    first = listing.read_text("utf-8").split("\n\n")[0]
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return fields.get("model name", platform.machine()), set(fields.get("flags", fields.get("Features", "")).split())


def _version(library: str) -> str:
    try:
        return f"{library} {importlib.metadata.version(library)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {library}"
