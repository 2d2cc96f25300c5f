"""What cannot be used, said in a sentence."""


class BundleError(ValueError):
    """A bundle, or an input, that cannot be used; the message is one sentence that says what to do."""


def require(holds: bool, sentence: str) -> None:
    """Raise BundleError with the sentence unless the condition holds."""
    if not holds:
        raise BundleError(sentence)
