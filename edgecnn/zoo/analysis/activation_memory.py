"""Memory that activations need while a network runs, by liveness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Use:
    """One operation's use of buffers: those it reads, and the one of `bytes` it writes, if it is a new one.

    `replaces`: the operation works element by element, and can write over what it reads.
    """

    reads: tuple[int, ...]
    writes: int | None = None
    bytes: int = 0
    replaces: bool = False


def live_bytes(first: int, first_bytes: int, uses: Sequence[Use]) -> list[int]:
    """Return the bytes alive during each operation; buffer `first` is the network's input.

    A buffer lives from the operation that writes it to the last one that reads it; during an
    operation both its inputs and its output are alive. An operation that can work in place does so when
    its input dies there and is as large as its output. Workspaces, weights and padding are not counted,
    and branches are not written straight into their concatenation.
    """
    last = {first: -1}
    for index, use in enumerate(uses):
        last.update(dict.fromkeys(use.reads, index))
        if use.writes is not None:
            # What nobody reads is a result of the network: it stays.
            last[use.writes] = len(uses)
    alive, during = {first: first_bytes}, []
    for index, use in enumerate(uses):
        if use.writes is not None:
            if use.replaces:
                for read in use.reads:
                    if last[read] == index and alive.get(read) == use.bytes:
                        del alive[read]
                        break
            alive[use.writes] = use.bytes
        during.append(sum(alive.values()))
        alive = {buffer: size for buffer, size in alive.items() if last[buffer] > index}
    return during
