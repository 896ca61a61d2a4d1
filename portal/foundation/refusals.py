"""The root of all refusals."""


class Refused(Exception):
    """An action that the rules do not allow; its text says why, for people."""
