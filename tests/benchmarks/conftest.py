"""The benchmarks are no installed package: run.sh puts these folders on Python's path."""

import sys

from helpers import REPOSITORY

sys.path += [str(REPOSITORY), str(REPOSITORY / "scripts")]
