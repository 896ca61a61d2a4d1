"""Which names pass for one another.

Those that differ only in case, spaces, punctuation, characters that look alike, or words such as "Inc" and "official"; and
a name that has another's in it as words of its own: "Acorn consultants" passes for somebody of "Acorn".
"""

import functools
import unicodedata
from collections.abc import Callable, Iterable

from confusable_homoglyphs.confusables import confusables_data

# What looks alike in most typefaces, besides single characters of Unicode's list (technical standard 39).
_ALIKE = (("rn", "m"), ("vv", "w"))
# A shorter look is no name but a word of many: "HR", "IT". No name that a team or product can have has a longer one.
_SHORTEST, _LONGEST = 3, 200

_reserved: list[Callable[[], Iterable[str]]] = []


def reserve_names(names: Callable[[], Iterable[str]]) -> None:
    """Have no team take a name that looks like one of these, such as the products', which are above."""
    _reserved.append(names)


def look_of(name: str) -> str:
    """Return what two names have in common that pass for one another. "Acorn Ltd" passes for "The Acorn team"."""
    return _joined(_telling(_words(name)))


def looks_within(name: str) -> set[str]:
    """Return the look of each word and each run of words in a name that is long enough to pass for a name itself."""
    every, found = _words(name), set()
    # With the words that say nothing too, which can be the parts of a name: "Fresh Team" has "Freshteam" in it.
    for words in (every, _telling(every)):
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                look = _joined(words[start:end])
                if len(look) > _LONGEST:
                    break
                if len(look) >= _SHORTEST:
                    found.add(look)
    return found


def is_reserved(name: str) -> bool:
    """Tell whether a name is, or has in it, one that no team may take."""
    looks = {look_of(name), *looks_within(name)}
    return any(look_of(reserved) in looks for names in _reserved for reserved in names())


def _words(name: str) -> list[str]:
    """Return the words of a name as they are read. A mark on a letter ends no word, as a space or a hyphen does."""
    folded = "".join(
        _plain(character) or ("" if unicodedata.category(character)[0] == "M" else " ")
        for character in unicodedata.normalize("NFKD", name)
    )
    return folded.split()


def _telling(words: list[str]) -> list[str]:
    """Leave out the words that say nothing of who it is, unless there are no others."""
    return [word for word in words if word not in _SAYING_NOTHING] or words


def _joined(words: list[str]) -> str:
    plain = "".join(words)
    for two, one in _ALIKE:
        plain = plain.replace(two, one)
    return plain


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


# Legal forms, and what people put beside a name to pass for those who have it.
_FILLING = (
    "ab ag aps as asa bv co company corp corporation gmbh inc incorporated kg kk limited llc llp ltd nv oy oyj plc"
    " pte pty sa sarl sas se spa srl the official team teams support help app apps developer developers verified"
)
_SAYING_NOTHING = {"".join(map(_plain, word)) for word in _FILLING.split()}
