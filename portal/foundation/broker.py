"""Redis as Celery's broker: requests never wait for it, and workers survive a lost connection (T3)."""

import functools
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.pools import ProducerPool
from kombu.transport import redis
from redis.exceptions import ConnectionError

from portal.foundation.limits.breaker import breaker

# More than a process has threads. Beyond that, a task is left to the sweep.
_PRODUCERS = 64


def queue_on_commit(task: str, *args: object) -> None:
    """Queue a task once the transaction commits; while Redis is away, leave it to the sweep."""
    transaction.on_commit(lambda: breaker.call(lambda: _queue(task, args), None), robust=True)


def _queue(task: str, args: tuple[object, ...]) -> None:
    with _producers().acquire(block=False) as producer:
        current_app.send_task(task, args, producer=producer, retry=False)


@functools.cache
def _producers() -> ProducerPool:
    connection = current_app.connection_for_write(transport_options=settings.REDIS_OPTIONS)
    return ProducerPool(connection.Pool(limit=_PRODUCERS), limit=_PRODUCERS)


class Channel(redis.Channel):
    # By default redis-py retries after each timeout, which multiplies the wait.
    from_transport_options = (*redis.Channel.from_transport_options, "retry")  # type: ignore[assignment]
    retry = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Raise ConnectionError, which callers expect, if the connection was closed.

        Workers acknowledge and restore messages of lost connections. kombu raises AttributeError, which ends them.
        """
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("The connection to Redis was closed.")
        params = super()._connparams(asynchronous)
        return {**params, "retry": self.retry} if self.retry else params


class Transport(redis.Transport):
    Channel = Channel
