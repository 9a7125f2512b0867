"""The table of targets: which Q/DQ scheme a board or GPU takes, and how fast it can be at best.

A new board is a new row. Rates are dense peaks, for rooflines; nothing here is a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgecnn import backends
from edgecnn.registry import Registry
from edgecnn.schemes import ANY, CPU, OPENVINO, OPENVINO_7BIT, PORTABLE, Scheme


@dataclass(frozen=True)
class Target:
    """A device, or a class of devices, that a model is made for.

    - `title` is the marketing name; `backend` is `ANY` or the name of a row of `backends.BACKENDS`.
    - `alignment` is the multiple that channel counts should have in int8. Tensor-core kernels load 128
      bits at a time, which is 16 int8 channels, and a 512-bit VNNI register holds 16 int32 accumulators:
      other counts are padded up, so that a pruned network with 17 channels costs as much as one with 32.
    - `compute_capability` is CUDA's, as "8.7"; None where there is no GPU.
    - `int8_tops`, `fp16_tflops`, `fp32_tflops` are peaks in 10^12 operations per second, where a
      multiply-add counts as two. **They are dense rates.** Vendor headlines are often sparse ("67 TOPS"
      is 33 dense: 2:4 structured sparsity doubles the figure) and on Jetson boards add the deep-learning
      accelerators (DLA) to the GPU; here they are the GPU's alone. FP16 is the tensor cores' with FP16
      accumulation; with FP32 accumulation GeForce cards run at half of it, the others at the same rate.
      FP32 is the CUDA cores', without TF32. GPU clocks are boost clocks, and on Jetson boards those of
      the highest power mode: a lower mode has lower peaks. None means that no source gives the figure.
    - `bandwidth_gbs` is the peak of the device memory in 10^9 bytes per second, `memory_gb` its size as
      sold. On Jetson boards the CPU shares both.
    - `power_modes` are the names that nvpmodel knows, lowest first; empty where there is no nvpmodel.
    - `source` says where the figures are published, or how they follow from published ones.
    """

    name: str
    title: str
    backend: str
    scheme: Scheme
    alignment: int
    compute_capability: str | None
    int8_tops: float | None
    fp16_tflops: float | None
    fp32_tflops: float | None
    bandwidth_gbs: float | None
    memory_gb: float | None
    power_modes: tuple[str, ...]
    source: str

    @property
    def mixes_float16(self) -> bool:
        """Whether the float layers of an int8 file are better written in float16."""
        return self.backend != ANY and backends.BACKENDS.get(self.backend).mixes_float16

    @property
    def sparse_2_4(self) -> bool:
        """Whether its tensor cores skip the zeros of 2:4 sparse weights, as Ampere's and later ones do."""
        return self.compute_capability is not None and float(self.compute_capability) >= 8.0


def _gpu(
    name: str,
    title: str,
    compute_capability: str,
    int8: float | None,
    fp16: float | None,
    fp32: float | None,
    bandwidth: float,
    memory: float,
    source: str,
    power_modes: tuple[str, ...] = (),
) -> Target:
    """Return the row of an NVIDIA GPU or Jetson board."""
    return Target(
        name=name,
        title=title,
        backend=backends.TENSORRT.name,
        scheme=PORTABLE,
        alignment=16,
        compute_capability=compute_capability,
        int8_tops=int8,
        fp16_tflops=fp16,
        fp32_tflops=fp32,
        bandwidth_gbs=bandwidth,
        memory_gb=memory,
        power_modes=power_modes,
        source=source,
    )


def _unrated(name: str, title: str, backend: str, scheme: Scheme, source: str) -> Target:
    """Return a row for a class of machines, whose rates depend on the machine."""
    return Target(name, title, backend, scheme, 16, None, None, None, None, None, None, (), source)


# Figures that several rows rest on. "GA10B" is the GPU of every Jetson Orin: NVIDIA publishes 170 sparse
# = 85 dense INT8 TOPS for 16 SMs at 1.3 GHz, which is 4096 operations per SM and clock, FP16 half of it.
_NVPMODEL = "power modes: NVIDIA's nvpmodel configuration in Jetson Linux "
_GA10B = "FP16 = INT8 / 2, FP32 = CUDA cores x 2 x clock"
_AGX_ORIN = "NVIDIA Jetson AGX Orin Series Modules Data Sheet, DS-10662-001: "
_ORIN_NX = "NVIDIA Jetson Orin NX Series Modules Data Sheet, DS-10712-001 v1.5 (Super modes of JetPack 6.2): "
_TURING = "NVIDIA Turing GPU Architecture, whitepaper, table of the TU102 boards (reference clocks)"
_AMPERE = "NVIDIA Ampere GA102 GPU Architecture, whitepaper V2.0, table 9"
_ADA = "NVIDIA Ada GPU Architecture, whitepaper v2.1, appendix A, table 2"
_BLACKWELL = "NVIDIA RTX Blackwell GPU Architecture, whitepaper, "
_COMPARE = "https://www.nvidia.com/en-us/geforce/graphics-cards/compare/ "

_ROWS = (
    _unrated(
        "portable", "any engine on any device", ANY, PORTABLE,
        "no device, hence no rates; scheme: NVIDIA TensorRT documentation, working with quantized types",
    ),
    _unrated(
        "cpu", "x86-64 CPU with AVX-512 VNNI or AVX-VNNI", backends.ONNXRUNTIME.name, CPU,
        "rates depend on the machine; scheme: ONNX Runtime documentation, Quantize ONNX models (U8S8 on "
        "x86-64), https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html",
    ),
    _unrated(
        backends.OPENVINO.name, "x86-64 CPU with AVX-512 VNNI or AVX-VNNI, by OpenVINO",
        backends.OPENVINO.name, OPENVINO,
        "rates depend on the machine; scheme: OpenVINO documentation, low precision transformations",
    ),
    _unrated(
        "openvino-avx2", "x86-64 CPU with AVX2 or AVX-512 and no VNNI, by OpenVINO", backends.OPENVINO.name,
        OPENVINO_7BIT, "rates depend on the machine; scheme: oneDNN documentation, nuances of int8",
    ),
    # Jetson boards; none whose last JetPack is 5, with Python 3.8 and TensorRT 8.5: too old for edgecnn.
    _gpu(
        "jetson-orin-nano", "NVIDIA Jetson Orin Nano 8GB (Super)", "8.7", 33.0, 17.0, 2.09, 102.0, 8.0,
        "https://developer.nvidia.com/blog/nvidia-jetson-orin-nano-developer-kit-gets-a-super-boost/ "
        "(67 sparse = 33 dense INT8 TOPS, 17 FP16 TFLOPS, 102 GB/s, no DLA); FP32 = 1024 x 2 x 1.02 GHz; "
        + _NVPMODEL + "36.4, p3767-0003 super (7W: JetPack 6.2.1). Without Super: 20 TOPS, 68 GB/s",
        ("7W", "15W", "25W", "MAXN_SUPER"),
    ),
    _gpu(
        "jetson-orin-nano-4gb", "NVIDIA Jetson Orin Nano 4GB (Super)", "8.7", 16.7, 8.4, 1.04, 51.2, 4.0,
        "NVIDIA Jetson Orin Nano Series Data Sheet, DS-11105-001 (512 CUDA cores = 4 SMs, 64-bit LPDDR5, no "
        "DLA); INT8 = 4 SMs x 4096 x 1.02 GHz (sold as 34 sparse TOPS), " + _GA10B + ", bandwidth = 64 bit "
        "/ 8 x 2 x 3.2 GHz; clocks and " + _NVPMODEL + "36.4, p3767-0004 super",
        ("10W", "25W", "MAXN_SUPER"),
    ),
    _gpu(
        "jetson-orin-nx", "NVIDIA Jetson Orin NX 16GB (Super)", "8.7", 38.0, 19.0, 2.40, 102.0, 16.0,
        _ORIN_NX + "157 sparse = 78 dense INT8 TOPS, less 40 of two DLAs; " + _GA10B + " (1024, 1.173 GHz); "
        + _NVPMODEL + "36.4, p3767-0000 super",
        ("10W", "15W", "25W", "40W", "MAXN_SUPER"),
    ),
    _gpu(
        "jetson-orin-nx-8gb", "NVIDIA Jetson Orin NX 8GB (Super)", "8.7", 38.0, 19.0, 2.40, 102.0, 8.0,
        _ORIN_NX + "117 sparse = 58 dense INT8 TOPS, less 20 of one DLA; " + _GA10B + " (1024, 1.173 GHz); "
        + _NVPMODEL + "36.4, p3767-0001 super",
        ("10W", "15W", "20W", "40W", "MAXN_SUPER"),
    ),
    _gpu(
        "jetson-agx-orin", "NVIDIA Jetson AGX Orin 64GB", "8.7", 85.0, 42.5, 5.32, 204.8, 64.0,
        _AGX_ORIN + "GPU 170 sparse INT8 TOPS and 85 sparse FP16 TFLOPS, halved; 5.32 FP32 TFLOPS; the "
        "headline's other 105 are DLA; " + _NVPMODEL + "36, p3701-0000",
        ("MODE_15W", "MODE_30W", "MODE_50W", "MAXN"),
    ),
    _gpu(
        "jetson-agx-orin-32gb", "NVIDIA Jetson AGX Orin 32GB", "8.7", 54.0, 27.0, 3.365, 204.8, 32.0,
        _AGX_ORIN + "GPU 108 sparse INT8 TOPS and 54 sparse FP16 TFLOPS, halved; 3.365 FP32 TFLOPS; the "
        "headline's others are DLA; " + _NVPMODEL + "36, p3701-0004",
        ("MODE_15W", "MODE_30W", "MODE_40W", "MAXN"),
    ),
    _gpu(
        "jetson-agx-thor", "NVIDIA Jetson AGX Thor (T5000)", "11.0", 517.0, 258.5, 8.04, 273.0, 128.0,
        "NVIDIA Jetson T5000 module specifications (1035 sparse INT8 TOPS, 517 sparse FP16 TFLOPS, halved; "
        "2070 is sparse FP4); FP32 = 2560 x 2 x 1.57 GHz; " + _NVPMODEL + "38, T5000",
        ("70W", "90W", "120W", "MAXN"),
    ),
    # GeForce cards
    _gpu("rtx-2080-ti", "NVIDIA GeForce RTX 2080 Ti", "7.5", 215.2, 107.6, 13.4, 616.0, 11.0, _TURING),
    _gpu(
        "rtx-3060", "NVIDIA GeForce RTX 3060 12GB", "8.6", 102.1, 51.0, 12.8, 360.0, 12.0,
        _COMPARE + "(3584 CUDA cores = 28 SMs, 1.78 GHz, 192-bit at 15 Gbps); INT8 = 28 x 2048 x 1.78 GHz, "
        "FP16 = 28 x 1024 x 1.78 GHz (the rates per SM of the RTX 3090: " + _AMPERE + ")",
    ),
    _gpu("rtx-3090", "NVIDIA GeForce RTX 3090", "8.6", 284.0, 142.0, 35.6, 936.0, 24.0, _AMPERE),
    _gpu(
        "rtx-4060", "NVIDIA GeForce RTX 4060", "8.9", 121.0, 60.5, 15.1, 272.0, 8.0,
        _COMPARE + "(242 AI TOPS = sparse INT8, halved; 3072 CUDA cores, 2.46 GHz, 128-bit at 17 Gbps); "
        "FP16 = INT8 / 2 as in the RTX 4090: " + _ADA,
    ),
    _gpu(
        "rtx-4070", "NVIDIA GeForce RTX 4070", "8.9", 233.0, 116.5, 29.2, 504.0, 12.0,
        _COMPARE + "(466 AI TOPS = sparse INT8, halved; 5888 CUDA cores, 2.48 GHz, 192-bit at 21 Gbps); "
        "FP16 = INT8 / 2 as in the RTX 4090: " + _ADA,
    ),
    _gpu("rtx-4090", "NVIDIA GeForce RTX 4090", "8.9", 660.6, 330.3, 82.6, 1008.0, 24.0, _ADA),
    _gpu(
        "rtx-5070", "NVIDIA GeForce RTX 5070", "12.0", 246.9, 123.5, 30.9, 672.0, 12.0,
        _BLACKWELL + "appendix C, table 6; FP32 = 6144 x 2 x 2.512 GHz",
    ),
    _gpu(
        "rtx-5090", "NVIDIA GeForce RTX 5090", "12.0", 838.0, 419.0, 104.8, 1792.0, 32.0,
        _BLACKWELL + "appendix A; FP32 = 21760 x 2 x 2.407 GHz",
    ),
    # Data-centre cards
    _gpu(
        "t4", "NVIDIA T4", "7.5", 130.0, 65.0, 8.1, 300.0, 16.0,
        "NVIDIA T4 Tensor Core GPU datasheet, 951643",
    ),
    _gpu(
        "a10", "NVIDIA A10", "8.6", 250.0, 125.0, 31.2, 600.0, 24.0,
        "NVIDIA A10 datasheet, https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a10/pdf/"
        "datasheet-new/nvidia-a10-datasheet.pdf",
    ),
    _gpu(
        "l4", "NVIDIA L4", "8.9", 242.5, 121.0, 30.3, 300.0, 24.0,
        "NVIDIA L4 Tensor Core GPU datasheet, 2595652 (485 sparse INT8 TOPS, 242 sparse FP16, halved)",
    ),
    _gpu(
        "a100", "NVIDIA A100 SXM4 40GB", "8.0", 624.0, 312.0, 19.5, 1555.0, 40.0,
        "NVIDIA A100 Tensor Core GPU Architecture, whitepaper, table 4 (the 80GB board: 2039 GB/s)",
    ),
    _gpu(
        "h100", "NVIDIA H100 SXM5 80GB", "9.0", 1979.0, 989.5, 67.0, 3350.0, 80.0,
        "NVIDIA H100 Tensor Core GPU datasheet, H100 SXM (3958 sparse INT8 TOPS, 1979 sparse FP16, halved)",
    ),
    _gpu(
        "h200", "NVIDIA H200 SXM 141GB", "9.0", 1979.0, 989.5, 67.0, 4800.0, 141.0,
        "NVIDIA H200 Tensor Core GPU datasheet, 3002446 (3958 sparse INT8 TOPS, 1979 sparse FP16, halved)",
    ),
)  # fmt: skip


def _table(rows: Iterable[Target]) -> Registry[Target]:
    """Return the registry of `rows`."""
    table: Registry[Target] = Registry("target")
    for row in rows:
        table.add(row.name, row)
    return table


#: Every target by name, in the order in which they are listed to users.
TARGETS = _table(_ROWS)


def target(name: str) -> Target:
    """Return the row called `name`; raises UnknownNameError, with the nearest names as its hint."""
    return TARGETS.get(name)
