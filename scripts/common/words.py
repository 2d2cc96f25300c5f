"""Words for what commands say."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1: ``1 line``, ``2,000 lines``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"
