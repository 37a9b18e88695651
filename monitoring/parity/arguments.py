"""What the arguments of every estimate are held to."""

FEWEST_SPEAKERS = 10
"""`min_speakers` goes no lower: one smaller group makes the joint interval of all groups useless."""
FEWEST_REPLICATES = 100


def check_confidence(confidence: float) -> None:
    """Raises ValueError unless 0 < confidence < 1."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; a probability between 0 and 1 is accepted")


def check_min_speakers(min_speakers: int) -> None:
    """Raises ValueError under `FEWEST_SPEAKERS`."""
    if min_speakers < FEWEST_SPEAKERS:
        raise ValueError(f"min_speakers is {min_speakers}; {FEWEST_SPEAKERS} or more are accepted")


def check_replicates(replicates: int) -> None:
    """Raises ValueError under `FEWEST_REPLICATES`."""
    if replicates < FEWEST_REPLICATES:
        raise ValueError(f"replicates is {replicates}; {FEWEST_REPLICATES} or more are accepted")


def check_tolerance(tolerance: float) -> None:
    """Raises ValueError unless 0 <= tolerance <= 1."""
    if not 0.0 <= tolerance <= 1.0:
        raise ValueError(f"tolerance is {tolerance}; a gap in [0, 1] is accepted")


def check_permutations(permutations: int) -> None:
    """Raises ValueError under `FEWEST_REPLICATES`."""
    if permutations < FEWEST_REPLICATES:
        raise ValueError(f"permutations is {permutations}; {FEWEST_REPLICATES} or more are accepted")
