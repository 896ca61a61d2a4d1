"""Queries that are compiled once: to build a queryset anew takes longer than PostgreSQL takes to answer it."""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import Expression, Field, QuerySet, TextField
from psycopg.sql import Literal

Build = Callable[[], QuerySet[Any, Any]]
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


class Parameter(Expression):
    """A value in a queryset's conditions that is given when the statement runs."""

    def __init__(self, name: str, output_field: Field | None = None) -> None:
        super().__init__(output_field=output_field or TextField())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:  # type: ignore[override]
        return "%s", (self,)


def _sql_of(value: Any) -> str:
    return f"%({value.name})s" if isinstance(value, Parameter) else Literal(value).as_string()


class Statement:
    """A query with Parameters, which reads values that need no conversion: `build` returns it as a `values_list`.

    `around` is SQL in which the query stands as {query}, others by their names, and parameters as %(name)s.
    """

    def __init__(self, build: Build, around: str = "{query}", **others: Build) -> None:
        self._builds, self._around = {"query": build, **others}, around

    @cached_property
    def _compiled(self) -> tuple[bytes, list[str]]:
        """The SQL with numbered placeholders, and the name of each."""
        text = self._around
        for slot, build in self._builds.items():
            compiler = build().query.get_compiler(connection=connection)
            sql, params = compiler.as_sql()
            if compiler.get_converters([column for column, _sql, _alias in compiler.select]):
                raise TypeError("A statement reads only columns that need no conversion")
            text = text.replace(f"{{{slot}}}", sql % tuple(map(_sql_of, params)))
        names = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
        text = _PLACEHOLDER.sub(lambda match: f"${names.index(match[1]) + 1}", text)
        return text.encode(), names

    def row(self, **given: Any) -> Any:
        """Return the first row for these values of the parameters, or None. Raises django.db.Error."""
        sql, names = self._compiled
        return connection.row(sql, [given[name] for name in names])  # type: ignore[attr-defined]
