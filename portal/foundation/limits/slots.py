"""Keep some of a process's threads free of calls that wait for others."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from django.conf import settings

from .rates import TooMany


class Slots:
    """Limits how many of a process's threads wait for others at once, in all and for any one of them."""

    def __init__(self, most: int, *, each: int) -> None:
        self._most, self._each = most, each
        self._lock = threading.Lock()
        self._taken: Counter[object] = Counter()

    @contextlib.contextmanager
    def take(self, whose: object) -> Iterator[None]:
        """Hold a slot. Raises TooMany at once if none is free: waiting would hold a thread too."""
        with self._lock:
            if settings.LIMITS_ARE_ON and (self._taken.total() >= self._most or self._taken[whose] >= self._each):
                raise TooMany(1)
            self._taken[whose] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= Counter([whose])


# Of the eight threads that the README gives a process. A vendor may take 15 seconds for each answer.
waiting_for_vendors = Slots(5, each=3)
