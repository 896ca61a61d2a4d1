"""Long forms in sections, which templates/components/form_sections.html shows."""

from collections.abc import Iterator
from typing import Any

from django.forms.boundfield import BoundField


class Sectioned:
    """A form of several sections: (title, names of its fields). The section without names has all the others."""

    SECTIONS: tuple[tuple[Any, tuple[str, ...] | None], ...]

    @property
    def sections(self) -> Iterator[tuple[Any, list[BoundField]]]:
        form: Any = self
        named = {name for _title, names in self.SECTIONS for name in names or ()}
        for title, names in self.SECTIONS:
            yield title, [form[name] for name in names or (name for name in form.fields if name not in named)]
