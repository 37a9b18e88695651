"""The paper's study on any corpus: 2 x 5 x 4 hardened networks, two rejectors, and what they do to whom."""
