"""`python -m tests.conformance`: the official clients' own tests against the real application.

Exit status 0 when nothing fails but what awaits a part that is not built yet, each test by name.
"""

import os
import sys
import tempfile
from pathlib import Path

from app.embedded.processes import StackError, interrupt_on_signals
from app.embedded.stack import ROOT, Stack, as_shipped
from tests.conformance import rows, suite, verdict

CACHE = ROOT / ".data" / "conformance"
SHOWN_CHARACTERS = 500


def procfile() -> str:
    """The release step and the web of the shipped Procfile, the web with our layer around the application."""
    shipped = (ROOT / "Procfile").read_text("utf-8").splitlines()
    kept = [line for line in shipped if line.startswith(("release:", "web:"))]
    return "\n".join(kept).replace("app.api:create_app()", "tests.conformance.application:create()") + "\n"


def catalogue(folder: Path) -> Path:
    """A catalogue with one model, under the names that the suite tunes and reads; nothing is trained."""
    aliases = ", ".join(f'"{name}"' for name in rows.ALIASES)
    path = folder / "models.toml"
    path.write_text(
        f'[[model]]\nname = "{rows.BASE}"\naliases = [{aliases}]\nsource = "none/{rows.BASE}"\ncontext_length = 64\n'
        "learning_rate = { lora = 0.01, full = 0.001 }\n"
    )
    return path


def measure(folder: Path) -> verdict.Verdict:
    """Serve the application, run the suites against it, and judge."""
    suites = suite.fetch(CACHE)
    (folder / "Procfile").write_text(procfile())
    settings = {**as_shipped(), "MODELS_FILE": str(catalogue(folder))}
    with Stack(folder / "stack", settings=settings, procfile_path=folder / "Procfile", durable=False) as stack:
        results = []
        for each in suites:
            print(f"The tests of {each.source.name} against the application", flush=True)
            server_url = stack.base_url.removesuffix("/v1")
            found = each.run(server_url, folder / f"{each.source.name}.xml", os.environ)
            print("\n".join(f"  {line}" for line in verdict.by_module(found)))
            results += found
        return verdict.judge(results)


def show(found: verdict.Verdict) -> None:
    """Print the failures, those that were announced by name alone, and the counts last."""
    for what, tests in found.awaited.items():
        print(f"\n{len(tests)} fail, as announced: {what}:")
        print("\n".join(f"  {test}" for test in tests))
    print()
    for result in found.unexplained:
        print(f"FAILED {result.test}\n  {result.text.splitlines()[0][:SHOWN_CHARACTERS]}")
    print(f"conformance: {found.line}, {len(found.unexplained)} of them unexplained")


def main() -> int:
    """The exit status: 0, 1 when a test failed that nothing announced, 130 when interrupted."""
    interrupt_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="tuneyard-conformance-") as folder:
            Path(folder).chmod(0o711)  # PostgreSQL's own user passes through
            found = measure(Path(folder))
    except StackError as error:
        print(f"tuneyard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    show(found)
    return 0 if found.conforms else 1


if __name__ == "__main__":
    sys.exit(main())
