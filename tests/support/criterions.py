"""A batch as fairseq's translation task makes it for a criterion, with padding on both sides."""

from support.models import EOS, PAD, lengths, pad, source, target

SOURCES = pad([source(11, seed=1), source(7), source(1, seed=2)], left=True)
PREVIOUS = pad([target(9), target(4, seed=1), target(6, seed=2)])


def sample() -> dict:
    """The batch, new at every call."""
    goal = PREVIOUS.roll(-1, dims=1)
    goal[:, -1] = PAD
    goal[range(len(goal)), lengths(PREVIOUS) - 1] = EOS
    inputs = {"src_tokens": SOURCES, "src_lengths": lengths(SOURCES), "prev_output_tokens": PREVIOUS}
    return {"net_input": inputs, "target": goal, "ntokens": int(goal.ne(PAD).sum())}
