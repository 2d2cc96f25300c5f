"""What an early exit of the decoder would do: quality, and the most speed that it could give, by its threshold.

The rule: a step of the beam search ends after the first pass at which every beam gives some word a probability of at
least the threshold. Here no pass is really left out: the step takes its prediction from the earlier pass, while the
caches get the keys of all passes. So BLEU is what an early exit with perfect caches would have, and the speed is a
bound: the measured time of the search, less that of the passes after the exit, plus that of the predictions that decide
(and without the latter, in case that something cheaper could decide as well).

Writes early_exit.png, .csv and .json. Sentences are translated one by one, which is where an exit is worth most. The
decoder has to loop over all of its blocks (--decoder-recursion-span), since only then does a pass end with something to
predict from; train it with --criterion sret_mixed_depth, or early predictions are worth nothing.
"""

import contextlib
import itertools
import math
import statistics
import time
from collections import Counter

import sacrebleu
import torch
from fairseq import utils
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf
from tqdm import tqdm

from common import figures, files, tables
from common import loading as trained
from common import provenance as surroundings

HEADER = ("threshold", "BLEU", "mean passes", "speed at most", "with free decisions")
REPEATS = 30


class Exit:
    """The hooks that let a decoder of one recursion group predict from an earlier pass.

    Args:
        decoder: of a ``sret_transformer``.
        threshold: the probability, or above 1 to run all passes.
    """

    def __init__(self, decoder, threshold):
        self.decoder, self.threshold = decoder, threshold
        self.layer = decoder.layers[0]
        self.streams, self.applied = [], 0
        self.exits = Counter()  # steps by the pass after which they ended, from 1

    @contextlib.contextmanager
    def installed(self):
        """The hooks are there inside the block."""
        with contextlib.ExitStack() as hooks:
            hooks.callback(self.layer.register_forward_pre_hook(self.begin).remove)
            for projection in itertools.chain(*self.layer.projections):
                hooks.callback(projection.register_forward_hook(self.keep).remove)
            hooks.callback(self.layer.register_forward_hook(self.choose).remove)
            yield self

    def begin(self, *_):
        """A step begins."""
        self.streams, self.applied = [], 0

    def keep(self, module, inputs, stream):
        """A block was applied; after the last one of a pass, keep the stream (K, B, C)."""
        self.applied += 1
        if self.applied % len(self.layer.blocks) == 0:
            self.streams.append(stream)

    def choose(self, module, inputs, output):
        """The step ends: with the stream of the first pass that is sure enough, or of the last."""
        _, weights = output
        for number, stream in enumerate(self.streams, 1):
            if number == len(self.streams) or (self.threshold <= 1 and self.sure(stream)):
                self.exits[number] += 1
                return stream, weights

    def sure(self, stream):
        """Whether all beams give some word the probability."""
        return bool((confidence(self.decoder, stream) >= self.threshold).all())


def confidence(decoder, stream):
    """The probability of the likeliest word, (K, B), from the stream after a pass, (K, B, C)."""
    if decoder.layer_norm is not None:
        stream = decoder.layer_norm(stream)
    return torch.softmax(decoder.output_layer(stream).float(), dim=-1).amax(dim=-1)


def check(model):
    """Exit with one sentence unless the decoder can end a step early."""
    layers = model.decoder.layers
    if len(layers) != 1 or not hasattr(layers[0], "projections") or model.decoder.passes < 2:
        raise SystemExit(
            "the decoder has no passes to leave out: train a sret_transformer with --decoder-recursions of at least 2 "
            "and a --decoder-recursion-span of all --decoder-layers."
        )


def clock():
    """Seconds, once a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def text(words, task, remove_bpe, reference=False):
    """A sentence in whole words. Unknown ones of a reference are written so that no word of a translation is equal."""
    ignored = {task.target_dictionary.pad()}
    return task.target_dictionary.string(words, remove_bpe, escape_unk=reference, extra_symbols_to_ignore=ignored)


@torch.no_grad()
def search(model, task, generator, batches, threshold, remove_bpe):
    """Translate; BLEU, the seconds that it took, and the steps by the pass after which they ended."""
    hypotheses, references, seconds = [], [], 0.0
    with Exit(model.decoder, threshold).installed() as early:
        for batch in tqdm(batches, desc=f"threshold {threshold}", mininterval=2):
            start = clock()
            found = task.inference_step(generator, [model], batch)
            seconds += clock() - start
            hypotheses.append(text(found[0][0]["tokens"], task, remove_bpe))
            reference = utils.strip_pad(batch["target"][0], task.target_dictionary.pad())
            references.append(text(reference, task, remove_bpe, reference=True))
    bleu = sacrebleu.BLEU(tokenize="none", force=True).corpus_score(hypotheses, [references])
    return bleu.score, seconds, early.exits


@torch.no_grad()
def costs(model, batch, beam):
    """Seconds of a decoder step by the number of passes, and of one prediction; medians, measured in turn."""
    inputs = batch["net_input"]
    encoder_out = model.encoder(inputs["src_tokens"].expand(beam, -1), inputs["src_lengths"].expand(beam))
    previous = inputs["prev_output_tokens"].expand(beam, -1)
    samples = {passes: [] for passes in range(1, model.decoder.passes + 1)}
    prediction = []
    for _ in range(REPEATS):
        for passes, own in samples.items():
            with model.at_passes(passes):
                state = {}
                start = clock()
                for length in range(1, previous.size(1) + 1):
                    features = model.decoder.extract_features(previous[:, :length], encoder_out, state)[0]
                own.append((clock() - start) / previous.size(1))
        start = clock()
        bool((confidence(model.decoder, features) >= 2).all())
        prediction.append(clock() - start)
    return {passes: statistics.median(own) for passes, own in samples.items()}, statistics.median(prediction)


def most_speed(exits, seconds, by_passes, prediction):
    """The bound: how many times as fast the search would be at most.

    Args:
        exits: steps by the pass after which they ended.
        seconds: of the search with all passes.
        by_passes: seconds of a decoder step by its passes.
        prediction: seconds of one.
    """
    full = max(by_passes)
    saved = sum(steps * (by_passes[full] - by_passes[passes]) for passes, steps in exits.items())
    # The prediction of the pass at which a step ends is the search's own.
    spent = sum(steps * prediction * (passes - 1) for passes, steps in exits.items())
    return seconds / (seconds - saved + spent)


def draw(rows):
    """Quality against the bound of speed."""
    figure = figures.new(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([row["speed at most"] for row in rows], [row["BLEU"] for row in rows], marker="o")
    for row in rows:
        axes.annotate(
            f"{row['threshold']}", (row["speed at most"], row["BLEU"]), textcoords="offset points", xytext=(4, 4)
        )
    axes.set(xlabel="speed at most, beside all passes", ylabel="BLEU", title="early exit by threshold")
    axes.grid(alpha=0.3)
    return figure


def parse_args():
    """Parse the command line."""
    parser = trained.parser(__doc__)
    parser.add_argument(
        "--thresholds", default="0.5,0.7,0.8,0.9,0.95,0.99", metavar="P,P,...", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--remove-bpe", choices=("subword_nmt", "sentencepiece"), default="subword_nmt", help="(default: %(default)s)"
    )
    parser.add_argument("--beam", type=trained.at_least(1), default=5, metavar="K", help="(default: 5)")
    parser.add_argument(
        "--sentences", type=trained.at_least(1), default=200, metavar="N", help="the first N, or all (default: 200)"
    )
    args = parser.parse_args()
    try:
        thresholds = [float(part) for part in args.thresholds.split(",")]
    except ValueError:
        thresholds = [math.nan]
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        parser.error(f"--thresholds {args.thresholds}: give probabilities, separated by commas, such as 0.5,0.9.")
    args.thresholds = thresholds
    return args


def main():
    """Run the command line."""
    args = parse_args()
    model, task = trained.load(args.checkpoint, args.data)
    check(model)
    model.prepare_for_inference_(OmegaConf.structured(FairseqConfig()))
    batches = trained.batches(model, task, args.subset, range(args.sentences), args.max_tokens, max_sentences=1)
    trained.output_folder(args.out)
    generator = task.build_generator([model], OmegaConf.create({"beam": args.beam}))
    by_passes, prediction = costs(model, batches[len(batches) // 2], args.beam)
    rows, seconds = [], None
    for threshold in [2.0, *args.thresholds]:
        bleu, taken, exits = search(model, task, generator, batches, threshold, args.remove_bpe)
        seconds = seconds or taken
        steps = sum(exits.values())
        mean = sum(passes * count for passes, count in exits.items()) / steps
        name, price = (threshold, prediction) if threshold <= 1 else ("all passes", 0.0)
        speeds = (most_speed(exits, seconds, by_passes, each) for each in (price, 0.0))
        rows.append(dict(zip(HEADER, (name, bleu, mean, *speeds)), exits=dict(exits)))
    cells = [[str(row["threshold"]), *(f"{row[name]:.2f}" for name in HEADER[1:])] for row in rows]
    files.write_json(
        args.out / "early_exit.json",
        {
            "checkpoint": str(args.checkpoint),
            "sentences": len(batches),
            "beam": args.beam,
            "search_seconds": seconds,
            "step_seconds_by_passes": by_passes,
            "prediction_seconds": prediction,
            "rows": rows,
            "hardware": surroundings.hardware_asked(),
            "packages": surroundings.packages(),
        },
    )
    figures.write_csv(args.out / "early_exit.csv", HEADER, cells)
    figures.save(draw(rows), args.out / "early_exit.png")
    print(tables.markdown([HEADER, *cells]))
    steps = ", ".join(f"{1000 * seconds:.2f} ms with {passes}" for passes, seconds in by_passes.items())
    print(f"\nDecoder step by passes: {steps}; a prediction: {1000 * prediction:.2f} ms")
    print(f"Wrote {args.out}/early_exit.png, .csv and .json")


if __name__ == "__main__":
    main()
