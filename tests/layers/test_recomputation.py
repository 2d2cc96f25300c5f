"""Activation checkpointing in segments: what they are, that gradients stay, and how much memory is left."""

import weakref
from itertools import pairwise

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sret_fairseq.layers import recomputation
from sret_fairseq.layers.block import Memory
from sret_fairseq.layers.layout import whole_sentences
from sret_fairseq.layers.recomputation import KEPT, segments
from support.models import build_sret, logits, source, target

# Both sides; K blocks are one group.
KINDS = {
    "one-block": {"encoder_layers": 1, "decoder_layers": 1},
    "stack-looped-back-and-forth": {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_recursion_span": 2,
        "decoder_recursion_span": 2,
        "recursion_reverse": True,
    },
    "no-nll": {"nll_ratio": 0.0, "residual_coefficients": "none"},
    "post-norm": {
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_normalize_before": False,
        "decoder_normalize_before": False,
    },
}


@pytest.mark.parametrize("count", [1, 2, 54, 504, 1000])
def test_segments_are_a_partition(count):
    """In order, nothing twice, all of one length but the last."""
    cut = segments(count)
    assert [number for segment in cut for number in range(*segment)] == list(range(count))
    lengths = [end - first for first, end in cut]
    assert len(set(lengths[:-1])) <= 1 and 1 <= lengths[-1] <= lengths[0]


def test_segments_grow_as_the_square_root():
    """Four times the depth: twice the length and twice the number."""
    one, four = (segments(count) for count in (4 * KEPT, 16 * KEPT))
    assert (one[0], four[0]) == ((0, 2), (0, 4))
    assert len(four) == 2 * len(one)


def side_gradients(model, side: str, passes: int, seed: int):
    """Gradients of one side's groups by name, and that of their input, in training mode."""
    stack = getattr(model, side).train().double()
    torch.manual_seed(seed)
    x = torch.randn(5, 2, stack.layers[0].blocks[0].ffn.fc1.in_features, dtype=torch.float64, requires_grad=True)
    out, decoder = x, side == "decoder"
    encoder_out = torch.linspace(-1, 1, 3 * 2 * 16, dtype=torch.float64).view(3, 2, 16)
    for group in stack.layers:
        layouts = [whole_sentences(None, decoder)] * passes * len(group.blocks)
        out, weights = group(out, layouts, Memory(encoder_out if decoder else None, None, None), need_weights=decoder)
        if decoder:
            assert weights.shape[-2:] == (5, 3)
            out = out + weights.sum()
    out.sin().sum().backward()
    named = {name: parameter.grad for name, parameter in stack.layers.named_parameters()}
    return {"input": x.grad, **named}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_plain_run(kind, side, dropout, monkeypatch):
    """In several segments of several applications, with the same dropout the second time."""
    monkeypatch.setattr(recomputation, "KEPT", 2)
    passes = 9
    settings = {**KINDS[kind], f"{side}_recursions": passes, "dropout": dropout, "attention_dropout": dropout}
    plain = side_gradients(build_sret(**settings), side, passes, seed=1)
    recomputed = side_gradients(build_sret(checkpoint_activations=True, **settings), side, passes, seed=1)
    other = side_gradients(build_sret(**settings), side, passes, seed=2)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-9, rtol=1e-9, msg=name)
    assert (other["input"] - plain["input"]).norm() > 0.1 * plain["input"].norm() > 1e-3


def test_decoding_meets_no_checkpoints():
    """A model that was trained with --checkpoint-activations decodes at once and step by step as one without."""
    model = build_sret(checkpoint_activations=True)
    plain = build_sret()
    sources, targets = source(7)[None], target(5)[None]
    expected = logits(plain, sources, targets)
    assert torch.equal(logits(model, sources, targets), expected)
    encoder_out, state = model.encoder(sources, None), {}
    for step in range(5):
        out = model.decoder(targets[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0]
        torch.testing.assert_close(out[:, 0], expected[:, step], atol=2e-5, rtol=0)


def test_offloaded_inputs_of_segments(monkeypatch):
    """With --offload-activations the input of every segment goes through the CPU's memory, and no more than that."""
    monkeypatch.setattr(recomputation, "KEPT", 2)
    saved = []
    on_cpu = torch.autograd.graph.save_on_cpu

    class Counting(on_cpu):
        def __init__(self, pin_memory):
            super().__init__(pin_memory)
            pack = self.pack_hook
            self.pack_hook = lambda tensor: saved.append(tensor.shape) or pack(tensor)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", Counting)
    settings = {"encoder_layers": 1, "encoder_recursions": 9}
    plain = side_gradients(build_sret(**settings), "encoder", 9, seed=1)
    assert not saved
    offload = {"checkpoint_activations": True, "offload_activations": True}
    gradients = side_gradients(build_sret(**offload, **settings), "encoder", 9, seed=1)
    for name, gradient in plain.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-9, rtol=1e-9, msg=name)
    assert [shape for shape in saved if len(shape) == 3] == [(5, 2, 16)] * 5  # 9 applications, 2 a segment


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made under it, as long as they live."""

    def __init__(self):
        super().__init__()
        self.now, self.most = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Calls the function and looks at what it returns."""
        made = function(*args, **(kwargs or {}))
        known = {id(tensor.untyped_storage()) for tensor in tree_leaves((args, kwargs)) if torch.is_tensor(tensor)}
        for tensor in tree_leaves(made):
            if torch.is_tensor(tensor) and id(tensor.untyped_storage()) not in known:
                size = tensor.untyped_storage().nbytes()
                known.add(id(tensor.untyped_storage()))
                weakref.finalize(tensor.untyped_storage(), self.free, size)
                self.now += size
        self.most = max(self.most, self.now)
        return made

    def free(self, size: int) -> None:
        """A tensor is gone."""
        self.now -= size


def peak(side: str, passes: int, checkpoint: bool) -> float:
    """The most memory that a training step of one looped block takes, in multiples of its input."""
    settings = {f"{side}_layers": 1, f"{side}_recursions": passes, "checkpoint_activations": checkpoint}
    model = build_sret(nll_ratio=0.0, dropout=0.1, **settings)
    (group,) = getattr(model, side).train().layers
    x = torch.randn(50, 4, group.blocks[0].ffn.fc1.in_features, requires_grad=True)
    memory = Memory(None if side == "encoder" else torch.randn(30, 4, 16), None, None)
    with LiveBytes() as live:
        out, _ = group(x, [whole_sentences(None, False)] * passes, memory)
        out.sum().backward()
    return live.most / (x.numel() * x.element_size())


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_memory_grows_as_the_square_root_of_the_depth(side):
    """Four times the depth takes four times the memory, or with checkpoints about twice as much, and less at once."""
    depths = (4, 16, 64)
    plain, recomputed = ([peak(side, depth, checkpoint) for depth in depths] for checkpoint in (False, True))
    for shallow, deep in pairwise(plain):
        assert 3.7 < deep / shallow < 4.1
    for shallow, deep in pairwise(recomputed):
        assert 1.2 < deep / shallow < 2.4
    assert recomputed[2] < plain[2] / 10
