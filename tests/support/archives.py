"""Small archives in the shape of the recipes' real downloads, of sentences put together from a few words.

The numbers of lines differ in every role, and each sentence carries a number that tells where it came from.
"""

import io
import random
import tarfile

WORDS = {
    "de": "haus garten straße über schön grün wasser gehen laufen kinder schule morgen abend licht freunde".split(),
    "en": "house garden street above nice green water go walk children school morning evening light friends".split(),
}


def sentence(language, name, number, seed):
    """The sentence of that name and number, whose translation has as many words."""
    generator = random.Random(f"{name} {number} {seed}")
    words = [WORDS[language][generator.randrange(len(WORDS[language]))] for _ in range(generator.randint(6, 12))]
    middle = len(words) // 2
    return f"{words[0].capitalize()} {' '.join(words[1:middle])}, {' '.join(words[middle:])} {name}{number}."


def sentences(language, name, count, seed=1):
    """``count`` sentences."""
    return [sentence(language, name, number, seed) for number in range(count)]


def pack(path, members):
    """Write a gzipped tar archive of texts, a dictionary from the member's name to its lines; its path."""
    with tarfile.open(path, "w:gz") as archive:
        for name, member in members.items():
            data = "".join(f"{line}\n" for line in member).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


IWSLT14_SENTENCES = 103
IWSLT14_TALKS = 11
IWSLT14_TESTS = {"TED.dev2010": 3, "TEDX.dev2012": 4, "TED.tst2010": 5, "TED.tst2011": 6, "TED.tst2012": 7}


def train_tags(language):
    """A train.tags file: talks of ten sentences with tags around them, and two pairs that the ratio rules out."""
    lines = []
    for number, text in enumerate(sentences(language, "zug", IWSLT14_SENTENCES)):
        if number % 10 == 0:
            lines += [
                f"<url>http://www.ted.com/talks/talk_{number}.html</url>",
                f"<keywords>talks, {language}</keywords>",
                "<speaker>Jemand Someone</speaker>",
                f"<talkid>{number}</talkid>",
                f"<title>Jemand: {sentence(language, 'titel', number, 1)}</title>",
                f"<description>TED Talk Subtitles: {sentence(language, 'inhalt', number, 1)}</description>",
                "<reviewer></reviewer>",
                '<translator href="http://www.ted.com/profiles/1">Jemand</translator>',
            ]
        lines.append(f" {text} ")
    short, long = "Kurz .", "This one is far too long for its translation ."
    return [*lines, short if language == "de" else long, long if language == "de" else short]


def test_xml(language, name, count):
    """A test set as XML, with an apostrophe that is not ASCII's."""
    texts = [text.replace(",", "\u2019s,") for text in sentences(language, name.replace(".", ""), count)]
    segments = [f'<seg id="{number}"> {text} </seg>' for number, text in enumerate(texts, 1)]
    about = ["<url>http://www.ted.com/talks/x</url>", "<title>Titel</title>"]
    return ['<?xml version="1.0" encoding="UTF-8"?>', "<mteval>", *about, *segments, "</mteval>"]


def iwslt14(path):
    """Write an archive like IWSLT14's de-en.tgz; its path."""
    members = {}
    for language in ("de", "en"):
        members[f"de-en/train.tags.de-en.{language}"] = train_tags(language)
        for name, count in IWSLT14_TESTS.items():
            members[f"de-en/IWSLT14.{name}.de-en.{language}.xml"] = test_xml(language, name, count)
    members["de-en/README"] = ["A file that is of no use."]
    return pack(path, members)


def both(stem, name, count, extend=lambda text: text):
    """The members of a corpus in both languages."""
    return {f"{stem}.{la}": [extend(text) for text in sentences(la, name, count)] for la in ("de", "en")}


def wmt14_test(language):
    """The sentences of its test set, with quotation marks and an apostrophe that are not ASCII's."""
    return [f"\u201e{text} Wie\u2019s war-es?" for text in sentences(language, "nt", 9)]


def wmt14(folder):
    """Write five archives like those of WMT14 into a folder; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    hard = "Europa-Haus \u201eja\u201c\u2028mit\x85allem "

    def europarl(text):
        return hard + text if text.endswith("parl7.") else text

    pack(folder / "training-parallel-europarl-v7.tgz", both("training/europarl-v7.de-en", "parl", 50, europarl))
    pack(folder / "training-parallel-commoncrawl.tgz", both("commoncrawl.de-en", "crawl", 40))
    news = {**both("training/news-commentary-v9.de-en", "news", 29), "training/news-commentary-v9.fr-en.en": ["x"]}
    for language, text in (("de", "Kurz ."), ("en", "This one is far too long for its translation , and so it goes .")):
        news[f"training/news-commentary-v9.de-en.{language}"].append(text)
    pack(folder / "training-parallel-nc-v9.tgz", news)
    pack(folder / "dev.tgz", both("dev/newstest2013", "dev", 7))
    pack(
        folder / "test-full.tgz",
        {
            f"test-full/newstest2014-deen-{side}.{language}.sgm": [
                '<srcset setid="newstest2014" srclang="any">',
                *(f'<seg id="{n}">{text}</seg>' for n, text in enumerate(wmt14_test(language))),
                "</srcset>",
            ]
            for side, language in (("src", "en"), ("ref", "de"))
        },
    )
    return folder


def google(path):
    """Write an archive like wmt16_en_de.tar.gz, tokenised and in BPE; its path."""
    members = {"bpe.32000": ["#version: 0.2", "h a", "g a"], "vocab.bpe.32000": ["haus"]}
    for stem, count in (("train.tok.clean.bpe.32000", 60), ("newstest2013.tok.bpe.32000", 7)):
        members |= both(stem, "x", count, lambda text: text.replace(",", " ,").replace(".", " ."))
    segmented = {
        "de": "Der Hund ist gr@@ o@@ ß &quot; hier &quot; .",
        "en": "The dog is b@@ ig , isn &apos;t it ?",
    }
    for language, text in segmented.items():
        members[f"newstest2014.tok.bpe.32000.{language}"] = [text] * 5
    return pack(path, members)
