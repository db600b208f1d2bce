"""URLs that are good for one request without an API key: for one method, one object of one size, and one hour.

Where nobody has told the size, the URL says the most that the object may have: that is signed as such.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from app.config import settings
from app.core import signatures
from app.core.errors import Forbidden, WrongState

LIFE_SECONDS = 3600
MAX_DIGITS = 15


@dataclass(frozen=True)
class Permit:
    """What a signed URL permits: an object of `size` bytes, or up to as many, before `expires` (s since 1970)."""

    size: int
    expires: int
    is_exact: bool = True

    def check_time(self) -> None:
        """Raise Forbidden when the time is over."""
        if time.time() >= self.expires:
            raise Forbidden("This URL has expired: ask for a new one.")

    def fits(self, size: int) -> bool:
        """Whether an object may have this many bytes."""
        return size == self.size if self.is_exact else 0 < size <= self.size


def signed(method: str, path: str, *, size: int, is_exact: bool = True) -> str:
    """The path with a query that permits this method on it, for an object of `size` bytes, or at most as many.

    Raises WrongState on a server that has no key to sign with.
    """
    permit = Permit(size, int(time.time()) + LIFE_SECONDS, is_exact)
    signature = signatures.sign(_keys()[0], method=method, path=path, **vars(permit))
    query = {"expires": permit.expires, "size" if is_exact else "most": size, "signature": signature}
    return f"{quote(path)}?{urlencode(query)}"


def permitted(method: str, path: str, query: Mapping[str, str]) -> Permit:
    """What a request is permitted by its signed URL.

    Raises Forbidden when it is signed for another method, object, size or time, or that time is over.
    """
    is_exact = "most" not in query
    size = _number(query.get("size" if is_exact else "most", ""))
    permit = Permit(size, _number(query.get("expires", "")), is_exact)
    given, asked = query.get("signature", ""), {"method": method, "path": path, **vars(permit)}
    if not any(signatures.is_equal(signatures.sign(key, **asked), given) for key in _keys()):
        raise Forbidden("This URL was not signed for that: method, object, size and time must be those it came with.")
    permit.check_time()
    return permit


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise Forbidden("This URL is not whole: it names a size, a time and a signature.")
    return int(text)


def _keys() -> list[bytes]:
    """The keys that signatures may be of; the first signs."""
    keys = [signatures.key(secret) for secret in settings().secret_keys]
    if not keys:
        raise WrongState("This server signs no URLs: its setting SECRET_KEY is missing.")
    return keys
