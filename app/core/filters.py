"""Filters of lists: the grammar of AIP-160, read into a small tree.

OR binds tighter than AND, and terms that stand side by side are all wanted.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from app.core.errors import Invalid

MAX_LENGTH = 2000
MAX_DEPTH = 20

TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<operator><=|>=|!=|[=<>:])|(?P<mark>[(),])"""
    r"""|(?P<minus>-(?=[^\s]))|(?P<text>[^\s()"',=<>!:]+))""",
    re.DOTALL,
)
VALUE = re.compile(r"""\s*(?P<text>[^\s()"',]+)""")
"""What may stand behind an operator without quotes: a time has colons."""
WORDS = ("AND", "OR", "NOT")
NO_WORDS: Mapping[str, Mapping[str, str]] = {}


@dataclass(frozen=True)
class Comparison:
    """A field held against a value; `written` is the field as the caller spelt it, for errors."""

    field: str
    operator: str
    value: str
    written: str


@dataclass(frozen=True)
class Literal:
    """A text that is looked for in the names."""

    text: str


@dataclass(frozen=True)
class Not:
    """What a term does not hold for."""

    term: "Term"


@dataclass(frozen=True)
class And:
    """What all terms hold for."""

    terms: tuple["Term", ...]


@dataclass(frozen=True)
class Or:
    """What one term at least holds for."""

    terms: tuple["Term", ...]


Term = Comparison | Literal | Not | And | Or


def parse(text: str) -> Term | None:
    """The tree of a filter, None for a blank one. Raises Invalid that says what is wrong, and at which character."""
    if len(text) > MAX_LENGTH:
        raise Invalid(f"The filter is longer than {MAX_LENGTH} characters.", param="filter")
    if not text.strip():
        return None
    reader = _Reader(text)
    found = reader.expression(depth=0)
    if reader.next():
        raise reader.wrong("a closing parenthesis stands alone" if reader.next() == ")" else "this is not expected")
    return found


def renamed(
    term: Term,
    names: Mapping[str, str],
    *,
    paths: Collection[str] = (),
    words: Mapping[str, Mapping[str, str]] = NO_WORDS,
) -> Term:
    """The tree with its fields under other names.

    Of values of the fields `paths` it has the part behind the last slash, of those of `words` what the word means.
    Raises Invalid for a field that `names` does not know, and for a value that is no word where there are words.
    """
    if isinstance(term, Comparison):
        if term.field not in names:
            known = ", ".join(sorted({name for name in names if "_" not in name}))
            raise Invalid(f"Filters know no field '{term.field[:64]}' here: there are {known}.", param="filter")
        field = names[term.field]
        value = term.value.rpartition("/")[2] if field in paths else term.value
        return replace(term, field=field, value=_meant(term, words[field]) if field in words else value)
    if isinstance(term, Not):
        return Not(renamed(term.term, names, paths=paths, words=words))
    if isinstance(term, And | Or):
        return type(term)(tuple(renamed(each, names, paths=paths, words=words) for each in term.terms))
    return term


def _meant(term: Comparison, words: Mapping[str, str]) -> str:
    """What the value of a field of words means. Raises Invalid for another value, and for an order among them."""
    if term.operator == ":" and term.value == "*":
        return term.value
    if term.operator not in ("=", "!=") or term.value not in words:
        known = f"is compared by = and !=, with one of {', '.join(words)}"
        raise Invalid(f"'{term.written}' {known}, and not by {term.operator} '{term.value[:64]}'.", param="filter")
    return words[term.value]


class _Reader:
    """One filter from left to right; `at` is the place of the next token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def wrong(self, what: str) -> Invalid:
        """The error of the place that was reached."""
        rest = self.text[self.at :].lstrip()
        place = len(self.text) - len(rest) + 1
        where = f"at character {place}, '{rest[:20]}'" if rest else "at its end"
        return Invalid(f"The filter cannot be read {where}: {what}.", param="filter")

    def next(self) -> str:
        """The next token as it is written, empty at the end."""
        found = self._match()
        return found.group().strip() if found else ""

    def _match(self) -> re.Match[str] | None:
        found = TOKEN.match(self.text, self.at)
        if found is None and self.text[self.at :].strip():
            what = "a quotation is not closed" if self.text[self.at :].lstrip()[0] in "\"'" else "this is not expected"
            raise self.wrong(what)
        return found

    def take(self) -> str:
        """The next token, which is then behind us."""
        found = self._match()
        self.at = found.end() if found else len(self.text)
        return found.group().strip() if found else ""

    def expression(self, *, depth: int) -> Term:
        """Sequences with AND between them."""
        terms = self._several(lambda: self._sequence(depth=depth), "AND")
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _several(self, read: Callable[[], Term], word: str) -> list[Term]:
        found = [read()]
        while self.next() == word:
            self.take()
            found.append(read())
        return found

    def _sequence(self, *, depth: int) -> Term:
        terms = [self._factor(depth=depth)]
        while self.next() not in ("", ")", "AND", "OR"):
            terms.append(self._factor(depth=depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _factor(self, *, depth: int) -> Term:
        terms = self._several(lambda: self._term(depth=depth), "OR")
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self, *, depth: int) -> Term:
        if self.next() in ("NOT", "-"):
            self.take()
            return Not(self._simple(depth=depth))
        return self._simple(depth=depth)

    def _simple(self, *, depth: int) -> Term:
        if self.next() != "(":
            return self._restriction()
        if depth == MAX_DEPTH:
            raise self.wrong(f"parentheses are nested more than {MAX_DEPTH} deep")
        self.take()
        found = self.expression(depth=depth + 1)
        if self.next() != ")":
            raise self.wrong("a parenthesis is not closed")
        self.take()
        return found

    def _restriction(self) -> Term:
        found = self._match()
        if found is None or found.lastgroup not in ("quoted", "text") or self.next() in WORDS:
            raise self.wrong("a field or a text is expected")
        name = self.take()
        following = self._match()
        if self.next() == "(" and self.text[self.at] == "(":
            raise self.wrong("functions are not supported")
        if following is None or following.lastgroup != "operator":
            return Literal(_unquoted(name))
        if found.lastgroup == "quoted":
            raise self.wrong("a field is named without quotes")
        return Comparison(name, self.take(), self._value(), name)

    def _value(self) -> str:
        found = VALUE.match(self.text, self.at)
        if found is not None and found.group().strip() not in WORDS:
            self.at = found.end()
            return found.group("text")
        if (quoted := self._match()) is None or quoted.lastgroup != "quoted":
            raise self.wrong("a value is expected")
        return _unquoted(self.take())


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL) if token[0] in "\"'" else token
