"""Labelled clips of people who agreed to be recorded: what an audit of one's own is made of."""
