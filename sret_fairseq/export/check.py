"""Whether the graphs of a bundle compute what the model does."""

from typing import Dict, NamedTuple, Tuple

import numpy as np
import onnxruntime
import torch
from torch import nn

PAD, EOS = 1, 2
LENGTHS = (1, 2, 5, 9, 14, 23, 40)  # of the sources
BEAM, TARGET = 2, 24  # two hypotheses of each sentence, so many tokens long
FIRST_WORD = 4


class Deviation(NamedTuple):
    """How far log-probabilities are from the model's.

    Attributes:
        largest: of all of them.
        same_best: the part of the places where the most likely token is the same one.
    """

    largest: float
    same_best: float


def samples(model: nn.Module) -> Tuple[torch.Tensor, torch.Tensor]:
    """Random sentences: sources (B, S), padded on the right, and what the decoder reads (B, K, T)."""
    generator = torch.Generator().manual_seed(1)
    lengths = [min(length, model.encoder.max_positions() - 1) for length in LENGTHS]
    source_words, target_words = model.encoder.embed_tokens.num_embeddings, model.decoder.embed_tokens.num_embeddings
    sources = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(sources, lengths):
        row[:length] = torch.randint(FIRST_WORD, source_words, (length,), generator=generator)
        row[length - 1] = EOS
    size = (len(lengths), BEAM, min(TARGET, model.decoder.max_positions() - 1))
    targets = torch.randint(FIRST_WORD, target_words, size, generator=generator)
    targets[:, :, 0] = EOS
    return sources, targets


def of_model(model: nn.Module, sources: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """The model's log-probabilities, (B, K, T, V)."""
    lengths = sources.ne(PAD).sum(dim=1)
    with torch.no_grad():
        logits = [model(sources, lengths, targets[:, beam])[0].float() for beam in range(targets.size(1))]
    return torch.stack(logits, dim=1).log_softmax(dim=-1).numpy()


def of_graphs(
    encoder: onnxruntime.InferenceSession,
    decoder: onnxruntime.InferenceSession,
    sources: torch.Tensor,
    targets: torch.Tensor,
) -> np.ndarray:
    """The log-probabilities of the graphs, (B, K, T, V), token by token."""
    batch, beam, length = targets.shape
    sizes = {"batch": batch, "beam": beam, "slots": length * beam, "biases": 1}
    names = [node.name for node in encoder.get_outputs()]
    encoded = dict(zip(names, encoder.run(None, {"tokens": sources.numpy()})))
    feed: Dict[str, np.ndarray] = {"candidates": np.array([1])}
    for node in decoder.get_inputs():
        if node.name in encoded:
            feed[node.name] = encoded[node.name]
        elif node.type == "tensor(float)":
            feed[node.name] = np.zeros([sizes.get(size, size) for size in node.shape], np.float32)
    feed["visible"] = np.zeros((batch, beam, length * beam), bool)
    if any(node.name == "written" for node in decoder.get_inputs()):
        feed["written"] = np.tile(np.repeat(np.arange(length), beam), (batch, 1))
    wanted = [node.name for node in decoder.get_outputs()]
    result = []
    for step in range(length):
        slots = step * beam + np.arange(beam)
        feed["new_slots"] = np.tile(slots, (batch, 1))
        feed["visible"][:, np.arange(beam), slots] = True
        feed["tokens"], feed["step"] = targets[:, :, step].numpy(), np.array([step])
        outputs = dict(zip(wanted, decoder.run(None, feed)))
        result.append(outputs["log_probabilities"].reshape(batch, beam, -1))
        feed.update({name.removeprefix("new_"): array for name, array in outputs.items() if name.startswith("new_")})
    return np.stack(result, axis=2)


def deviation(
    model: nn.Module, encoder: onnxruntime.InferenceSession, decoder: onnxruntime.InferenceSession
) -> Deviation:
    """Compare the graphs with the model on sentences of random words, two hypotheses of each."""
    sources, targets = samples(model)
    ours, theirs = of_graphs(encoder, decoder, sources, targets), of_model(model, sources, targets)
    finite = np.isfinite(ours).all()
    largest = float(np.abs(ours - theirs).max()) if finite else float("inf")
    return Deviation(largest, float((ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean()))
