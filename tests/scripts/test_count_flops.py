"""Operations by formula: against torch's counter on models that run, and against numbers computed by hand."""

import csv
import sys
from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

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
# Modules all of whose operations are of one part.
MODULES = {
    "cross_attn": "cross-attention",
    "encoder_attn": "cross-attention",
    "cross_attn.out_proj": "cross-attention",  # called by the block, as the last layer of a sublayer
    "self_attn.out_proj": "self-attention projections",
    "mlp.fc1": "NLL",
    "mlp.fc2": "NLL",
    "fc1": "FFN",
    "fc2": "FFN",
    "output_projection": "vocabulary projection",
    "project_out_dim": "other",
}
PRODUCTS = ("aten.mm", "aten.addmm")  # linear layers; all others within self-attention are attention itself
LENGTHS = f"--source-length {SOURCE} --target-length {TARGET} --vocabulary {VOCABULARY}"


@pytest.fixture
def script(import_script):
    """scripts/count_flops.py."""
    return import_script("count_flops")


@pytest.fixture
def run(script, monkeypatch):
    """A function that calls the command line of the script in this process."""
    monkeypatch.setattr(script.logging, "disable", lambda level: None)  # which would outlast the test

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["count_flops.py", *" ".join(words[:1]).split(), *words[1:]])
        script.main()

    return call


def counted(model, source_length, target_length):
    """What torch counts on a forward pass of one sentence pair: module -> operation -> FLOP; "Global" is all."""
    tokens = [torch.randint(4, VOCABULARY, (1, length)) for length in (source_length, target_length)]

    def fused(query, key, value, *_, **__):
        return sdpa_flop_count(query, key, value)

    # torch does not count the CPU's fused attention.
    mapping = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        model.eval()(tokens[0], torch.tensor([source_length]), tokens[1])
    return counter.get_flop_counts()


def parts_of(counts):
    """The same by side and part, as count_flops has them."""
    parts = Counter()
    for module, operations in counts.items():
        _, side, *inner = module.split(".") if "." in module else ("", module)
        last = inner[-1] if inner else ""
        for operation, flop in operations.items():
            if last == "self_attn":
                linear = str(operation) in PRODUCTS
                parts[side, "self-attention projections" if linear else "self-attention"] += flop
            elif ".".join(inner[-2:]) in MODULES or last in MODULES:
                parts[side, MODULES.get(".".join(inner[-2:])) or MODULES[last]] += flop
    return parts


@pytest.mark.parametrize("gather_from", [SOURCE, SOURCE + 1], ids=["gathered", "masked"])
@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS)
def test_formula_is_what_torch_counts(script, words, gather_from):
    """Each part of each side, and the sum of all; the encoder's slices as moved tokens and as a mask."""
    model = script.build(script.parse_model(words), VOCABULARY)
    model.encoder.gather_from = gather_from  # means nothing to fairseq's
    expected = counted(model, SOURCE, TARGET)
    operations = script.operations(model, (SOURCE, TARGET))
    assert +operations == parts_of(expected)
    assert operations.total() == sum(expected["Global"].values())


@pytest.mark.parametrize("words", [SRET, f"{SRET} --share-decoder-input-output-embed --encoder-learned-pos", FAIRSEQ])
def test_parameters_are_all_there(script, words):
    """Their sum is the summary's, a shared tensor once, and so are the parts that the summary has too."""
    model = script.build(script.parse_model(words), VOCABULARY)
    counts, expected = script.parameters(model), parameter_counts(model)
    assert counts.total() == expected["total"]
    tables = ("embeddings", "vocabulary projection")
    assert sum(counts[side, part] for side in script.SIDES for part in tables) == expected["embeddings"]
    assert sum(counts[side, "NLL"] for side in script.SIDES) == expected["NLL"]
    assert counts["encoder", "FFN"] == 2 * (2 * 16 * 20 + 20 + 16)


def test_numbers_by_hand(script):
    """One block a side, two passes, 4 words to 3: what the heading's formulas give."""
    sizes = "--encoder-layers 1 --decoder-layers 1 --encoder-slices 1,3 --nll-ratio 0.5"
    model = script.build(script.parse_model(f"{SRET} {sizes}"), VOCABULARY)
    model.encoder.gather_from = 4
    operations = script.operations(model, (4, 3))
    assert operations == {
        ("encoder", "self-attention projections"): ((4 + 3 * 2) * 3 + 2 * 4) * 2 * 16 * 16,  # 3 slices of 2 slots
        ("encoder", "self-attention"): 4 * (4 * 4 + 3 * 2 * 2) * 16,
        ("encoder", "FFN"): 2 * 4 * 2 * 2 * 16 * 20,
        ("encoder", "NLL"): 2 * 4 * 2 * 2 * 16 * 8,
        ("decoder", "self-attention projections"): 2 * 3 * 4 * 2 * 24 * 24,
        ("decoder", "self-attention"): 2 * 4 * 3 * 3 * 24,
        ("decoder", "cross-attention"): 2 * (2 * 3 * 2 * 24 * 24 + 2 * 4 * 2 * 16 * 24 + 4 * 3 * 4 * 24),
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


@pytest.mark.parametrize("option", ["--csv", "--png"])
def test_an_empty_name_of_a_file(run, option):
    with pytest.raises(SystemExit, match=f"{option} names no file; give the name of one"):
        run(f"{SRET} {LENGTHS}", option, "")


def test_beside_another_model(run, capsys):
    """Named as one word; without NLL and slices, two passes over half as many blocks cost what fairseq's layers do."""
    run(
        f"{SRET} --nll-ratio 0 --encoder-slices 1 {LENGTHS} --beside",
        f"{FAIRSEQ} --encoder-layers 4 --decoder-layers 8",
    )
    printed = capsys.readouterr().out
    assert "beside: --arch transformer" in printed and printed.splitlines()[-1].split()[-2] == "1.000"


def test_numbers_need_no_memory(script):
    """Models whose parameters have sizes only give the same as real ones."""
    args = script.parse_model(SRET)
    real = script.build(args, VOCABULARY)
    with torch.device("meta"):
        sizes = script.build(args, VOCABULARY)
    assert {parameter.device.type for parameter in sizes.parameters()} == {"meta"}
    assert script.compare([sizes], (SOURCE, TARGET)) == script.compare([real], (SOURCE, TARGET))


@pytest.mark.parametrize(
    "words, sentence",
    [
        (f"{SRET} --source-length 0 --target-length 5", "--source-length 0 must be at least 1"),
        (f"{SRET} --source-length 5 --target-length -3", "--target-length -3 must be at least 1"),
        (f"{SRET} --source-length five --target-length 5", "--source-length: invalid int value: 'five'"),
        (f"{SRET} --target-length 5", "--source-length"),
        (f"{SRET} {LENGTHS} --vocabulary 4", "--vocabulary 4 must be at least 5"),
        (f"{SRET} {LENGTHS} --encoder-slices 2,14", "--source-length 13 is shorter than the 14 slices"),
        (f"{SRET} {LENGTHS} --decoder-slices 1,12", "--target-length 11 is shorter than the 12 slices"),
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


def test_decoder_chunks_may_be_fewer_than_slices(script):
    """The number of slices counts in passes 2, 4, ...; in passes 1, 3, ... the length of a chunk does."""
    model = script.build(script.parse_model(f"{SRET} --decoder-slices 9,1 --decoder-chunk-size 4"), VOCABULARY)
    script.check_lengths(model, (SOURCE, 6))
    assert script.self_attention_slices(model, "decoder", 6) == [(2, 4), (1, 6)]


def test_slices_of_short_sentences_are_a_mask(script):
    """Their attention costs as much as that of whole sentences; the limit is the one in encoder.py."""
    sliced, whole = (
        script.build(script.parse_model(f"{SRET} --encoder-slices {slices}"), VOCABULARY) for slices in (3, 1)
    )
    limit = encoder.GATHER_FROM
    assert sliced.encoder.gather_from == limit
    short, long = (limit - 1, TARGET), (limit, TARGET)
    attention = ("encoder", "self-attention")
    assert script.operations(sliced, short) == script.operations(whole, short)
    assert script.operations(sliced, long)[attention] < script.operations(whole, long)[attention]
