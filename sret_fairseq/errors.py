"""What this project refuses, in a sentence each: the exceptions, and checks that raise them."""

import difflib
from typing import Any, Collection


class OptionError(SystemExit, ValueError):
    """An option that cannot be used.

    Uncaught it ends a command with its sentence and status 1, without a traceback; a program may catch it as the
    ValueError that it is.
    """


class TrainingError(SystemExit):
    """What only a batch of the training shows to be impossible.

    No Exception, since fairseq's Trainer answers any of those with ``crash.pt``, the whole model and its optimizer.
    """


def require(holds: bool, sentence: str, who: str = "sret_transformer") -> None:
    """Raise OptionError with the sentence unless the condition holds."""
    if not holds:
        raise OptionError(f"{who}: {sentence}")


def require_count(args: Any, name: str) -> None:
    """Raise OptionError unless an option is a whole number, 1 or more."""
    value, flag = getattr(args, name), "--" + name.replace("_", "-")
    require(type(value) is int and value >= 1, f"{flag} {value} must be a whole number, 1 or more.")


def require_switch(args: Any, name: str) -> None:
    """Raise OptionError unless an option is True or False; the text "false" would count as true."""
    value = getattr(args, name)
    require(type(value) is bool, f"{name} {value!r} must be True or False, without quotes.")


def require_choice(args: Any, name: str, choices: Collection[str]) -> None:
    """Raise OptionError unless an option has one of its words."""
    value, flag = getattr(args, name), "--" + name.replace("_", "-")
    require(value in choices, f"{flag} {value} must be one of {', '.join(choices)}.")


def require_label_smoothing(value: Any, who: str) -> None:
    """Raise OptionError unless fairseq's ``--label-smoothing`` leaves a share to the right word."""
    require(is_number(value) and 0 <= value < 1, f"--label-smoothing {value} must be from 0 to below 1.", who)


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1: ``1 pass``, ``2 passes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def is_number(value: Any) -> bool:
    """True for a finite int or float; bool is none."""
    return type(value) in (int, float) and value - value == 0


def suggestion(name: str, known: Collection[str]) -> str:
    """The end of a sentence about a name that is wrong, with the nearest right one if there is one."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else "."
