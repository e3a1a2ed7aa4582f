"""The two things that can go wrong, told apart: the input, and the calculation."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: one line that says what was wrong and what is allowed. The CLI exits 2 with it."""


class NotConvergedError(RuntimeError):
    """A calculation that did not reach its tolerance; the message is the outcome's sentence."""
