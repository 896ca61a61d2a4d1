"""The marketplace's search, for words that an app's name, address or tagline has or begins a word with."""

import string

from django.contrib.postgres.search import SearchQuery

# PostgreSQL refuses words of 2 kB.
LONGEST, MOST_WORDS = 200, 12
# As in the trigger that writes Version.search (migration 0013): what is left means nothing in a query's language.
_BLANK = str.maketrans(string.punctuation, " " * len(string.punctuation))


def query_of(text: str) -> SearchQuery | None:
    """Return a query for all of the words, each of which may go on, or None where there are none."""
    words = text[:LONGEST].translate(_BLANK).split()[:MOST_WORDS]
    return (
        SearchQuery(" & ".join(f"'{word}':*" for word in words), config="simple", search_type="raw") if words else None
    )
