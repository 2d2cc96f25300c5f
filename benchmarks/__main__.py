"""The command line: run one benchmark, print its table, write its JSON and its picture."""

import importlib
import os
import sys

from benchmarks import options


def main() -> None:
    """Run the command line."""
    settings = options.parse(sys.argv[1:])
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)  # before torch is imported; child processes inherit it

    from benchmarks import devices, report

    devices.prepare(settings)
    measured = importlib.import_module(f"benchmarks.{settings.benchmark}").run(settings)
    report.write(measured, settings)


if __name__ == "__main__":
    main()
