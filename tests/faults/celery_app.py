"""The portal's Celery application for runs of faults: it records each task, sweeps more often, and does harm when told to.

With DIES_IN_EACH the worker kills itself with all its processes, once in each of the PLACES of each task. With TWICE each message is
delivered twice.
"""

import os
import signal
import time
from uuid import UUID

from celery.signals import task_postrun, task_prerun, worker_ready

from portal.celery import EVERY, app
from tests.faults.record import Record, read
from tests.faults.tasks import PLACES, WITHOUT_WORK

# Beat runs everything this many times as often, so that two sweeps pass within seconds.
FASTER = 5
for each in app.conf.beat_schedule.values():
    each["schedule"] /= FASTER

AGAIN = " again"
_record = Record(os.environ["RECORD"])
_dies, _is_twice = "DIES_IN_EACH" in os.environ, "TWICE" in os.environ
_died = {(line["task"], line["where"]) for line in read(_record.path, "died")}
_begun = {}


def _die(task, where):
    if _dies and where in PLACES[task] and (task, where) not in _died:
        _record.write(kind="died", task=task, where=where)
        os.killpg(os.getpgid(0), signal.SIGKILL)


@worker_ready.connect
def _queue_own_end(**_more):
    """Queue a task that nobody else would for minutes."""
    died = {task for task, _where in _died}
    for task in [task for task in (*EVERY, *WITHOUT_WORK) if task not in died][:1] if _dies else []:
        app.send_task(task, [str(UUID(int=0))] if task in WITHOUT_WORK else [])


@task_prerun.connect
def _begin(task_id, task, args, kwargs, **_more):
    from django.db import connection

    def die_after_a_write(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            _die(task.name, "write")
        return result

    _begun[task_id] = time.monotonic()
    if _is_twice and not task_id.endswith(AGAIN):
        app.send_task(task.name, args, kwargs, task_id=task_id + AGAIN)
    connection.execute_wrappers[:] = [die_after_a_write]


@task_postrun.connect
def _end(task_id, task, **_more):
    _die(task.name, "end")
    _record.write(kind="task", task=task.name, id=task_id, begun=_begun.pop(task_id), ended=time.monotonic())
