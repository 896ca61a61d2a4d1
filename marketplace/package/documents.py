"""JSON with places: what a strict parser reads, with the line of each value and every duplicate key told."""

import json
import re
from typing import Any

from django.utils.translation import gettext as _

from .problems import ERROR, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
_TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<string>\"(?:[^\"\\\x00-\x1f]|\\.)*\")|(?P<mark>[{}\[\],:])"
    r"|(?P<plain>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))",
    re.ASCII,
)


def step(pointer: str, *keys: str | int) -> str:
    """The pointer to a member, or a member's member, of what `pointer` is for (RFC 6901, section 3)."""
    return pointer + "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_str(value: Any) -> str:
    return value if isinstance(value, str) else ""


class Document:
    """A file of a package. `value` is None where it could not be read; `problems` says why."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file, self.value, self.problems = file, None, []  # type: str, Any, list[Problem]
        self.lines: dict[str, int] = {"": 1}
        try:
            self.value = self._read(data)
        except _Unreadable as error:
            self._tell(error.pointer, error.line, str(error), error.fix)

    def line(self, pointer: str) -> int:
        """The line of a value, or of what would hold it."""
        while pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines[pointer]

    def _tell(self, pointer: str, line: int | None, message: str, fix: str) -> None:
        self.problems.append(Problem(ERROR, self.file, pointer, line, message, fix))

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
            raise _Unreadable(_("The file is not UTF-8, or has a NUL byte in it."), _("Save it as UTF-8."))
        return _Reader(self, text).whole()


class _Unreadable(Exception):
    def __init__(self, message: str, fix: str, pointer: str = "", line: int | None = 1) -> None:
        super().__init__(message)
        self.fix, self.pointer, self.line = fix, pointer, line


class _Reader:
    def __init__(self, document: Document, text: str) -> None:
        self.document, self.text, self.at = document, text, 0
        self.counted, self.lines = 0, 1

    def whole(self) -> Any:
        value = self._value("", 0)
        if self.text[self.at :].strip(" \t\r\n"):
            raise self._wrong("", _("Something follows the end of the JSON."), _("Keep one value in the file."))
        return value

    def _line(self, at: int) -> int:
        self.lines += self.text.count("\n", self.counted, at)
        self.counted = at
        return self.lines

    def _wrong(self, pointer: str, message: str, fix: str) -> _Unreadable:
        rest = re.compile(r"[ \t\r\n]*").match(self.text, self.at)
        return _Unreadable(message, fix, pointer, self._line(rest.end() if rest else self.at))

    def _next(self, pointer: str) -> tuple[str, str]:
        token = _TOKEN.match(self.text, self.at)
        if not token:
            raise self._wrong(
                pointer,
                _("This is not JSON from here on."),
                _("Look for a missing quote, comma or bracket, or a comment."),
            )
        kind = token.lastgroup or ""
        self.start, self.at = token.start(kind), token.end()
        return kind, token[kind]

    def _value(self, pointer: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._wrong(
                pointer, _("Nested more than %(most)d deep.") % {"most": MAX_DEPTH}, _("Make it flatter.")
            )
        kind, text = self._next(pointer)
        self.document.lines[pointer] = self._line(self.start)
        if text == "{" and kind == "mark":
            return self._object(pointer, depth)
        if text == "[" and kind == "mark":
            return self._array(pointer, depth)
        if kind == "mark":
            raise self._wrong(
                pointer,
                _("A value was expected before “%(mark)s”.") % {"mark": text},
                _("Remove a comma, or add the value."),
            )
        return self._scalar(pointer, text)

    def _scalar(self, pointer: str, text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError:
            raise self._wrong(
                pointer, _("This value cannot be read."), _("Look for a wrong escape after a backslash.")
            ) from None
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            raise self._wrong(pointer, _("This number is too large."), _("Use a smaller one."))
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise self._wrong(pointer, _("This text has a character that cannot be kept."), _("Remove the \\u escape."))
        return value

    def _ends(self, pointer: str, closing: str) -> bool:
        """True at the end of an object or array, False before its next member."""
        _kind, mark = self._next(pointer)
        if mark not in (",", closing) or _kind != "mark":
            raise self._wrong(pointer, _("“,” or “%(closing)s” was expected.") % {"closing": closing}, _("Add it."))
        return mark == closing

    def _array(self, pointer: str, depth: int) -> list[Any]:
        found: list[Any] = []
        if self._closes("]"):
            return found
        while True:
            found.append(self._value(step(pointer, len(found)), depth + 1))
            if self._ends(pointer, "]"):
                return found

    def _closes(self, closing: str) -> bool:
        token = _TOKEN.match(self.text, self.at)
        if token and token["mark"] == closing:
            self.at = token.end()
            return True
        return False

    def _object(self, pointer: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._closes("}"):
            return found
        while True:
            kind, text = self._next(pointer)
            if kind != "string":
                raise self._wrong(
                    pointer, _("A name in double quotes was expected."), _("Remove a comma, or quote the name.")
                )
            key = self._scalar(pointer, text)
            inner, line = step(pointer, key), self._line(self.start)
            if self._next(pointer)[1] != ":":
                raise self._wrong(inner, _("“:” was expected after the name."), _("Add it."))
            if key in found:
                self.document._tell(
                    inner,
                    line,
                    _("“%(key)s” is here twice.") % {"key": key},
                    _("Keep one of them: readers differ on which one counts."),
                )
            found[key] = self._value(inner, depth + 1)
            if self._ends(pointer, "}"):
                return found
