"""How a long job says what it does: it tells each step, as it begins, to a function that who waits gives."""

from __future__ import annotations

from collections.abc import Callable

#: Is told one line of text as each step begins, such as "simplify", or "images: 3 of 20", where what follows
#: the colon counts within one step. It is called from the thread that works, in the order of the work, and
#: has to return soon; what it raises ends the job.
Progress = Callable[[str], None]


def silent(step: str) -> None:
    """Take no notice: the progress of a job that nobody watches."""
