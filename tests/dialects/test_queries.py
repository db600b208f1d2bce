"""What a query string means: an empty one is read once, and answered anew each time."""

import pytest
from flask import Flask
from marshmallow import fields

from app.core.errors import Invalid
from app.dialects.base import BodyParser
from app.dialects.openai.fields import PageQuery


class Needy(PageQuery):
    """A query without which there is no answer."""

    needed = fields.String(required=True)


def read(parser, schema, path):
    with Flask(__name__).test_request_context(path):
        return parser.parse(schema, location="query")


def test_an_empty_query_means_the_same_each_time_whatever_became_of_the_answer():
    parser, schema = BodyParser(), PageQuery()
    first = read(parser, schema, "/")
    assert first == {"after": None, "limit": 20, "ascending": False}
    first["limit"] = 3
    assert read(parser, schema, "/?limit=7")["limit"] == 7
    assert read(parser, schema, "/")["limit"] == 20


def test_schemas_are_told_apart_and_what_is_needed_is_missed_each_time():
    parser, schema = BodyParser(), Needy()
    read(parser, PageQuery(), "/")
    for _ in range(2):
        with pytest.raises(Invalid, match="needed"):
            read(parser, schema, "/")
    assert read(parser, schema, "/?needed=yes")["needed"] == "yes"
