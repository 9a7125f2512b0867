"""What a library prints while it works on a graph does not reach the user."""

import os
import sys

import pytest
from small_graphs import model_of

from edgecnn.errors import EdgecnnError
from edgecnn.quantize.graph.simplify import simplify

NODES = "k = Conv(x, w) y = Relu(k)"


def noisy(work):
    def simplify_noisily(model):
        os.write(1, b"WARNING: said to standard output\n")
        os.write(2, b"WARNING: said to standard error\n")
        return work(model)

    return simplify_noisily


def test_its_words_are_lost_and_ours_are_not(monkeypatch, capfd):
    monkeypatch.setattr("onnxsim.simplify", noisy(lambda model: (model, True)))
    print("before", end="")
    simplify(model_of(NODES))
    print(" and after")
    print("to standard error", file=sys.stderr)
    assert capfd.readouterr() == ("before and after\n", "to standard error\n")


def test_an_error_turns_the_streams_back(monkeypatch, capfd):
    def fail(model):
        raise RuntimeError("no such operator")

    monkeypatch.setattr("onnxsim.simplify", noisy(fail))
    with pytest.raises(EdgecnnError, match="no such operator"):
        simplify(model_of(NODES))
    os.write(2, b"heard")
    assert capfd.readouterr() == ("", "heard")
