"""An answer is dumped as marshmallow's own schemas dump it, however its fields find their values."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from marshmallow import Schema, fields, pre_dump

from app.core.states import Status
from app.dialects.answers import Answer


@dataclass
class Inner:
    number: int = 3


TREE = {
    "leaf": "7",
    "inner": Inner(5),
    "yes": "yes",
    "true": True,
    "status": Status.QUEUED,
    "int": 2,
    "whole": 3,
    "seven": 7,
    "raw": [1],
}


@dataclass
class Thing:
    name: str = "thing"
    nothing: None = None
    tree: dict[str, Any] = field(default_factory=lambda: dict(TREE))
    inner: Inner = field(default_factory=Inner)
    other: Inner = field(default_factory=Inner)
    several: tuple[Inner, ...] = (Inner(1), Inner(2))
    pairs: tuple[Inner, ...] = (Inner(3), Inner(4))


def schema_of(base):
    class Part(base):
        number = fields.Integer()
        absent = fields.String()

    class Whole(base):
        kind = fields.Constant("whole")
        called = fields.String(attribute="name", data_key="Name")
        leaf = fields.Integer(attribute="tree.leaf", data_key="Leaf")
        nothing = fields.String(allow_none=True)
        left_out = fields.String()
        set_by_default = fields.String(dump_default="set")
        none_by_default = fields.Integer(dump_default=None)
        made_by_default = fields.List(fields.String(), dump_default=list)
        attribute_of_an_item = fields.Integer(attribute="tree.inner.number")
        no_such_way = fields.Integer(attribute="tree.nowhere.number", dump_default=9)
        number_as_text = fields.String(attribute="tree.int")
        number_with_a_fraction = fields.Float(attribute="tree.whole")
        text_as_truth = fields.Boolean(attribute="tree.yes")
        truth_as_number = fields.Integer(attribute="tree.true")
        one_of_some = fields.String(attribute="tree.status")
        number_in_quotes = fields.Integer(attribute="tree.seven", as_string=True)
        raw = fields.Raw(attribute="tree.raw")
        inner = fields.Nested(Part)
        other = fields.Nested(Part(only=("number",)))
        several = fields.List(fields.Nested(Part))
        pairs = fields.Nested(Part, many=True)
        computed = fields.Function(lambda thing: len(thing["name"]))
        by_method = fields.Method("_method")
        secret = fields.String(load_only=True)

        def _method(self, thing: Any) -> str:
            return thing["name"] + "!"

        @pre_dump
        def _seen(self, thing: Thing, **_: Any) -> dict[str, Any]:
            return vars(thing)

    return Whole


@pytest.mark.parametrize("options", [{}, {"only": ("called", "several")}, {"exclude": ("inner", "kind")}])
def test_an_answer_is_what_any_schema_dumps(options):
    answer, schema = schema_of(Answer)(**options), schema_of(Schema)(**options)
    assert answer.dump(Thing()) == schema.dump(Thing())
    assert list(answer.dump(Thing())) == list(schema.dump(Thing()))
    assert answer.dump([Thing(), Thing("b")], many=True) == schema.dump([Thing(), Thing("b")], many=True)


def test_an_answer_reads_attributes_where_there_are_no_items():
    class Part(Answer):
        number = fields.Integer()

    assert Part().dump(Inner(4)) == {"number": 4}
