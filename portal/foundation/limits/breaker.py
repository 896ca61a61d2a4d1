"""A circuit breaker for Redis."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import redis
import structlog
from kombu.exceptions import KombuError

Result = TypeVar("Result")

log = structlog.get_logger(__name__)

# After Redis has failed, one request in this many seconds tries it again.
REST_SECONDS = 5
ALARM_SECONDS = 60


class Breaker:
    """Lets a process go on without Redis while it is away: nothing waits, and the log gets an alarm.

    Limits, cache and queueing share one breaker, so that the first timeout spares the others theirs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_try = self._next_alarm = 0.0
        # Read by rates.py; only this class sets it.
        self.is_away = False

    def call(self, act: Callable[[], Result], otherwise: Result) -> Result:
        """Return what `act` returns, or `otherwise` while Redis is away."""
        if self.is_away and not self._may_try():
            return otherwise
        try:
            result = act()
        except (redis.RedisError, KombuError, OSError) as error:
            self._failed(error)
            return otherwise
        if self.is_away:
            self.is_away = False
            log.warning("rate_limits_on_again")
        return result

    def _may_try(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + REST_SECONDS
            return True

    def _failed(self, error: Exception) -> None:
        with self._lock:
            now = time.monotonic()
            self.is_away, self._next_try = True, now + REST_SECONDS
            if now < self._next_alarm:
                return
            self._next_alarm = now + ALARM_SECONDS
        log.error("rate_limits_off", why="Redis does not answer", error=type(error).__name__)


breaker = Breaker()
