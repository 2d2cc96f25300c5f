"""``python -m sret_translate``."""

from sret_translate.translate import main

main()
