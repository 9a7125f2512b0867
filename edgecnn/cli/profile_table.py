"""What `edgecnn profile` prints of its results, which may be of several machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecnn.cli import common
from edgecnn.cli.profile_details import facts, named, print_layers, print_transfers
from edgecnn.cli.terminal import note, say


def show(results: list[dict[str, Any]], sweeps: Sequence[dict[str, Any]] = ()) -> None:
    """Print results and sweeps as they stand in JSON; with the key "on" they are of several machines."""
    several = "on" in results[0]
    with_batch = len({item["conditions"]["batch"] for item in results}) > 1
    with_energy = any(item["joules_per_image"] is not None for item in results)
    columns = [*(["on"] if several else []), "model", "precision", "size", "MACs", "parity", "agreement"]
    columns += [*(["batch"] if with_batch else []), "p50 ms", "p90 ms", "p99 ms", "images/s"]
    columns += ["mJ/image"] if with_energy else []
    # An engine was compared with its ONNX file, that one with a float network: then each says with what.
    references = {item.get("parity_against") for item in results if item["parity"]}
    rows = [_row(item, with_batch, with_energy, len(references) > 1) for item in results]
    common.print_table(columns, rows, text=(0, 1, 2) if several else (0, 1))
    for sweep in sweeps:
        say(sweep["verdict"] + (f" on {sweep['on']}" if "on" in sweep else ""))
    for machine in dict.fromkeys(item.get("on") for item in results):
        if machine is not None:
            say()
            say(machine)
        conditions = [facts(item["conditions"]) for item in results if item.get("on") == machine]
        shown = [(key, dict.fromkeys(of[key] for of in conditions if of[key])) for key in conditions[0]]
        common.print_facts([(key, "; ".join(told)) for key, told in shown if told])
    _print_rooflines(results)
    for item in results:
        print_transfers(item)
        if "layers" in item:
            print_layers(item)
    for remark in dict.fromkeys(remark for item in results for remark in item["notes"]):
        note(remark)


def _print_rooflines(results: list[dict[str, Any]]) -> None:
    from edgecnn.measure.layers.roofline import HOW_TO_KNOW, Roofline

    for item in results:
        if item["roofline"] is not None:
            on = f" on {item['on']}" if "on" in item else ""
            say(f"{named(item)}{on} {Roofline(**item['roofline'])}")
    if any(item["roofline"] is None for item in results):
        say(HOW_TO_KNOW)


def _row(item: dict[str, Any], with_batch: bool, with_energy: bool, with_reference: bool) -> list[str]:
    parity, latency, joules = item["parity"], item["latency_ms"], item["joules_per_image"]
    target = f" ({item['target']})" if item["precision"] == "int8" else ""
    return [
        *([item["on"]] if "on" in item else []),
        item["path"],
        f"{item['precision'] or '?'}{target}",
        common.size(item["bytes"]),
        common.amount(item["macs"]),
        _decibels(item, with_reference),
        common.percent(parity["top1_agreement"] if parity else None),
        *([str(item["conditions"]["batch"])] if with_batch else []),
        *(f"{latency[key]:.2f}" for key in ("p50", "p90", "p99")),
        f"{item['throughput_ips']:.0f}",
        *(["-" if joules is None else f"{joules * 1e3:.3g}"] if with_energy else []),
    ]


def _decibels(item: dict[str, Any], with_reference: bool) -> str:
    if not item["parity"]:
        return "-"
    against = f" to {item['parity_against']}" if with_reference and item.get("parity_against") else ""
    return f"{common.decibels(item['parity']['sqnr_db'])}{against}"
