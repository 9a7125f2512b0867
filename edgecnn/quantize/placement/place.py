"""Which tensors are quantized, and which nodes stay float by which rule: the patterns put together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx

from edgecnn.quantize.graph import patterns
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.not_finite import infinite_tensors
from edgecnn.quantize.graph.patterns import (
    ACTIVATION,
    ARITHMETIC,
    COMPUTE,
    FLOAT,
    JOIN,
    KEEP_SCALE,
    POINTWISE,
    POOL,
)
from edgecnn.quantize.graph.slow_kernels import LAST_POOL, slow_pool
from edgecnn.quantize.placement.before_int8 import leave_float
from edgecnn.quantize.placement.floors import floors
from edgecnn.quantize.placement.scale_groups import scale_groups
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.schemes import CLIPS, Scheme

# What becomes of an activation.
_FUSED = "fused"  # into the quantized node before it
_BELONGS = "belongs"  # to a float node before it, or is exact
_INTEGER = "integer"  # it has a kernel of its own
_ALONE = "alone"  # stays float
#: Operators whose outputs hold some of the values of their input.
_PARTING = ("Split", "Slice", "Gather")
#: ONNX Runtime's QLinearGlobalAveragePool refuses input steps of 256 output steps and more.
_FINEST = 1 / 128
#: Why a node is float that a constant of minus infinity reaches: a mask, or the padding before a maximum.
NOT_FINITE = "its values are not finite"
#: Why tensors that meet in a concatenation, or come out of one, do not share a scale (`shared_scales.apart`).
FAR_APART = "ranges that differ more than 16-fold"
#: Why a node is float whose output is parted so, where it is int8 only with one scale for all that it gives.
PARTS_APART = "parts with ranges that differ more than 16-fold"


@dataclass(frozen=True)
class Sharing:
    """A node whose inputs and outputs have one scale."""

    node: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: Whether an output may hold some of the values only: those of a few channels, with a range of their own.
    parts: bool


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ pairs go."""

    #: Tensors that are quantized, in the graph's order.
    tensors: list[str]
    #: Tensor: the first of the group whose range it shares. A concatenation's tensors are a group, and
    #: so are those between which values are only moved.
    shares: dict[str, str]
    #: Tensors whose ranges must be measured, in the graph's order: the others hold only values of these.
    observed: list[str]
    #: Tensor that only an activation reads: below this the activation gives all but zero.
    floors: dict[str, float]
    #: Nodes by which tensors share a scale, in the graph's order.
    sharing: list[Sharing]
    #: Concatenation that has a scale for each of its inputs: the rule that says so.
    own_scales: dict[str, str]
    #: Output of a pooling: its input, where both are quantized.
    pooled: dict[str, str]
    #: Weighted nodes that are quantized.
    compute: list[onnx.NodeProto]
    #: Quantized sum or product by a constant: that constant.
    constants: dict[str, str]
    #: Nodes that compute in float between tensors of one scale.
    aside: frozenset[str]
    #: Node that stays float: the rule that says so. Activations belong to the node that they follow and
    #: are not listed beside it; neither are nodes that only move values, or compute shapes.
    float_nodes: dict[str, str]

    def ranges(self, found: Mapping[str, Range]) -> dict[str, Range]:
        """Return the range of every quantized tensor from those found for the `observed` ones.

        The range of a group runs from the lowest low to the highest high of its members. Averages that are
        all but zero get steps no finer than `_FINEST` of their input's: engines rescale by no larger factor,
        and the rounding of what is averaged is coarser. No codes are for what an activation makes zero.
        """
        groups: dict[str, Range] = {}
        for name in self.observed:
            (low, high), root = found[name], self.shares.get(name, name)
            known = groups.get(root, (low, high))
            groups[root] = (min(low, known[0]), max(high, known[1]))
        for output, source in self.pooled.items():
            (low, high), root = groups[self.shares.get(source, source)], self.shares.get(output, output)
            missing = _FINEST * (high - low) - (groups[root][1] - groups[root][0])
            if missing > 0:
                groups[root] = (groups[root][0] - missing / 2, groups[root][1] + missing / 2)
        for name, floor in self.floors.items():
            low, high = groups[name]
            groups[name] = (max(low, floor), high)
        return {name: groups[self.shares.get(name, name)] for name in self.tensors}


def place(
    graph: Graph, scheme: Scheme, exclude: Mapping[str, str] = {}, apart: Collection[str] = ()
) -> Placement:
    """Decide by the table and by what the scheme's engines fuse.

    A tensor is quantized because a quantized node reads it or, where the scheme says so, makes it. A node
    that is no weighted sum is quantized only if what it computes reaches one: int8 is otherwise a loss of
    accuracy without a gain. Nodes that stay float stand between a DequantizeLinear and a QuantizeLinear
    where their neighbours are quantized. The graph's outputs stay float: an application reads them.

    `exclude` maps the name of a node to the rule by which it stays float, for mixed precision. `apart` are
    nodes whose tensors must not share a scale: a concatenation has one for each input, or is float where its
    values part again, and what parts values is float.
    """
    infinite = infinite_tensors(graph)
    open_ended = {
        node.name: NOT_FINITE for node in graph.nodes if infinite.intersection((*node.input, *node.output))
    }
    placer = _Placer(graph, scheme, {**open_ended, **exclude}, apart)
    placer.want()
    placer.move()
    position: dict[str, int] = {}
    for node in graph.nodes:
        for name in (*node.input, *node.output):
            if name in placer.wanted:
                position.setdefault(name, len(position))
    shares = scale_groups(placer.active, placer.wanted, list(position))
    derived = {name for pattern in placer.active for name in pattern.outputs}
    return Placement(
        tensors=list(position),
        shares=shares,
        observed=[name for name in position if name not in derived],
        floors=placer.floors(shares),
        sharing=list(placer.sharing()),
        own_scales=placer.own_scales(),
        pooled=placer.pooled(),
        compute=[pattern.node for pattern in placer.patterns if pattern.kind == COMPUTE],
        constants=patterns.integer_constants(graph, placer.patterns),
        aside=frozenset(item.node.name for item in placer.active if item.rule == LAST_POOL),
        float_nodes=dict(placer.left_float()),
    )


class _Placer:
    """One graph under one scheme."""

    def __init__(
        self, graph: Graph, scheme: Scheme, exclude: Mapping[str, str], apart: Collection[str]
    ) -> None:
        self.graph = graph
        self.scheme = scheme
        self.patterns = patterns.match(graph, scheme, exclude)
        self.wanted: set[str] = set()
        #: Patterns whose inputs and outputs share a scale.
        self.active: list[patterns.Pattern] = []
        self._made_by = {name: pattern for pattern in self.patterns for name in pattern.outputs}
        self._of_node = {part.name: pattern for pattern in self.patterns for part in pattern.parts}
        self._apart = apart
        for pattern in self.patterns:
            if pattern.kind == KEEP_SCALE and pattern.node.name in apart:
                pattern.kind, pattern.rule = FLOAT, FAR_APART
        if scheme.skips_slow_kernels:
            leave_float(self.patterns)
        for pattern in self.patterns:
            whole = pattern.kind in (COMPUTE, ARITHMETIC, POOL) and pattern.op in scheme.needs_output
            if whole and self._is_parted_apart(pattern):
                pattern.kind, pattern.rule = FLOAT, PARTS_APART
        for pattern in self.patterns:
            if self._with_constant(pattern) and not self._reads_codes(pattern):
                pattern.kind, pattern.rule = POINTWISE, patterns.by_constant(pattern.op)
        self._gains = self._gaining()
        for pattern in self.patterns:
            if pattern.kind in (ARITHMETIC, POOL, JOIN) and not self._useful(pattern):
                rule = FAR_APART if pattern.node.name in apart else f"no int8 after it: {pattern.op}"
                pattern.kind, pattern.rule = POINTWISE if self._with_constant(pattern) else FLOAT, rule
        self._activations = {id(item): self._role(item) for item in self.patterns if item.kind == ACTIVATION}

    def _is_parted_apart(self, pattern: patterns.Pattern) -> bool:
        """Return whether a node's output, or what fuses into it, is parted into ranges that are far apart."""
        readers = [r for n in self.graph.consumers(pattern.outputs[0]) if (r := self._of_node.get(n.name))]
        if len(readers) == 1 and readers[0].kind == ACTIVATION and readers[0].op in self.scheme.fuses:
            return self._is_parted_apart(readers[0])
        return any((item.kind, item.rule) == (FLOAT, FAR_APART) and item.op != "Concat" for item in readers)

    def _with_constant(self, pattern: patterns.Pattern) -> bool:
        """Return whether a node is a sum or product by a constant, in integers."""
        return pattern.kind == ARITHMETIC and len(pattern.inputs) < len(pattern.node.input)

    def _reads_codes(self, pattern: patterns.Pattern) -> bool:
        """Return whether an integer kernel makes what a node reads."""
        before = self._made_by.get(pattern.inputs[0])
        while before is not None and before.kind == ACTIVATION and before.op in self.scheme.fuses:
            before = self._made_by.get(before.inputs[0])
        return before is not None and before.kind in (COMPUTE, ARITHMETIC, POOL, JOIN, KEEP_SCALE)

    def _gaining(self) -> set[str]:
        """Return the tensors for which int8 pays: their values reach a quantized weighted sum in it."""
        gains: set[str] = set()
        for pattern in reversed(self.patterns):
            passes = pattern.kind in (ARITHMETIC, POOL, JOIN, KEEP_SCALE)
            if pattern.kind in (ACTIVATION, POINTWISE):
                passes = (
                    self.scheme.joins_pointwise or pattern.op in self.scheme.fuses | self.scheme.needs_output
                )
            if pattern.kind == COMPUTE or (passes and any(name in gains for name in pattern.outputs)):
                gains.update(pattern.inputs)
        return gains

    def _useful(self, pattern: patterns.Pattern) -> bool:
        inner = all(name not in self.graph.outputs for name in pattern.outputs)
        return inner and any(name in self._gains for name in pattern.outputs)

    def _role(self, item: patterns.Pattern) -> str:
        """Return what becomes of an activation: it is fused, has an integer kernel, or stays float."""
        source = item.inputs[0]
        before = self._made_by.get(source)
        alone = source not in self.graph.outputs and all(
            reader in item.parts for reader in self.graph.consumers(source)
        )
        if before and alone and item.op in self.scheme.fuses and before.kind not in (KEEP_SCALE, JOIN, POOL):
            return _BELONGS if before.kind in (FLOAT, POINTWISE, ACTIVATION) else _FUSED
        float_before = before is not None and before.kind in (FLOAT, POINTWISE, ACTIVATION)
        if item.op in self.scheme.needs_output and not float_before and self._useful(item):
            return _INTEGER
        return _BELONGS if item.op in CLIPS else _ALONE

    def _after(self, pattern: patterns.Pattern) -> str:
        """Return a node's output, or that of the activation that fuses into it."""
        for reader in self.graph.consumers(pattern.outputs[0]):
            following = self._of_node.get(reader.name)
            if following is not None and self._activations.get(id(following)) == _FUSED:
                return str(following.outputs[0])
        return str(pattern.outputs[0])

    def want(self) -> None:
        """Collect the tensors that some node needs quantized."""
        clips = self._clipped()
        for pattern in self.patterns:
            integer = self._activations.get(id(pattern)) == _INTEGER
            if pattern.kind not in (COMPUTE, ARITHMETIC, POOL, JOIN) and not integer:
                continue
            self.wanted.update(self._read_quantized(pattern))
            output = self._after(pattern)
            if pattern.kind == JOIN:
                self.wanted.update(pattern.outputs)
                # A clipped tensor in one group with one that is not would have a range too wide.
                bounds = {clips.get(name) for name in pattern.inputs}
                alike = len(bounds) == 1 or not self.scheme.clips_by_range
                if alike and pattern.node.name not in self._apart:
                    self.active.append(pattern)
            elif pattern.op in self.scheme.needs_output and output not in self.graph.outputs:
                self.wanted.add(output)

    def _clipped(self) -> dict[str, str]:
        """Return the clipping activation that bounds a tensor, for those that have one."""
        clips: dict[str, str] = {}
        for pattern in self.patterns:
            bounds = {clips.get(name, "") for name in pattern.inputs}
            if pattern.kind not in (KEEP_SCALE, JOIN):
                bounds = {pattern.op if pattern.op in CLIPS else ""}
            clips.update(dict.fromkeys(pattern.outputs, bounds.pop() if len(bounds) == 1 else ""))
        return clips

    def _read_quantized(self, pattern: patterns.Pattern) -> Iterator[str]:
        """Yield the inputs that a quantized node reads as int8."""
        summand = None
        if pattern.op == "Add" and self.scheme.sums_in_floats:
            # The sum is done inside the convolution; a pair between would part the two.
            summand = next((name for name in pattern.inputs if self._sums_into(name, pattern)), None)
        yield from (name for name in pattern.inputs if name != summand)

    def _sums_into(self, tensor: str, addition: patterns.Pattern) -> bool:
        before = self._made_by.get(tensor)
        weighted = before is not None and before.kind == COMPUTE
        return weighted and self.graph.only_consumer(tensor) is addition.node

    def move(self) -> None:
        """Carry int8 across the nodes that only move values, both ways, until nothing changes."""
        waiting = [item for item in self.patterns if item.kind == KEEP_SCALE and item.inputs]
        changed = True
        while changed:
            ready = [item for item in waiting if self._carries(item)]
            for item in ready:
                self.wanted.update(item.inputs, self._inner(item.outputs))
            self.active += ready
            waiting = [item for item in waiting if item not in ready]
            changed = bool(ready)
        for item in self.active:
            if self.scheme.skips_slow_kernels and slow_pool(self.graph, item.node):
                item.rule = LAST_POOL

    def _carries(self, item: patterns.Pattern) -> bool:
        source, results = item.inputs[0], self._inner(item.outputs)
        if source in self.wanted:
            # Pointless unless the values go on in int8: moving them costs little in float.
            return any(name in self.wanted or name in self._gains for name in results)
        readers = (self._of_node.get(node.name) for node in self.graph.consumers(source))
        only_int8 = all(reader is None or reader.kind != FLOAT for reader in readers)
        return only_int8 and any(name in self.wanted for name in results)

    def _inner(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self.graph.outputs]

    def pooled(self) -> dict[str, str]:
        """Return the output of each pooling whose output and input are quantized, and that input."""
        return {
            item.outputs[0]: item.inputs[0]
            for item in self.patterns
            if item.kind == POOL and self.wanted.issuperset((item.inputs[0], item.outputs[0]))
        }

    def floors(self, shares: Mapping[str, str]) -> dict[str, float]:
        """Return for what only an activation reads the value below which that gives all but zero."""
        if self.scheme.symmetric:
            return {}
        grouped = {*shares, *shares.values()}
        return floors(self.graph, self.patterns, self.wanted - grouped.union(self.graph.outputs))

    def sharing(self) -> Iterator[Sharing]:
        """Yield the nodes by which tensors share a scale."""
        active = {id(pattern) for pattern in self.active}
        for item in self.patterns:
            if id(item) in active:
                inputs, outputs = self._quantized(item.inputs), self._quantized(item.outputs)
                yield Sharing(item.node.name, inputs, outputs, item.op in _PARTING)

    def _quantized(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self.wanted)

    def own_scales(self) -> dict[str, str]:
        """Return the concatenations whose inputs have scales of their own because of their ranges."""
        joins = (item for item in self.patterns if item.kind == JOIN and item.node.name in self._apart)
        return {item.node.name: FAR_APART for item in joins}

    def left_float(self) -> Iterator[tuple[str, str]]:
        """Yield the nodes that stay float, and their rules."""
        for pattern in self.patterns:
            alone = self._activations.get(id(pattern)) == _ALONE
            rule = f"no int8 form: {pattern.op}" if alone else pattern.rule
            if rule:
                yield from ((part.name, rule) for part in pattern.parts)
