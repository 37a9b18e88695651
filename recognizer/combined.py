"""Defenses made of others: purifiers before a defense, and rejectors that must agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from recognizer.decision import Certificate, Decision, Part, Reason
from recognizer.defense import Defense, DefenseName, NetworkError
from recognizer.hearing import Case, Hearing, Verdict, each, waveforms_of
from recognizer.purification import Purifier
from recognizer.steps import Steps


class PurificationError(NetworkError):
    """A purifier failed on a clip, or was given NaN or infinity; nothing is decided on it."""


class PurifiedInput:
    """A defense that hears g(x): the clip is purified once, and then decided on.

    Whatever the defense vouches for is so about g(x). Under RS the noise comes after g: the vote is that of
    f(g(x) + noise), its error probability holds, and a radius around g(x) says nothing of how far x may be moved, so
    none is claimed. `recognizer.purification.Purified` has g within the network, after the noise; its radius is x's.
    """

    def __init__(self, purifiers: Sequence[Purifier], defense: Defense) -> None:
        """
        Args:
            purifiers: applied in this order; at least one.
        """
        self.purifiers = tuple(purifiers)
        self.defense = defense
        self._before = "".join(f"{purifier.name}." for purifier in self.purifiers)

    @property
    def name(self) -> str:
        before, after = self._before, self.defense.name
        return before.removesuffix(".") if after == DefenseName.NONE else f"{before}{after}"

    def purify(self, waveforms: Tensor) -> Tensor:
        """g(x), float32 [clips, window], of waveforms of that shape.

        Raises:
            PurificationError: see there.
        """
        for purifier in self.purifiers:
            try:
                waveforms = purifier(waveforms)
            except (ValueError, OSError, RuntimeError) as error:  # what the check of the input and the codecs raise
                raise PurificationError(f"{purifier.name} failed: {error}") from error
        return waveforms

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        """See `Defense.decide`; certificates name the purifiers and carry no radius."""
        decisions = self.defense.decide(self.purify(waveforms), clip_ids=clip_ids, seed=seed, deadline=deadline)
        return [self.about_purified(decision) for decision in decisions]

    def hearing(self) -> Hearing:
        """See `Defense.hearing`."""
        return _PurifiedHearing(self)

    def promises(self) -> tuple[Certificate, ...]:
        """See `Defense.promises`."""
        return tuple(self._named(certificate) for certificate in self.defense.promises())

    def about_purified(self, decision: Decision) -> Decision:
        certificate = decision.certificate
        return replace(
            decision,
            certificate=None if certificate is None else self._named(certificate),
            parts=tuple(replace(part, decision=self.about_purified(part.decision)) for part in decision.parts),
        )

    def _named(self, certificate: Certificate) -> Certificate:
        return replace(certificate, defense=f"{self._before}{certificate.defense}", radius_l2=None)


class Combined:
    """Rejectors in turn: a clip is accepted only if every one of them accepts it as the same command.

    The first that abstains gives the reason, whether or not the later ones are asked: both ways give the same answer.
    """

    def __init__(self, parts: Sequence[Defense], *, ask_all: bool) -> None:
        """
        Args:
            parts: at least two, asked in this order.
            ask_all: every part decides on every clip, so that each one's scores are of all clips; otherwise only on
                those that the parts before it accept, which saves its time and makes its scores those of a selection.
        """
        self.parts = tuple(parts)
        self.ask_all = ask_all

    @property
    def name(self) -> str:
        return ".".join(part.name for part in self.parts)

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        """See `Defense.decide`; `parts` are the decisions of those that were asked."""
        said: list[list[Part]] = [[] for _ in clip_ids]
        for part in self.parts:
            asked = [clip for clip, before in enumerate(said) if self.ask_all or _all_accept(before)]
            if asked:
                heard = waveforms if len(asked) == len(said) else waveforms[asked]
                ids = [clip_ids[clip] for clip in asked]
                decisions = part.decide(heard, clip_ids=ids, seed=seed, deadline=deadline)
                for clip, decision in zip(asked, decisions, strict=True):
                    said[clip].append(Part(part.name, decision))
        return [agreement(parts) for parts in said]

    def hearing(self) -> Hearing:
        """See `Defense.hearing`."""
        return _CombinedHearing(self.parts, ask_all=self.ask_all)

    def promises(self) -> tuple[Certificate, ...]:
        """See `Defense.promises`."""
        return tuple(certificate for part in self.parts for certificate in part.promises())


class _PurifiedHearing:
    """Cases are purified in the step after they join, and go on to the defense behind."""

    def __init__(self, purified: PurifiedInput) -> None:
        self._purified = purified
        self._behind = purified.defense.hearing()
        self._waiting: list[Case] = []
        self._as_they_came: dict[Case, Case] = {}

    @property
    def is_idle(self) -> bool:
        return not self._waiting and self._behind.is_idle

    def join(self, cases: Sequence[Case]) -> None:
        """See `Hearing`."""
        self._waiting += cases

    def step(self) -> list[tuple[Case, Verdict]]:
        """See `Hearing`."""
        cases, self._waiting = self._waiting, []
        failed: list[tuple[Case, Verdict]] = []
        for case, found in zip(cases, each(self._purify, cases), strict=True):
            if isinstance(found, Exception):
                failed.append((case, found))
            else:
                self._as_they_came[found] = case
                self._behind.join([found])
        settled = self._behind.step() if not self._behind.is_idle else []
        return failed + [(self._as_they_came.pop(case), self._of_purified(verdict)) for case, verdict in settled]

    def _of_purified(self, verdict: Verdict) -> Verdict:
        return verdict if isinstance(verdict, Exception) else self._purified.about_purified(verdict)

    def _purify(self, cases: Sequence[Case]) -> list[Case]:
        heard = self._purified.purify(waveforms_of(cases))
        return [replace(case, waveform=waveform) for case, waveform in zip(cases, heard, strict=True)]


class _CombinedHearing:
    """Each part holds a hearing of its own; a case goes from one to the next."""

    def __init__(self, parts: Sequence[Defense], *, ask_all: bool) -> None:
        self._names = [part.name for part in parts]
        self._hearings = [part.hearing() for part in parts]
        self._ask_all = ask_all
        self._said: dict[Case, list[Part]] = {}

    @property
    def is_idle(self) -> bool:
        return all(hearing.is_idle for hearing in self._hearings)

    def join(self, cases: Sequence[Case]) -> None:
        """See `Hearing`."""
        self._said.update({case: [] for case in cases})
        self._hearings[0].join(cases)

    def step(self) -> list[tuple[Case, Verdict]]:
        """See `Hearing`."""
        left: list[tuple[Case, Verdict]] = []
        for place, hearing in enumerate(self._hearings):
            for case, verdict in hearing.step() if not hearing.is_idle else ():
                said = self._said[case]
                if isinstance(verdict, Exception):
                    left.append((case, verdict))
                    continue
                said.append(Part(self._names[place], verdict))
                if place + 1 < len(self._hearings) and (self._ask_all or verdict.is_accepted):
                    self._hearings[place + 1].join([case])
                else:
                    left.append((case, agreement(said)))
        for case, _ in left:
            del self._said[case]
        return left


def _all_accept(parts: Sequence[Part]) -> bool:
    return all(part.decision.is_accepted for part in parts)


def agreement(parts: Sequence[Part]) -> Decision:
    """What follows of the parts' decisions on one clip: the first abstention, or the command that all of them accept.

    Evidence and certificate are those of the part that settled it: the first to abstain, else the last.
    """
    abstained = next((part.decision for part in parts if not part.decision.is_accepted), None)
    if abstained is not None:
        return replace(abstained, parts=tuple(parts))
    settled = replace(parts[-1].decision, parts=tuple(parts))
    if len({part.decision.command for part in parts}) > 1:
        heard = "; ".join(f"{part.defense}: {part.decision.command}" for part in parts)
        return settled.but_abstain(Reason.DISAGREEMENT, f"the parts accept different commands ({heard})")
    return replace(settled, detail="; ".join(f"{part.defense}: {part.decision.detail}" for part in parts))


def assemble(
    steps: Steps, *, singles: Mapping[DefenseName, Defense], purifiers: Mapping[str, Purifier], ask_all: bool
) -> Defense:
    """The defense of these steps, out of the single ones.

    Args:
        singles: the plain network, and the rejectors that the steps name.
        purifiers: by name.
        ask_all: see `Combined`.
    """
    rejectors = [singles[name] for name in steps.rejectors] or [singles[DefenseName.NONE]]
    defense = Combined(rejectors, ask_all=ask_all) if steps.is_combined else rejectors[0]
    if not steps.purifiers:
        return defense
    return PurifiedInput([purifiers[name] for name in steps.purifiers], defense)
