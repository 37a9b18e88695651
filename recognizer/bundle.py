"""A trained recogniser on disk: a folder with a JSON manifest, safetensors, and the sha256 of each.

bundle.json                  what it is, how it was trained, how it tested
*.safetensors                networks and the rejection machine: numbers only, so a bundle can't run code
SHA256SUMS                   of every other file, as `sha256sum --check` reads it; its own sha256 is the version
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recognizer.audio import SAMPLE_RATE, WINDOW_SECONDS, AudioFormat
from recognizer.combined import assemble
from recognizer.defense import Defense, DefenseName, Undefended
from recognizer.mode import Mode
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import NeuralRejection, Score, SupportVectorMachine
from recognizer.purification import PURIFIERS, purifier
from recognizer.recognizer import Recognizer
from recognizer.smoothing import BankVoting, RandomizedSmoothing, VoteTest, voting_of
from recognizer.steps import REJECTORS, steps_of

SCHEMA: Literal["evenvoice.bundle/1"] = "evenvoice.bundle/1"
MANIFEST, SUMS = "bundle.json", "SHA256SUMS"
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
_SUM_LINES = re.compile(r"([0-9a-f]{64}  [^\n]+\n)+")


class BundleError(ValueError):
    """A bundle that can't be loaded; the message says which file is wrong and how."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AudioSpec(_Model):
    """The waveforms the networks take."""

    sample_rate: int = Field(default=SAMPLE_RATE, ge=4_000, le=48_000)
    """Hertz; clips of other rates are resampled."""
    window_seconds: float = Field(default=WINDOW_SECONDS, gt=0.1, le=10)
    """Seconds that a network hears: shorter clips are padded with zeros, longer ones cut around their loudest part."""
    min_seconds: float = Field(default=0.1, gt=0)
    """A shorter clip is answered `too_short`."""
    max_seconds: float = Field(default=5.0, gt=0, le=30)
    """A longer clip is answered `too_long`."""


class NetworkSpec(_Model):
    """A network and what it was trained under."""

    architecture: Architecture
    file: str = Field(pattern=r"^[a-z0-9_]+\.safetensors$")
    """Its weights."""
    noise_sigma: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise augmentation, raw amplitude."""


class NeuralRejectionSpec(_Model):
    """Neural rejection: RBF support vector machines on a network's features."""

    network: str
    """Name of the network whose features it looks at."""
    file: str = Field(pattern=r"^[a-z0-9_]+\.safetensors$")
    """The machines' tensors."""
    confidence_threshold: float = Field(ge=0, le=1)
    """A clip whose confidence is below is rejected; larger is stricter."""
    score: Score = Score.PROBABILITY
    """What the threshold is compared with."""
    fitted_on: str
    """Which clips the machine was fitted on."""


class SmoothingSpec(_Model):
    """Randomized smoothing: a vote among noisy copies of a clip."""

    network: str
    """Name of the network that votes."""
    sigma: float = Field(gt=0)
    """Standard deviation of the noise, raw amplitude."""
    error_alpha: float = Field(gt=0, le=1)
    """A clip whose p-value is above is rejected; smaller is stricter."""
    draws: int = Field(ge=1)
    """N: of every clip (fixed), or at most (sequential)."""
    test: VoteTest = VoteTest.FIXED
    """Whether a vote takes all its draws, or ends once it is settled."""


PurifierSettings = dict[str, int | float]


class DefensesSpec(_Model):
    """What defenses are made of, and those that a request may choose from."""

    undefended_network: str
    """Name of the network that decides where no rejection is asked for."""
    neural_rejection: NeuralRejectionSpec | None = None
    smoothing: SmoothingSpec | None = None
    purifiers: dict[str, PurifierSettings] = {}
    """Name -> settings; those not given are filled in, so that a bundle never changes with the defaults."""
    allowed: tuple[str, ...] = Field(default=(), min_length=1)
    """Names of defenses, see `recognizer.steps`; where none are given, the single ones that are there."""
    default: str = DefenseName.NONE.value
    """What decides where a request names none."""

    @model_validator(mode="before")
    @classmethod
    def _allow_single_ones(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "allowed" in given:
            return given
        return {**given, "allowed": (DefenseName.NONE.value, *(r.value for r in REJECTORS if given.get(r)))}

    @field_validator("purifiers")
    @classmethod
    def _complete(cls, given: dict[str, PurifierSettings]) -> dict[str, PurifierSettings]:
        complete: dict[str, PurifierSettings] = {}
        for name, settings in given.items():
            if name not in PURIFIERS:
                raise ValueError(f"{name!r} is no purifier; there are {', '.join(PURIFIERS)}")
            try:
                complete[name] = PURIFIERS[name].model_validate(settings).model_dump(exclude={"name"})
            except ValidationError as error:
                wrong = "; ".join(": ".join([*map(str, e["loc"]), e["msg"]]) for e in error.errors())
                raise ValueError(f"the purifier {name!r} can't be set so: {wrong}") from None
        return complete

    @model_validator(mode="after")
    def _are_there(self) -> DefensesSpec:
        there = {*self.purifiers, *(r for r in REJECTORS if getattr(self, r) is not None)}
        for role, name in (("default", self.default), *(("allowed", name) for name in self.allowed)):
            steps = steps_of(name)
            if missing := [step for step in (*steps.purifiers, *steps.rejectors) if step not in there]:
                raise ValueError(f"the {role} defense {name} is not in the bundle, which has no {', '.join(missing)}")
        if len(set(self.allowed)) < len(self.allowed):
            raise ValueError(f"the defenses {', '.join(self.allowed)} are allowed; each name is accepted once")
        if self.default not in self.allowed:
            raise ValueError(f"the default defense {self.default} is none of those allowed, {', '.join(self.allowed)}")
        return self


class DataSpec(_Model):
    """What it was trained on."""

    fingerprint: str
    """Of the manifest and its clips: the same corpus has the same."""
    clips: dict[str, int]
    """split -> clips"""
    speakers: dict[str, int]
    """split -> speakers"""


class BundleManifest(_Model):
    """`bundle.json`."""

    schema_: Literal["evenvoice.bundle/1"] = Field(default=SCHEMA, alias="schema")
    """The format; a bundle of another one is refused."""
    name: str = Field(pattern=NAME_PATTERN)
    """For people; answers carry it as `model.name`."""
    created_at: datetime
    """When it was made."""
    evenvoice_version: str
    """Which made it."""
    labels: tuple[str, ...] = Field(min_length=2)
    """The networks' outputs, in order: the commands, and `unknown` where there is one."""
    audio: AudioSpec = AudioSpec()
    networks: dict[str, NetworkSpec]
    """Name, which defenses refer to -> network."""
    defenses: DefensesSpec
    vocabulary: dict[str, tuple[str, ...]]
    """Attribute -> its groups: the closed vocabulary of everything that is counted."""
    data: DataSpec
    training: dict[str, Any]
    """The settings that reproduce it."""
    test_results: dict[str, Any]
    """What the training measured on its test split."""

    @model_validator(mode="after")
    def _parts_fit(self) -> BundleManifest:
        users = [self.defenses.undefended_network]
        users += [spec.network for spec in (self.defenses.neural_rejection, self.defenses.smoothing) if spec]
        for name in users:
            if name not in self.networks:
                raise ValueError(f"a defense uses the network {name!r}, which is not in the bundle")
        for name, network in self.networks.items():
            if network.architecture.labels != len(self.labels):
                raise ValueError(
                    f"the network {name!r} has {network.architecture.labels} labels, the bundle {len(self.labels)}"
                )
        for name, settings in self.defenses.purifiers.items():
            if settings["sample_rate"] != self.audio.sample_rate:
                raise ValueError(
                    f"the purifier {name!r} is set for {settings['sample_rate']} Hz, the bundle's waveforms have "
                    f"{self.audio.sample_rate}; give it that sample_rate"
                )
        return self

    def to_json(self) -> str:
        return self.model_dump_json(indent=2, by_alias=True) + "\n"


def check_folder(folder: Path) -> None:
    """Refuse a folder that `save_bundle` would refuse, before there is anything to save.

    Raises:
        BundleError: it holds something other than a bundle.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is no bundle; give another folder")


def check_replaceable(folder: Path) -> None:
    """Refuse a bundle beside which no other can be written, before there is anything to save.

    Raises:
        BundleError: nothing can be written into the folder that it lies in.
    """
    folder = folder.resolve()
    partial = _partial(folder)
    try:
        partial.mkdir()
    except OSError as error:
        raise BundleError(
            f"{folder} can't be replaced, since nothing can be written into {folder.parent}: {error.strerror}; work on "
            "a copy of it that lies elsewhere"
        ) from error
    partial.rmdir()


def save_bundle(
    folder: Path,
    manifest: BundleManifest,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    copied: Iterable[Path] = (),
) -> None:
    """Write a bundle; the folder appears whole, or not at all.

    Args:
        folder: must not exist, or hold a bundle, which is replaced; of a link, what it points to.
        tensors: file name -> tensors.
        copied: files that the bundle takes as they are, under their own names.

    Raises:
        BundleError: the folder holds something else.
    """
    folder = folder.resolve()  # "." has no name, and a link is to stay one
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(folder)
    replaced = partial.with_name(f"{partial.name}.replaced")
    partial.mkdir()
    try:
        for name, content in tensors.items():
            save_file({key: tensor.detach().cpu().contiguous() for key, tensor in content.items()}, partial / name)
        for path in copied:
            shutil.copyfile(path, partial / path.name)
        for path in partial.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner only; a gateway may run as another user
        (partial / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        names = sorted(path.name for path in partial.iterdir())
        lines = [f"{_sha256(partial / name)}  {name}\n" for name in names]
        (partial / SUMS).write_text("".join(lines), encoding="utf-8")
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    except BaseException:
        if replaced.exists():
            replaced.rename(folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def read_manifest(folder: Path) -> BundleManifest:
    """Check every file's sha256 and read `bundle.json`.

    Raises:
        BundleError: a listed file is missing or changed, a used one is not listed, or the manifest breaks its schema
            or is of another one.
    """
    if not folder.is_dir():
        raise BundleError(f"there is no bundle folder {folder}")
    listed = _read_sums(folder)
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is missing from the bundle")
        if _sha256(path) != expected:
            raise BundleError(f"{path} is damaged: its sha256 is not the one in {SUMS}")
    content = (folder / MANIFEST).read_bytes()
    _check_schema(content, folder)
    try:
        manifest = BundleManifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST} breaks the schema {SCHEMA}: {error}") from error
    specs: list[NetworkSpec | NeuralRejectionSpec] = [*manifest.networks.values()]
    specs += [manifest.defenses.neural_rejection] if manifest.defenses.neural_rejection else []
    for spec in specs:
        if spec.file not in listed:
            raise BundleError(f"{folder / SUMS} does not list {spec.file}, which {MANIFEST} uses")
    return manifest


def files_of(folder: Path) -> tuple[str, ...]:
    """Names of the files that a bundle lists beside its manifest, used or not, such as a licence.

    Raises:
        BundleError: no list, or a damaged one.
    """
    return tuple(name for name in _read_sums(folder) if name != MANIFEST)


def version_of(folder: Path) -> str:
    """`sha256:...` over the sums of every file."""
    return f"sha256:{_sha256(folder / SUMS)}"


def load_bundle(
    folder: Path, *, device: torch.device | str = "cpu", mode: Mode = Mode.EXACT, bank_seed: int | None = None
) -> Recognizer:
    """Check and load a bundle, of its rejectors those that an allowed defense takes. No code from it runs.

    Args:
        mode: how randomized smoothing votes: reproducibly, or as fast as it can; and whether the later parts of a
            combined defense are asked of every clip (exact), or only where their answer still counts (fast).
        bank_seed: of the noise that *fast* mode draws beforehand; a secret, unpredictable by default.

    Raises:
        BundleError: see `read_manifest`; or weights that do not fit their architecture.
    """
    manifest = read_manifest(folder)
    where = torch.device(device)
    networks = {name: _load_network(folder, spec, where) for name, spec in manifest.networks.items()}
    spec = manifest.defenses
    used = {rejector for name in spec.allowed for rejector in steps_of(name).rejectors}
    singles: dict[DefenseName, Defense] = {
        DefenseName.NONE: Undefended(networks[spec.undefended_network], manifest.labels)
    }
    banks: list[BankVoting] = []
    seed = secrets.randbits(62) if bank_seed is None else bank_seed
    try:
        if spec.neural_rejection and DefenseName.NEURAL_REJECTION in used:
            network = networks[spec.neural_rejection.network]
            singles[DefenseName.NEURAL_REJECTION] = _neural_rejection(folder, manifest, spec.neural_rejection, network)
        if (smoothing := spec.smoothing) and DefenseName.SMOOTHING in used:
            network = networks[smoothing.network]
            samples = AudioFormat(**manifest.audio.model_dump()).window
            voting = voting_of(network, mode, sigma=smoothing.sigma, samples=samples, seed=seed)
            banks += [voting] if isinstance(voting, BankVoting) else []
            singles[DefenseName.SMOOTHING] = RandomizedSmoothing(
                network,
                manifest.labels,
                sigma=smoothing.sigma,
                error_alpha=smoothing.error_alpha,
                draws=smoothing.draws,
                test=smoothing.test,
                voting=voting,
            )
    except ValueError as error:
        raise BundleError(f"{folder}: {error}") from error
    purifiers = {name: purifier(name, **settings) for name, settings in spec.purifiers.items()}
    defenses = {
        name: assemble(steps_of(name), singles=singles, purifiers=purifiers, ask_all=mode is Mode.EXACT)
        for name in spec.allowed
    }
    return Recognizer(
        name=manifest.name,
        version=version_of(folder),
        labels=manifest.labels,
        audio=AudioFormat(**manifest.audio.model_dump()),
        vocabulary=manifest.vocabulary,
        defenses=defenses,
        default_defense=spec.default,
        banks=tuple(banks),
    )


def load_neural_rejection(folder: Path, manifest: BundleManifest) -> NeuralRejection:
    """Neural rejection by a manifest's settings, on the CPU, with the weights that lie in a bundle's folder.

    Raises:
        BundleError: the manifest has none, or weights that do not fit.
    """
    spec = manifest.defenses.neural_rejection
    if spec is None:
        raise BundleError(f"the bundle {manifest.name!r} has no neural rejection")
    network = _load_network(folder, manifest.networks[spec.network], torch.device("cpu"))
    try:
        return _neural_rejection(folder, manifest, spec, network)
    except ValueError as error:
        raise BundleError(f"{folder}: {error}") from error


def _neural_rejection(
    folder: Path, manifest: BundleManifest, spec: NeuralRejectionSpec, network: M5
) -> NeuralRejection:
    return NeuralRejection(
        network,
        _load_machine(folder / spec.file).to(next(network.parameters()).device),
        manifest.labels,
        confidence_threshold=spec.confidence_threshold,
        score=spec.score,
    )


def _partial(folder: Path) -> Path:
    """Where a bundle lies until it is whole: beside its folder, since renaming works within one file system."""
    return folder.with_name(f".{folder.name}.{os.getpid()}")


def _load_network(folder: Path, spec: NetworkSpec, device: torch.device) -> M5:
    network = M5(spec.architecture)
    try:
        network.load_state_dict(_load_tensors(folder / spec.file))
    except RuntimeError as error:
        raise BundleError(f"{folder / spec.file} does not fit its architecture: {error}") from error
    return network.to(device).eval()


def _load_machine(path: Path) -> SupportVectorMachine:
    tensors = _load_tensors(path)
    names = {f.name for f in fields(SupportVectorMachine)}
    if set(tensors) != names:
        raise BundleError(f"{path} holds {sorted(tensors)}; a rejection machine has {sorted(names)}")
    return SupportVectorMachine(**tensors)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} can't be read as safetensors: {error}") from error


def _check_schema(content: bytes, folder: Path) -> None:
    """Refuse a manifest that says it is of another schema, in words that fit one line."""
    try:
        schema = json.loads(content)["schema"]
    except (ValueError, TypeError, KeyError):
        return  # which breaks ours, too
    if schema != SCHEMA and str(schema).startswith(SCHEMA.rstrip("0123456789")):
        raise BundleError(
            f"{folder / MANIFEST} is of the schema {schema}, and this evenvoice reads {SCHEMA}: use the evenvoice that "
            "made it, or a newer one"
        )


def _read_sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise BundleError(f"{folder} is no bundle: it has no {SUMS}") from None
    except UnicodeDecodeError:
        raise BundleError(f"{path} is damaged") from None
    if not _SUM_LINES.fullmatch(text):
        raise BundleError(f"{path} is damaged")
    lines = text.split("\n")[:-1]
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    if len(sums) != len(lines):
        raise BundleError(f"{path} lists a file twice")
    if MANIFEST not in sums or any(Path(name).name != name for name in sums):
        raise BundleError(f"{path} must list {MANIFEST} and plain file names only")
    return sums


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
