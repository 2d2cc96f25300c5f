"""scripts/quickstart/systems.py: settings that fairseq-train takes, and why a program failed."""

import sys

import pytest
from fairseq import options, utils

from quickstart import systems
from support.models import REPOSITORY


@pytest.mark.parametrize("name", systems.MODELS)
@pytest.mark.parametrize("updates", [1, 900])
def test_settings_are_those_of_fairseq(name, updates):
    utils.import_user_module(type("Arguments", (), {"user_dir": str(REPOSITORY / "sret_fairseq")}))
    words = map(str, ["data", *systems.PLUGIN, *systems.MODELS[name], *systems.settings(updates)])
    args = options.parse_args_and_arch(options.get_training_parser(), list(words))
    assert args.max_update == int(args.total_num_update) == updates
    assert args.share_all_embeddings and args.encoder_embed_dim == 128


def test_the_reason_of_a_failure_is_shown(tmp_path):
    program = [sys.executable, "-c", "print('first'); print('why'); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match=r"^quickstart: .* failed: why; see the end of .*log\.$"):
        systems.run_logged(program, tmp_path / "log", lambda line: None)
