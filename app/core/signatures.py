"""Signatures of URLs: whoever holds such a URL may do one thing with one object until a time, and nothing else."""

import hashlib
import hmac


def key(secret: str) -> bytes:
    """The key of signatures, which tells nothing of the secret that it is made from."""
    return hmac.digest(secret.encode(), b"signed urls", hashlib.sha256)


def sign(signing_key: bytes, *, method: str, path: str, size: int, expires: int, is_exact: bool) -> str:
    """The signature of a request: `size` of the object in bytes, or the most of them; `expires` in s since 1970."""
    said = "\n".join((method, path, str(size) if is_exact else f"at most {size}", str(expires)))
    return hmac.new(signing_key, said.encode(), hashlib.sha256).hexdigest()


def is_equal(one: str, other: str) -> bool:
    """Whether two signatures are the same, told in a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
