"""A validation whose translations are empty has BLEU 0, and those of one batch count in BLEU."""

from types import SimpleNamespace

import pytest
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from fairseq.tasks.translation import EVAL_BLEU_ORDER, TranslationTask
from sacrebleu.metrics import BLEU

from support.training import train

EMPTY = ([""], [["a b c d e f"]])
RIGHT = (["a b c d e f"], [["a b c d e f"]])


@pytest.fixture
def logged(monkeypatch):
    """A function that gives what fairseq's task logs of batches, each of translations and their references."""
    monkeypatch.setattr(FairseqTask, "reduce_metrics", lambda *_: None)  # which logs the loss
    task = TranslationTask.__new__(TranslationTask)
    task.cfg = SimpleNamespace(eval_bleu=True)

    def log(*batches):
        with metrics.aggregate(new_root=True) as meters:
            for translations, references in batches:
                score = BLEU(force=True).corpus_score(translations, references)
                output = {"_bleu_sys_len": score.sys_len, "_bleu_ref_len": score.ref_len}
                for order in range(EVAL_BLEU_ORDER):
                    output[f"_bleu_counts_{order}"] = score.counts[order]
                    output[f"_bleu_totals_{order}"] = score.totals[order]
                task.reduce_metrics([output], None)
            task.reduce_metrics([{"loss": 1.0}], None)  # of a training batch, which has no translations
            return meters.get_smoothed_values()

    return log


@pytest.mark.parametrize("batches", [[EMPTY], [EMPTY, EMPTY]])
def test_nothing_but_empty_translations(logged, batches):
    assert logged(*batches) == {"bleu": 0.0}


@pytest.mark.parametrize("batches", [[EMPTY, RIGHT], [RIGHT, EMPTY], [RIGHT]], ids=["first", "last", "none"])
def test_empty_translations_of_one_batch(logged, batches):
    """Their references count, in whatever order the batches come."""
    translations = [line for batch in batches for line in batch[0]]
    references = [line for batch in batches for line in batch[1][0]]
    expected = BLEU(force=True).corpus_score(translations, [references]).score
    assert logged(*batches)["bleu"] == round(expected, 2)


def test_a_training_goes_on(data, tmp_path, monkeypatch):
    """fairseq ends with a KeyError here."""
    nothing = BLEU().corpus_score(*EMPTY)
    monkeypatch.setattr(TranslationTask, "_inference_with_bleu", lambda *_: nothing)
    best = "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric"
    assert train(data, tmp_path, f"--max-update 2 --eval-bleu {best}")["extra_state"]["best"] == 0.0
