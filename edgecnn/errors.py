"""Every error that edgecnn raises on purpose: one sentence for what is wrong, one for the way out."""

from __future__ import annotations

from edgecnn.untrusted_text import visible


class EdgecnnError(Exception):
    """Root of the tree. `str(error)` is one line; `error.hint`, if there is one, says what to do."""

    #: What the command-line program returns when this error ends it.
    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class EdgecnnWarning(UserWarning):
    """Something was done in another way than a caller might assume: a layer adapted, a classifier dropped."""

    def __str__(self) -> str:
        """Return the warning as one line; Python prints it as it is, with the names that are in it."""
        return visible(super().__str__())


class UnknownNameError(EdgecnnError):
    """A name that is in no table: an architecture, a target, a provider."""


class InvalidValueError(EdgecnnError):
    """A number or a combination of options that can never work."""


class MissingPackageError(EdgecnnError):
    """An optional dependency is not installed."""


class ArtifactError(EdgecnnError):
    """A model file or its manifest is damaged, or is not what it says."""


class OutputError(EdgecnnError):
    """A result could not be written. Nothing is left behind."""


class WeightsError(EdgecnnError):
    """A checkpoint cannot be read, or does not fit the network."""


class DataError(EdgecnnError):
    """An image, a folder of images or a data set cannot be used."""


class RecipeError(EdgecnnError):
    """A recipe says what no recipe can say, or its folder belongs to another one."""


class InputError(EdgecnnError):
    """An array that an engine cannot take."""


class ParityError(EdgecnnError):
    """A model does not compute what its reference computes, or the comparison would prove nothing."""


class ConditionsError(EdgecnnError):
    """Two measurements that cannot be compared."""


class EngineError(EdgecnnError):
    """An engine library refused a model, or failed while running it."""


class PruningError(EdgecnnError):
    """A network cannot be pruned as asked, or it would gain nothing."""


class StoreError(EdgecnnError):
    """The store of results is damaged, of a newer version, or cannot be read or written."""


class BoardError(EdgecnnError):
    """A board cannot be reached, is busy, or cannot do what it is asked."""


class CodeError(EdgecnnError):
    """Code of the user's own, that builds a network or is one, fails: where, and how."""


class TrainingError(EdgecnnError):
    """Training went wrong: the loss is not a number any more."""
