"""The model ``sret_transformer`` and its architectures."""

import argparse
import contextlib
import logging
from typing import Any, Callable, Dict, Iterator, Optional

from fairseq.data import Dictionary
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerModel
from fairseq.models.transformer import transformer_legacy as fairseq_architectures
from fairseq.tasks import FairseqTask
from fairseq.utils import safe_getattr
from omegaconf import OmegaConf, open_dict
from torch import nn

from sret_fairseq import coefficients, dictionaries, options
from sret_fairseq.decoder import SretDecoder
from sret_fairseq.encoder import SretEncoder
from sret_fairseq.errors import OptionError, require, suggestion
from sret_fairseq.summary import summary_lines

logger = logging.getLogger(__name__)


@register_model("sret_transformer")
class SretTransformerModel(TransformerModel):
    """The Sliced Recursive Transformer (Shen, Liu and Xing, ECCV 2022) as a translation model of fairseq.

    It takes the options of fairseq's ``transformer`` and those of options.py. ``forward`` is fairseq's: source tokens
    (B, S), source lengths (B) and previous output tokens (B, T) -> logits (B, T, V).
    """

    @classmethod
    def hub_models(cls) -> Dict[str, str]:
        """None that could be downloaded by name: fairseq's own do not fit, and the project's is in its repository."""
        return {}

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of fairseq's transformer and this project's."""
        TransformerModel.add_args(parser)
        options.add_args(parser)

    @classmethod
    def build_model(cls, args: Any, task: FairseqTask) -> "SretTransformerModel":
        """Build a model and log what it is made of.

        Raises:
            OptionError: options that cannot be used.
        """
        if OmegaConf.is_config(args):  # from fairseq-hydra-train
            refuse_unknown(args)
            # fairseq finds options that its own transformer has not in a Namespace only.
            namespace = argparse.Namespace(**OmegaConf.to_container(args, resolve=True))
            namespace.load_alignments = safe_getattr(getattr(task, "cfg", None), "load_alignments", False)
            model = cls.build_model(namespace, task)
            with open_dict(args):
                args.update(vars(namespace))  # what was built, for the checkpoint
            return model
        base_architecture(args)
        try:
            model = super().build_model(args, task)
        except OptionError:
            raise
        except ValueError as error:  # fairseq's about shared embeddings
            raise OptionError(f"sret_transformer: {error}.") from error
        for side in options.SIDES:
            # --layers counts blocks, also where fairseq has put the number of layers to keep, that of groups, in it.
            span = getattr(args, f"{side}_recursion_span")
            setattr(args, f"{side}_layers", len(getattr(model, side).layers) * span)
        # For a criterion, which is built next and knows the task alone.
        task.trained_passes = max(getattr(args, f"{side}_trained_recursions") for side in options.SIDES)
        dictionaries.bind(model, task)
        coefficients.follow(model)
        for line in summary_lines(model):
            logger.info(line)
        return model

    @classmethod
    def build_embedding(
        cls, args: Any, dictionary: Dictionary, embed_dim: int, path: Optional[str] = None
    ) -> nn.Embedding:
        """An embedding, with the vectors of a file where ``--encoder-embed-path`` or ``--decoder-embed-path`` has one.

        Raises:
            OptionError: the file cannot be read, or its vectors are of another width.
        """
        try:
            return super().build_embedding(args, dictionary, embed_dim, path)
        except (OSError, ValueError, RuntimeError, StopIteration) as error:
            if path is None:
                raise
            raise OptionError(
                f"sret_transformer: {path} cannot be read as vectors of width {embed_dim} (--encoder-embed-path, "
                f"--decoder-embed-path): {str(error) or 'it is empty'}."
            ) from error

    @classmethod
    def build_encoder(cls, args: Any, src_dict: Dictionary, embed_tokens: nn.Embedding) -> SretEncoder:
        """The recursive encoder."""
        return SretEncoder(args, src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, args: Any, tgt_dict: Dictionary, embed_tokens: nn.Embedding) -> SretDecoder:
        """The recursive decoder."""
        return SretDecoder(args, tgt_dict, embed_tokens, no_encoder_attn=args.no_cross_attention)

    @contextlib.contextmanager
    def at_passes(self, passes: int) -> Iterator[None]:
        """Inside the block, run only the first ``passes`` passes a side, as a model with so few does."""
        sides = (self.encoder, self.decoder)
        before = [side.passes for side in sides]
        for side in sides:
            side.passes = min(passes, len(side.slices))
        try:
            yield
        finally:
            for side, number in zip(sides, before):
                side.passes = number


def refuse_unknown(args: Any) -> None:
    """Refuse options of a Hydra configuration that the model has not; fairseq would ignore them.

    Raises:
        OptionError: names the option, and the one that was probably meant.
    """
    parser = argparse.ArgumentParser(add_help=False)
    SretTransformerModel.add_args(parser)
    complete = argparse.Namespace()
    base_architecture(complete)
    known = {"_name", "arch", "load_alignments", *vars(complete), *(action.dest for action in parser._actions)}
    for name in args:
        require(name in known, f"there is no option model.{name}{suggestion(name, known)}")


def finish(args: Any, fairseq_architecture: Callable[[Any], None]) -> None:
    """Complete an architecture with this project's defaults and those of its namesake in fairseq, and check it."""
    # 3 blocks a side: with the default 2 passes as deep as the 6 layers of fairseq's.
    options.default(args, "encoder_layers", 3)
    options.default(args, "decoder_layers", 3)
    options.set_defaults(args)
    fairseq_architecture(args)
    options.validate(args)


@register_model_architecture("sret_transformer", "sret_transformer")
def base_architecture(args: Any) -> None:
    """Width 512, FFN 2048, 8 heads, virtual depth 6+6."""
    finish(args, fairseq_architectures.base_architecture)


@register_model_architecture("sret_transformer", "sret_transformer_tiny")
def tiny_architecture(args: Any) -> None:
    """Width 128, FFN 256, 4 heads, virtual depth 6+6; the size used for Multi30k."""
    options.default(args, "encoder_embed_dim", 128)
    options.default(args, "encoder_ffn_embed_dim", 256)
    options.default(args, "encoder_attention_heads", 4)
    options.default(args, "decoder_attention_heads", 4)
    finish(args, fairseq_architectures.base_architecture)


def deep_architecture(args: Any, width: int, heads: int, blocks: int, passes: int, nll_ratio: float) -> None:
    """Blocks in one long loop a side, FFN of four widths, residual branches scaled for it, two slices."""
    for side in options.SIDES:
        options.default(args, f"{side}_embed_dim", width)
        options.default(args, f"{side}_ffn_embed_dim", 4 * width)
        options.default(args, f"{side}_attention_heads", heads)
        options.default(args, f"{side}_layers", blocks)
        options.default(args, f"{side}_recursions", passes)
        options.default(args, f"{side}_recursion_span", getattr(args, f"{side}_layers"))
    options.default(args, "nll_ratio", nll_ratio)
    options.default(args, "encoder_slices", "2")
    options.default(args, "depth_scaled_residuals", True)
    finish(args, fairseq_architectures.base_architecture)


@register_model_architecture("sret_transformer", "sret_transformer_108")
def architecture_108(args: Any) -> None:
    """Width 384, FFN 1536, 6 heads, virtual depth 54+54: 2 blocks x 27 passes a side."""
    deep_architecture(args, width=384, heads=6, blocks=2, passes=27, nll_ratio=1 / 16)


@register_model_architecture("sret_transformer", "sret_transformer_1008")
def architecture_1008(args: Any) -> None:
    """Width 256, FFN 1024, 4 heads, virtual depth 504+504: 3 blocks x 168 passes a side."""
    deep_architecture(args, width=256, heads=4, blocks=3, passes=168, nll_ratio=1 / 64)


@register_model_architecture("sret_transformer", "sret_transformer_iwslt_de_en")
def iwslt_de_en_architecture(args: Any) -> None:
    """Width 512, FFN 1024, 4 heads, virtual depth 6+6."""
    finish(args, fairseq_architectures.transformer_iwslt_de_en)


@register_model_architecture("sret_transformer", "sret_transformer_wmt_en_de")
def wmt_en_de_architecture(args: Any) -> None:
    """Width 512, FFN 2048, 8 heads, virtual depth 6+6."""
    finish(args, fairseq_architectures.transformer_wmt_en_de)


@register_model_architecture("sret_transformer", "sret_transformer_wmt_en_de_big")
def wmt_en_de_big_architecture(args: Any) -> None:
    """Width 1024, FFN 4096, 16 heads, virtual depth 6+6."""
    finish(args, fairseq_architectures.transformer_wmt_en_de_big)
