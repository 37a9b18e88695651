"""Corpora: each becomes one labelled-clip manifest."""
