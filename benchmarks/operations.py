"""Operations and host synchronisations of training and of translating: counts, the same on every machine."""

import argparse
from typing import Dict, List, Tuple

from benchmarks import decode, models
from benchmarks.batches import sources, training_batches
from benchmarks.comparison import Comparison, Goal
from benchmarks.counting import Operations, count
from benchmarks.report import Report, comparisons_report

BF16 = "--bf16"
# fairseq's sinusoidal positions read sizes from tensors, which are on the host whatever the model's device.
LEARNED = "--encoder-learned-pos --decoder-learned-pos"
VARIANTS = {"defaults": models.B, "NLL 1": models.WIDE_NLL, "no NLL": models.NO_NLL, "bare": models.BARE}
SHORT, LONG = 4, 12  # tokens of the translations whose difference tells a step; within one size of the caches
PASS, UPDATE, STEP, WAITS = "forward and backward", "update", "decoding step", "synchronisations of a"
GOALS = {
    (PASS, "defaults"): 1.35,
    (PASS, "no NLL"): 1.0,
    (PASS, "bare"): 0.8,
    (f"{UPDATE}, fused_adam", "defaults"): 0.55,
    (STEP, "defaults"): 0.9,
    (STEP, "no NLL"): 0.7,
}
NOTES = [
    "A: fairseq's transformer, 6+6 layers, pre-norm, fairseq's adam. B: sret_transformer, 3 blocks x 2 passes a side.",
    "Dispatched operations on a CPU, backward's included; views, and what only sets memory aside, left out. Training "
    "in bf16, an update as fairseq's Trainer runs it. A decoding step is one of beam search (beam 5, float32), with "
    "the search. Coefficients are not 1.",
    "Synchronisations: the host reads what a device has computed; in training of the model, in a decoding step of the "
    "model and the search, which makes 4 of them; with learned positions. Not seen on a GPU.",
]


def forward_and_backward(words: str) -> Tuple[Operations, Operations]:
    """Of one batch in bf16: the model's forward alone; and forward, loss and backward."""
    system = models.build("tiny", words, "cpu")
    model, criterion = system.model.bfloat16().train(), system.task.build_criterion(system.cfg.criterion)
    (batch,) = training_batches(256, count=1)
    forward = count(lambda: model(**batch["net_input"]))
    return forward, count(lambda: criterion(model, batch)[0].backward())


def update(words: str) -> Operations:
    """Of an update in bf16, not the first one, which makes the optimizer's state."""
    trainer = models.build("tiny", f"{words} {BF16}", "cpu").trainer()
    (batch,) = training_batches(256, count=1)
    trainer.train_step([batch])
    return count(lambda: trainer.train_step([batch]))


def step(words: str) -> Tuple[float, float]:
    """Operations and synchronisations of a decoding step."""
    system, batch = models.build("tiny", words, "cpu"), sources(1, "cpu")
    counted = []
    for length in (SHORT, LONG):
        translator = decode.Translator(system, [batch], length)
        translator.check()
        counted.append(count(translator.translate))
    short, long = counted
    return (long.total - short.total) / (LONG - SHORT), (long.waits - short.waits) / (LONG - SHORT)


def counts(words: str, optimizers: List[str]) -> Dict[str, float]:
    """All counts of one system by what was counted."""
    updates = {f"{UPDATE}, {name}": update(f"{words} --optimizer {name}").total for name in optimizers}
    return {
        PASS: forward_and_backward(words)[1].total,
        **updates,
        STEP: step(words)[0],
        f"{WAITS} forward in training": forward_and_backward(f"{words} {LEARNED}")[0].waits,
        f"{WAITS} {STEP}": step(f"{words} {LEARNED}")[1],
    }


def run(settings: argparse.Namespace) -> Report:
    """Every variant of B beside A, with --quick one."""
    variants = {"defaults": VARIANTS["defaults"]} if settings.quick else VARIANTS
    theirs = counts(models.A, ["adam"])
    comparisons = []
    for variant, words in variants.items():
        for name, number in counts(words, ["adam", "fused_adam"]).items():
            beside = theirs[f"{UPDATE}, adam" if name.startswith(UPDATE) else name]
            bound = GOALS.get((name, variant))
            goal = None if bound is None else Goal(bound, at_least=False)
            comparisons.append(Comparison(f"{variant}: {name}", "count", [beside], [number], goal))
    return comparisons_report(comparisons, NOTES)
