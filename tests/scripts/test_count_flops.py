"""Parameters and operations by part: sums, and numbers computed by hand."""

import csv
import sys

import pytest

import count_flops
from common import building, costs
from sret_fairseq import encoder
from sret_fairseq.summary import parameter_counts

# Encoder and decoder differ in every size, and so do the lengths, none of which 2, 3 or 4 divides.
SIZES = (
    "--encoder-embed-dim 16 --encoder-ffn-embed-dim 20 --encoder-attention-heads 4 --encoder-layers 2 "
    "--decoder-embed-dim 24 --decoder-ffn-embed-dim 28 --decoder-attention-heads 2 --decoder-layers 4"
)
VOCABULARY, SOURCE, TARGET = 31, 13, 11
SRET, FAIRSEQ = f"--arch sret_transformer {SIZES}", f"--arch transformer {SIZES}"
MODELS = {
    "defaults": SRET,
    "unsliced": f"{SRET} --encoder-slices 1",
    "slices that differ": f"{SRET} --encoder-recursions 3 --encoder-slices 4,3",
    "random slices": f"{SRET} --slice-permutation random --encoder-slices 5",
    "no NLL": f"{SRET} --nll-ratio 0",
    "half an NLL": f"{SRET} --nll-ratio 0.5",
    "spans": f"{SRET} --encoder-recursion-span 2 --decoder-recursion-span 4 --recursion-reverse --encoder-slices 2,3",
    "one pass of the decoder": f"{SRET} --decoder-recursions 1",
    "post-norm": f"{SRET} --no-encoder-normalize-before --no-decoder-normalize-before",
    "decoder slices": f"{SRET} --decoder-recursions 4 --decoder-slices 2,1,1,3 --decoder-chunk-size 5",
    "one chunk": f"{SRET} --decoder-slices 2 --decoder-chunk-size 16",
    "no cross-attention": f"{SRET} --no-cross-attention",
    "other output width": f"{SRET} --decoder-output-dim 10",
    "shared embeddings": f"{SRET} --share-decoder-input-output-embed",
    "real size": "--arch sret_transformer_tiny",
    "fairseq": FAIRSEQ,
    "fairseq pre-norm": f"{FAIRSEQ} --encoder-normalize-before --decoder-normalize-before",
    "fairseq without cross-attention": f"{FAIRSEQ} --no-cross-attention",
}
LENGTHS = f"--source-length {SOURCE} --target-length {TARGET} --vocabulary {VOCABULARY}"


@pytest.fixture
def run(monkeypatch):
    """A function that calls the command line of the script in this process."""
    monkeypatch.setattr(count_flops.logging, "disable", lambda level: None)  # which would outlast the test

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["count_flops.py", *" ".join(words[:1]).split(), *words[1:]])
        count_flops.main()

    return call


def built(words):
    """The model of these words."""
    return building.build(count_flops.parse_model(words), VOCABULARY)


@pytest.mark.parametrize("gather_from", [SOURCE, SOURCE + 1], ids=["gathered", "masked"])
@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS)
def test_every_operation_has_its_part(words, gather_from):
    """What belongs to no part is the projection to another output width alone, which has no name of its own."""
    model = built(words)
    model.encoder.gather_from = gather_from  # means nothing to fairseq's
    counts = costs.flop(model, (SOURCE, TARGET))
    width = 2 * TARGET * 24 * 10 if "--decoder-output-dim 10" in words else 0
    assert counts["decoder", "other"] == width and counts["encoder", "other"] == 0
    assert min(counts.values()) > 0
    assert (("decoder", "cross-attention") in counts) == ("--no-cross-attention" not in words)
    assert (("encoder", "NLL") in counts) == ("sret" in words and words[-13:] != "--nll-ratio 0")


@pytest.mark.parametrize("words", [SRET, f"{SRET} --share-decoder-input-output-embed --encoder-learned-pos", FAIRSEQ])
def test_parameters_are_all_there(words):
    """Their sum is the summary's, a shared tensor once, and so are the parts that the summary has too."""
    model = built(words)
    counts, expected = costs.parameters(model), parameter_counts(model)
    assert counts.total() == expected["total"]
    tables = ("embeddings", "vocabulary projection")
    assert sum(counts[side, part] for side in ("encoder", "decoder") for part in tables) == expected["embeddings"]
    assert sum(counts[side, "NLL"] for side in ("encoder", "decoder")) == expected["NLL"]
    assert counts["encoder", "FFN"] == 2 * (2 * 16 * 20 + 20 + 16)


def test_numbers_by_hand():
    """One block a side, two passes, 4 words to 3: what the heading's formulas give."""
    sizes = "--encoder-layers 1 --decoder-layers 1 --encoder-slices 1,3 --nll-ratio 0.5"
    model = built(f"{SRET} {sizes}")
    model.encoder.gather_from = 4
    assert costs.flop(model, (4, 3)) == {
        ("encoder", "self-attention projections"): ((4 + 3 * 2) * 3 + 2 * 4) * 2 * 16 * 16,  # 3 slices of 2 slots
        ("encoder", "self-attention"): 4 * (4 * 4 + 3 * 2 * 2) * 16,
        ("encoder", "FFN"): 2 * 4 * 2 * 2 * 16 * 20,
        ("encoder", "NLL"): 2 * 4 * 2 * 2 * 16 * 8,
        ("decoder", "self-attention projections"): 2 * 3 * 4 * 2 * 24 * 24,
        ("decoder", "self-attention"): 2 * 4 * 3 * 3 * 24,
        ("decoder", "cross-attention"): 2 * (2 * 3 * 2 * 24 * 24 + 4 * 3 * 4 * 24) + 2 * 4 * 2 * 16 * 24,
        ("decoder", "FFN"): 2 * 3 * 2 * 2 * 24 * 28,
        ("decoder", "NLL"): 2 * 3 * 2 * 2 * 24 * 12,
        ("decoder", "vocabulary projection"): 3 * 2 * 24 * VOCABULARY,
    }


def test_table_picture_and_csv(run, capsys, tmp_path):
    """Beside it fairseq's transformer of twice as many layers: as much FFN for half the parameters; sums add up."""
    run(f"{SRET} {LENGTHS} --csv {tmp_path}/flops.csv --png {tmp_path}/flops.png")
    printed = capsys.readouterr().out
    assert "2 FLOP" in printed and "13 source, 11 target tokens, vocabulary 31" in printed
    with open(tmp_path / "flops.csv", newline="") as lines:
        rows = {row["part"]: row for row in csv.DictReader(lines)}
    ffn, total = rows["decoder FFN"], rows["total"]
    assert (ffn["parameters_ratio"], ffn["flop_ratio"]) == ("0.500", "1.000")
    assert int(ffn["flop"]) == int(ffn["flop_beside"]) == 8 * 11 * 2 * 2 * 24 * 28
    assert rows["encoder NLL"]["flop_beside"] == "0" and rows["encoder NLL"]["flop_ratio"] == ""
    for column in ("parameters", "parameters_beside", "flop", "flop_beside"):
        assert sum(int(row[column]) for row in rows.values()) == 2 * int(total[column])
    assert f"{int(total['flop']) / 1e6:,.2f}" in printed.splitlines()[-1]
    assert (tmp_path / "flops.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(run, monkeypatch, tmp_path, capsys):
    """Only a picture needs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run(f"{SRET} {LENGTHS} --csv {tmp_path / 'flops.csv'}")
    assert "total" in capsys.readouterr().out and (tmp_path / "flops.csv").exists()
    with pytest.raises(SystemExit, match=r"^matplotlib is not installed: pip install"):
        run(f"{SRET} {LENGTHS} --png {tmp_path / 'flops.png'}")


def test_beside_another_model(run, capsys, tmp_path):
    """Named as one word. Without NLL and slices, two passes over half as many blocks cost what fairseq's layers do.

    But for the keys and values of the source, which all passes of a block share.
    """
    run(
        f"{SRET} --nll-ratio 0 --encoder-slices 1 {LENGTHS} --csv {tmp_path}/flops.csv --beside",
        f"{FAIRSEQ} --encoder-layers 4 --decoder-layers 8",
    )
    assert "beside: --arch transformer" in capsys.readouterr().out
    with open(tmp_path / "flops.csv", newline="") as lines:
        saved = {row["part"]: int(row["flop_beside"]) - int(row["flop"]) for row in csv.DictReader(lines)}
    shared = 4 * SOURCE * 2 * 2 * 16 * 24
    assert {part: flop for part, flop in saved.items() if flop} == {"decoder cross-attention": shared, "total": shared}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (f"{SRET} --source-length 0 --target-length 5", "--source-length: '0' is not a whole number of at least 1"),
        (f"{SRET} --source-length 5 --target-length -3", "--target-length: '-3' is not a whole number of at least 1"),
        (
            f"{SRET} --source-length five --target-length 5",
            "--source-length: 'five' is not a whole number of at least 1",
        ),
        (f"{SRET} --target-length 5", "--source-length"),
        (f"{SRET} {LENGTHS} --vocabulary 4", "--vocabulary: '4' is not a whole number of at least 5"),
        (f"{SRET} {LENGTHS} --max-target-positions 10", "--target-length 11 is more than --max-target-positions, 10"),
        (f"--arch lstm {LENGTHS}", "--arch lstm must be one of sret_transformer, "),
        (LENGTHS, "--arch is missing"),
        (f"{SRET} {LENGTHS} --nll-ration 0.5", "unrecognized arguments: --nll-ration 0.5"),
        (f"{SRET} {LENGTHS} --encoder-recursion-span 3", "--encoder-layers 2 cannot be divided"),
        (f"{SRET} {LENGTHS} --user-dir /nowhere", "/nowhere"),
        (f"{FAIRSEQ} {LENGTHS}", "--beside"),
        (f"{SRET} {LENGTHS} --beside lstm", "--arch is missing"),
        (f"{FAIRSEQ} {LENGTHS} --beside x --cross-self-attention", "--cross-self-attention changes"),
        (f"{FAIRSEQ} {LENGTHS} --beside x --encoder-attention-heads 3", "embed_dim must be divisible by num_heads"),
        (f"{SRET} {LENGTHS} --csv both --png both", "--csv and --png are both both; give two files."),
        (f"{SRET} {LENGTHS} --csv /proc/none/x.csv", "/proc/none/x.csv cannot be written"),
    ],
)
def test_wrong_words_get_one_sentence(run, words, sentence):
    """It names the option, and the status is not 0."""
    with pytest.raises(SystemExit) as end:
        run(words)
    assert sentence in str(end.value) and "\n" not in str(end.value)


def test_slices_of_short_sentences_are_a_mask():
    """Their attention costs as much as that of whole sentences; the limit is the one in encoder.py."""
    sliced, whole = (built(f"{SRET} --encoder-slices {slices}") for slices in (3, 1))
    limit = encoder.GATHER_FROM
    assert sliced.encoder.gather_from == limit
    short, long = (limit - 1, TARGET), (limit, TARGET)
    attention = ("encoder", "self-attention")
    assert costs.flop(sliced, short) == costs.flop(whole, short)
    assert costs.flop(sliced, long)[attention] < costs.flop(whole, long)[attention]
