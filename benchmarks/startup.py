"""`edgecnn --help` against `python -c "import click"`, in turn. Target: at most 3 times.

python benchmarks/startup.py [RUNS]
"""

import statistics
import subprocess
import sys
import time


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    pairs = [
        (seconds(["-m", "edgecnn", "--help"]), seconds(["-c", "import click"])) for _ in range(runs + 1)
    ][1:]
    ours, click = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"edgecnn --help {ours * 1e3:.0f} ms   import click {click * 1e3:.0f} ms   ratio {ratio:.2f}")
    sys.exit(ratio > 3)


if __name__ == "__main__":
    main()
