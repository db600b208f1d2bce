"""The real application with a layer around it that puts the suite's objects back before each request.

The layer hands on request and answer as they are, and looks at neither.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

from app.api import create_app
from app.store import jobs
from app.store.db import transaction
from tests.conformance import rows

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create() -> "WSGIApplication":
    """What gunicorn serves."""
    rows.store_contents()
    return around(create_app().wsgi_app, put_back=rows.put_back)


def around(application: "WSGIApplication", *, put_back: Callable[[], None]) -> "WSGIApplication":
    """The application, answering one request at a time of all processes, each after `put_back`.

    One at a time, because the suite deletes in one process what it reads in another.
    """

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with ExitStack() as held:
            jobs.lock_creation(held.enter_context(transaction()), "conformance")
            put_back()
            answered = application(environ, start_response)
            return ClosingIterator(answered, held.pop_all().close)

    return answer
