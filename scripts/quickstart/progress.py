"""Turn the JSON log of fairseq-train on standard input into one short line per report on standard output.

The lines that describe a sret_transformer are shown too, everything else is left to the log.
"""

import argparse
import contextlib
import re
import sys

from common.training_log import parse_line

MODEL = re.compile(r"\| INFO \| sret_fairseq\.model \| (.*)")


def readable(line, updates):
    """Return what to print for a line of the log, or None; a damaged report must not end a running training."""
    tag, values = parse_line(line)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if tag == "train_inner":
            speed = float(values["wps"])
            return f"update {values['num_updates']:5d} of {updates}   loss {values['loss']}   {speed:.0f} tokens/s"
        if tag == "valid":
            return f"update {values['valid_num_updates']:5d} of {updates}   valid loss {values['valid_loss']}"
    if match := MODEL.search(line):
        return match[1]
    return None


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
