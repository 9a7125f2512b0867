"""From a float graph and real images to an int8 graph by a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic

import numpy as np
import numpy.typing as npt
import onnx
from threadpoolctl import threadpool_limits

from edgecnn.errors import InvalidValueError
from edgecnn.progress import Progress, TimeLeft, silent
from edgecnn.quantize import method_by_tensor
from edgecnn.quantize.effort_levels import PLAIN, Recipe
from edgecnn.quantize.expected_time import ExpectedTime
from edgecnn.quantize.graph.index import Graph, batch_of
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.placement.engine_form import in_engine_form
from edgecnn.quantize.placement.place import Placement, place
from edgecnn.quantize.placement.shared_scales import measured, place_by_ranges
from edgecnn.quantize.quantized import Quantized
from edgecnn.quantize.ranges import calibrate
from edgecnn.quantize.ranges import range_methods as ranges
from edgecnn.quantize.ranges.calibrate import Observed
from edgecnn.quantize.ranges.channel_statistics import ChannelObserver
from edgecnn.quantize.ranges.observers import Observer
from edgecnn.quantize.repair import absorb, equalize
from edgecnn.quantize.repair.biases import with_biases
from edgecnn.quantize.repair.repair_network import RepairedNetwork, Work, repair_network
from edgecnn.quantize.repair.walk import affordable
from edgecnn.quantize.time_budget import TimeBudget
from edgecnn.schemes import SCHEMES, Scheme

Batches = Callable[[], Iterable[npt.NDArray[np.float32]]]
#: Of a recipe's images as many repair as need no more multiply-accumulates than this, but at least so many.
REPAIR_MACS = 250_000_000_000
FEWEST_IMAGES = 32
#: Images that tell how channels differ.
CHANNEL_IMAGES = 32
#: Images that range methods are compared on, at most: each pass over them tries one range of one tensor.
METHOD_IMAGES = 32


class Quantizer:
    """Quantizes one float model for one scheme, by any recipe; what recipes share is computed once.

    `batches` is called for each pass over the calibration images and gives inputs of the model,
    (N, C, H, W) float32; there are at most `images` of them, if that is known. `progress` is told what is
    being done, and `chosen` says what stays float in every recipe. Within `time`, as many images and layers
    take part as there is time for.
    Raises InvalidValueError for a choice that matches nothing, or leaves nothing to quantize.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        batches: Batches,
        scheme: Scheme,
        method: str = "mse",
        progress: Progress = silent,
        chosen: ChosenNodes = ChosenNodes(),  # noqa: B008 - it is frozen
        *,
        images: int | None = None,
        time: TimeBudget | None = None,
    ) -> None:
        self.time = time
        self._count = images
        self._expected = ExpectedTime(model, scheme, time)
        self.scheme = scheme
        self.chosen = chosen
        self.model = model
        self._float = self._left_float()
        if not chosen.only:
            self.model = model = in_engine_form(model, scheme, self._float)
        self.method = method
        self.macs = macs_by_node(model)
        self._batches = batches
        self._progress = progress
        self._rewritten: dict[bool, onnx.ModelProto] = {False: model}
        self._observed: dict[bool, Observed] = {}
        self._found: dict[bool, dict[str, dict[str, ranges.Range]]] = {}
        self._calibrated_images, self._cut_short = 0, False
        self._images: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        #: Whether there are no more.
        self._all_images = False

    def __call__(self, recipe: Recipe, exclude: Mapping[str, str] = {}) -> Quantized:
        """Quantize by a recipe; `exclude` maps nodes that stay float to the rule that says so.

        Raises DataError for no images or values that are not finite.
        """
        # With several threads BLAS adds in another order, and threads that wait for others cost time.
        with threadpool_limits(1, "blas"):
            return self._quantize(recipe, exclude)

    def _left_float(self) -> dict[str, str]:
        """Return the nodes that the user leaves in float, with their rules."""
        graph = Graph(self.model)
        rules = self.chosen.float_nodes(graph)
        if rules and not place(graph, self.scheme, rules).compute:
            raise InvalidValueError(
                "`exclude` and `only` leave no convolution and no matrix to quantize",
                hint="leave fewer nodes in float",
            )
        return rules

    def _quantize(self, recipe: Recipe, exclude: Mapping[str, str]) -> Quantized:
        exclude = {**exclude, **self._float}
        self._expected.measure(self._batches())
        base = self._model(recipe.rewrite)
        if recipe.repair is not None:
            base = with_biases(base)
        seen, found = self._measure(recipe, base, exclude)
        placement = place_by_ranges(Graph(base), self.scheme, exclude, self._of_scheme(found))
        other: dict[str, str] = {}
        if recipe.by_tensor:
            methods = self._methods(recipe, base, placement, seen)
            other = {name: method for name, method in methods.items() if method != self.method}
            found = found | ranges.by_scheme({name: seen[name] for name in other}, other)
        repaired = RepairedNetwork(base, {}, [])
        if recipe.repair is not None:
            chosen = placement.ranges(self._of_scheme(found))
            images = self._repair_images(recipe.images)
            repaired = repair_network(
                Work(base, placement, chosen, self.scheme, images, self.macs),
                recipe.repair,
                recipe.name,
                self._progress,
                budget=self.time,
                pace=self._expected.pace,
            )
        return self._written(base, repaired, recipe, placement, found, other)

    def _written(
        self,
        base: onnx.ModelProto,
        repaired: RepairedNetwork,
        recipe: Recipe,
        placement: Placement,
        found: dict[str, dict[str, ranges.Range]],
        other_methods: dict[str, str],
    ) -> Quantized:
        chosen = placement.ranges(self._of_scheme(found))
        share = sum(self.macs.get(node.name, 0) for node in placement.compute)
        return Quantized(
            model=write_qdq.insert(repaired.model, placement, chosen, self.scheme, repaired.weights),
            base=base,
            float_model=repaired.model,
            scheme=self.scheme,
            recipe=recipe,
            method=self.method,
            other_methods=other_methods,
            placement=placement,
            ranges=found,
            weights=repaired.weights,
            out_of_time=repaired.out_of_time,
            fewer_images=repaired.fewer_images,
            calibrated=self._calibrated_images,
            cut_short=self._cut_short,
            int8_mac_share=share / max(1, sum(self.macs.values())),
            chosen=self.chosen,
        )

    def _of_scheme(self, found: dict[str, dict[str, ranges.Range]]) -> dict[str, ranges.Range]:
        return {name: by_scheme[self.scheme.name] for name, by_scheme in found.items()}

    def _model(self, rewrite: bool) -> onnx.ModelProto:
        """Return the float model, equalized and with its offsets absorbed if that is asked."""
        if rewrite not in self._rewritten:
            self._progress("equalize")
            model, symmetric = self._rewritten[False], self.scheme.symmetric
            names = [*equalize.statistics(model), *absorb.statistics(model, symmetric=symmetric)]
            seen = self._channels(model, names)
            equalized = equalize.equalize(model, seen)
            if equalized.scales:
                model = equalized.model
                seen = self._channels(model, absorb.statistics(model, symmetric=symmetric))
            model = absorb.absorb(model, seen, symmetric=symmetric).model
            self._rewritten[rewrite] = model
        return self._rewritten[rewrite]

    def _channels(self, model: onnx.ModelProto, names: list[str]) -> dict[str, ChannelObserver]:
        """Return the statistics of tensors' channels, over a few of the images."""
        few = self._expected.channel_batches(_first(self._batches(), CHANNEL_IMAGES))
        return calibrate.observe(model, [], few, channels=list(dict.fromkeys(names))).channels

    def _measure(
        self, recipe: Recipe, model: onnx.ModelProto, exclude: Mapping[str, str]
    ) -> tuple[Observed, dict[str, dict[str, ranges.Range]]]:
        """Return the observers and the ranges of all tensors that some scheme quantizes.

        A file for another target will need the ranges of that one's, with the same nodes in float.
        """
        graph = Graph(model)
        seen = self._observed.setdefault(recipe.rewrite, Observed())
        found = self._found.setdefault(recipe.rewrite, {})
        forms = [(scheme, rules) for scheme in SCHEMES for rules in ([{}, exclude] if exclude else [{}])]
        first = [name for scheme, rules in forms for name in measured(place(graph, scheme, rules))]
        self._observe(recipe, model, first, seen, found)
        more = [
            name
            for scheme, rules in forms
            for name in place_by_ranges(
                graph, scheme, rules, {tensor: of[scheme.name] for tensor, of in found.items()}
            ).observed
        ]
        self._observe(recipe, model, more, seen, found)
        wanted = dict.fromkeys((*first, *more))
        return seen, {name: found[name] for name in wanted}

    def _observe(
        self,
        recipe: Recipe,
        model: onnx.ModelProto,
        tensors: Iterable[str],
        seen: Observed,
        found: dict[str, dict[str, ranges.Range]],
    ) -> None:
        """Observe tensors that were not yet, in one pass over the images, and choose their ranges."""
        if missing := [name for name in dict.fromkeys(tensors) if name not in seen]:
            self._progress("calibrate")
            new = self._calibrated(recipe, model, missing)
            seen.update(new)
            found.update(ranges.by_scheme(new, dict.fromkeys(missing, self.method)))

    def _calibrated(self, recipe: Recipe, model: onnx.ModelProto, tensors: list[str]) -> Observed:
        """Observe tensors over all images that there is time for, and see how fast this machine is."""
        left, start, seen = TimeLeft(), monotonic(), 0
        batches = self._expected.calibrating(self._batches(), recipe, self._most_images(recipe.images))

        def tell(done: int) -> None:
            nonlocal seen
            seen = done
            share = left(min(1.0, done / self._count)) if self._count else ""
            total = f" of {self._count}" if self._count else ""
            self._progress(f"calibrate: image {done}{total}{share}")

        observed = calibrate.observe(model, tensors, batches, progress=tell)
        if self.time is None:
            self._expected.learn((monotonic() - start) / seen)
        self._calibrated_images = max(self._calibrated_images, seen)
        self._cut_short |= batches.cut_short
        return observed

    def _methods(
        self, recipe: Recipe, model: onnx.ModelProto, placement: Placement, observed: Mapping[str, Observer]
    ) -> dict[str, str]:
        """Return the method that suits each tensor that this scheme observes."""
        candidates = {
            name: {
                method: ranges.choose(
                    observed[name], method, symmetric=self.scheme.symmetric, levels=self.scheme.levels
                )
                for method in ranges.METHODS
            }
            for name in placement.observed
        }
        images = self._repair_images(METHOD_IMAGES)
        left = TimeLeft()
        return method_by_tensor.choose(
            model,
            placement,
            candidates,
            self.method,
            self.scheme,
            images,
            lambda number, total: self._progress(
                f"{recipe.name}: range {number} of {total}{left((number - 1) / total)}"
            ),
            lambda: self._has_time(recipe, len(ranges.METHODS) * len(images)),
        )

    def _most_images(self, most: int) -> int:
        """Return how many images repair, if there are so many."""
        size = batch_of(self.model) or 1
        quick = max(FEWEST_IMAGES, REPAIR_MACS // max(1, sum(self.macs.values())))
        return max(1, min(most, quick, affordable(self.model)) // size) * size

    def _repair_images(self, most: int) -> npt.NDArray[np.float32]:
        # Those that there was no time to calibrate by do not repair either.
        wanted = self._most_images(min(most, self._calibrated_images) if self._cut_short else most)
        if len(self._images) < wanted and not self._all_images:
            self._images = np.concatenate(list(_first(self._batches(), wanted)))
            self._all_images = len(self._images) < wanted
        return self._images[:wanted]

    def least_seconds(self, recipe: Recipe) -> float:
        """Return what a recipe takes at least."""
        return self._expected.least(recipe, calibrated=bool(self._found.get(recipe.rewrite)))

    def _has_time(self, recipe: Recipe, images: int) -> bool:
        """Return whether so many images may be run before a recipe repairs."""
        seconds = self.seconds_of(images) + self.least_seconds(recipe)
        return self.time is None or self.time.left > seconds

    def seconds_of(self, images: int) -> float:
        """Return what running so many images takes."""
        return images * self._expected.image


def _first(batches: Iterable[npt.NDArray[np.float32]], count: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield batches until they hold so many images."""
    seen = 0
    for batch in batches:
        yield batch
        seen += len(batch)
        if seen >= count:
            break


def quantize(
    model: onnx.ModelProto,
    batches: Iterable[npt.NDArray[np.float32]],
    scheme: Scheme,
    method: str = "mse",
    recipe: Recipe = PLAIN,
) -> Quantized:
    """Quantize a simplified float model by one recipe; without repair, `batches` are read once."""
    if recipe.repair is not None or recipe.rewrite:
        batches = list(batches)
    return Quantizer(model, lambda: batches, scheme, method)(recipe)
