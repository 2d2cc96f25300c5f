"""What the scripts share. Its import comes first in each of them, and those of torch and fairseq take seconds."""

import os
import sys
from types import TracebackType


def in_one_line(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Say of a Ctrl-C that came before ``command.run`` what that says of one; Python then ends with its status."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"{os.path.basename(sys.argv[0])}: interrupted.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, where)


sys.excepthook = in_one_line
