"""Every way to call the service, as recorded requests and answers: a folder is a door, and this is how to add one.

A folder holds `DOOR` in its `__init__.py` (see `door.Door`: how its answers are read) and a JSON file for each example,
`{"request": {method, path, headers, body}, "answer": {status, body}}`. `door.OWED` names the examples that each door
must have; it is held to `pause.json` and `resume.json`, or to resume alone, where it has them. In braces are filled
in `{key}`, `{account}` (the project), `{model}`, `{file}` (of `Door.upload`), `{job}` (the id that the door shows, or
ours) and `{after}` (what `Door.after` read from the page before). An answer may hold more than its example; `likeness`
says how they compare. `tests/contracts/test_doors.py` runs each scenario through every door, and pairs of them.
"""

from importlib import import_module
from pathlib import Path

from tests.wire.door import Door

DOORS: tuple[Door, ...] = tuple(
    import_module(f"{__name__}.{file.parent.name}").DOOR for file in sorted(Path(__file__).parent.glob("*/__init__.py"))
)
