"""Turn the JSON log of fairseq-train on standard input into one short line per report on standard output.

The lines that describe a sret_transformer are shown too, everything else is left to the log.
"""

import argparse
import sys

from common.training_log import readable


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of the system, put before every line")
    parser.add_argument("updates", type=int, help="number of updates of the whole training")
    args = parser.parse_args()
    for line in sys.stdin:
        text = readable(line, args.updates)
        if text:
            print(f"{args.name}: {text}", flush=True)


if __name__ == "__main__":
    main()
