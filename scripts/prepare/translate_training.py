"""Translate the training text of a data folder with a teacher, in pieces. What is after -- goes to fairseq-generate."""

import argparse
import sys

from common import arguments, command, translate


def main() -> None:
    """Run the command line."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=arguments.path, help="folder of fairseq-preprocess")
    parser.add_argument("--teacher", required=True, help="a checkpoint, or several separated by colons")
    parser.add_argument("--log", type=arguments.path, required=True, help="where what fairseq-generate says goes")
    args = parser.parse_args(sys.argv[1:split])
    translate.generate(args.data, args.teacher, "train", sys.argv[split + 1 :], args.log, pieces=True)


if __name__ == "__main__":
    command.run_part(main)
