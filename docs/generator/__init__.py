"""The reference, made from the code: `python -m docs.generator` writes `docs/reference/`.

What it writes is checked in, so that it can be read in a repository's browser; a test compares it with the code.
"""
