"""sacremoses' normaliser and tokenizer in less time: rules are spared where a line has nothing that they are for."""

import re
from typing import Any

import sacremoses


class Rule:
    """A regular expression for text that has a certain character; other text stays as it is."""

    def __init__(self, character: str, expression: re.Pattern[str]) -> None:
        self.character, self.expression = character, expression

    def sub(self, replacement: str, text: str) -> str:
        """What ``re.sub`` returns."""
        return self.expression.sub(replacement, text) if self.character in text else text


class PunctNormalizer(sacremoses.MosesPunctNormalizer):
    """sacremoses' normaliser; it has some thirty rules for characters beyond ASCII that few lines have."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.every = [(re.compile(pattern), replacement) for pattern, replacement in self.substitutions]
        self.plain = [(pattern, replacement) for pattern, replacement in self.every if pattern.pattern.isascii()]
        beyond = {letter for pattern, _ in self.every for letter in pattern.pattern if not letter.isascii()}
        self.beyond = re.compile(f"[{''.join(sorted(beyond))}]")

    def normalize(self, text: str) -> str:
        """The text with punctuation written in one way."""
        for pattern, replacement in self.every if self.beyond.search(text) else self.plain:
            text = pattern.sub(replacement, text)
        return text.strip()


class Tokenizer(sacremoses.MosesTokenizer):
    """sacremoses' tokenizer."""

    def __init__(self, lang: str) -> None:
        super().__init__(lang)
        self.alphabetic, self.lower_case = frozenset(self.IsAlpha), frozenset(self.IsLower)
        self.AGGRESSIVE_HYPHEN_SPLIT = spare("-", *self.AGGRESSIVE_HYPHEN_SPLIT)
        for name in ("COMMA_SEPARATE_1", "COMMA_SEPARATE_2", "COMMA_SEPARATE_3"):
            setattr(self, name, spare(",", *getattr(self, name)))
        for name in ("ENGLISH_SPECIFIC_APOSTROPHE", "FR_IT_SPECIFIC_APOSTROPHE"):
            setattr(self, name, [spare("'", *rule) for rule in getattr(self, name)])

    def islower(self, text: str) -> bool:
        """Whether all letters are lower-case ones."""
        return self.lower_case.issuperset(text)

    def isanyalpha(self, text: str) -> bool:
        """Whether there is a letter."""
        return not self.alphabetic.isdisjoint(text)

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        """Separate full stops that belong to no abbreviation; that depends on the word and the next one alone."""
        words = text.split()
        for place, word in enumerate(words):
            if word[-1] == "." and super().handles_nonbreaking_prefixes(" ".join(words[place : place + 2])).startswith(
                f"{word[:-1]} ."
            ):
                words[place] = f"{word[:-1]} ."
        return " ".join(words)


def spare(character: str, expression: re.Pattern[str], replacement: str) -> tuple[Rule, str]:
    """A rule of sacremoses, for text that has the character."""
    return Rule(character, expression), replacement
