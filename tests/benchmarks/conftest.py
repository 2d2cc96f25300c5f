"""The benchmarks are no installed package: run.sh puts these folders on Python's path."""

import sys

from support.models import REPOSITORY

sys.path += [str(REPOSITORY), str(REPOSITORY / "scripts")]
