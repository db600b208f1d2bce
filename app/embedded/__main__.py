"""`python -m app.embedded up`: run the whole stack in the foreground until it is interrupted."""

import argparse
import shlex
import signal
import sys
from pathlib import Path

from app.config import SettingsError, settings
from app.embedded.processes import StackError, interrupt_on_signals
from app.embedded.stack import ROOT, Stack
from app.embedded.terminal import foreground


def up(data_dir: Path, port: int, procfile: Path) -> None:
    kept = data_dir / "api-key"
    is_new = not settings().api_key and not kept.exists()
    with Stack(data_dir, port=port, api_key=settings().api_key, procfile_path=procfile, watched=True) as stack:
        if is_new:
            print(f"API key, shown this once and kept in {kept}: {stack.api_key}", flush=True)
        elif not settings().api_key:
            print(f"API key: the one kept in {kept}", flush=True)
        if stack.flower_url:
            print(f"Flower at {stack.flower_url}")
        print(f"For `python -m app` in another shell: set -a; . {shlex.quote(str(stack.exports))}; set +a")
        print(f"Tuneyard ready at {stack.base_url}", flush=True)
        signal.pause()


def main(arguments: list[str]) -> int:
    """The exit status: 0 when interrupted, 1 with one line when the stack cannot run."""
    parser = argparse.ArgumentParser(prog="python -m app.embedded", description=__doc__)
    parser.add_argument("command", choices=["up"])
    parser.add_argument("--data-dir", type=Path, default=Path(".data"))
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--procfile", type=Path, default=ROOT / "Procfile")
    given = parser.parse_args(arguments)
    interrupt_on_signals()
    try:
        with foreground():
            up(given.data_dir, given.port, given.procfile)
    except (StackError, SettingsError) as error:
        print(f"tuneyard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
