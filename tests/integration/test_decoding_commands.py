"""fairseq-generate and fairseq-interactive with the options that decide what is decoded and how it is printed."""

from types import SimpleNamespace

import pytest

from support.decoding import generate_command, interactive_command, lines_of
from support.training import make_data, train

# With --max-len-a a sentence's limit would depend on the longest of its batch, in fairseq's search itself.
LENGTHS = ("--max-len-a", 0, "--max-len-b", 14)
LINES = ["a b c", "d", "", "k j i h g f e d c b a", "a a a a", "e f g h i", "b", "f e d c", "a b c", "g h"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A toy corpus, binarised, two checkpoints after 20 updates from different seeds, and a file of lines."""
    folder = tmp_path_factory.mktemp("decoding")
    data = make_data(folder)
    for seed in (1, 2):
        train(data, folder / str(seed), f"--max-update 20 --dropout 0.2 --seed {seed}")
    first, second = (folder / str(seed) / "checkpoint_last.pt" for seed in (1, 2))
    (folder / "lines").write_text("".join(line + "\n" for line in LINES))
    return SimpleNamespace(folder=folder, data=data, path=first, other=second, lines=folder / "lines")


def generated(toy, *words, path=None, data=None):
    """What fairseq-generate prints for the test set."""
    whole = ("--required-batch-size-multiple", 1, "--num-workers", 0)
    return generate_command(data or toy.data, "--path", path or toy.path, *LENGTHS, *whole, *words)


def translated(toy, *words, lines=None):
    """What fairseq-interactive prints for a file of lines."""
    return interactive_command(toy.data, "--path", toy.path, "--input", lines or toy.lines, *LENGTHS, *words)


def assert_same_hypotheses(said, expected):
    """The same sentences, words and scores, the scores to 1e-4."""
    ours, theirs = lines_of(said, "H"), lines_of(expected, "H")
    assert [(row[0], row[2]) for row in ours] == [(row[0], row[2]) for row in theirs]
    assert [float(row[1]) for row in ours] == pytest.approx([float(row[1]) for row in theirs], abs=1e-4)


def words(row):
    """The words of a line of output."""
    return row[-1].split()


BATCHES = [
    ("--buffer-size", 10, "--batch-size", 10),
    ("--buffer-size", 3, "--batch-size", 2),
    ("--buffer-size", 10, "--max-tokens", 12),
    ("--buffer-size", 7, "--max-tokens", 30, "--batch-size", 4),
    ("--buffer-size", 10, "--batch-size", 5, "--left-pad-target"),
]


@pytest.fixture(scope="module")
def plain(toy):
    """What fairseq-generate prints without further options."""
    return generated(toy)


@pytest.fixture(scope="module")
def one_by_one(toy):
    return translated(toy)


def test_interactive_answers_every_line(one_by_one):
    """One hypothesis a line, in the order and with the number of the line; an empty line is one too."""
    assert [row[0] for row in lines_of(one_by_one, "H")] == [str(number) for number in range(len(LINES))]
    assert [row[1] for row in lines_of(one_by_one, "S")] == LINES


@pytest.mark.parametrize("batches", BATCHES, ids=lambda words: " ".join(map(str, words)))
def test_interactive_does_not_depend_on_its_batches(toy, one_by_one, batches):
    """--buffer-size, --batch-size, --max-tokens and --left-pad-target change no word and no score."""
    assert_same_hypotheses(translated(toy, *batches), one_by_one)


def test_generate_does_not_depend_on_its_batches(toy):
    """The test set's hypotheses are those of fairseq-interactive on its text, whatever the batches."""
    expected = translated(toy, lines=toy.folder / "test.xx")
    assert len(lines_of(expected, "H")) == 12
    for batches in (("--batch-size", 1), ("--batch-size", 5), ("--max-tokens", 17)):
        assert_same_hypotheses(generated(toy, *batches), expected)


def test_results_path(toy, plain, tmp_path):
    """--results-path puts the same lines into a file."""
    assert lines_of(generated(toy, "--results-path", tmp_path), "H") == []
    assert_same_hypotheses((tmp_path / "generate-test.txt").read_text(), plain)


def test_nbest(toy):
    """--nbest: so many different hypotheses a sentence, best first, the first being that without the option."""
    rows = lines_of(generated(toy, "--beam", 4, "--nbest", 3), "H")
    best = lines_of(generated(toy, "--beam", 4), "H")
    for number, (*_, text) in enumerate(best):
        mine = [row for row in rows if row[0] == str(number)]
        assert mine[0][2] == text
        assert len({row[2] for row in mine}) == len(mine) == 3
        assert [float(row[1]) for row in mine] == sorted((float(row[1]) for row in mine), reverse=True)


def test_prefix_size(toy, plain):
    """--prefix-size: hypotheses begin with so many words of the reference."""
    said, free = generated(toy, "--prefix-size", 3), plain
    references = lines_of(said, "T")
    assert [words(row)[:3] for row in lines_of(said, "H")] == [words(row)[:3] for row in references]
    assert [words(row)[:3] for row in lines_of(free, "H")] != [words(row)[:3] for row in references]


def test_score_reference(toy):
    """--score-reference: the references come back, each with the mean of its words' scores; batches do not matter."""
    said = generated(toy, "--score-reference", "--batch-size", 5)
    assert [words(row) for row in lines_of(said, "H")] == [words(row) for row in lines_of(said, "T")]
    for hypothesis, scores in zip(lines_of(said, "H"), lines_of(said, "P")):
        values = [float(value) for value in words(scores)]
        assert len(values) == len(words(hypothesis)) + 1
        assert float(hypothesis[1]) == pytest.approx(sum(values) / len(values), abs=1e-3)
    assert_same_hypotheses(generated(toy, "--score-reference", "--batch-size", 1), said)


def test_the_best_hypothesis_scored_as_reference(toy, plain, tmp_path):
    """What beam search finds for the test set gets the same scores when it is given as the reference."""
    found = lines_of(plain, "H")
    (tmp_path / "test.xx").write_text((toy.folder / "test.xx").read_text())
    (tmp_path / "test.yy").write_text("".join(row[2] + "\n" for row in found))
    for language in ("xx", "yy"):
        dictionary = f"dict.{language}.txt"
        (tmp_path / dictionary).write_text((toy.data / dictionary).read_text())
        (tmp_path / f"test.xx-yy.{language}").write_text((tmp_path / f"test.{language}").read_text())
    raw = ("--dataset-impl", "raw", "-s", "xx", "-t", "yy")
    said = generated(toy, "--score-reference", *raw, data=tmp_path)
    assert [row[2] for row in lines_of(said, "H")] == [row[2] for row in found]
    scores = [float(row[1]) for row in lines_of(said, "H")]
    assert scores == pytest.approx([float(row[1]) for row in found], abs=1e-4)


@pytest.mark.parametrize("order", ["ordered", "unordered"])
def test_constraints(toy, tmp_path, order):
    """--constraints: words behind a tab come in the translation of their line, and are printed as C lines."""
    (tmp_path / "lines").write_text("a b c\tK J\tC\nd e\nf g\tA\n")
    said = translated(toy, "--constraints", order, "--batch-size", 2, "--buffer-size", 3, lines=tmp_path / "lines")
    assert [row[1] for row in lines_of(said, "S")] == ["a b c", "d e", "f g"]
    assert sorted(map(tuple, lines_of(said, "C"))) == [("0", "C"), ("0", "K J"), ("2", "A")]
    texts = [row[2] for row in lines_of(said, "H")]
    assert "K J" in texts[0] and "C" in texts[0].split() and "A" in texts[2].split()
    if order == "ordered":
        assert "C" in texts[0][texts[0].index("K J") :]


def test_print_alignment(toy, plain):
    """--print-alignment: hard gives each word a source word, soft a row of weights that sum to 1."""
    hard, soft = generated(toy, "--print-alignment"), generated(toy, "--print-alignment", "soft")
    for source, hypothesis, pairs, rows in zip(
        lines_of(hard, "S"), lines_of(hard, "H"), lines_of(hard, "A"), lines_of(soft, "A")
    ):
        columns = [[float(weight) for weight in row.split(",")] for row in words(rows)]
        assert [len(row) for row in columns] == [len(words(source)) + 1] * (len(words(hypothesis)) + 1)
        assert [sum(row) for row in columns] == pytest.approx([1.0] * len(columns), abs=1e-4)
        best = [max(range(len(row) - 1), key=row.__getitem__) for row in columns[:-1]]
        assert words(pairs) == [f"{source_word}-{word}" for word, source_word in enumerate(best)]
    assert_same_hypotheses(hard, plain)


def test_ensemble_of_two_files(toy, plain):
    """--path A:B decodes with both: other scores than either's, and the same in either order."""
    both = generated(toy, path=f"{toy.path}:{toy.other}")
    assert_same_hypotheses(generated(toy, path=f"{toy.other}:{toy.path}"), both)
    alone = (plain, generated(toy, path=toy.other))
    scores = [[row[1] for row in lines_of(said, "H")] for said in (both, *alone)]
    assert scores[0] != scores[1] and scores[0] != scores[2]


TWO = ("--beam", 2, "--nbest", 2)


@pytest.mark.parametrize(
    "options",
    [
        ("--sampling", "--temperature", 2, *TWO),
        ("--sampling", "--sampling-topk", 3, *TWO),
        ("--sampling", "--sampling-topp", 0.2, *TWO),
        ("--retain-dropout",),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_seed(toy, options):
    """What is drawn at random is drawn again under the same --seed, and not under another."""
    first, again, other = (lines_of(generated(toy, *options, "--seed", seed), "H") for seed in (1, 1, 2))
    assert len(first) == 12 * (2 if "--nbest" in options else 1)
    assert first == again
    assert first != other or options[1:3] == ("--sampling-topp", 0.2)


@pytest.mark.parametrize(
    "options",
    [
        ("--diversity-rate", 0.5, "--beam", 6),
        ("--diverse-beam-groups", 3, "--diverse-beam-strength", 5, "--beam", 6),
        ("--lenpen", 2),
        ("--unnormalized",),
        ("--temperature", 3),
        ("--min-len", 4),
        ("--match-source-len",),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_options_of_the_search_have_an_effect(toy, plain, options):
    """Every sentence is answered, otherwise than without the option."""
    said, without = lines_of(generated(toy, *options), "H"), lines_of(plain, "H")
    assert [row[0] for row in said] == [row[0] for row in without]
    assert said != without


def test_two_searches_are_refused(toy):
    """Two kinds of search at once end the command."""
    with pytest.raises(ValueError, match="mutually exclusive"):
        generated(toy, "--diverse-beam-groups", 4, "--match-source-len")


def test_fp16_on_a_cpu(toy, plain):
    """--fp16 decodes on a CPU as well, with the scores of float32 to half precision."""
    half, full = lines_of(generated(toy, "--fp16"), "H"), lines_of(plain, "H")
    assert [float(row[1]) for row in half] == pytest.approx([float(row[1]) for row in full], abs=0.02)
    assert [row[1] for row in half] != [row[1] for row in full]


def test_quiet(toy):
    """--quiet leaves the score only."""
    said = generated(toy, "--quiet")
    assert "Generate test with beam=5: BLEU4" in said
    assert lines_of(said, "H") == []
