"""The sentences of test sets in the NIST formats SGML and XML: one ``<seg id="1">text</seg>`` a line."""

import re

from common import lines

SEGMENT = re.compile(r"<seg\s[^>]*>(.*)</seg>", re.IGNORECASE)


def read_segments(path):
    """Yield the sentences of a file. Entities such as ``&amp;`` stay as they stand, as in the published recipes."""
    for number, line in enumerate(lines.read_lines(path), 1):
        if "<seg" in line:
            match = SEGMENT.search(line)
            if not match:
                raise SystemExit(f"{path}, line {number}: a <seg> without its </seg> on the same line.")
            yield match[1].strip()
