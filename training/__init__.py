"""Offline work: corpora, hardening, fitting rejectors, bundles."""
