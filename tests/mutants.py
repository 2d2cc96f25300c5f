"""Mutants of the package: small faults, each of which the quick tests have to find.

    python tests/mutants.py            all of them, in some five minutes
    python tests/mutants.py cache NLL  those whose names contain one of the words

Each is put into a copy of the repository, where the tests that should find it run until the first one fails. Which one
that was is printed. The status is 1 if a mutant is not found, or if its text is no longer in the package: then write it
anew.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, NamedTuple, Optional

REPOSITORY = Path(__file__).resolve().parents[1]


class Mutant(NamedTuple):
    """A fault.

    Attributes:
        name: what is wrong then.
        file: within the package.
        right: a text that stands there once.
        wrong: what replaces it.
        tests: files within tests/ that should find it, the likeliest first.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str


ATTENTION, BEAMS, RESIDUAL = "layers/attention.py", "layers/beams.py", "layers/residual.py"
STEP = "layers/step.py"
LAYOUT, ENCODER_SLICES, DECODER_SLICES = "layers/layout.py", "layers/encoder_slices.py", "layers/decoder_slices.py"
RECURSION, PROJECTION = "layers/recursion.py", "layers/projection.py"
CHUNKED, DISTILLATION, MIXED = "criterions/chunked.py", "criterions/distillation.py", "criterions/mixed_depth.py"

MUTANTS = [
    # Recursion and projections
    Mutant("no NLL is applied", PROJECTION, "return self.residual.leave(x, ",
           "return x or self.residual.leave(x, ", "layers/test_residual.py"),
    Mutant("the last NLL is missing", RECURSION, "x = self.projections[row][index](x)",
           "x = self.projections[row][index](x) if number < end - 1 else x", "layers/test_recursion.py"),
    Mutant("all passes go through the first NLL", RECURSION, "min(pass_index, len(self.projections) - 1)", "0",
           "layers/test_recursion.py"),
    Mutant("loops never run backwards", RECURSION, "if self.reverse and pass_index % 2 == 1:", "if False:",
           "layers/test_recursion.py"),
    Mutant("attention weights of the first application", RECURSION, "number == len(layouts) - 1", "number == 0",
           "layers/test_recursion.py"),
    Mutant("a block is registered twice", RECURSION, "        self.projections = nn.ModuleList(",
           "        self.again = self.blocks[0]\n        self.projections = nn.ModuleList(", "test_model.py"),
    Mutant("recomputation starts one pass late", RECURSION, "self.segment, first=first,",
           "self.segment, first=first + 1,", "test_training.py"),
    Mutant("the scale is that of the passes that run", "layers/block.py", "_trained_recursions", "_recursions",
           "test_depth.py"),
    Mutant("passes stay few after a block of few", "model.py", "side.passes = number", "pass",
           "criterions/test_mixed_depth.py"),
    # Residual coefficients
    Mutant("c1 is not applied", RESIDUAL, "return torch.addcmul(branch, x, 1 + identity.to(x.dtype))",
           "return x + branch", "layers/test_residual.py"),
    Mutant("coefficients are 1 - d", RESIDUAL, "torch.addcmul(x, x, offset.to(x.dtype))",
           "torch.addcmul(x, x, -offset.to(x.dtype))", "layers/test_residual.py"),
    Mutant("c1 lacks the scale", RESIDUAL, "times(identity, self.scale)", "identity", "layers/test_residual.py"),
    Mutant("the gradient of c1 is that of the branch", RESIDUAL, "dot(gradient, x, identity)",
           "dot(gradient, gradient, identity)", "layers/test_residual.py"),
    Mutant("the gradient of c2 is without the bias", RESIDUAL, "products + dot(bias_gradient, bias, residual)",
           "products", "layers/test_residual.py"),
    Mutant("all passes have the first one's layer", RESIDUAL, "row = self.coefficients.row(pass_index)", "row = 0",
           "layers/test_residual.py"),
    Mutant("multiplied layers outlive a loop", RESIDUAL, "            connection.layers = None\n", "            pass\n",
           "layers/test_residual.py"),
    Mutant("each pass has the first one's coefficients", RESIDUAL, "return min(pass_index, self.passes - 1)",
           "return 0", "layers/test_residual.py"),
    Mutant("post-norm is pre-norm", RESIDUAL, "        if self.normalize_before:\n            return x\n",
           "        return x\n", "test_model.py"),
    # A step of translating
    Mutant("a translation takes the weights of the one before", STEP,
           "self.groups, self.applications = None, applications\n",
           "if self.groups:\n            return\n        self.applications = applications\n", "test_decoding.py"),
    Mutant("c2 is not applied in one product", STEP, "beta=self.identity, alpha=self.residual", "beta=self.identity",
           "test_decoding.py"),
    Mutant("c2 is not applied to the bias", STEP, "last.bias * residual", "last.bias", "test_decoding.py"),
    Mutant("a step has no NLL", STEP, "isinstance(projection, NonLinearProjection)", "False", "test_decoding.py"),
    Mutant("a step is pre-norm", STEP, "        return x if self.pre_norm else torch.layer_norm(x, *self.norm)\n",
           "        return x\n", "test_decoding.py"),
    Mutant("steps pass over what was put into a layer's place", STEP, "is_plain(part, *KNOWN)", "True",
           "layers/test_step.py"),
    Mutant("steps in training", STEP, " or part.training", "", "layers/test_step.py"),
    Mutant("steps drop nothing out", STEP, "return not part.apply_during_inference", "return True",
           "layers/test_step.py"),
    Mutant("steps take the first channel's coefficient", STEP, "return part.channels == 1", "return True",
           "layers/test_step.py"),
    Mutant("steps round coefficients", STEP, 'in_16_bits(part.weight) and part.weight.device.type == "cpu"', "False",
           "layers/test_step.py"),
    Mutant("steps of another depth", STEP, "and self.applications == applications", "", "layers/test_step.py"),
    Mutant("steps under autocast", STEP, " or torch.is_autocast_enabled(x.device.type)", "", "layers/test_step.py"),
    Mutant("the gradient of deep loops is a sum of rounded ones", RESIDUAL, "self.scaled and in_16_bits(hidden)",
           "False", "test_depth.py"),
    Mutant("steps pass over hooks", RESIDUAL, " and not any(hooks)", "",
           "layers/test_step.py"),
    # Masks and slices
    Mutant("no causal mask", DECODER_SLICES, "return whole_sentences(None, causal=True)",
           "return whole_sentences(None, causal=False)", "test_model.py test_properties.py"),
    Mutant("no padding mask in whole sentences", ENCODER_SLICES, "whole_sentences(padding_keys(padding_mask, like)",
           "whole_sentences(None", "test_model.py"),
    Mutant("no padding mask in cross-attention", "decoder.py", "encoder_mask = padding_keys(encoder_padding_mask, x)",
           "encoder_mask = None", "test_model.py"),
    Mutant("no padding mask in cross-attention of decoding", BEAMS,
           "encoder_mask = padding_keys(encoder_padding_mask[::beam], like)", "encoder_mask = None",
           "test_decoding.py"),
    Mutant("slices by position", LAYOUT, "return real.cumsum(dim=1)", "return torch.ones_like(real).cumsum(dim=1)",
           "layers/test_encoder_slices.py"),
    Mutant("slices by the longest sentence", ENCODER_SLICES, "real.sum(dim=1, keepdim=True).clamp(min=1)",
           "torch.full_like(ranks[:, :1], length)", "layers/test_encoder_slices.py"),
    Mutant("unused slots are attended to", LAYOUT, "    mask = additive(hidden, like)",
           "    mask = additive(hidden & False, like)", "layers/test_encoder_slices.py"),
    Mutant("padding is attended to in short text", ENCODER_SLICES, "other_slice | padding_mask[:, None, None]",
           "other_slice", "layers/test_encoder_slices.py"),
    Mutant("no permutation", ENCODER_SLICES, 'permuted if is_permuted else "none"', '"none"',
           "layers/test_encoder_slices.py"),
    Mutant("slices alternate by passes", LAYOUT, "(pass_index if along_passes else len(order))", "pass_index",
           "layers/test_mixing.py"),
    Mutant("random slices at inference", ENCODER_SLICES, 'permutation == "random" and not training', "False",
           "test_decoding.py"),
    Mutant("decoder chunks off by one", DECODER_SLICES, "ranks % slices if strided else ranks // chunk_size",
           "ranks % slices if strided else (ranks + 1) // chunk_size", "layers/test_decoder_slices.py"),
    Mutant("chunks in place of strides", DECODER_SLICES, "strided = is_permuted and count > 1", "strided = False",
           "layers/test_decoder_slices.py"),
    # Caches and beams
    Mutant("all passes share a cache", ATTENTION, '"pass{}".format(pass_index)', '"pass"', "test_decoding.py"),
    Mutant("cross-attention keeps no cache", "layers/block.py", "keys_and_values(encoder_out, state))",
           "keys_and_values(encoder_out, None))", "test_decoding.py"),
    Mutant("the encoder's cache is not reordered", BEAMS, "None if rows is None else",
           'rows if rows is None or part == "key" else', "test_decoding.py"),
    Mutant("beams are not reordered", BEAMS, "ancestors.gather(1, beams.view(-1, beam, 1).expand(-1, -1, length))",
           "ancestors", "test_decoding.py"),
    Mutant("beams that part keep the first one's keys", BEAMS, "index = ancestors[:, None",
           "index = torch.zeros_like(ancestors)[:, None", "test_decoding.py"),
    # Criterions
    Mutant("padding counts in the loss", CHUNKED, "real = targets.ne(self.padding_idx)", "real = targets.ge(0)",
           "criterions/test_chunked.py"),
    Mutant("no label smoothing", CHUNKED, "loss += a * negative + b * uniform", "loss += a * negative",
           "criterions/test_chunked.py"),
    Mutant("gradients lack the scale of the loss", CHUNKED, "features_grad * (scale / ctx.lift)",
           "features_grad * (1 / ctx.lift + 0 * scale)", "criterions/test_chunked.py"),
    Mutant("the soft loss lacks T^2", DISTILLATION, "return -(temperature**2) * ", "return -",
           "criterions/test_distillation.py"),
    Mutant("hard and soft loss change places", DISTILLATION, "(1 - self.hard_weight) * soft + self.hard_weight * hard",
           "self.hard_weight * soft + (1 - self.hard_weight) * hard", "criterions/test_distillation.py"),
    Mutant("the shallow loss has no weight", MIXED, "loss + self.weight * shallow_loss", "loss + shallow_loss",
           "criterions/test_mixed_depth.py"),
    # Checkpoints
    Mutant("damage goes unnoticed", "patches/checkpoints.py", "while contents.read(BLOCK):", "while False:",
           "patches/test_checkpoints.py"),
    Mutant("a checkpoint's text is run", "patches/checkpoints.py", 'if "(" not in text:', "if True:",
           "patches/test_gate.py"),
    Mutant("other dictionaries are taken", "dictionaries.py", "stored != model.dictionary_digests[side]", "False",
           "patches/test_checkpoints.py"),
]  # fmt: skip


def copy_of_repository(folder: Path) -> None:
    """Copy the files that git knows, or would add."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)


def first_failure(folder: Path, tests: List[str]) -> Optional[str]:
    """Run tests in a copy of the repository until one fails; its name, or None. For a process of its own."""
    import hypothesis
    import pytest

    class Recorder:
        failed: Optional[str] = None

        def pytest_runtest_logreport(self, report) -> None:
            if report.failed:
                self.failed = report.nodeid

        def pytest_collectreport(self, report) -> None:
            self.pytest_runtest_logreport(report)

    # Without a search for the smallest example that fails.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases)
    hypothesis.settings.load_profile("mutants")
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    recorder = Recorder()
    paths = [f"tests/{name}" for name in tests]
    pytest.main(["-x", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", *paths], plugins=[recorder])
    return recorder.failed


def found_by(mutant: Mutant, folder: Path) -> Optional[str]:
    """Put a mutant into a copy of the repository for as long as its tests run; the one that found it, or None."""
    path = folder / "sret_fairseq" / mutant.file
    text = path.read_text()
    if text.count(mutant.right) != 1:
        return None
    path.write_text(text.replace(mutant.right, mutant.wrong))
    reader, writer = os.pipe()
    child = os.fork()  # torch and fairseq are imported once, the package anew
    if child == 0:
        failed = first_failure(folder, mutant.tests.split())
        os.write(writer, (failed or "").encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        failed = pipe.read()
    os.waitpid(child, 0)
    path.write_text(text)
    return failed or None


def main() -> int:
    """Run the mutants whose names contain one of the words of the command line; the status."""
    words = sys.argv[1:] or [""]
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    from fairseq_cli import generate, interactive, preprocess, train  # noqa: F401  (for the children)

    sys.dont_write_bytecode = True  # which might outlive a mutant
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_repository(folder)
        for mutant in MUTANTS:
            if any(word in mutant.name for word in words):
                test = found_by(mutant, folder)
                survivors += test is None
                print(f"| {mutant.name} | {test or 'NOT FOUND'} |", flush=True)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
