"""Django's cache on Redis, as allauth uses it for its own limits."""

import functools

from django.core.cache.backends.redis import RedisCache

from .breaker import breaker
from .rates import pseudonym


class Cache(RedisCache):
    """Django's cache, where allauth counts: while Redis is away, everything is new to it and nothing is kept.

    `has_key` asks Redis itself and raises, for whoever wants to know how it is.
    """

    def add(self, *args, **kwargs):
        return breaker.call(functools.partial(super().add, *args, **kwargs), True)

    def get(self, key, default=None, version=None):
        return breaker.call(functools.partial(super().get, key, default, version), default)

    def set(self, *args, **kwargs):
        return breaker.call(functools.partial(super().set, *args, **kwargs), None)

    def delete(self, *args, **kwargs):
        return breaker.call(functools.partial(super().delete, *args, **kwargs), False)


def cache_key(key, prefix, version):
    """Keep the addresses that allauth puts into its keys out of Redis."""
    return f"cache:{pseudonym(key)}"
