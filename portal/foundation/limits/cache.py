"""Django's cache on Redis, as allauth uses it for its own limits."""

import functools
from typing import Any

from django.core.cache.backends.redis import RedisCache

from .breaker import breaker
from .rates import pseudonym


class Cache(RedisCache):
    """Django's cache, where allauth counts. While Redis is away, nothing is found in it and nothing is kept.

    `has_key` asks Redis itself and raises, so that a health check can tell.
    """

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return breaker.call(functools.partial(super().add, *args, **kwargs), True)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return breaker.call(functools.partial(super().get, key, default, version), default)

    def set(self, *args: Any, **kwargs: Any) -> None:
        return breaker.call(functools.partial(super().set, *args, **kwargs), None)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return breaker.call(functools.partial(super().delete, *args, **kwargs), False)


def cache_key(key: str, prefix: str, version: int) -> str:
    """Return the key under which Redis stores a value, without the IP addresses that allauth puts into its keys."""
    return f"cache:{pseudonym(key)}"
