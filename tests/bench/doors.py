"""A retrieve through each door beside OpenAI's: in turns, one at a time, so that what disturbs one disturbs both."""

import http.client
import statistics
import time
from collections.abc import Iterator, Mapping

from app.embedded.processes import StackError
from tests.bench.load import Request
from tests.bench.tables import Row, at_most

TURNS, GOAL = 4000, 1.1


def rows(beside: Request, others: Mapping[str, Request]) -> Iterator[Row]:
    """For each other request the ratio of its p50 to that of the one `beside` it, in the same turns."""
    for name, other in others.items():
        own, base = (1000 * statistics.median(each) for each in _in_turns(other, beside))
        yield at_most(
            f"p50 of retrieve, {name} / OpenAI's, {own:.2f} ms / {base:.2f} ms", own / base, GOAL, unit="times"
        )


def _in_turns(*requests: Request) -> list[list[float]]:
    """The seconds of each request's answers; which one goes first changes from turn to turn."""
    connections = [http.client.HTTPConnection("127.0.0.1", request.port) for request in requests]
    spent: list[list[float]] = [[] for _ in requests]
    places = list(range(len(requests)))
    try:
        for _ in range(TURNS):
            places.reverse()
            for place in places:
                spent[place].append(_seconds(connections[place], requests[place]))
    finally:
        for connection in connections:
            connection.close()
    return spent


def _seconds(connection: http.client.HTTPConnection, request: Request) -> float:
    began = time.perf_counter()
    connection.request(request.method, request.path, headers=request.headers)
    answer = connection.getresponse()
    body = answer.read()
    spent = time.perf_counter() - began
    if answer.status != 200:
        raise StackError(f"{request.method} {request.path}: {body[:2000].decode(errors='replace')}")
    return spent
