"""Commands called in this process, which costs a fraction of starting one."""

import contextlib
import importlib
import io
import logging
import sys
import traceback
from typing import Callable, Tuple
from unittest import mock

import pytest

from support.training import forget_earlier_trainings


def refusal(main: Callable[[], object], *args) -> str:
    """What a command says when it refuses these arguments: it has to end with a status that is not 0."""
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["command", *map(str, args)]),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as end,
    ):
        sys.exit(main())
    assert end.value.code not in (0, None), said.getvalue()
    # A sentence for a code is what Python would print; argparse has printed it.
    return said.getvalue() if isinstance(end.value.code, int) else str(end.value.code)


def fairseq(name: str, *args, stdin: bytes = b"", errors: str = "strict") -> Tuple[int, str]:
    """Run ``fairseq-NAME``.

    Args:
        name: of the command, without its beginning.
        args: its arguments.
        stdin: what it reads.
        errors: how its standard input takes bytes that are no UTF-8.

    Returns:
        its status, and all that it says, a traceback included.
    """
    forget_earlier_trainings()
    main = importlib.import_module(f"fairseq_cli.{name}").cli_main
    said, logger = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(said), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with (
            mock.patch.object(sys, "argv", [f"fairseq-{name}", *map(str, args)]),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8", errors)),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            try:
                main()
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
                print("" if isinstance(end.code, int) else end.code)
            except Exception:
                traceback.print_exc()
                status = 1
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return status, said.getvalue()
