"""Counters, parity statistics, audits and their reports: whom the defenses turn away."""
