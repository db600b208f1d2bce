"""Seals: text made unreadable with a key of SECRET_KEY, and bound to the row that it lies in. The only cryptography.

Sealed bytes are 1 of the format, 8 that name the key, 12 of nonce, then AES-256-GCM's text and tag.
"""

import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.config import settings
from app.core.errors import WrongState

FORMAT = b"\x01"
NAME_BYTES, NONCE_BYTES = 8, 12
PURPOSE = b"stored secrets"


def seal(text: str, place: tuple[str, ...]) -> bytes:
    """The text, sealed with the first key for this place alone.

    Raises WrongState on a server that has no key.
    """
    name, key = next(iter(_keys().items()))
    nonce = os.urandom(NONCE_BYTES)
    return FORMAT + name + nonce + AESGCM(key).encrypt(nonce, text.encode(), _bound(place))


def unseal(sealed: bytes, place: tuple[str, ...]) -> str:
    """The text that was sealed for this place.

    Raises WrongState when that was with a key that this server does not have, or for another place.
    """
    name, rest = sealed[len(FORMAT) :][:NAME_BYTES], sealed[len(FORMAT) + NAME_BYTES :]
    key = _keys().get(name)
    if key is None or sealed[: len(FORMAT)] != FORMAT:
        raise WrongState("A secret was sealed with a key that this server's SECRET_KEY does not hold (any more).")
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], _bound(place)).decode()
    except InvalidTag as error:
        raise WrongState("A secret is not what was sealed for its place: it was moved, or changed.") from error


def _bound(place: tuple[str, ...]) -> bytes:
    return json.dumps(place).encode()


def _keys() -> dict[bytes, bytes]:
    """Keys by the names that sealed bytes call them; the first seals."""
    secrets = settings().secret_keys
    if not secrets:
        raise WrongState("This server keeps no secrets: its setting SECRET_KEY is missing.")
    made = (HKDF(SHA256(), NAME_BYTES + 32, salt=None, info=PURPOSE).derive(secret.encode()) for secret in secrets)
    return {each[:NAME_BYTES]: each[NAME_BYTES:] for each in made}
