"""scripts/recipe/settings.py says in one sentence what is wrong with a train.yaml or a prepare.json."""

import re

import pytest

from recipe import settings

GOOD = {
    "common": "{seed: 1}",
    "task": "{source_lang: de, target_lang: en}",
    "dataset": "{max_tokens: 100}",
    "distributed_training": "{distributed_world_size: 2}",
    "optimization": "{update_freq: [3], max_update: 7}",
}


def written(path, sections):
    """A train.yaml with these sections."""
    path.write_text("".join(f"{name}: {text}\n" for name, text in sections.items()))
    return path


def test_a_good_one(tmp_path):
    found = settings.read(written(tmp_path / "train.yaml", GOOD), tmp_path)
    assert (found.batch_tokens, found.max_update, found.languages) == (600, 7, ("de", "en"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"dataset": "[1, 2]"}, "the section 'dataset' holds no settings NAME: VALUE."),
        ({"dataset": "{max_tokens: [1, 2]}"}, "'dataset.max_tokens' is [1, 2], not a whole number of at least 1."),
        ({"optimization": "{update_freq: [3]}"}, "'optimization.max_update' is None, not a whole number"),
        ({"optimization": "{update_freq: many, max_update: 7}"}, "'optimization.update_freq' is 'many', not a whole"),
        ({"common": "{seed: true}"}, "'common.seed' is True, not a whole number"),
        ({"common": "{seed: 1"}, "is no YAML: "),
        ({"task": "{_name: translation}"}, "prepare.json: No such file or directory; run prepare.sh"),
    ],
)
def test_a_yaml_of_the_wrong_shape(tmp_path, changed, sentence):
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        settings.read(written(tmp_path / "train.yaml", GOOD | changed), tmp_path)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "words"])
def test_a_yaml_without_sections(tmp_path, text):
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"train\.yaml"):
        settings.read(tmp_path / "train.yaml", tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "prepare.json holds no JSON object"),
        ('{"languages": "de"}', "prepare.json: 'languages' is no list."),
        ('{"languages": ["de"]}', "prepare.json: 'languages' is ['de'], not a source and a target."),
    ],
)
def test_a_description_of_the_wrong_shape(tmp_path, text, sentence):
    (tmp_path / "prepare.json").write_text(text)
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        settings.languages({}, tmp_path)


def test_a_folder_half_prepared(tmp_path):
    """As prepare.sh leaves it when it is ended: train.sh and evaluate.sh would take parts of two texts."""
    (tmp_path / "steps").mkdir()
    settings.read(written(tmp_path / "train.yaml", GOOD), tmp_path)  # as sequence_distillation.sh leaves it, whole
    (tmp_path / "reference").mkdir()
    with pytest.raises(SystemExit, match=f"^{tmp_path} is half prepared; run prepare.sh again, to its end.$"):
        settings.read(tmp_path / "train.yaml", tmp_path)
    (tmp_path / "prepare.json").write_text("{}")
    settings.read(tmp_path / "train.yaml", tmp_path)
