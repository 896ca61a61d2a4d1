"""Templates in app packages: `<%= … %>` and `{{ name }}`, read by a grammar and never evaluated as code.

expression := choice
choice     := either [ "?" expression ":" expression ]      what is before the "?" compares
either     := equality ( "||" equality )*
equality   := sum [ "==" sum ]                              only before a "?"
sum        := atom ( "+" atom )*
atom       := name | string | "encode" "(" expression ")" | "(" expression ")"
"""

import base64
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from django.utils.translation import gettext as _

MAX_LENGTH = 2000
_MAX_DEPTH = 20
_SPACE = re.compile(r"\s*")
_OPENING = re.compile(r"<%|\{\{")
_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<mark>\|\||==|[?:+()]))""",
    re.ASCII | re.DOTALL,
)


class MalformedExpression(ValueError):
    """A template that does not follow the grammar. `offset` counts characters from the start of the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class NoValue(ValueError):
    """A required name has no value; the message is the name."""


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Name:
    name: str
    offset: int


@dataclass(frozen=True)
class Encode:
    of: "Node"


@dataclass(frozen=True)
class Join:
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Either:
    options: tuple["Node", ...]


@dataclass(frozen=True)
class Equals:
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Choice:
    condition: Equals
    yes: "Node"
    no: "Node"


Node = Text | Name | Encode | Join | Either | Equals | Choice
# Takes a value and its name, which is "" for the result of several.
Escape = Callable[[str, str], str]


def _as_it_is(value: str, _name: str) -> str:
    return value


@dataclass(frozen=True)
class Template:
    """A text with expressions in it. Parts outside of expressions are Text."""

    parts: tuple[Node, ...]

    @property
    def is_literal(self) -> bool:
        return all(isinstance(part, Text) for part in self.parts)

    @property
    def is_of_values(self) -> bool:
        """Return True if it consists of values alone, with no text by the developer."""
        return bool(self.parts) and not [*self.texts()]

    @property
    def is_called(self) -> bool:
        """Return True if what a caller sends can change the result."""
        return any(name.name.partition(".")[0] == "context" for name in self.names())

    @property
    def encodes_twice(self) -> bool:
        """Return True if one “encode(…)” is inside another; each makes its content a third longer."""
        return any(_encodings(part) > 1 for part in self.parts)

    def names(self) -> Iterator[Name]:
        """Return the names used, in order, with their offsets."""
        for part in self.parts:
            yield from _names(part)

    def bare_names(self) -> Iterator[str]:
        """Return the names whose values come out unchanged, with nothing in their place if they are empty."""
        for part in self.parts:
            yield from _bare(part)

    def texts(self) -> Iterator[str]:
        """Yield the developer's text that can appear in the result, including text in expressions."""
        for part in self.parts:
            yield from _texts(part)

    def fill(self, values: Mapping[str, str], escape: Escape = _as_it_is) -> str:
        """Return the text with every name replaced. Raises NoValue if one has no value and no “||” alternative.

        `escape` is applied to values, never to the developer's own text.
        """
        return "".join(_fill(part, values, escape) for part in self.parts)


def _names(node: Node) -> Iterator[Name]:
    match node:
        case Name():
            yield node
        case Encode(of):
            yield from _names(of)
        case Join(inner) | Either(inner):
            for each in inner:
                yield from _names(each)
        case Equals(left, right):
            yield from _names(left)
            yield from _names(right)
        case Choice(condition, yes, no):
            for each in (condition, yes, no):
                yield from _names(each)


def _bare(node: Node) -> Iterator[str]:
    match node:
        case Name(name):
            yield name
        case Join(inner):
            for each in inner:
                yield from _bare(each)
        case Either((*_others, last)):
            yield from _bare(last)
        case Choice(_condition, yes, no):
            yield from _bare(yes)
            yield from _bare(no)


def _texts(node: Node) -> Iterator[str]:
    match node:
        case Text(text):
            yield text
        case Encode(of):
            yield from _texts(of)
        case Join(inner) | Either(inner):
            for each in inner:
                yield from _texts(each)
        case Choice(_condition, yes, no):
            yield from _texts(yes)
            yield from _texts(no)


def _encodings(node: Node) -> int:
    match node:
        case Encode(of):
            return 1 + _encodings(of)
        case Join(inner) | Either(inner):
            return max(map(_encodings, inner))
        case Equals(left, right):
            return max(_encodings(left), _encodings(right))
        case Choice(condition, yes, no):
            return max(map(_encodings, (condition, yes, no)))
    return 0


def _fill(node: Node, values: Mapping[str, str], escape: Escape) -> str:
    match node:
        case Text(text):
            return text
        case Name(name):
            if name not in values:
                raise NoValue(name)
            return escape(values[name], name)
        case Encode(of):
            return escape(base64.b64encode(_fill(of, values, _as_it_is).encode()).decode(), "")
        case Join(parts):
            return "".join(_fill(part, values, escape) for part in parts)
        case Either((*options, last)):
            for option in options:
                with contextlib.suppress(NoValue):
                    if found := _fill(option, values, escape):
                        return found
            return _fill(last, values, escape)
        case Choice(Equals(left, right), yes, no):
            same = _fill(left, values, _as_it_is) == _fill(right, values, _as_it_is)
            return _fill(yes if same else no, values, escape)
    raise TypeError(node)


@lru_cache(maxsize=2000)
def parse(text: str) -> Template:
    """Read a template. Raises MalformedExpression."""
    return Template(tuple(node for node, _source in _read(text)))


def pieces(text: str) -> list[tuple[bool, str]]:
    """Split a template into its expressions (True) and the texts between them. Raises MalformedExpression."""
    return [(not isinstance(node, Text) or node.text != source, source) for node, source in _read(text)]


def _read(text: str) -> Iterator[tuple[Node, str]]:
    if len(text) > MAX_LENGTH:
        raise MalformedExpression(_("the text is longer than %(most)d characters") % {"most": MAX_LENGTH}, MAX_LENGTH)
    at = 0
    while opening := _OPENING.search(text, at):
        if opening.start() > at:
            yield Text(text[at : opening.start()]), text[at : opening.start()]
        reader = _Reader(text, opening.end())
        node = reader.braces() if opening[0] == "{{" else reader.brackets()
        yield node, text[opening.start() : reader.at]
        at = reader.at
    if at < len(text):
        yield Text(text[at:]), text[at:]


class _Reader:
    """Reads one expression, starting at `at`."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at, self.depth = text, at, 0

    def braces(self) -> Node:
        name = self._operand()
        if not isinstance(name, Name) or not self._ends("}}"):
            raise MalformedExpression(_("“{{” takes one name and ends with “}}”"), self.at)
        return name

    def brackets(self) -> Node:
        if not self.text.startswith("=", self.at):
            raise MalformedExpression(_("only “<%= … %>” is supported, not code"), self.at)
        self.at += 1
        found = self._choice()
        if not self._ends("%>"):
            raise MalformedExpression(_("“%>” was expected here"), self.at)
        return found

    def _ends(self, closing: str) -> bool:
        rest = _SPACE.match(self.text, self.at)
        end = rest.end() if rest else self.at
        if not self.text.startswith(closing, end):
            return False
        self.at = end + len(closing)
        return True

    def _mark(self, mark: str) -> bool:
        """Consume this mark if it is next."""
        token = _TOKEN.match(self.text, self.at)
        if not token or token["mark"] != mark:
            return False
        self.at = token.end()
        return True

    def _operand(self) -> Name | Text | None:
        """Consume a name or a string if one is next."""
        token = _TOKEN.match(self.text, self.at)
        if not token or token["mark"]:
            return None
        self.at = token.end()
        if token["name"]:
            return Name(token["name"], token.start("name"))
        return Text(self._unquote(token["string"], token.start("string")))

    @staticmethod
    def _unquote(quoted: str, start: int) -> str:
        if wrong := re.search(r"(?<!\\)(?:\\\\)*\\([^'\"\\])", quoted):
            raise MalformedExpression(
                _("a backslash can come only before a quote or another backslash"), start + wrong.start(1)
            )
        return re.sub(r"\\(.)", r"\1", quoted[1:-1])

    def _choice(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise MalformedExpression(_("nested too deeply"), self.at)
        start = self.at
        found = self._either()
        if self._mark("?"):
            if not isinstance(found, Equals):
                raise MalformedExpression(_("the part before “?” must compare two values with “==”"), start)
            yes = self._choice()
            if not self._mark(":"):
                raise MalformedExpression(_("“:” was expected here"), self.at)
            found = Choice(found, yes, self._choice())
        elif isinstance(found, Equals):
            raise MalformedExpression(_("use “==” only in a choice: a == b ? c : d"), start)
        self.depth -= 1
        return found

    def _either(self) -> Node:
        options = [self._equality()]
        while self._mark("||"):
            options.append(self._equality())
        if len(options) == 1:
            return options[0]
        if any(isinstance(option, Equals) for option in options):
            raise MalformedExpression(_("“==” cannot be joined with “||”"), self.at)
        return Either(tuple(options))

    def _equality(self) -> Node:
        left = self._sum()
        return Equals(left, self._sum()) if self._mark("==") else left

    def _sum(self) -> Node:
        parts = [self._atom()]
        while self._mark("+"):
            parts.append(self._atom())
        return parts[0] if len(parts) == 1 else Join(tuple(parts))

    def _atom(self) -> Node:
        if self._mark("("):
            return self._closed()
        found = self._operand()
        if found is None:
            raise MalformedExpression(_("a name, a string or “encode(…)” was expected here"), self.at)
        if isinstance(found, Name) and self._mark("("):
            if found.name != "encode":
                raise MalformedExpression(
                    _("“%(name)s” is not a function; only “encode” is") % {"name": found.name}, found.offset
                )
            return Encode(self._closed())
        return found

    def _closed(self) -> Node:
        inner = self._choice()
        if not self._mark(")"):
            raise MalformedExpression(_("“)” was expected here"), self.at)
        return inner
