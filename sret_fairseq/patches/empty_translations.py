"""fairseq logs no BLEU where all translations of a batch are empty, as those of a model that has learnt nothing yet.

Where they are so in all batches, ``--best-checkpoint-metric bleu`` ends the training with a KeyError; where in one, its
references are not counted.
"""

import functools
from typing import Any, Callable, Dict, List

import numpy as np
from fairseq.logging import metrics
from fairseq.tasks.translation import EVAL_BLEU_ORDER, TranslationTask


def bleu(meters: Any) -> float:
    """BLEU from what fairseq has added up, as fairseq computes it."""
    from sacrebleu.metrics import BLEU  # here, as in fairseq: few trainings need it

    lengths = {name: int(meters[f"_bleu_{name}"].sum) for name in ("sys_len", "ref_len")}
    counts = {"correct": meters["_bleu_counts"].sum, "total": meters["_bleu_totals"].sum}
    return round(BLEU.compute_bleu(**counts, **lengths, smooth_method="exp").score, 2)


def log_empty(logging_outputs: List[Dict[str, Any]]) -> None:
    """Log the translations of a batch, if there are any and all of them are empty."""
    validated = [output for output in logging_outputs if "_bleu_ref_len" in output]
    if not validated or any(output["_bleu_totals_0"] > 0 for output in validated):
        return
    for name in ("_bleu_counts", "_bleu_totals"):
        metrics.log_scalar(name, np.zeros(EVAL_BLEU_ORDER, dtype=int))
    metrics.log_scalar("_bleu_sys_len", 0)
    metrics.log_scalar("_bleu_ref_len", int(sum(output["_bleu_ref_len"] for output in validated)))
    metrics.log_derived("bleu", bleu)


def count_empty_translations() -> None:
    """Have them logged, in this process."""
    reduce = TranslationTask.reduce_metrics
    if not hasattr(reduce, "__wrapped__"):

        @functools.wraps(reduce)
        def reduce_metrics(self: TranslationTask, logging_outputs: List[Dict[str, Any]], criterion: Callable) -> None:
            reduce(self, logging_outputs, criterion)
            if self.cfg.eval_bleu:
                log_empty(logging_outputs)

        TranslationTask.reduce_metrics = reduce_metrics
