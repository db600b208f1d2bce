"""Failure: what ends a run with an `error` line; every cause the trainer knows gets a code and what to do."""

import errno

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Failure(Exception):
    """A run cannot go on; `code` is for programs, the message says what happened and what to do."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param

    def line(self) -> dict[str, object]:
        return {"type": "error", "code": self.code, "message": self.message, "param": self.param}


def explain(error: BaseException) -> Failure:
    """The Failure that says to a caller what `error` means."""
    if isinstance(error, Failure):
        return error
    if is_out_of_memory(error):
        return Failure(
            "out_of_memory",
            "The machine ran out of memory while training. Lower max_length or batch_size, train with LoRA instead of "
            "full weights, choose a smaller base model, or run the job where there is more memory.",
            param="hyperparameters",
        )
    if is_disk_full(error):
        return Failure("storage_full", f"The job directory's disk is full ({error}). Free space and try again.")
    kind = type(error).__name__
    return Failure("internal_error", f"The trainer failed unexpectedly: {kind}: {str(error)[:500]}")


def is_disk_full(error: BaseException) -> bool:
    """True for the system's own errors, and for those of safetensors and tokenizers, which name it in words alone."""
    if isinstance(error, OSError):
        return error.errno in _DISK_FULL
    return any(f"(os error {number})" in str(error) for number in _DISK_FULL)


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's MemoryError, torch's OutOfMemoryError and the allocator errors torch raises as RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        mark in text for mark in ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
    )
