import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from portal.demo import embedded


class Command(BaseCommand):
    help = (
        "Start PostgreSQL and Redis from their wheels and print their addresses, for an editor, psql or one's own "
        "commands. Ctrl-C stops them. If `make run` has started them already, only prints the addresses."
    )
    requires_system_checks = []

    def handle(self, **options: Any) -> None:
        urls = embedded.services(settings.VAR, want_postgres=True, want_redis=True)
        for name, url in urls.items():
            self.stdout.write(f"{name}={url}")
        self.stdout.flush()
        if embedded.owner(settings.VAR) == os.getpid():
            ends = {signal.SIGINT, signal.SIGTERM}
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)
            signal.sigwait(ends)
