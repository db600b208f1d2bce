"""Looking at what runs, from a thread of its own, for the time of a block."""

import threading
from typing import Self


class Onlooker:
    """Calls `look` again and again while its context lasts; what goes wrong there is raised at its end."""

    every_seconds = 0.1

    def __init__(self) -> None:
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onlooker", daemon=True)

    def look(self) -> None:
        """Look once."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the looks have opened, in their thread."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._ended.wait(self.every_seconds):
                self.look()
        except BaseException as error:  # noqa: BLE001 - raised again where the context ends
            self._failure = error
        finally:
            self.close()
