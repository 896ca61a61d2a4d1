"""Judges the record of a run of faults: was each answer right, was it in time, was anything lost, is all finished?

It knows nothing of the portal but this: each request says what must be good for it to be accepted (`needs`), what it makes good if
it is (`starts`, and for how many seconds) and what it ends (`ends`). A thing is surely good from the moment its start was
acknowledged until the first request that may have ended it is sent, and surely over once an end was acknowledged or it was seen
to be over: what has ended never lives again. Between these moments either answer is right.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

OK, REFUSED, CLEAN, UNKNOWN, WRONG = "ok", "refused", "failed cleanly", "unknown", "wrong"
CLASSES = (OK, REFUSED, CLEAN, UNKNOWN, WRONG)
# In seconds: the longest that an answer may take, and a 503.
LONGEST, LONGEST_503 = 15, 5
NEVER = float("inf")


@dataclass
class Thing:
    """When something was surely good, when it may have ended, and when it had surely ended."""

    good_from: float = NEVER
    may_end: float = NEVER
    over_from: float = NEVER
    # Times of its own end, at the earliest and at the latest.
    expires: float = NEVER
    expired: float = NEVER

    def is_surely_good(self, since, until):
        return self.good_from <= since and until < min(self.may_end, self.expires)

    def is_surely_over(self, since):
        return since > min(self.over_from, self.expired)


@dataclass
class Row:
    """What is known of one fault."""

    name: str
    seconds: float = 0
    answers: Counter = field(default_factory=Counter)
    slowest: tuple = (0, "")
    wrong: list = field(default_factory=list)

    def note_wrong(self, why, line):
        self.wrong.append({"why": why, **line})

    def report(self):
        seconds, ask = self.slowest
        return {
            "fault": self.name, "seconds": round(self.seconds, 1), "answers": {each: self.answers[each] for each in CLASSES},
            "slowest": {"ask": ask, "seconds": round(seconds, 2)}, "wrong": self.wrong[:20],
        }  # fmt: skip


def judge(lines, slack=1):
    """Return a Row for each fault in the record, in its order. `slack` multiplies the times allowed, for a busy machine."""
    lines = list(lines)
    answers = sorted((line for line in lines if line["kind"] == "answer"), key=lambda line: line["received"])
    faults = {line["fault"]: line for line in lines if line["kind"] == "fault"}
    rows = {name: Row(name, line["ended"] - line["begun"]) for name, line in faults.items()}
    things = _things(answers)
    for line in answers:
        row = rows.get(line["fault"])
        if row is None:
            row = rows[line["fault"]] = Row(line["fault"])
        kind, why = _class_of(line, things, cuts=faults.get(line["fault"], {}).get("cuts", False), slack=slack)
        row.answers[kind] += 1
        row.slowest = max(row.slowest, (line["received"] - line["sent"], line["ask"]))
        if why:
            row.note_wrong(why, line)
        if kind == REFUSED and line["needs"]:
            # The first of what it needed is over whichever of them ended.
            thing = things[line["needs"][0]]
            thing.over_from = min(thing.over_from, line["received"])
    for line in lines:
        if line["kind"] == "audit":
            for why in _unfinished(line):
                rows[line["fault"]].note_wrong(why, line)
        if line["kind"] == "facts":
            for fault, why, what in _lost(line, answers):
                rows[fault].note_wrong(why, what)
    return [*rows.values()]


def _things(answers):
    things = defaultdict(Thing)
    for line in answers:
        accepted = line["verdict"] == "accepted"
        for name, seconds in line["starts"].items():
            thing = things[name]
            thing.good_from = min(thing.good_from, line["received"])
            if seconds is not None:
                # Its seconds are whole, and the same token may be told twice, with fewer seconds left.
                thing.expires = min(thing.expires, line["sent"] + seconds - 1)
                thing.expired = min(thing.expired, line["received"] + seconds + 1)
        for name in line["ends"]:
            thing = things[name]
            if line["verdict"] != "refused":
                thing.may_end = min(thing.may_end, line["sent"])
            if accepted:
                thing.over_from = min(thing.over_from, line["received"])
    return things


def _class_of(line, things, cuts, slack):
    """Return the class of an answer, and why it is wrong if it is."""
    took, verdict = line["received"] - line["sent"], line["verdict"]
    needed = [things[name] for name in line["needs"]]
    if verdict == "lost":
        is_cut = cuts and took <= LONGEST * slack
        return (UNKNOWN, None) if is_cut else (WRONG, f"no answer after {took:.1f} s: {line['error']}")
    if verdict == "failed":
        if line["status"] != 503 or not line["retry_after"]:
            return WRONG, f"status {line['status']}, Retry-After {line['retry_after']}"
        if took > LONGEST_503 * slack:
            return WRONG, f"503 after {took:.1f} s"
        # Of a write, the commit may have gone through.
        return (UNKNOWN if line["writes"] else CLEAN), None
    if took > LONGEST * slack:
        return WRONG, f"answered after {took:.1f} s"
    if verdict == "accepted":
        over = [name for name, thing in zip(line["needs"], needed, strict=True) if thing.is_surely_over(line["sent"])]
        return (WRONG, f"accepted although over: {', '.join(over)}") if over else (OK, None)
    if all(thing.is_surely_good(line["sent"], line["received"]) for thing in needed):
        return WRONG, "refused although all it needs is good"
    return REFUSED, None


def _unfinished(line):
    """Yield what an audit found undone after two sweeps."""
    if line["sweeps"] < 2:
        yield f"only {line['sweeps']} sweeps ran"
    for what, number in line["unfinished"].items():
        if number:
            yield f"unfinished after {line['sweeps']} sweeps: {number} {what}"


def _lost(facts, answers):
    """Yield (fault, why, line) of what was acknowledged and is not in the database, or is there and was never asked for."""
    ended = {name for line in answers for name in line["ends"] if name.startswith("pk ")}
    last = answers[-1] if answers else None
    for line in answers:
        if line["verdict"] != "accepted":
            continue
        for name in (name for name in line["starts"] if name.startswith("pk ")):
            known = facts["installations"].get(name[3:])
            if known is None:
                yield line["fault"], "an acknowledged installation is lost", line
            elif known["uninstalled"] and name not in ended:
                yield line["fault"], "an installation ended that nobody uninstalled", line
            elif known["entries"].get("installation.installed") != 1:
                yield line["fault"], f"an installation has {known['entries']} in the ledger", line
        for name in (name for name in line["ends"] if name.startswith("pk ")):
            known = facts["installations"].get(name[3:])
            if known is None or not known["uninstalled"]:
                yield line["fault"], "an acknowledged uninstallation is lost", line
            elif known["entries"].get("installation.uninstalled") != 1:
                yield line["fault"], f"an uninstallation has {known['entries']} in the ledger", line
    for why in facts["broken"]:
        yield (last or {"fault": ""})["fault"], why, {"kind": "facts"}
