"""scripts/corpus.py and scripts/home_assistant.py: what they keep, split and refuse."""

import json
import zipfile

import pytest

from scripts_on_path import corpus, home_assistant
