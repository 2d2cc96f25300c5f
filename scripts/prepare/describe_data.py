"""Write prepare.json: where the data of a recipe came from, how many lines it has, and which versions made it."""

import argparse
import hashlib
import json
from pathlib import Path

from common import arguments, command, files, lines, provenance

SPLITS = ("train", "valid", "test")
PACKAGES = ("python", "sacremoses", "subword-nmt", "ve-fairseq", "fairseq", "torch", "numpy")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=arguments.path, help="folder of the prepared data")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--source", required=True, help="what the data was made from: download, archive or raw")
    parser.add_argument("--files", type=arguments.path, nargs="+", required=True, help="its files")
    parser.add_argument("--bpe-operations", type=int, required=True)
    parser.add_argument("--tokeniser", required=True)
    parser.add_argument("--references", choices=("original", "detokenised"), required=True)
    parser.add_argument("--lower-case", action="store_true")
    splits = ("TRAIN", "VALID", "TEST")
    parser.add_argument("--published", type=int, nargs=3, metavar=splits, help="numbers of lines, where published")
    counted_help = "files that have the published numbers of lines when the split is the published one"
    parser.add_argument("--counted", nargs=3, metavar=splits, default=[], help=counted_help)
    args = parser.parse_args()
    numbers = {}
    for split in SPLITS:
        paths = [args.out / "bpe" / f"{split}.{language}" for language in args.languages]
        numbers[split] = sum(1 for _ in lines.aligned({path: lines.read_lines(path) for path in paths}))
    counted = [sum(1 for _ in lines.read_lines(path)) for path in args.counted]
    # In the order in which they ended.
    usages = sorted((args.out / "steps").glob("*.usage"), key=lambda path: path.stat().st_mtime_ns)
    description = {
        "recipe": args.recipe,
        "languages": args.languages,
        "source": args.source,
        "sha256": {path.name: sha256(path) for path in args.files},
        "lines": numbers,
        "published_lines": dict(zip(SPLITS, args.published)) if args.published else None,
        "published_split": counted == args.published if args.published else None,
        "lower_case": args.lower_case,
        "references": args.references,
        "tokeniser": args.tokeniser,
        "bpe_operations": args.bpe_operations,
        "steps": {path.stem: files.read_json(path) for path in usages},
        "versions": provenance.versions(PACKAGES),
    }
    with lines.writing(args.out / "prepare.json") as file:
        file.write(json.dumps(description, indent=2) + "\n")
    print(json.dumps(description, indent=2))


if __name__ == "__main__":
    command.run_part(main)
