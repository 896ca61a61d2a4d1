"""Rate limits, counted in Redis. While Redis is away nothing is limited, since no rule depends on it."""

import functools
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import redis
from django.conf import settings

from .breaker import breaker

# The name of a limit in RATES, and whose it is.
Mark = tuple[str, ...]

# (how many, in how many seconds): a burst of that many, then an even rate, unless the limit is in EXACT. One IP address may
# stand for an office, or for the servers of a platform with thousands of accounts. Failures are limited harder, and never
# by client or mail address alone, or a stranger could lock the owner out.
RATES = {
    "token by address": (24000, 60),
    "token by client": (12000, 60),
    "token failed by address": (600, 60),
    "token failed by address and client": (20, 60),
    "introspection failed by address": (60, 60),
    # Of request templates; what a vendor allows its clients is shared by all that an app does for an account.
    "requests by app and account": (50, 60),
    "authorize by address": (3000, 60),
    "authorize by address and client": (1500, 60),
    "sign-in by address": (120, 60),
    "sign-in failed by address": (30, 60),
    "sign-in failed by address and person": (5, 300),
    # An invitation is a mail that its receiver did not ask for.
    "invitations by person": (30, 3600),
    "invitations by organisation and mail address": (5, 86400),
    "invitations opened by address": (60, 60),
    "versions by team": (120, 3600),
    "packages checked by team": (30, 600),
    "publications by team": (30, 3600),
}

# No window of its length lets more than this through. A burst followed by an even rate would.
EXACT = {"requests by app and account"}

# Two ways of counting. GCRA: each key stores its theoretical arrival time, at most one window ahead; each act moves it on by
# one emission interval. An exact key stores the time of each act within the window. If one key is full, nothing is
# counted; what is given back is given back all the same.
_COUNT = """
local clock = redis.call('TIME')
local now, wait, ends = clock[1] * 1000000 + clock[2], 0, {}
local function numbers(number)
  local first = number * 4 - 3
  return tonumber(ARGV[first]), ARGV[first + 1] * 1000000, tonumber(ARGV[first + 2]), ARGV[first + 3] == '1'
end
for number, key in ipairs(KEYS) do
  local amount, window, cost, exact = numbers(number)
  if exact then
    local oldest = redis.call('LINDEX', key, amount - 1)
    if oldest and cost >= 0 then wait = math.max(wait, oldest + window - now) end
  else
    local used = math.max(tonumber(redis.call('GET', key) or 0), now)
    ends[number] = used + cost * window / amount
    if cost >= 0 then wait = math.max(wait, used + window / amount - window - now) end
  end
end
for number, key in ipairs(KEYS) do
  local amount, window, cost, exact = numbers(number)
  if wait > 0 and cost > 0 then cost = 0 end
  if exact then
    if cost > 0 then
      redis.call('LPUSH', key, string.format('%.0f', now))
      redis.call('LTRIM', key, 0, amount - 1)
      redis.call('PEXPIRE', key, math.ceil(window / 1000))
    elseif cost < 0 then redis.call('LPOP', key) end
  elseif cost == 0 then
  elseif ends[number] <= now then redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.0f', ends[number]), 'PX', math.ceil((ends[number] - now) / 1000))
  end
end
return math.ceil(math.max(wait, 0) / 1000000)
"""


class TooMany(Exception):
    """A rate limit was exceeded; the next attempt is allowed in `wait` whole seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(wait)
        self.wait = wait


_SHA = hashlib.sha1(_COUNT.encode(), usedforsecurity=False).hexdigest()


class _ThreadConnection(threading.local):
    """One connection to Redis per thread: redis-py's pool and commands take longer than Redis does."""

    def __init__(self) -> None:
        self.connection = redis.ConnectionPool.from_url(settings.REDIS_URL, **settings.REDIS_OPTIONS).make_connection()
        self._has_worked = self._is_unread = False
        self._arguments: tuple[Any, ...] = ()
        self._error: Exception | None = None

    def count(self, *keys_and_numbers: Any) -> int:
        """Run the script; return the seconds to wait, 0 if the act is allowed. Raises redis.RedisError or OSError."""
        self.begin(*keys_and_numbers)
        return self.end()

    def begin(self, *keys_and_numbers: Any) -> None:
        """Send the script's arguments. `end` reads the answer, and raises what went wrong here."""
        self._arguments, self._error = keys_and_numbers, None
        try:
            self._send("EVALSHA", _SHA, *keys_and_numbers)
        except (redis.RedisError, OSError) as error:
            self._error = error

    def end(self) -> int:
        """Return and raise as `count` does. Connects again, once, if a connection that has worked was closed meanwhile."""
        try:
            if self._error:
                raise self._error
            wait = self._read()
        except redis.exceptions.NoScriptError:
            self._send("EVAL", _COUNT, *self._arguments)
            wait = self._read()
        except redis.ConnectionError:
            if not self._has_worked:
                raise
            self._has_worked = False
            return self.count(*self._arguments)
        self._has_worked = True
        return wait

    def _send(self, *command: Any) -> None:
        if self._is_unread:
            # This command must not read the answer to the last one.
            self.connection.disconnect()
        self._is_unread = True
        self.connection.send_command(*command)

    def _read(self) -> int:
        try:
            wait = self.connection.read_response()
        except redis.exceptions.ResponseError:
            self._is_unread = False
            raise
        self._is_unread = False
        return wait


@functools.cache
def _redis() -> _ThreadConnection:
    return _ThreadConnection()


# A forked child must not use its parent's connection.
os.register_at_fork(after_in_child=_redis.cache_clear)


def pseudonym(text: str) -> str:
    """Return what stands in Redis for an address, a client or a mail address: nobody can tell which without the key."""
    return hmac.digest(settings.SECRET_KEY.encode(), text.encode(), "sha256").hex()[:40]


def _begin(marks: list[tuple[Any, ...]]) -> Callable[[], None]:
    """Begin to count `marks`, each a (cost, name in RATES, *whose); see `begin_to_spend`."""
    if not settings.LIMITS_ARE_ON:
        return lambda: None
    keys, numbers = [], []
    for cost, name, *whose in marks:
        keys.append("limit:" + pseudonym("\n".join([name, *whose])))
        numbers += [*RATES[name], cost, int(name in EXACT)]
    # `end` must use the same connection: threads that race for the first call may each create one.
    connection = _redis()
    act = functools.partial(connection.count, len(keys), *keys, *numbers)
    if not breaker.is_away:
        connection.begin(*act.args)
        act = functools.partial(connection.end)

    def end() -> None:
        if wait := breaker.call(act, 0):
            raise TooMany(wait)

    return end


def begin_to_spend(*marks: Mark) -> Callable[[], None]:
    """Count one act as `spend` does while the caller goes on; the function that is returned waits, and raises TooMany.

    Call that function once, before this thread counts anything else.
    """
    return _begin([(1, *mark) for mark in marks])


def spend(*marks: Mark, within: Iterable[Mark] = (), back: Iterable[Mark] = ()) -> None:
    """Count one act under each mark, a (name in RATES, *whose), and give back what was counted under `back`.

    Raises TooMany and counts nothing if any mark, or one of `within`, is full; what is given back is given back all the same.
    """
    _begin([*((1, *mark) for mark in marks), *((0, *mark) for mark in within), *((-1, *mark) for mark in back)])()


def give_back(*marks: Mark) -> None:
    """Take back the count of an act that turned out not to be of the kind that the marks limit."""
    _begin([(-1, *mark) for mark in marks])()
