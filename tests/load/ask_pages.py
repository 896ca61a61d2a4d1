"""Answer each line of stdin, a person and an address, by a line of JSON: {"status", "bytes", "queries", "seconds"} of the page.

A process for each database, so that two can take turns. `{account}` in an address stands for the account with all the rows.
"""

import json
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from portal.accounts.models import Account, User  # noqa: E402

settings.ALLOWED_HOSTS = ["testserver"]
account = Account.objects.get(name="Acme").slug
browsers, queries = {}, []


def count(execute, *arguments):
    queries.append(arguments[0])
    return execute(*arguments)


with connection.execute_wrapper(count):
    for line in sys.stdin:
        who, address = line.split()
        if who not in browsers:
            browsers[who] = Client()
            browsers[who].force_login(User.objects.get(name=who), settings.AUTHENTICATION_BACKENDS[0])
        queries.clear()
        start = time.perf_counter()
        response = browsers[who].get(address.replace("{account}", account))
        seconds = time.perf_counter() - start
        told = {
            "status": response.status_code,
            "bytes": len(response.content),
            "queries": len(queries),
            "seconds": seconds,
        }
        print(json.dumps(told), flush=True)
