"""Ids, and the names of tuned models and their checkpoints."""

import re
import secrets
import string

ALPHABET = string.ascii_letters + string.digits
SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
CHOSEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""An id that a caller chooses; gateways choose random UUIDs, of which most begin with a digit."""
OUR_IDS = ("file-", "ftjob-", "weights-")
"""How the ids begin that this server makes: nobody else may choose one like that."""


SPARE_BITS = 64
"""Drawn beyond what the letters need, so that none is likelier than another by more than 2^-64."""


def _random(length: int) -> str:
    """Random letters and digits from one question to the system, which is slow to answer."""
    number = secrets.randbits(6 * length + SPARE_BITS)
    letters = []
    for _ in range(length):
        number, letter = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return "".join(letters)


def job_id() -> str:
    """`ftjob-` and 24 random letters and digits (143 bits)."""
    return f"ftjob-{_random(24)}"


def file_id() -> str:
    """`file-` and 24 random letters and digits."""
    return f"file-{_random(24)}"


def upload_id() -> str:
    """`upload_` and 24 random letters and digits."""
    return f"upload_{_random(24)}"


def part_id() -> str:
    """`part_` and 24 random letters and digits."""
    return f"part_{_random(24)}"


def own_weights_id() -> str:
    """`weights-` and 24 random letters and digits."""
    return f"weights-{_random(24)}"


def checkpoint_id() -> str:
    """`ftckpt_` and 24 random letters and digits."""
    return f"ftckpt_{_random(24)}"


def permission_id() -> str:
    """`cp_` and 24 random letters and digits."""
    return f"cp_{_random(24)}"


def key_id() -> str:
    """`key_` and 16 random letters and digits: names a key without being one."""
    return f"key_{_random(16)}"


def request_id() -> str:
    """`req_` and 24 random letters and digits."""
    return f"req_{_random(24)}"


def api_key() -> str:
    """A new secret key: `ty-` and 43 random letters and digits (256 bits)."""
    return f"ty-{_random(43)}"


def model_name(base: str, org: str, suffix: str | None, job: str) -> str:
    """`ft:{base}:{org}:{suffix or empty}:{last 8 of the id of what it comes from}`, spaces of the suffix as hyphens."""
    return f"ft:{base}:{org}:{(suffix or '').replace(' ', '-')}:{job[-8:]}"


def checkpoint_name(model: str, step: int) -> str:
    """`{model}:ckpt-step-{step}`."""
    return f"{model}:ckpt-step-{step}"
