"""The stages of a run: what is new on known weights learns alone first."""

from __future__ import annotations

from torch import nn

from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.training_loop import Stage
from edgecnn.errors import InvalidValueError
from edgecnn.zoo.open_network import Opened
from edgecnn.zoo.spec import NetworkSpec

#: Share of the epochs in which only a new classifier is trained.
_FREEZE_SHARE = 0.1


def stages_of(spec: NetworkSpec, opened: Opened, options: TrainOptions) -> tuple[Stage, ...]:
    """Return the stages: with real weights, first the classifier alone if it starts anew, then everything.

    Raises InvalidValueError if a freeze is asked for and nothing would be frozen.
    """
    fine_tuning = opened.origin != "random"
    new = tuple(f"{name}." for name in opened.new_layers)
    if spec.has_new_classifier:
        new = _new_layers(spec, opened.network)
    rate = options.learning_rate(fine_tuning=fine_tuning)
    frozen = 0
    if not (fine_tuning and new):
        if options.freeze:
            raise InvalidValueError(
                "there is no new classifier on known weights that could be trained alone",
                hint="leave out `freeze`",
            )
    else:
        frozen = max(1, round(_FREEZE_SHARE * options.epochs)) if options.freeze is None else options.freeze
        frozen = min(frozen, options.epochs - 1)
    whole = Stage("whole network" if frozen else "train", options.epochs - frozen, rate)
    if not frozen:
        return (whole,)
    scratch = options.learning_rate(fine_tuning=False)
    return Stage("classifier", frozen, scratch, new), whole


def _new_layers(spec: NetworkSpec, network: nn.Module) -> tuple[str, ...]:
    """Return what the names of the layers begin with that start anew.

    Over a backbone with weights it is all else; of another number of classes the layers that predict, which
    in a classifier is the last with weights.
    """
    if spec.backbone_weights:
        return tuple(f"{name}." for name, _ in network.named_children() if name != "backbone")
    last = [name for name, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
    return getattr(network, "predictors", (f"{last}.",))
