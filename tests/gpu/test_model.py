"""Loss, gradients and logits on the device: as in float64 on the CPU, and the same in every batch."""

import contextlib
from typing import Iterator

import pytest
import torch
from torch import Tensor

from sret_fairseq.criterions.chunked import ChunkedLoss
from support.models import COMBINATIONS, PAD, logits, pad, source, target
from support.wide import BATCHES, build_wide, loss_and_gradients, worst_error

# The longest way through these models, forward and back, has some 200 operations, each of which rounds by eps / 2 at
# most: as a random walk 7 eps, and more for the worst of 100 parameters, where rounding also turns over a ReLU. Seen on
# a CPU: 4 eps in float32, 8 in bfloat16, 19 in float16. A loss is a mean: below 1 eps.
GRADIENT, LOSS = 32, 4

FORMATS = {
    "float32": (torch.float32, True),
    "bfloat16": (torch.bfloat16, True),
    "bfloat16, cuDNN's attention off": (torch.bfloat16, False),
    "float16": (torch.float16, True),
    "float16, cuDNN's attention off": (torch.float16, False),
}


@contextlib.contextmanager
def cudnn_attention(allowed: bool) -> Iterator[None]:
    """With cuDNN's attention, where torch prefers it, or without."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(allowed)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.fixture(scope="module", params=COMBINATIONS)
def expected(request, device):
    """The name of an option combination, and its loss and gradients in float64 on the CPU."""
    return request.param, *loss_and_gradients(build_wide(request.param).double(), "cpu")


@pytest.mark.parametrize("dtype, cudnn", FORMATS.values(), ids=FORMATS)
def test_loss_and_gradients(dtype, cudnn, expected, device):
    """Every parameter's gradient is that in float64, up to the rounding of its number format."""
    if device == "cpu" and not cudnn:
        pytest.skip("a CPU has no cuDNN")
    name, loss, gradients = expected
    with cudnn_attention(cudnn):
        found, found_gradients = loss_and_gradients(build_wide(name).to(device, dtype), device)
    eps = torch.finfo(dtype).eps
    assert abs(found - loss) <= LOSS * eps * loss
    error, parameter = worst_error(found_gradients, gradients)
    assert error <= GRADIENT * eps, f"{parameter}: {error / eps:.1f} eps"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_where_those_of_cudnn_are_nan(dtype, device):
    """Lengths of 64, whole and in slices, with padding, which sees nothing: see patches/cudnn_attention.py."""
    for slices, length in (("1", 64), ("2", 64), ("2", 128)):
        model = build_wide(encoder_slices=slices, decoder_slices=slices, decoder_chunk_size=64).to(device, dtype)
        sides = [pad([make(length), make(20, seed=1)], left=make is source) for make in (source, target)]
        logits(model, *(side.to(device) for side in sides)).float().logsumexp(-1).mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), (name, slices, length)


def test_activations_computed_anew(device):
    """--checkpoint-activations draws the same dropout and the same random slices again."""
    found = []
    for kept in (True, False):
        options = {"dropout": 0.3, "slice_permutation": "random", "checkpoint_activations": not kept}
        torch.manual_seed(5)
        found.append(loss_and_gradients(build_wide("three-passes", **options).to(device), device))
    assert found[1][0] == pytest.approx(float(found[0][0]), rel=1e-6)
    assert worst_error(found[1][1], found[0][1])[0] <= GRADIENT * torch.finfo(torch.float32).eps


def test_random_slices_are_drawn_anew(device):
    """In training, from the device's generator: another seed, another loss; the same seed, the same one."""
    losses = []
    for seed in (1, 2, 1):
        model = build_wide(slice_permutation="random").to(device)
        torch.manual_seed(seed)
        losses.append(loss_and_gradients(model, device)[0])
    assert losses[2] == pytest.approx(float(losses[0]), rel=1e-6)
    assert losses[1] != pytest.approx(float(losses[0]), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype, device):
    """As --amp trains: weights and their gradients stay in float32, products are in half precision."""
    loss, gradients = loss_and_gradients(build_wide().double(), "cpu")
    model = build_wide().to(device)
    with torch.autocast(device, dtype):
        found, found_gradients = loss_and_gradients(model, device)
    assert found != loss_and_gradients(build_wide().to(device), device)[0]
    eps = torch.finfo(dtype).eps
    assert abs(found - loss) <= LOSS * eps * loss
    error, parameter = worst_error(found_gradients, gradients)
    assert error <= GRADIENT * eps, f"{parameter}: {error / eps:.1f} eps"
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


def log_probabilities(model: torch.nn.Module, sources: Tensor, targets: Tensor, device: str) -> Tensor:
    """Of the next word at each real place of the targets, (N, V), on the CPU."""
    out = logits(model, sources.to(device), targets.to(device)).float().log_softmax(-1)
    return out[targets.ne(PAD)].cpu()


@pytest.mark.parametrize("name", COMBINATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_neither_batch_nor_padding_matters(dtype, name, device):
    """A pair alone, in a batch, and in one with further padding on either side has the same probabilities.

    Rounding differs, since kernels differ by shape: logarithms of probabilities, of some 5, by a few eps.
    """
    model = build_wide(name).to(device, dtype)
    tolerance = 5 * GRADIENT * torch.finfo(dtype).eps
    for sources, targets in BATCHES:
        together = log_probabilities(model, sources, targets, device)
        longer = [pad(list(batch), left=left, length=23) for batch, left in ((sources, True), (targets, False))]
        rows = [(row[row.ne(PAD)], words[words.ne(PAD)]) for row, words in zip(sources, targets)]
        right = pad([row for row, _ in rows], length=21)
        alone = torch.cat([log_probabilities(model, row[None], words[None], device) for row, words in rows])
        for other in (
            alone,
            log_probabilities(model, *longer, device),
            log_probabilities(model, right, targets, device),
        ):
            torch.testing.assert_close(other, together, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_chunked_loss(dtype, device, monkeypatch):
    """The loss in chunks and its gradients are those of the definition in float64, of the rounded inputs."""
    monkeypatch.setattr("sret_fairseq.criterions.chunked.CHUNK_SIZE", {device: 2**14})  # several chunks
    tokens, width, words, smoothing = 50, 64, 1000, 0.1
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, width, generator=generator) for shape in (tokens, words)]
    targets = torch.randint(words, (tokens,), generator=generator)
    features, weight = (tensor.mul(0.3).to(device, dtype).requires_grad_() for tensor in inputs)
    loss, likelihood = ChunkedLoss.apply(features, weight, targets.to(device), smoothing)
    (loss / tokens).backward()

    exact = [tensor.detach().cpu().double().requires_grad_() for tensor in (features, weight)]
    logarithms = torch.log_softmax(exact[0] @ exact[1].t(), dim=-1)
    negative = -logarithms.gather(1, targets[:, None]).sum()
    spread = smoothing / (words - 1)
    wanted = (1 - smoothing - spread) * negative - spread * logarithms.sum()
    (wanted / tokens).backward()
    # A product, its gradient and a sum of these: few roundings, but on a GPU in float32 those of sums over 1,000 words
    # too, in an order that is the kernel's.
    roundings = 16 if dtype == torch.float32 and device != "cpu" else 4
    for found, wish in (
        (loss, wanted),
        (likelihood, negative),
        (features.grad, exact[0].grad),
        (weight.grad, exact[1].grad),
    ):
        error = (found.detach().cpu().double() - wish.detach()).norm() / wish.detach().norm()
        assert error <= roundings * torch.finfo(dtype).eps
