"""Which names pass for one another: those that differ only in case, spaces, punctuation, or characters that look alike."""

import functools
import unicodedata
from collections.abc import Callable, Iterable

from confusable_homoglyphs.confusables import confusables_data

# What looks alike in most typefaces, besides single characters of Unicode's list (technical standard 39).
_ALIKE = (("rn", "m"), ("vv", "w"))

_reserved: list[Callable[[], Iterable[str]]] = []


def reserve_names(names: Callable[[], Iterable[str]]) -> None:
    """Have no team take a name that looks like one of these, such as the products', which are above."""
    _reserved.append(names)


def look_of(name: str) -> str:
    """Return what two names have in common that pass for one another."""
    plain = "".join(_plain(character) for character in unicodedata.normalize("NFKD", name))
    for two, one in _ALIKE:
        plain = plain.replace(two, one)
    return plain


def is_reserved(look: str) -> bool:
    return any(look_of(name) == look for names in _reserved for name in names())


@functools.lru_cache(maxsize=1024)
def _plain(character: str) -> str:
    """Return the letter or digit that a character is read as, or "" for accents, spaces and punctuation."""
    # Some are told as a letter with a mark, such as a stroke, which counts for nothing here.
    letters = (unicodedata.normalize("NFKD", each["c"])[:1] for each in confusables_data.get(character, []))
    alike = [letter for letter in letters if letter.isascii() and letter.isalnum()]
    read = character if character.isascii() else min(alike, default=character)
    # "I", "l" and "1" are one stroke in many typefaces, "O" and "0" one circle.
    folded = read.casefold().translate({ord("l"): "i", ord("1"): "i", ord("0"): "o"})
    return folded if folded.isalnum() else ""
