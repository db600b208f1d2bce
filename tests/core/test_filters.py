"""Filters by AIP-160: what they mean, and what is said of those that cannot be read."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from app.core.errors import Invalid
from app.core.filters import MAX_DEPTH, And, Comparison, Literal, Not, Or, Term, parse, renamed


def is_(field: str, value: str, operator: str = "=") -> Comparison:
    return Comparison(field, operator, value, field)


A, B, C = Literal("a"), Literal("b"), Literal("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        (" \t", None),
        ("filter", Literal("filter")),
        ("two-words", Literal("two-words")),
        ("'with spaces'", Literal("with spaces")),
        (r'"it\"s"', Literal('it"s')),
        ("a b", And((A, B))),
        ("a AND b", And((A, B))),
        ("a OR b", Or((A, B))),
        ("a AND b OR c", And((A, Or((B, C))))),
        ("a b AND c", And((And((A, B)), C))),
        ("(a AND b) OR c", Or((And((A, B)), C))),
        ("NOT a", Not(A)),
        ("-a", Not(A)),
        ("NOT (a OR b)", Not(Or((A, B)))),
        ("a -b", And((A, Not(B)))),
        ("x=1", is_("x", "1")),
        ("x != -1", is_("x", "-1", "!=")),
        ("x<=y", is_("x", "y", "<=")),
        ('x >= "2026-01-01"', is_("x", "2026-01-01", ">=")),
        ("x > 2026-01-01T10:00:00+01:00", is_("x", "2026-01-01T10:00:00+01:00", ">")),
        ("x:*", is_("x", "*", ":")),
        ('x = "a AND b"', is_("x", "a AND b")),
        ("x = accounts/ann/datasets/d", is_("x", "accounts/ann/datasets/d")),
        ("-x=1", Not(is_("x", "1"))),
        ("(x=1)", is_("x", "1")),
    ],
)
def test_a_filter_means(text: str, tree: Term | None):
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x =", "at its end: a value is expected"),
        ("= 1", "at character 1, '= 1': a field or a text is expected"),
        ("x = AND", "a value is expected"),
        ("a AND", "at its end: a field or a text is expected"),
        ("AND a", "at character 1"),
        ("a OR OR b", "at character 6"),
        ("(a", "a parenthesis is not closed"),
        ("a)", "at character 2, ')': a closing parenthesis stands alone"),
        ("()", "a field or a text is expected"),
        ('x = "open', "at character 5, '\"open': a quotation is not closed"),
        ("regex(x)", "functions are not supported"),
        ("'x' = 1", "without quotes"),
        ("x ! 1", "this is not expected"),
        ("a , b", "a field or a text is expected"),
        ("x = 1 = 2", "a field or a text is expected"),
        ("a" * 2001, "longer than 2000"),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
    ],
)
def test_a_filter_that_cannot_be_read_says_what_and_where(text: str, said: str):
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert said in caught.value.message
    assert caught.value.param == "filter"


def test_parentheses_may_be_nested_to_the_limit():
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == A


PIECES = some.sampled_from([*"()'\"=<>!:,-*. \\", "AND", "OR", "NOT", "x", " ", "x=1", "(", ")"]) | some.characters()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(some.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_a_tree_or_an_error(text: str):
    with suppress(Invalid):
        assert (parse(text) is None) == (not text.strip())


def test_fields_go_by_other_names_inside_and_keep_their_spelling_for_errors():
    tree = parse("displayName=a AND NOT (x=1 OR b)")
    assert tree is not None
    known = {"displayName": "display_name", "x": "y"}
    assert renamed(tree, known) == And(
        (
            Comparison("display_name", "=", "a", "displayName"),
            Not(Or((Comparison("y", "=", "1", "x"), Literal("b")))),
        )
    )


def test_an_unknown_field_is_named_with_those_that_are_known():
    with pytest.raises(Invalid, match=r"no field 'z' here: there are displayName, x\."):
        renamed(is_("z", "1"), {"displayName": "display_name", "display_name": "display_name", "x": "x"})
