"""A strict JSON parser that knows the line of each value and reports every duplicate key."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from portal.foundation.text import describe

from .problems import ERROR, Problem, Problems

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
# A name is part of the pointer of every value below it.
MAX_NAME = 250
_TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<string>\"(?:[^\"\\\x00-\x1f]|\\.)*\")|(?P<mark>[{}\[\],:])"
    r"|(?P<plain>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))",
    re.ASCII,
)


def step(pointer: str, *keys: str | int) -> str:
    """Return the pointer to a member, at any depth, of what `pointer` points to (RFC 6901, section 3)."""
    return pointer + "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_str(value: Any) -> str:
    return value if isinstance(value, str) else ""


class Document:
    """A file of a package. `value` is None if it could not be read; `problems` says why."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file, self.value, self.problems = file, None, Problems()  # type: str, Any, Problems
        self._lines = Lines(1)
        try:
            self.value = self._read(data)
        except _Unreadable as error:
            self._tell(error.pointer, error.line, str(error), error.fix)

    def line(self, pointer: str) -> int:
        """Return the line of a value, or of the nearest value that would contain it."""
        at = self._lines
        for key in pointer.split("/")[1:]:
            if (inner := at.inside.get(key)) is None:
                break
            at = inner
        return at.line

    def _tell(self, pointer: str, line: int | None, message: str, fix: str) -> None:
        self.problems.add(Problem(ERROR, self.file, pointer, line, message, fix))

    def _read(self, data: bytes) -> Any:
        if len(data) > MAX_BYTES:
            raise _Unreadable(
                _("The file is larger than %(most)d KB.") % {"most": MAX_BYTES // 1024}, _("Make it smaller.")
            )
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise _Unreadable(_("The file is not UTF-8."), _("Save it as UTF-8."), line=line) from None
        if "\0" in text:
            raise _Unreadable(_("The file is not UTF-8, or it contains a NUL byte."), _("Save it as UTF-8."))
        value, self._lines = _Reader(self, text).whole()
        return value


@dataclass(slots=True)
class Lines:
    """The line on which a value begins, and the lines of the values `inside` it, by key."""

    line: int
    inside: dict[str, "Lines"] = field(default_factory=dict)


class _Unreadable(Exception):
    def __init__(self, message: str, fix: str, pointer: str = "", line: int | None = 1) -> None:
        super().__init__(message)
        self.fix, self.pointer, self.line = fix, pointer, line


class _Reader:
    """Reads a text in one pass. `path` leads to the current value, turned into a pointer only to report a problem."""

    def __init__(self, document: Document, text: str) -> None:
        self.document, self.text, self.at = document, text, 0
        self.counted, self.lines = 0, 1
        self.path: list[str | int] = []

    def whole(self) -> tuple[Any, Lines]:
        if not self.text.strip(" \t\r\n"):
            raise _Unreadable(_("The file is empty."), _("Write at least {}, or remove the file."))
        value = self._value()
        if self.text[self.at :].strip(" \t\r\n"):
            raise self._wrong(_("There is more text after the end of the JSON."), _("Keep only one value in the file."))
        return value

    def _line(self, at: int) -> int:
        self.lines += self.text.count("\n", self.counted, at)
        self.counted = at
        return self.lines

    def _wrong(self, message: str, fix: str) -> _Unreadable:
        rest = re.compile(r"[ \t\r\n]*").match(self.text, self.at)
        return _Unreadable(message, fix, step("", *self.path), self._line(rest.end() if rest else self.at))

    def _next(self) -> tuple[str, str]:
        token = _TOKEN.match(self.text, self.at)
        if not token:
            rest = self.text[self.at :].lstrip(" \t\r\n")
            raise self._wrong(
                _("This is not valid JSON from here on: %(character)s.") % {"character": describe(rest[0])}
                if rest
                else _("The file ends before the JSON is complete."),
                _("Look for a missing quote, comma or bracket, or a comment."),
            )
        kind = token.lastgroup or ""
        self.start, self.at = token.start(kind), token.end()
        return kind, token[kind]

    def _value(self) -> tuple[Any, Lines]:
        if len(self.path) > MAX_DEPTH:
            raise self._wrong(
                _("Values are nested more than %(most)d levels deep.") % {"most": MAX_DEPTH}, _("Reduce the nesting.")
            )
        kind, text = self._next()
        lines = Lines(self._line(self.start))
        if text == "{" and kind == "mark":
            return self._object(lines), lines
        if text == "[" and kind == "mark":
            return self._array(lines), lines
        if kind == "mark":
            raise self._wrong(
                _("A value was expected before “%(mark)s”.") % {"mark": text},
                _("Remove a comma, or add the value."),
            )
        return self._scalar(text), lines

    def _inside(self, lines: Lines, key: str | int) -> Any:
        """Read a member of an object or array."""
        self.path.append(key)
        value, lines.inside[step("", key)[1:]] = self._value()
        self.path.pop()
        return value

    def _scalar(self, text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError:
            raise self._wrong(
                _("This value cannot be read."), _("Look for a wrong escape after a backslash.")
            ) from None
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            raise self._wrong(_("This number is too large."), _("Use a smaller number."))
        if isinstance(value, str) and (found := re.search("[\0\ud800-\udfff]", value)):
            raise self._wrong(
                _("This text has a character that cannot be stored: %(character)s.")
                % {"character": describe(found[0])},
                _("Remove the \\u escape."),
            )
        return value

    def _ends(self, closing: str) -> bool:
        """Return True at the end of an object or array, False before its next member."""
        kind, mark = self._next()
        if mark not in (",", closing) or kind != "mark":
            raise self._wrong(_("“,” or “%(closing)s” was expected.") % {"closing": closing}, _("Add it."))
        return mark == closing

    def _array(self, lines: Lines) -> list[Any]:
        found: list[Any] = []
        if self._closes("]"):
            return found
        while True:
            found.append(self._inside(lines, len(found)))
            if self._ends("]"):
                return found

    def _closes(self, closing: str) -> bool:
        token = _TOKEN.match(self.text, self.at)
        if token and token["mark"] == closing:
            self.at = token.end()
            return True
        return False

    def _object(self, lines: Lines) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._closes("}"):
            return found
        while True:
            kind, text = self._next()
            if kind != "string":
                raise self._wrong(_("A name in double quotes was expected."), _("Remove a comma, or quote the name."))
            key, line = self._scalar(text), self._line(self.start)
            if len(key) > MAX_NAME:
                raise self._wrong(
                    _("A name is longer than %(most)d characters.") % {"most": MAX_NAME}, _("Make it shorter.")
                )
            if self._next()[1] != ":":
                self.path.append(key)
                raise self._wrong(_("“:” was expected after the name."), _("Add it."))
            if key in found:
                self.document._tell(
                    step("", *self.path, key),
                    line,
                    _("“%(key)s” appears twice.") % {"key": key},
                    _("Keep one of them. Programs differ on which one counts."),
                )
            found[key] = self._inside(lines, key)
            if self._ends("}"):
                return found
