"""fairseq's translation answers a data folder that is not there or is none with a traceback.

So it does where none was named, which happens with Hydra, whose YAML may leave ``data: ???`` to the command line.
"""

import os
from typing import Any

from fairseq import utils
from fairseq.data import data_utils
from fairseq.tasks.translation import TranslationTask

from sret_fairseq.errors import require

ADVICE = "give the folder of fairseq-preprocess."


def check_data(cfg: Any) -> None:
    """Make sure that a task has a folder of fairseq-preprocess.

    Raises:
        OptionError: it has none.
    """
    require(cfg.data not in (None, "", "???"), f"none was named; {ADVICE} (With Hydra: task.data=DIR.)", "data")
    first = utils.split_paths(cfg.data)[0]
    if "://" in first:
        return  # for fairseq's PathManager
    require(os.path.isdir(first), f"{first} is no folder; {ADVICE}", "data")
    languages = cfg.source_lang, cfg.target_lang
    if None in languages:
        languages = data_utils.infer_language_pair(first)
        require(None not in languages, f"no name of a file in {first} tells the languages; {ADVICE}", "data")
    for name in (f"dict.{language}.txt" for language in languages):
        require(os.path.isfile(os.path.join(first, name)), f"{first} lacks {name}; {ADVICE}", "data")


def check_data_first() -> None:
    """Have the check before fairseq's, in this process."""
    setup = TranslationTask.setup_task.__func__
    if not hasattr(setup, "checks_data"):

        def setup_task(cls: type, cfg: Any, **kwargs: Any) -> TranslationTask:
            check_data(cfg)
            return setup(cls, cfg, **kwargs)

        setup_task.checks_data = True
        TranslationTask.setup_task = classmethod(setup_task)
