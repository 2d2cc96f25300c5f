"""What decoding asks of the models: attention weights, ensembles, reference scores, dropout at inference."""

import re

import pytest
import torch
from fairseq import utils
from fairseq.dataclass.configs import FairseqConfig
from fairseq.modules import FairseqDropout

from support.decoding import (
    MAX_LEN,
    SOURCES,
    assert_scored_by_full_pass,
    make_generator,
    real,
    reference,
    search,
    word_scores,
    words_of,
)
from support.models import (
    COMBINATIONS,
    EOS,
    PAD,
    REPOSITORY,
    TARGET_WORDS,
    build_fairseq,
    build_sret,
    dictionary,
    lengths,
    pad,
)

REFERENCES = pad([reference(6), reference(4, seed=1), reference(9, seed=2)])
TABLE = pytest.mark.parametrize(
    "options",
    [options for options in COMBINATIONS.values() if "no_cross_attention" not in options],
    ids=[name for name, options in COMBINATIONS.items() if "no_cross_attention" not in options],
)


def cross_attention(model, tokens, words):
    """The weights (T, S) of the last cross-attention that a full pass applies, caught at the module itself."""
    caught = []
    hooks = [
        block.cross_attn.register_forward_hook(lambda module, given, result: caught.append(result[1]))
        for layer in model.decoder.layers
        for block in layer.blocks
    ]
    tokens = real(tokens)[None]
    previous = torch.cat([torch.tensor([EOS]), words[:-1]])[None]
    with torch.no_grad():
        model(tokens, lengths(tokens), previous)
    for hook in hooks:
        hook.remove()
    return caught[-1][0].mean(dim=0)  # over the heads


@TABLE
def test_soft_alignment(options):
    """--print-alignment soft: the last virtual layer's attention weights of each word, without those of padding."""
    model = build_sret(**options)
    found = search([model], print_alignment="soft")
    for tokens, hypotheses in zip(SOURCES, found):
        for one in hypotheses:
            weights = torch.tensor([[float(weight) for weight in row] for row in one["alignment"]])
            expected = cross_attention(model, tokens, one["tokens"])
            torch.testing.assert_close(weights, expected, atol=2e-5, rtol=0)


def test_hard_alignment():
    """--print-alignment hard: each word's source word of the greatest weight, the end of the source left out."""
    model = build_sret(**COMBINATIONS["cycle-reverse"])
    found = search([model], print_alignment="hard")
    for tokens, hypotheses in zip(SOURCES, found):
        for one in hypotheses:
            weights = cross_attention(model, tokens, one["tokens"])[:-1, :-1]
            expected = [(row, column) for column, row in enumerate(weights.argmax(dim=1).tolist())]
            assert [(int(row), int(column)) for row, column in one["alignment"]] == expected


ENSEMBLES = {
    "two sret_transformers": lambda: [build_sret(), build_sret(seed=1, **COMBINATIONS["three-passes"])],
    "three of them": lambda: [build_sret(seed) for seed in range(3)],
    "with fairseq's transformer": lambda: [build_sret(), build_fairseq(seed=1)],
    "fairseq's transformer first": lambda: [build_fairseq(), build_sret(seed=1, **COMBINATIONS["cycle"])],
}


@pytest.fixture(scope="module", params=ENSEMBLES.values(), ids=ENSEMBLES)
def ensemble(request):
    return request.param()


def test_ensemble(ensemble):
    """The scores are those of the average of the models' probabilities, and no single model's."""
    found = search(ensemble)
    assert_scored_by_full_pass(ensemble, SOURCES, found)
    assert words_of(found) not in [words_of(search([model])) for model in ensemble]


def test_alignment_of_an_ensemble_is_the_average():
    """--print-alignment soft of two models gives the average of their weights."""
    models = [build_sret(), build_sret(seed=1)]
    for tokens, hypotheses in zip(SOURCES, search(models, print_alignment="soft")):
        for one in hypotheses:
            weights = torch.tensor([[float(weight) for weight in row] for row in one["alignment"]])
            expected = torch.stack([cross_attention(model, tokens, one["tokens"]) for model in models]).mean(dim=0)
            torch.testing.assert_close(weights, expected, atol=2e-5, rtol=0)


def scores_word_by_word(models, tokens, words):
    """Log-probabilities (T,) of words by cached decoding, one word at a time."""
    tokens, previous = real(tokens)[None], torch.cat([torch.tensor([EOS]), words])[None]
    encoded = [model.encoder(tokens, lengths(tokens)) for model in models]
    states = [{} for _ in models]
    scores = []
    with torch.no_grad():
        for step, word in enumerate(words):
            logits = [
                model.decoder(previous[:, : step + 1], encoder_out=out, incremental_state=state)[0][0, -1]
                for model, out, state in zip(models, encoded, states)
            ]
            scores.append(torch.stack([row.softmax(dim=-1) for row in logits]).mean(dim=0)[word].log())
    return torch.stack(scores)


def test_score_reference(ensemble):
    """--score-reference: scores of the given words are those of cached decoding, in a batch of different lengths."""
    for models in (ensemble, ensemble[:1]):
        found = search(models, targets=REFERENCES, score_reference=True)
        for tokens, words, (one,) in zip(SOURCES, REFERENCES, found):
            assert one["tokens"].tolist() == real(words).tolist()
            expected = scores_word_by_word(models, tokens, real(words))
            torch.testing.assert_close(one["positional_scores"], expected, atol=2e-5, rtol=0)
            torch.testing.assert_close(one["score"], expected.mean(), atol=2e-5, rtol=0)


def test_score_reference_with_alignment():
    """--score-reference --print-alignment aligns the given words by the last virtual layer's attention."""
    model = build_sret()
    found = search([model], targets=REFERENCES, score_reference=True, print_alignment="hard")
    for tokens, words, (one,) in zip(SOURCES, REFERENCES, found):
        weights = cross_attention(model, tokens, real(words))[:-1, :-1]
        expected = [(row, column) for column, row in enumerate(weights.argmax(dim=1).tolist())]
        assert [(int(row), int(column)) for row, column in one["alignment"]] == expected


def replaced_unknown_words(model, alignment_of):
    """A hypothesis of unknown words, put through what --replace-unk does; and the source words to expect."""
    best = search([model], SOURCES[:1], unkpen=-100, print_alignment="hard")[0][0]
    sources = [f"source{index}" for index in range(len(real(SOURCES[0])) - 1)]
    expected = [sources[index] for index, _ in best["alignment"]]
    _, text, _ = utils.post_process_prediction(
        best["tokens"].int(),
        " ".join(sources),
        alignment_of(best["alignment"]),
        align_dict={},
        tgt_dict=dictionary(TARGET_WORDS),  # its own one: fairseq adds the words that it puts in
    )
    return text.split(), expected


@pytest.mark.xfail(strict=True, raises=TypeError, reason="fairseq indexes the source words by pairs of the alignment")
@pytest.mark.parametrize("build", [build_sret, build_fairseq])
def test_replace_unk_as_fairseq_calls_it(build):
    """--replace-unk fails at the first unknown word of a hypothesis, here and with fairseq's transformer."""
    text, expected = replaced_unknown_words(build(), lambda pairs: pairs)
    assert text == expected


def test_replace_unk():
    """Given the source positions of --print-alignment hard, unknown words become the source words attended to most."""
    text, expected = replaced_unknown_words(build_sret(), lambda pairs: [source for source, _ in pairs])
    assert len(text) == MAX_LEN and text == expected


def test_targets_padded_on_the_left():
    """--left-pad-target: a sentence's words get the same scores, padded on either side."""
    model = build_sret()
    previous = [real(words).roll(1) for words in REFERENCES]
    with torch.no_grad():
        outputs = [
            model(SOURCES, lengths(SOURCES), batch)[0][batch.ne(PAD)]
            for batch in (pad(previous), pad(previous, left=True))
        ]
    torch.testing.assert_close(outputs[1], outputs[0], atol=2e-5, rtol=0)


def retaining_dropout(modules=None, **options):
    """A model made ready as fairseq-generate --retain-dropout does."""
    model = build_sret(**options)
    config = FairseqConfig()
    config.generation.retain_dropout = True
    config.generation.retain_dropout_modules = modules
    model.prepare_for_inference_(config)
    return model


def test_retain_dropout():
    """--retain-dropout: every dropout stays on, so that the seed decides; with probabilities of 0 nothing changes."""
    model = retaining_dropout(dropout=0.2, attention_dropout=0.1, activation_dropout=0.1)
    assert all(module.apply_during_inference for module in model.modules() if isinstance(module, FairseqDropout))
    scores = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        scores.append([one[0]["score"].item() for one in search([model])])
    assert scores[0] == scores[1] != scores[2]
    still = search([retaining_dropout(dropout=0.0)])
    assert_scored_by_full_pass([build_sret()], SOURCES, still)


@pytest.mark.parametrize("where", ["dropout", "attention_dropout", "activation_dropout"])
def test_retain_dropout_everywhere(where):
    """--retain-dropout reaches the residual branches, the attention weights and the hidden units of the FFN."""
    model = retaining_dropout(**{"dropout": 0.0, where: 0.5})
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        scores.append(search([model])[0][0]["score"].item())
    assert scores[0] != scores[1]


def test_retain_dropout_modules():
    """--retain-dropout-modules takes the names in docs/compatibility.md; each keeps some dropouts on, all keep all."""
    documented = (REPOSITORY / "docs" / "compatibility.md").read_text()
    names = re.search(r"`--retain-dropout-modules` takes this model's names: ([^(]*) \(", documented)[1]
    kept = {}
    for name in re.findall(r"`(\w+)`", names):
        model = retaining_dropout([name], dropout=0.2, attention_dropout=0.1, activation_dropout=0.1)
        dropouts = {path: module for path, module in model.named_modules() if isinstance(module, FairseqDropout)}
        kept[name] = {path for path, module in dropouts.items() if module.apply_during_inference}
    assert all(kept.values()) and set().union(*kept.values()) == set(dropouts)
    assert sum(map(len, kept.values())) == len(dropouts)


class FlatLanguageModel(torch.nn.Module):
    """A language model that always prefers one word."""

    def __init__(self, word):
        super().__init__()
        self.scores = torch.full((TARGET_WORDS + 4,), -9.0)
        self.scores[word] = 0.0

    def forward(self, tokens):
        return self.scores.expand(*tokens.shape, -1)

    def get_normalized_probs(self, out, log_probs, sample):
        return out


def test_language_model():
    """--lm-path: the language model's log-probabilities, times --lm-weight, are added to the model's."""
    model, weight, word = build_sret(), 2.0, 7
    generator = make_generator([model])
    generator.lm_model, generator.lm_weight = FlatLanguageModel(word), weight
    sample = {"net_input": {"src_tokens": SOURCES, "src_lengths": lengths(SOURCES)}}
    found = generator.generate([model], sample)
    for tokens, hypotheses in zip(SOURCES, found):
        for one in hypotheses:
            added = weight * torch.where(one["tokens"] == word, 0.0, -9.0)
            expected = word_scores([model], tokens, one["tokens"]) + added
            torch.testing.assert_close(one["positional_scores"], expected, atol=2e-5, rtol=0)
        assert word in hypotheses[0]["tokens"]
