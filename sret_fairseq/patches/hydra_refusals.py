"""Hydra answers every exception with a traceback of thirty lines, also those whose sentence says all.

It leaves alone what is no Exception. The refusals of this project are both, a SystemExit and a ValueError that a
program may catch; as the result of Hydra's job they become a SystemExit alone. Hydra 1.0 keeps no such result.
"""

from hydra.core.utils import JobReturn


def plain(value: object) -> object:
    """A job's result, in which a refusal with a sentence is a SystemExit and nothing else."""
    return SystemExit(str(value)) if isinstance(value, SystemExit) and isinstance(value, Exception) else value


def end_with_the_sentence() -> None:
    """Have fairseq-hydra-train end with a refusal's sentence, in this process."""
    result = vars(JobReturn).get("return_value")
    if isinstance(result, property) and not hasattr(result.fset, "__wrapped__"):

        def keep(self: JobReturn, value: object) -> None:
            result.fset(self, plain(value))

        keep.__wrapped__ = result.fset
        JobReturn.return_value = property(result.fget, keep)
