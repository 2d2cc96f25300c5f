"""Decoding through fairseq's translation task, and what the full forward pass says of the same words.

The full pass has no caches and no beams, so it is the yardstick for everything that a search reports.
"""

import contextlib
import io
from typing import Callable, Dict, List, Optional

import torch
from fairseq import options
from fairseq.dataclass.configs import GenerationConfig
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq_cli import generate as fairseq_generate
from fairseq_cli import interactive as fairseq_interactive
from torch import Tensor

from support.models import EOS, PAD, SOURCE_WORDS, TARGET_WORDS, dictionary, lengths, pad, source, target

Hypothesis = Dict[str, Tensor]

TASK = TranslationTask(TranslationConfig(), dictionary(SOURCE_WORDS), dictionary(TARGET_WORDS))
MAX_LEN = 8  # words of a hypothesis, without the end of the sentence
SOURCES = pad([source(7), source(11, seed=1), source(2, seed=2)], left=True)


def real(tokens: Tensor) -> Tensor:
    """A sentence without its padding."""
    return tokens[tokens.ne(PAD)]


def reference(length: int, seed: int = 0) -> Tensor:
    """A target sentence as the criterion reads it, its end last, (length,)."""
    return target(length, seed).roll(-1)


def make_generator(models: list, allowed_words=None, **settings) -> SequenceGenerator:
    """What fairseq-generate builds from its options, by their names in GenerationConfig; others are a TypeError."""
    config = GenerationConfig(**{"beam": 4, "max_len_b": MAX_LEN, **settings})
    return TASK.build_generator(models, config, prefix_allowed_tokens_fn=allowed_words)


def search(
    models: list,
    sources: Tensor = SOURCES,
    prefix: Optional[Tensor] = None,
    given: Optional[Tensor] = None,
    targets: Optional[Tensor] = None,
    allowed_words: Optional[Callable[[int, Tensor], List[int]]] = None,
    **settings,
) -> List[List[Hypothesis]]:
    """The hypotheses of each sentence, best first, found as fairseq-generate finds them.

    Args:
        models: the ensemble.
        sources: (B, S), padded.
        prefix: (B, P), padded, with which hypotheses have to begin, or None.
        given: the words that ``constraints`` asks for, as ``pack_constraints`` returns them, or None.
        targets: (B, T), padded, for ``score_reference``, or None.
        allowed_words: fairseq's ``prefix_allowed_tokens_fn``, or None.
        settings: options of generation.
    """
    sample = {"net_input": {"src_tokens": sources, "src_lengths": lengths(sources)}}
    if targets is not None:
        previous = pad([real(row).roll(1) for row in targets], length=targets.size(1))
        sample["target"], sample["net_input"]["prev_output_tokens"] = targets, previous
    generator = make_generator(models, allowed_words, **settings)
    return TASK.inference_step(generator, models, sample, prefix_tokens=prefix, constraints=given)


@torch.no_grad()
def distributions(models: list, tokens: Tensor, words: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities (T, V) of the next word before each of ``words`` (T,), averaged over the models' probabilities.

    Args:
        models: the ensemble.
        tokens: one source sentence (S,), which may be padded.
        words: one target sentence (T,), its end last.
        temperature: divides the logits.
    """
    tokens = real(tokens)[None]
    previous = torch.cat([torch.tensor([EOS]), words[:-1]])[None]
    logits = [model(tokens, lengths(tokens), previous)[0][0] / temperature for model in models]
    return torch.stack([torch.softmax(scores, dim=-1) for scores in logits]).mean(dim=0).log()


def word_scores(models: list, tokens: Tensor, words: Tensor, temperature: float = 1.0) -> Tensor:
    """The log-probability of each word (T,) in a full pass."""
    return distributions(models, tokens, words, temperature).gather(1, words[:, None])[:, 0]


def assert_scored_by_full_pass(models: list, sources: Tensor, found: List[List[Hypothesis]], lenpen: float = 1.0):
    """The scores of all hypotheses are what a full pass gives to their words; lenpen 0 leaves them unnormalised."""
    assert len(found) == len(sources)
    for tokens, hypotheses in zip(sources, found):
        assert hypotheses
        for hypothesis in hypotheses:
            words = hypothesis["tokens"]
            expected = word_scores(models, tokens, words)
            torch.testing.assert_close(hypothesis["positional_scores"], expected, atol=2e-5, rtol=0)
            score = expected.sum() / len(words) ** lenpen
            torch.testing.assert_close(hypothesis["score"], score, atol=2e-5, rtol=0)


def words_of(found: List[List[Hypothesis]]) -> List[List[List[int]]]:
    """The words of each hypothesis of each sentence."""
    return [[hypothesis["tokens"].tolist() for hypothesis in hypotheses] for hypotheses in found]


def generate_command(*words) -> str:
    """Run fairseq-generate in this process; its standard output."""
    parser = options.get_generation_parser()
    args = options.parse_args_and_arch(parser, ["--user-dir", "sret_fairseq", "--cpu", *map(str, words)])
    return said_by(fairseq_generate.main, args)


def interactive_command(*words) -> str:
    """Run fairseq-interactive in this process, on the file given with ``--input``; its standard output."""
    parser = options.get_interactive_generation_parser()
    args = options.parse_args_and_arch(parser, ["--user-dir", "sret_fairseq", "--cpu", *map(str, words)])
    return said_by(fairseq_interactive.main, convert_namespace_to_omegaconf(args))


def said_by(function, *arguments) -> str:
    """What a function prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        function(*arguments)
    return printed.getvalue()


def lines_of(said: str, kind: str) -> List[List[str]]:
    """The fields of fairseq's output lines of one kind, such as ``H``, ordered by sentence; the number comes first."""
    rows = [line[2:].split("\t") for line in said.splitlines() if line.startswith(f"{kind}-")]
    return sorted(rows, key=lambda row: int(row[0]))
