"""Schemes: the rules by which Q/DQ pairs are written into a file, for the engines that take them so."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgecnn import backends


@dataclass(frozen=True)
class Scheme:
    """The rules by which QuantizeLinear/DequantizeLinear pairs are written into an ONNX file.

    Weights are int8 and symmetric with one scale per output channel in every scheme, and use `weight_bits` of
    the eight: with seven no sum of two products leaves 16 bits (2 x 255 x 63 < 2^15), which is where an x86
    without VNNI cuts it off (`runtime.processor.saturates`). What differs:

    - `activation`, `symmetric`: TensorRT and TensorRT-RTX take only symmetric int8 (zero point 0). The
      VNNI instruction of x86 multiplies unsigned by signed bytes, so ONNX Runtime and OpenVINO are
      fastest with uint8 activations, and an asymmetric range wastes no code on one-sided activations.
    - `quantize_bias`: a bias as int32 behind a DequantizeLinear (its scale is the input's times the
      weight's). ONNX Runtime and OpenVINO on x86 want it, to fuse the whole convolution into integer
      arithmetic; TensorRT refuses it, and takes a float bias.

    Where the pairs stand follows from what the engines do with them:

    - `fuses`: activations that are computed inside the convolution or addition before them, so that no
      pair may stand between. x * Sigmoid(x) counts as Swish, x * HardSigmoid(x) as HardSwish.
    - `joins_pointwise`: whether whole chains of pointwise operators run in one kernel, with the pairs at its
      ends, so that int8 is worthwhile for what such a chain reads. Otherwise a float node reads floats from
      memory.
    - `sums_in_floats`: whether a convolution that makes a summand adds the other one before it rounds. That
      summand then needs no pair, and one would part the two. Otherwise both summands are int8.
    - `clips_by_range`: whether a clipping activation runs in integers only where the range that follows is
      no wider than what it lets through: it is then left to the QuantizeLinear.
    - `needs_output`: operators with an integer kernel that is taken only where a QuantizeLinear follows.
      All others may give floats.
    - `left_float`: operators that this form has no integer kernel for, though others have.
    - `float_reads_codes`: what a weighted layer that stays float reads where its input and its output are
      quantized, so that ONNX Runtime leaves its weights alone (`write_qdq.insert`): the codes through a
      DequantizeLinear of its own, or else the tensor as it is before its QuantizeLinear. The latter takes
      the integer kernel from the node before in ONNX Runtime, and costs TensorRT nothing.
    - `integer_constants`: whether Add and Mul have an integer kernel for a constant beside a feature map.
      Where they have, activations of straight pieces are written so (`graph.integer_activations`).
    - `skips_slow_kernels`: whether layers stay float that an engine computes slower in int8
      (`graph.slow_kernels`).
    """

    name: str
    activation: str
    symmetric: bool
    quantize_bias: bool
    fuses: frozenset[str]
    joins_pointwise: bool
    sums_in_floats: bool
    clips_by_range: bool
    needs_output: frozenset[str]
    left_float: frozenset[str]
    float_reads_codes: bool
    integer_constants: bool
    skips_slow_kernels: bool
    weight_bits: int = 8

    @property
    def weight_limit(self) -> int:
        """The largest integer weight: -127..127, or -63..63; a further low end would not be symmetric."""
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def levels(self) -> int:
        """Number of steps from the low to the high end of a range: -127..127, or 0..255."""
        return 254 if self.symmetric else 255


#: The backend of a target that says nothing of it.
ANY = "any"
#: Activations that only clip.
CLIPS = frozenset({"Relu", "Clip"})

#: Legal everywhere: TensorRT 8.6 to 11, TensorRT-RTX, ONNX Runtime, OpenVINO.
#: TensorRT joins any chain of pointwise operators into one kernel, and into the convolution before it.
PORTABLE = Scheme(
    "portable",
    activation="int8",
    symmetric=True,
    quantize_bias=False,
    fuses=CLIPS | {"LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Tanh", "Sigmoid", "HardSigmoid"}
    | {"HardSwish", "Swish", "Gelu", "Mish", "Softplus", "Softsign", "Erf"},
    joins_pointwise=True,
    sums_in_floats=True,
    clips_by_range=False,
    needs_output=frozenset(),
    left_float=frozenset(),
    float_reads_codes=False,
    integer_constants=False,
    skips_slow_kernels=False,
)  # fmt: skip
#: The fast form on x86 with VNNI for ONNX Runtime, and good for OpenVINO; TensorRT refuses it.
#: The operators are those that ONNX Runtime's QDQ selectors turn into QLinearConv and its like.
CPU = Scheme(
    "cpu",
    activation="uint8",
    symmetric=False,
    quantize_bias=True,
    fuses=CLIPS,
    joins_pointwise=False,
    sums_in_floats=False,
    clips_by_range=True,
    needs_output=frozenset({"Conv", "Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"})
    | {"Sigmoid", "LeakyRelu"},
    left_float=frozenset({"ReduceMean", "Resize", "Upsample", "ConvTranspose"}),
    float_reads_codes=True,
    integer_constants=True,
    skips_slow_kernels=True,
)
#: The fast form for OpenVINO, which joins pointwise operators as TensorRT does, and takes asymmetric ranges.
#: The pairs inside of a Swish that give ONNX Runtime integer kernels cost OpenVINO what int8 saves.
#: A convolution takes the sum after it along only where both summands are int8 (seen in 2026.4).
OPENVINO = replace(
    PORTABLE, name=backends.OPENVINO.name, activation="uint8", symmetric=False, sums_in_floats=False
)
SCHEMES = (PORTABLE, CPU, OPENVINO)
#: The same pairs and ranges for an x86 without VNNI: OpenVINO, unlike ONNX Runtime, has no other way there.
OPENVINO_7BIT = replace(OPENVINO, weight_bits=7)
