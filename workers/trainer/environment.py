"""What decides the bits of a run: chosen at a job's first start, frozen into its spec, honoured by every resume."""

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

_VERSIONS = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")
BFLOAT16_PAYS_FROM = 10_000_000  # parameters; below, casting costs more than it saves on a CPU
CPU_PACK_TOKENS, GPU_PACK_TOKENS = 2048, 16384


def decide(frozen: dict[str, Any], *, parameters: int, model_hash: str | None) -> dict[str, Any]:
    """The environment of this run: what is frozen already, and choices for this machine for the rest."""
    device = str(frozen.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"
    here = {
        "device": device,
        "dtype": _dtype(device, parameters),
        "threads": default_threads(),
        "pack_tokens": CPU_PACK_TOKENS if device == "cpu" else GPU_PACK_TOKENS,
        "packing": None,
    }
    chosen = {name: frozen[name] if frozen.get(name) is not None else value for name, value in here.items()}
    return {**chosen, "device": device, **facts(device), "model_hash": model_hash}


def facts(device: str) -> dict[str, Any]:
    """What this machine is and cannot choose to be."""
    versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
    kernels = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernels": kernels,
    }


def default_threads() -> int:
    """OMP_NUM_THREADS where it is set, else the cores this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _dtype(device: str, parameters: int) -> str:
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    quick = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if quick and parameters >= BFLOAT16_PAYS_FROM else "float32"


def differences(frozen: dict[str, Any], here: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Frozen entries that this run cannot honour, each with both values."""
    return {
        name: {"frozen": value, "here": here.get(name)}
        for name, value in frozen.items()
        if value is not None and name in here and here[name] != value
    }


def apply(environment: dict[str, Any], *, seed: int) -> None:
    """Threads, determinism and the seed of torch's generators."""
    torch.set_num_threads(int(environment["threads"]))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


def hash_model(source: str) -> str | None:
    """SHA-256 over names and bytes of a local model's configuration, tokenizer and weights; None for a hub id."""
    directory = Path(source)
    if not directory.is_dir():
        return None
    total = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja", ".model") and path.is_file():
            with path.open("rb") as file:
                total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
