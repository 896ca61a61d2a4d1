"""The record of a run: lines of JSON that all its processes append to one file. Times are of the machine's monotonic clock, in seconds."""

import json
import os


class Record:
    def __init__(self, path):
        self.path = path
        # A line is one write at the end of the file, whoever else writes.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *, kind, **line):
        os.write(self._file, json.dumps({"kind": kind, **line}, separators=(",", ":")).encode() + b"\n")


def read(path, kind=None):
    """Yield the whole lines of a record, or those of one kind."""
    begins = b'{"kind":"%b' % (kind or "").encode()
    with open(path, "rb") as lines:
        for text in lines:
            if text.startswith(begins) and text.endswith(b"\n"):
                yield json.loads(text)
