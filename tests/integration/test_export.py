"""Leaving fairseq: TorchScript of models, searches and positions; the model as a Python object of its own."""

import io

import pytest
import torch
from fairseq import search as strategies
from fairseq.sequence_generator import SequenceGenerator

from sret_fairseq.model import SretTransformerModel
from support.decoding import MAX_LEN, SOURCES, TASK, assert_scored_by_full_pass, make_generator, search, words_of
from support.models import build_fairseq, build_sret, lengths, logits, pad, target
from support.training import make_data, train

TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])
SAMPLE = {"net_input": {"src_tokens": SOURCES, "src_lengths": lengths(SOURCES)}}


def save_and_load(scripted):
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


POSITIONS = {
    "none": {"no_token_positional_embeddings": True},
    "learnt": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "sinusoidal": {},
    "not scaled": {"no_scale_embedding": True, "layernorm_embedding": True},
}


@pytest.mark.parametrize("options", POSITIONS.values(), ids=POSITIONS)
def test_scripted_model(options):
    """With any kind of positions the scripted, saved and loaded model gives the eager logits."""
    model = build_sret(**options)
    scripted = save_and_load(torch.jit.script(model))
    expected = logits(model, SOURCES, TARGETS)
    torch.testing.assert_close(logits(scripted, SOURCES, TARGETS), expected, atol=1e-5, rtol=0)


def test_positions_matter():
    """Without positions the logits are others: the options of the test above reach the model."""
    outputs = [logits(build_sret(**options), SOURCES, TARGETS) for options in POSITIONS.values()]
    for index, one in enumerate(outputs):
        assert all((one - other).abs().max() > 1e-3 for other in outputs[:index])


def test_scripted_model_in_training_mode():
    """A model scripted while it trains, without dropout, gives the eager logits and gradients."""
    model = build_sret(dropout=0.0).train()
    scripted = torch.jit.script(model)
    gradients = []
    for one in (model, scripted):
        model.zero_grad()
        logits(one, SOURCES, TARGETS).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


ENSEMBLES = {
    "one": lambda: [build_sret()],
    "without positions": lambda: [build_sret(no_token_positional_embeddings=True)],
    "two": lambda: [build_sret(), build_sret(seed=1, decoder_recursions=3)],
    "with fairseq's": lambda: [build_sret(), build_fairseq(seed=1)],
}


@pytest.mark.parametrize("build", ENSEMBLES.values(), ids=ENSEMBLES)
def test_scripted_search(build):
    """The scripted search over one or several models, saved and loaded, finds what the eager one finds."""
    models = build()
    found = save_and_load(torch.jit.script(make_generator(models)))(SAMPLE)
    assert words_of(found) == words_of(search(models))
    assert_scored_by_full_pass(models, SOURCES, found)


STRATEGIES = {
    "diverse beams": lambda: strategies.DiverseBeamSearch(TASK.target_dictionary, num_groups=2, diversity_strength=0.5),
    "sampling": lambda: strategies.Sampling(TASK.target_dictionary, sampling_topk=5),
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_scripted_strategies(strategy):
    """Diverse beams and sampling, scripted, saved and loaded, find what they find eagerly."""
    found = []
    for prepare in (lambda generator: generator, lambda generator: save_and_load(torch.jit.script(generator))):
        generator = SequenceGenerator(
            [build_sret()], TASK.target_dictionary, beam_size=4, max_len_b=MAX_LEN, search_strategy=strategy()
        )
        generator = prepare(generator)
        torch.manual_seed(1)
        found.append(words_of(generator(SAMPLE)))
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A small trained model as ``from_pretrained`` returns it."""
    folder = tmp_path_factory.mktemp("export")
    data = make_data(folder)
    train(data, folder / "checkpoints", "--max-update 20")
    return SretTransformerModel.from_pretrained(
        str(folder / "checkpoints"), "checkpoint_last.pt", data_name_or_path=str(data)
    )


LENGTHS = {"max_len_a": 1, "max_len_b": 3}


def test_translate(hub):
    """``translate`` gives the words of beam search, for one sentence and for several, alone or together."""
    lines = ["a b c", "d", "k j i h g f e"]
    together = hub.translate(lines, **LENGTHS)
    assert together == [hub.translate(line, **LENGTHS) for line in lines]
    found = hub.generate([hub.encode(line) for line in lines], **LENGTHS)
    assert together == [hub.decode(hypotheses[0]["tokens"]) for hypotheses in found]
    assert_scored_by_full_pass(list(hub.models), pad([hub.encode(line) for line in lines]), found)


def test_sample(hub):
    """``sample`` draws by torch's seed."""
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(hub.sample(["a b c d e f"] * 4, beam=1, sampling=True, **LENGTHS))
    assert drawn[0] == drawn[1] != drawn[2]


def test_alignment(hub):
    """``generate`` returns the alignment of each word."""
    ((best, *_),) = hub.generate([hub.encode("a b c d")], print_alignment="hard", **LENGTHS)
    assert [int(word) for _, word in best["alignment"]] == list(range(len(best["tokens"]) - 1))


def test_score_has_no_target(hub):
    """``score`` is for language models: fairseq gives it no target sentence, neither here nor for its transformer."""
    with pytest.raises((KeyError, TypeError, AttributeError)):
        hub.score(["a b c"])
