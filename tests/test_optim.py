"""``--optimizer fused_adam``: equal to fairseq's adam in values and options, with far fewer operations."""

import pytest
import torch
from fairseq import optim
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from benchmarks.counting import count
from sret_fairseq.errors import OptionError
from support.training import arguments

SETTINGS = "--adam-betas (0.9,0.98) --adam-eps 1e-6 --weight-decay 0.05 --lr 0.01"
SHAPES = [(3, 5), (7,), (1, 1), (2, 3, 4), (6, 6)]
# The options of a precision, the number format of the parameters, and what builds the optimizer in fairseq's Trainer.
PRECISIONS = {
    "float32": ("", torch.float32, optim.build_optimizer),
    "bf16": ("--bf16", torch.bfloat16, optim.FP16Optimizer.build_optimizer),
    "fp16": ("--fp16 --fp16-no-flatten-grads", torch.float16, optim.FP16Optimizer.build_optimizer),
    "memory-efficient bf16": ("--bf16", torch.bfloat16, optim.MemoryEfficientFP16Optimizer.build_optimizer),
    "memory-efficient fp16": ("--fp16", torch.float16, optim.MemoryEfficientFP16Optimizer.build_optimizer),
}


def build(name, words, parameters, builder):
    """One of the optimizers as fairseq's Trainer builds it."""
    cfg = convert_namespace_to_omegaconf(arguments("data", "save", f"{SETTINGS} --optimizer {name} {words}"))
    return builder(cfg.optimizer if builder is optim.build_optimizer else cfg, parameters)


def parameters_of(dtype):
    """Parameters of every rank, the same at each call."""
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def update(optimizer, parameters, number, clip=1.0):
    """One update as the Trainer makes it, with gradients drawn for its number; the norm before clipping.

    Every third update has no gradient for the first parameter, which then falls behind by a step.
    """
    generator = torch.Generator().manual_seed(number)
    optimizer.zero_grad()
    used = parameters[number % 3 == 0 :]
    optimizer.backward(sum((parameter * torch.randn(parameter.shape, generator=generator)).sum() for parameter in used))
    optimizer.multiply_grads(torch.tensor(0.7))
    norm = optimizer.clip_grad_norm(clip)
    optimizer.step()
    return norm


@pytest.mark.parametrize("words, dtype, builder", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_50_updates_are_those_of_adam(words, dtype, builder, clip):
    """Weights, norms and moments to 1e-6 (of 16-bit weights to a bit of their own), whatever gradients are missing."""
    weights, optimizers = [], []
    for name in ("adam", "fused_adam"):
        weights.append(parameters_of(dtype))
        optimizers.append(build(name, words, weights[-1], builder))
    for number in range(50):
        expected, norm = (update(*pair, number, clip) for pair in zip(optimizers, weights))
        torch.testing.assert_close(norm, expected, atol=1e-6, rtol=1e-6)
    tolerance = 1e-6 if dtype == torch.float32 else torch.finfo(dtype).eps
    torch.testing.assert_close(weights[1], weights[0], atol=tolerance, rtol=tolerance)
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    torch.testing.assert_close(states[1], states[0], atol=1e-6, rtol=1e-6)
    if hasattr(optimizers[0], "fp32_params"):
        torch.testing.assert_close(optimizers[1].fp32_params, optimizers[0].fp32_params, atol=1e-6, rtol=1e-6)


def test_flat_parameters():
    """What --fp16 makes of all parameters on a GPU: one tensor, whose number format is float32."""
    weights = [[torch.nn.Parameter(torch.linspace(-1, 1, 40))] for _ in range(2)]
    for name, flat in zip(("adam", "fused_adam"), weights):
        optimizer = build(name, "", [{0: flat[0]}], optim.build_optimizer)
        assert optimizer.supports_flat_params and optimizer.supports_memory_efficient_fp16
        for number in range(1, 10):
            update(optimizer, flat, number * 3 + 1)
    torch.testing.assert_close(weights[1], weights[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("precision, adam, fused", [("float32", 53, 12), ("bf16", 70, 17)])
def test_operations_of_an_update(precision, adam, fused):
    """Exactly, for five parameters: those of fairseq's grow by the parameter, those of fused_adam do not."""
    words, dtype, builder = PRECISIONS[precision]
    counted = {}
    for name in ("adam", "fused_adam"):
        weights = parameters_of(dtype)
        optimizer = build(name, words, weights, builder)
        for _ in range(2):  # the first one makes the state
            optimizer.zero_grad()
            optimizer.backward(sum(weight.sum() for weight in weights))

            def finish(optimizer=optimizer):
                optimizer.multiply_grads(torch.tensor(0.7))
                optimizer.clip_grad_norm(1.0)
                optimizer.step()
                optimizer.zero_grad()

            counted[name] = count(finish).total
    assert counted == {"adam": adam, "fused_adam": fused}


def test_refuses_what_needs_apex():
    """fairseq's adam needs apex for --fp16-adam-stats as well."""
    with pytest.raises(OptionError, match="--fp16-adam-stats needs apex"):
        build("fused_adam", "--fp16-adam-stats", parameters_of(torch.float32), optim.build_optimizer)


def test_refuses_sparse_gradients():
    """As fairseq's adam does."""
    weights = parameters_of(torch.float32)
    optimizer = build("fused_adam", "", weights, optim.build_optimizer)
    weights[0].grad = torch.sparse_coo_tensor([[0], [1]], [1.0], SHAPES[0])
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
