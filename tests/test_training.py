"""Invariant 9: gradients reach every parameter, and checkpointed activations do not change them, also under DDP."""

import os

import pytest
import torch
import torch.multiprocessing as multiprocessing

from support.models import COMBINATIONS, PAD, build_sret, logits, pad, source, target

SOURCES = pad([source(7), source(11, seed=1), source(2, seed=2), source(9, seed=3)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2), target(8, seed=3)])


def gradients(model, sources=SOURCES, targets=TARGETS):
    """Gradients by name after one step's backward, in float64, with the random numbers of seed 5."""
    model.train().double()
    torch.manual_seed(5)
    out = logits(model, sources, targets).log_softmax(-1)
    (out * torch.linspace(-1, 1, out.size(-1)))[targets.ne(PAD)].sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same(name, gradient, expected):
    """Equal up to the rounding of float64."""
    torch.testing.assert_close(gradient, expected, atol=1e-9, rtol=1e-9, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_parameter_receives_a_gradient(options):
    """No weight, projection or coefficient is left out."""
    for name, gradient in gradients(build_sret(**options)).items():
        if options.get("no_cross_attention") and name.startswith("encoder."):
            continue  # a decoder that never looks at the encoder
        assert gradient is not None and gradient.abs().max() > 0, name


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_checkpointed_activations_give_the_same_gradients(options):
    """With dropout and random slices on: re-computation sees the same pass, the same slices, the same masks."""
    plain = gradients(build_sret(**options))
    checkpointed = gradients(build_sret(checkpoint_activations=True, **options))
    for name, gradient in plain.items():
        if gradient is None:  # the encoder, where the decoder does not look at it
            assert checkpointed[name] is None or not checkpointed[name].any()
        else:
            assert_same(name, checkpointed[name], gradient)


def train_on_half(rank: int, folder: str, checkpoint: bool):
    """One of two processes: the averaged gradients of its half of the batch go into a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = build_sret(dropout=0.0, checkpoint_activations=checkpoint).double()
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    half = slice(2 * rank, 2 * rank + 2)
    gradients(parallel, SOURCES[half], TARGETS[half])
    if rank == 0:
        torch.save({name: parameter.grad for name, parameter in model.named_parameters()}, f"{folder}/gradients.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("checkpoint", [False, True])
def test_two_processes_average_the_gradients_of_the_whole_batch(tmp_path, checkpoint):
    """DistributedDataParallel over gloo, with and without checkpointed activations, equals one process."""
    multiprocessing.start_processes(train_on_half, (os.fspath(tmp_path), checkpoint), nprocs=2, start_method="spawn")
    averaged = torch.load(tmp_path / "gradients.pt")
    for name, gradient in gradients(build_sret(dropout=0.0)).items():
        assert_same(name, averaged[name] * 2, gradient)
