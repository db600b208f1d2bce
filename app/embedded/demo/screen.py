"""What the demo prints: numbered headlines, events, and one live progress line."""

import shutil
import sys
import time
from typing import Any

BAR_WIDTH = 24
PLAIN_SECONDS = 5.0


class Screen:
    """A progress line that is redrawn on a terminal, and printed now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._drawn = False
        self._parts = 0
        self._printed_at = 0.0
        self._began = time.monotonic()

    def headline(self, text: str) -> None:
        """Begin the next part."""
        self._parts += 1
        text = f"{self._parts}. {text}"
        self.line(f"\n\033[1m{text}\033[0m" if self._live else f"\n{text}")

    def line(self, text: str) -> None:
        """Print a line above the progress line."""
        if self._drawn:
            sys.stdout.write("\r\033[K")
            self._drawn = False
        print(text, flush=True)

    def event(self, message: str) -> None:
        """Print an event of the job with the time since the demo began."""
        self.line(f"  {time.monotonic() - self._began:6.1f} s  {message}")

    def progress(self, status: str, progress: dict[str, Any]) -> None:
        """Show where the training is: step, loss, tokens per second, time left."""
        text = f"  {_bar(progress)} {status}"
        if progress.get("train_loss") is not None:
            text += f"  loss {progress['train_loss']:.3f}"
        if progress.get("tokens_per_second"):
            text += f"  {progress['tokens_per_second']:,.0f} tokens/s"
        if status == "running" and progress.get("seconds_left") is not None:
            text += f"  ETA {progress['seconds_left']:.0f} s"
        if self._live:
            width = shutil.get_terminal_size().columns
            sys.stdout.write("\r\033[K" + text[: width - 1])
            sys.stdout.flush()
            self._drawn = True
        elif time.monotonic() - self._printed_at > PLAIN_SECONDS:
            self._printed_at = time.monotonic()
            print(text, flush=True)


def _bar(progress: dict[str, Any]) -> str:
    step, total = progress.get("step") or 0, progress.get("total_steps") or 0
    filled = BAR_WIDTH * step // total if total else 0
    count = f"{step}/{total}" if total else "-"
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] step {count}"
