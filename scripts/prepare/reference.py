"""Write a held-out text as references for sacreBLEU: plain text, one sentence a line.

Text that exists only tokenised, or in BPE, is put together again by sacremoses' MosesDetokenizer: nearly the original,
but not certainly.
"""

import argparse

import sacremoses

from common import arguments, command, lines

BPE_MARK = "@@ "


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=arguments.path)
    parser.add_argument("target", type=arguments.path, help="file to write")
    parser.add_argument("--language", required=True)
    parser.add_argument("--remove-bpe", action="store_true", help="the text is in BPE")
    parser.add_argument("--detokenise", action="store_true", help="the text is tokenised")
    parser.add_argument("--lower", action="store_true", help="write everything in lower case")
    args = parser.parse_args()
    detokenizer = sacremoses.MosesDetokenizer(args.language)

    def plain(line: str) -> str:
        line = f"{line} ".replace(BPE_MARK, "") if args.remove_bpe else line
        line = detokenizer.detokenize(line.split()) if args.detokenise else " ".join(line.split())
        return line.lower() if args.lower else line

    lines.map_lines(lambda batch: [plain(line) for line in batch], args.source, args.target)


if __name__ == "__main__":
    command.run_part(main)
