"""Mixed-depth training: its loss, what it logs, and the model that it leaves."""

import math

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.tasks.translation import TranslationTask

from sret_fairseq.criterions.mixed_depth import MixedDepthCriterion, soft_label_loss
from sret_fairseq.errors import OptionError, TrainingError
from support.criterions import PREVIOUS, SOURCES, sample
from support.models import PAD, Task, build_fairseq, build_sret, logits
from support.training import assert_same_weights, train

PASSES = {"encoder_recursions": 3, "decoder_recursions": 2, "encoder_slices": "2,3,1"}
MIXED = "--criterion sret_mixed_depth --mixed-depth 1 --label-smoothing 0.1"


def shallower(model, passes: int):
    """A model that was built with fewer passes, with the weights of this one."""
    sizes = {f"{side}_recursions": min(passes, len(getattr(model, side).slices)) for side in ("encoder", "decoder")}
    slices = ",".join(map(str, model.encoder.slices[: sizes["encoder_recursions"]]))
    built = build_sret(**sizes, encoder_slices=slices)
    built.load_state_dict({name: model.state_dict()[name] for name in built.state_dict()})
    return built


def smoothed(model, batch):
    """fairseq's label-smoothed loss and the negative log-likelihood."""
    loss, _, logged = LabelSmoothedCrossEntropyCriterion(Task(), False, 0.1)(model, batch)
    return loss, logged["nll_loss"]


def mixed(depths="1", weight=1.0, soft=False):
    """The criterion."""
    return MixedDepthCriterion(Task(), False, 0.1, 0, False, depths, weight, soft)


def test_at_passes_within_at_passes():
    """Afterwards the outer number holds again."""
    model = build_sret(**PASSES)
    with model.at_passes(2):
        expected = logits(model, SOURCES, PREVIOUS)
        with model.at_passes(1):
            assert not torch.equal(logits(model, SOURCES, PREVIOUS), expected)
        assert torch.equal(logits(model, SOURCES, PREVIOUS), expected)


@pytest.mark.parametrize("passes", [1, 2, 3, 9])
def test_at_passes_is_a_model_with_fewer(passes):
    """In the block the logits are those of a shallower model with the same weights; afterwards all is as before."""
    model = build_sret(**PASSES)
    before = logits(model, SOURCES, PREVIOUS)
    with model.at_passes(passes):
        inside = logits(model, SOURCES, PREVIOUS)
    expected = logits(shallower(model, passes), SOURCES, PREVIOUS)
    torch.testing.assert_close(inside, expected, atol=1e-5, rtol=0)
    assert torch.equal(logits(model, SOURCES, PREVIOUS), before)
    assert torch.equal(inside, before) == (passes >= 3)


def test_at_passes_ends_with_an_error_too():
    """An exception inside the block does not leave the model shallow."""
    model = build_sret(**PASSES)
    with pytest.raises(KeyError), model.at_passes(1):
        raise KeyError
    assert (model.encoder.passes, model.decoder.passes) == (3, 2)


def test_soft_label_loss_by_hand():
    """-sum p log q of two real tokens over three words; padding does not count, and p gets no gradient."""
    p = [[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.3, 0.5]]
    q = [[0.25, 0.25, 0.5], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]]
    deep = torch.tensor([p]).log().requires_grad_()
    shallow = torch.tensor([q]).log().requires_grad_()
    loss = soft_label_loss(deep, shallow, torch.tensor([[True, True, False]]))
    by_hand = -sum(pi * math.log(qi) for row in (0, 1) for pi, qi in zip(p[row], q[row]))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    loss.backward()
    assert deep.grad is None and shallow.grad[0, 2].abs().max() == 0


@pytest.mark.parametrize("depths", ["1", "1,2"])
def test_loss_is_the_deep_one_and_a_weighted_shallow_one(depths):
    """Both of fairseq's own making, the shallow one of a model built shallow; the gradients too."""
    model, batch = build_sret(**PASSES), sample()
    torch.manual_seed(7)
    drawn = [1, 2][int(torch.randint(2, ()))] if depths == "1,2" else 1
    deep, likelihood = smoothed(model, batch)
    shallow_model = shallower(model, drawn)
    shallow, _ = smoothed(shallow_model, batch)
    (deep + 0.5 * shallow).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, parameter in shallow_model.named_parameters():
        expected[name] = expected[name] + parameter.grad
    model.zero_grad()
    torch.manual_seed(7)
    loss, size, logged = mixed(depths, weight=0.5)(model, batch)
    assert loss.item() == pytest.approx((deep + 0.5 * shallow).item(), rel=1e-5)
    assert logged["loss"].item() == pytest.approx(deep.item(), rel=1e-5)
    assert logged["nll_loss"].item() == pytest.approx(likelihood.item(), rel=1e-5)
    assert logged["shallow_loss"].item() == pytest.approx(shallow.item(), rel=1e-5)
    assert size == batch["ntokens"]
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-3, rtol=1e-4, msg=name)


def test_soft_labels_are_what_all_passes_predict():
    """The second term is the cross-entropy to the deep model's probabilities, at every real token."""
    model, batch = build_sret(**PASSES), sample()
    loss, _, logged = mixed(soft=True)(model, batch)
    p = torch.softmax(logits(model, SOURCES, PREVIOUS), dim=-1)
    q = torch.log_softmax(logits(shallower(model, 1), SOURCES, PREVIOUS), dim=-1)
    expected = -(p * q).sum(dim=-1)[batch["target"].ne(PAD)].sum()
    assert logged["shallow_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.item() == pytest.approx((smoothed(model, batch)[0] + expected).item(), rel=1e-5)


def test_validation_is_of_all_passes_and_tells_each_depth():
    """Best checkpoints are chosen by the deep loss; the likelihood at each depth stands beside it."""
    model, batch = build_sret(**PASSES), sample()
    loss, _, logged = mixed("1,2").eval()(model, batch)
    assert loss.item() == pytest.approx(smoothed(model, batch)[0].item(), rel=1e-5)
    for passes in (1, 2):
        expected = smoothed(shallower(model, passes), batch)[1]
        assert logged[f"nll_loss_{passes}"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert "shallow_loss" not in logged


def test_validation_of_a_model_that_runs_fewer_passes():
    """fairseq-validate with fewer passes by --model-overrides: only depths below those are told."""
    model, batch = shallower(build_sret(**PASSES), 2), sample()
    loss, _, logged = mixed("1,2").eval()(model, batch)
    assert loss.item() == pytest.approx(smoothed(model, batch)[0].item(), rel=1e-5)
    assert "nll_loss_1" in logged and "nll_loss_2" not in logged


def test_checkpointed_activations_give_the_same_gradients():
    """What is computed anew in the backward pass is computed at the depth of its forward pass."""
    gradients = []
    for checkpointed in (False, True):
        model = build_sret(**PASSES, checkpoint_activations=checkpointed).train()
        mixed(soft=True)(model, sample())[0].backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize("depths", ["0", "1,", "one", "-1", "1.5", ""])
def test_what_is_no_list_of_depths_is_refused(depths):
    with pytest.raises(OptionError, match=f"--mixed-depth {depths} must be whole numbers"):
        mixed(depths)


def test_other_refusals():
    """A weight of nothing, and models that are not recursive."""
    for weight in (0.0, float("inf"), float("nan")):
        with pytest.raises(OptionError, match=f"--mixed-depth-weight {weight} must be more than 0"):
            mixed(weight=weight)
    with pytest.raises(TrainingError, match="knows no adaptive softmax"):
        mixed()(build_sret(**PASSES, adaptive_softmax_cutoff="10,20"), sample())
    with pytest.raises(TrainingError, match="trains a sret_transformer"):
        mixed()(build_fairseq(), sample())


def test_trains_and_resumes(data, tmp_path):
    """fairseq-train takes the options; a resumed training ends as an uninterrupted one."""
    words = f"{MIXED} --mixed-depth-soft-labels --max-update 4 --update-epoch-batch-itr True"
    model = "--encoder-recursions 3"
    whole = train(data, tmp_path / "whole", f"{words} {model}")
    train(data, tmp_path / "parts", f"{words} {model} --max-update 2")
    assert_same_weights(train(data, tmp_path / "parts", f"{words} {model}")["model"], whole["model"])
    assert whole["cfg"]["model"].encoder_trained_recursions == 3


def test_as_many_passes_as_there_are_are_refused_before_any_data_are_read(data, tmp_path, monkeypatch):
    """The criterion knows the passes of the model that was built before it."""
    monkeypatch.setattr(TranslationTask, "load_dataset", lambda *_, **__: pytest.fail("data were read"))
    with pytest.raises(OptionError, match="sret_mixed_depth: --mixed-depth 2 must be fewer than the 2 passes"):
        train(data, tmp_path, "--criterion sret_mixed_depth --mixed-depth 1,2 --max-update 1")


def test_a_refusal_in_training_leaves_no_crash_file(data, tmp_path):
    """fairseq stores crash.pt, the whole model, for every Exception of a training step."""
    with pytest.raises(SystemExit, match="knows no adaptive softmax"):
        train(data, tmp_path, "--criterion sret_mixed_depth --adaptive-softmax-cutoff 5 --max-update 1")
    assert not list(tmp_path.rglob("*.pt"))


def test_unused_parameters_are_refused():
    """torch's DDP would take the later passes' NLLs for unused after the shallow forward, and then meet them."""
    model = build_sret(**PASSES)
    model.find_unused_parameters = True
    with pytest.raises(TrainingError, match="take --ddp-backend legacy_ddp"):
        mixed()(model, sample())
