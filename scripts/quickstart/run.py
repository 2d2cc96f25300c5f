"""Trains a small sret_transformer on a German-English corpus, shows what it translates, trains fairseq's transformer of
the same virtual depth and width alike, and compares the two on held-out text: parameters, BLEU, chrF and speed. Leaves
results.json and learning_curves.png in the output folder.

Takes 10 minutes on two ordinary cores. Steps that an earlier run finished are skipped; an interrupted step is done
again.
"""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from common import arguments, command, files
from recipe import supervise

UPDATES = 900
QUICK_UPDATES = 50
# Seconds of two ordinary cores.
TRAINING_SECONDS = {"sret_transformer": 200, "transformer": 150}


def parse_args() -> argparse.Namespace:
    """Return the command line's options; refuse impossible ones."""
    parser = argparse.ArgumentParser(
        prog="quickstart.sh",
        usage="bash examples/quickstart.sh [OPTIONS]",
        description=__doc__,
        epilog="Environment variables: VENV, PYTHON and TORCH, see scripts/setup.sh --help; OMP_NUM_THREADS, the\n"
        "number of CPU threads (default: all cores, at most 4).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # fmt: off
    parser.add_argument("--quick", action="store_true",
                        help="few updates, a minute or two: shows that everything runs, not how well")
    parser.add_argument("--source-text", type=arguments.path, metavar="FILE",
                        help="own text instead: one source sentence a line, UTF-8")
    parser.add_argument("--target-text", type=arguments.path, metavar="FILE",
                        help="own text instead: the translation of each line of --source-text")
    parser.add_argument("--source-lang", default="de", metavar="LANG", help="source language (default: de)")
    parser.add_argument("--target-lang", default="en", metavar="LANG", help="target language (default: en)")
    parser.add_argument("--updates", type=arguments.at_least(1), metavar="N",
                        help=f"updates of each training (default: {UPDATES}; with --quick {QUICK_UPDATES})")
    parser.add_argument("--vocabulary", type=arguments.at_least(1), default=4000, metavar="N",
                        help="SentencePiece pieces of both languages together, at most (default: 4000)")
    parser.add_argument("--out", type=arguments.path, metavar="FOLDER",
                        help="output folder (default: runs/quickstart, with --quick runs/quickstart-quick)")
    parser.add_argument("--download", type=arguments.path, default=files.REPOSITORY / "runs/download", metavar="FOLDER",
                        help="where the downloaded corpus is kept (default: runs/download)")
    # fmt: on
    args = parser.parse_args()
    if bool(args.source_text) != bool(args.target_text):
        parser.error("--source-text and --target-text belong together: give both or neither.")
    if args.source_lang == args.target_lang:
        parser.error(f"--source-lang and --target-lang are both {args.source_lang}: give two languages.")
    args.updates = args.updates or (QUICK_UPDATES if args.quick else UPDATES)
    args.out = (args.out or files.REPOSITORY / f"runs/quickstart{'-quick' * args.quick}").resolve()
    return args


def prepare_text(args: argparse.Namespace, out: Path) -> None:
    """Make the corpus: of the user's own text, or of the downloaded one."""
    from quickstart import corpus, home_assistant

    languages = (args.source_lang, args.target_lang)
    if args.source_text:
        origin = f"{args.source_text} and {args.target_text}"
        pairs = corpus.read_text_pairs(args.source_text, args.target_text)
    else:
        origin = f"the translations in {home_assistant.REQUIREMENT}"
        pairs = home_assistant.read_pairs(home_assistant.fetch(args.download), *languages)
    corpus.make(pairs, languages, out, origin)


def segment(args: argparse.Namespace, corpus: Path, out: Path) -> None:
    """Train SentencePiece on both languages and divide the corpus into pieces."""
    program = [sys.executable, files.REPOSITORY / "scripts/segment.py", "--corpus", corpus, "--out", out]
    program += ["--languages", args.source_lang, args.target_lang, "--vocabulary", args.vocabulary]
    with command.child(program) as process:
        if process.wait():
            raise SystemExit("quickstart: the text cannot be segmented, as said above.")


def binarise(args: argparse.Namespace, pieces: Path, out: Path) -> None:
    """Make fairseq's data folder, in the place of one that is older or was not finished."""
    from quickstart import systems

    shutil.rmtree(out, ignore_errors=True)  # fairseq refuses a dictionary that is there
    program = [sys.executable, "-m", "fairseq_cli.preprocess", "--joined-dictionary", "--destdir", out]
    program += ["--source-lang", args.source_lang, "--target-lang", args.target_lang]
    for split in ("train", "valid", "test"):
        program += [f"--{split}pref", pieces / split]
    systems.run_logged(program, out.parent / "preprocess.log", lambda _: None)


def prepare(args: argparse.Namespace) -> Path:
    """Go from text to fairseq's data folder; each step is done once."""
    from common import translate

    out, data_bin = args.out, args.out / "data-bin"
    given = [path.resolve() for path in (args.source_text, args.target_text) if path]
    for path in given:
        if not path.is_file():
            raise SystemExit(f"quickstart: {path} does not exist or is no file.")
    code = sorted((files.REPOSITORY / "scripts" / "quickstart").glob("*.py"))
    key = [args.source_lang, args.target_lang, translate.fingerprint([*given, *code])]
    translate.once(out / "corpus/corpus.json", key, lambda: prepare_text(args, out / "corpus"))
    key = [args.vocabulary, translate.fingerprint([out / "corpus/corpus.json"])]
    translate.once(out / "pieces/sentencepiece.model", key, lambda: segment(args, out / "corpus", out / "pieces"))
    key = translate.fingerprint(sorted((out / "pieces").glob("*.*")))
    translate.once(data_bin / f"dict.{args.target_lang}.txt", key, lambda: binarise(args, out / "pieces", data_bin))
    return data_bin


def interactive(args: argparse.Namespace, data_bin: Path, model: Path) -> str:
    """The command that translates what is typed or piped into it."""
    from quickstart import systems

    program = [sys.executable, "-m", "fairseq_cli.interactive", data_bin, *systems.PLUGIN, "--path", model, "--beam", 5]
    program += ["--source-lang", args.source_lang, "--target-lang", args.target_lang, "--bpe", "sentencepiece"]
    program += ["--sentencepiece-model", data_bin.parent / "pieces/sentencepiece.model"]
    return f"{shlex.join(map(str, program))} 2>/dev/null | grep ^D- | cut -f 3"


def compare(args: argparse.Namespace) -> None:
    """All that the quick start does."""
    from quickstart import report, systems
    from quickstart.progress import Progress

    steps = {"prepare the text": 15}
    for name, seconds in TRAINING_SECONDS.items():
        steps |= {f"train {name}": 8 + seconds * args.updates / UPDATES, f"translate with {name}": 20}
    progress = Progress(steps)
    progress.begin("prepare the text")
    data_bin = prepare(args)
    progress.end("prepare the text")

    test = report.read_test(args.out / "corpus", (args.source_lang, args.target_lang))
    measured = {}
    for name in systems.MODELS:
        folder = args.out / name
        systems.train(name, data_bin, args.updates, folder, progress)
        measured[name] = systems.translate_test(name, data_bin, test, folder, args, progress)
        if name == "sret_transformer" and not args.quick:
            command_line = interactive(args, data_bin, folder / "translation/averaged.pt")
            print(
                f"\nBLEU on {len(test.sources)} held-out sentences: {measured[name].numbers['bleu']:.1f}. "
                f"Some of them:\n\n{report.sample_text(report.samples(measured, test))}\n\n"
                f"A sentence of your own, in another terminal while the rest runs, or later:\n\n"
                f"echo {shlex.quote(test.sources[0])} | {command_line}",
                flush=True,
            )
    report.write(measured, test, args, progress.seconds)


def main() -> None:
    """Run the command line."""
    args = parse_args()
    # So small a model does not occupy many cores, and in a container torch may see more of them than it gets.
    os.environ.setdefault("OMP_NUM_THREADS", str(min(len(os.sched_getaffinity(0)), 4)))
    os.environ["PYTHONUNBUFFERED"] = "1"
    from common import output

    output.picture_folder(args.out)
    busy = f"quickstart: another run is at work in {args.out}; wait for it or end it."
    with supervise.environment_kept(), files.locked(args.out / ".lock", busy):
        compare(args)


if __name__ == "__main__":
    command.run(main)
