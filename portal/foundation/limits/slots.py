"""Keep some of a process's threads free of calls that wait for others."""

import contextlib
import threading
from collections import Counter

from django.conf import settings

from .rates import TooMany


class Slots:
    """Limits how many of a process's threads wait for others at once, in all and for any one of them."""

    def __init__(self, most, *, each):
        self._most, self._each = most, each
        self._lock = threading.Lock()
        self._taken = Counter()

    @contextlib.contextmanager
    def take(self, whose):
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


# Of the eight threads that the README gives a process: vendors take up to 15 seconds for an answer, as often as they like.
waiting_for_vendors = Slots(5, each=3)
