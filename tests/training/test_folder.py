"""A corpus of one's own: folders and manifests."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recognizer.decision import UNKNOWN
from recognizer.manifest import ManifestError
from training.corpora.cleaning import Cleaning
from training.corpora.folder import native_group, own_manifest, read_folder
from training.corpora.ranges import Ranges
from training.corpora.splits import Fold

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 800)


def record(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, NOISE, 16_000)


def build(folder: Path, rows: list[dict[str, str]]) -> Path:
    """A manifest in `folder` and its clips, named as the rows say or by their number."""
    folder.mkdir(parents=True)
    rows = [{"path": f"audio/{i}.wav", **row} for i, row in enumerate(rows)]
    for row in rows:
        record(folder / row["path"])
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Ten people with ages, a first language and an accent strength."""
    languages = ["English", "Hindi", "", "Chinese", "English"]
    return build(
        tmp_path / "lab",
        [
            {
                "label": word,
                "speaker": f"lab{s}",
                "gender": "Female" if s % 2 else "prefer not to say",
                "age": "1234" if s == 0 else str(18 + s),
                "native": languages[s % 5],
                "strength": str(s),
            }
            for s in range(10)
            for word in ("Yes", "no", "cat")
        ],
    )


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Six people of whom only the accent is known."""
    return build(
        tmp_path / "voices",
        [
            {"label": word, "speaker": f"voice{s}", "accent": "USA/neutral" if s else "American English"}
            for s in range(6)
            for word in ("yes", "no")
        ],
    )


class TestFolder:
    def test_layout(self, tmp_path: Path) -> None:
        for command in ("go", "Stop"):
            for suffix in ("wav", "flac", "ogg", "mp3"):
                for take in range(10):
                    record(tmp_path / command / f"ann_{suffix}_{take}.{suffix}")
        record(tmp_path / "_background_noise_" / "hum.wav")
        (tmp_path / "go" / "notes.txt").write_text("no clip")
        corpus = read_folder(tmp_path)
        table = corpus.manifest.table
        assert Counter(table["command"]) == {"go": 40, "stop": 40}
        assert set(table["speaker"]) == {"ann"}
        assert Counter(table["split"]) == {"train": 56, "validation": 8, "test": 16}
        assert corpus.manifest.attributes == ()
        assert corpus.notes == ("folders left out: _background_noise_",)

    def test_malformed_names_are_counted(self, tmp_path: Path) -> None:
        for name in ("ann_1.wav", "ann.wav", "_1.wav"):
            record(tmp_path / "go" / name)
        with pytest.raises(ManifestError, match=r"2 of 3 clips .*go/_1\.wav, go/ann\.wav"):
            read_folder(tmp_path)

    def test_no_clips_no_folder_one_speaker(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="no clip lies in"):
            read_folder(tmp_path)
        with pytest.raises(ManifestError, match="there is no folder"):
            read_folder(tmp_path / "nowhere")
        record(tmp_path / "go" / "ann_1.wav")
        with pytest.raises(ManifestError, match="1 speaker can't be divided"):
            read_folder(tmp_path, split="open")


class TestOwnManifest:
    def test_two_manifests_become_one_cleaned_corpus(self, lab: Path, voices: Path) -> None:
        corpus = own_manifest(
            [lab, voices],
            columns={"command": "label", "accent_strength": "strength"},
            attributes=("accent", "age", "gender", "accent_strength"),
            commands=("yes", "no"),
            native_from="native",
            renames={"accent": {"USA/neutral": "american", "american english": "american"}},
        )
        manifest = corpus.manifest
        assert manifest.attributes == ("accent", "age", "gender", "accent_strength", "native")
        assert manifest.commands == ("no", "yes")
        assert Counter(manifest.table["command"]) == {"yes": 16, "no": 16, UNKNOWN: 10}
        is_other = manifest.table["command"] == UNKNOWN
        assert set(manifest.table.loc[is_other, "sound"]) == {"cat"}
        assert set(manifest.table.loc[~is_other, "sound"]) == {""}
        people = manifest.table.drop_duplicates("speaker").set_index("speaker")
        groups = people[list(manifest.attributes)]
        assert groups.loc["lab0"].tolist() == ["undeclared", "undeclared", "undeclared", "0", "native"]
        assert groups.loc["lab1"].tolist() == ["undeclared", "teens", "female", "1", "non-native"]
        assert groups.loc["lab2"].tolist() == ["undeclared", "twenties", "undeclared", "2", "undeclared"]
        assert groups.loc["voice0"].tolist() == ["american", *["undeclared"] * 4]
        assert set(corpus.cleanings) == {
            Cleaning("accent", "usa/neutral", "american", 5),
            Cleaning("accent", "american english", "american", 1),
            Cleaning("age", "1234", "undeclared", 1),
            Cleaning("gender", "prefer not to say", "undeclared", 5),
        }
        assert corpus.notes == ("10 clips of 1 other words became unknown: cat",)
        assert people["split"].value_counts().to_dict() == {"train": 11, "validation": 2, "test": 3}
        assert manifest.table.groupby("speaker")["split"].nunique().max() == 1

    def test_what_is_unknown_already_keeps_what_it_is(self, tmp_path: Path) -> None:
        rows = [
            {"command": command, "sound": sound, "speaker": f"s{i}"}
            for i in range(3)
            for command, sound in (("go", ""), (UNKNOWN, "babble"), ("cat", ""))
        ]
        own = own_manifest([build(tmp_path / "own", rows)], attributes=(), commands=("go",)).manifest
        assert Counter(zip(own.table["command"], own.table["sound"], strict=True)) == {
            ("go", ""): 3,
            (UNKNOWN, "babble"): 3,
            (UNKNOWN, "cat"): 3,
        }

    def test_other_words_can_be_dropped(self, lab: Path) -> None:
        corpus = own_manifest([lab], columns={"command": "label"}, attributes=(), commands=("yes",), others="drop")
        assert set(corpus.manifest.table["command"]) == {"yes"}
        assert corpus.notes == ("20 clips of 2 other words were left out: cat, no",)

    def test_speakers_of_one_manifest_are_held_out(self, lab: Path, voices: Path) -> None:
        corpus = own_manifest(
            [voices, lab],
            columns={"command": "label"},
            attributes=("gender",),
            hold_out_from=[lab],
            hold_out_share=0.4,
            stratify=("gender",),
            seed=5,
        )
        people = corpus.manifest.table.drop_duplicates("speaker")
        test = people[people["split"] == "test"]
        assert test["speaker"].str.startswith("lab").all()
        assert Counter(test["gender"]) == {"female": 2, "undeclared": 2}
        assert Counter(people["split"]) == {"train": 11, "validation": 1, "test": 4}

    def test_each_speaker_of_one_manifest_is_held_out_in_one_fold(self, lab: Path, voices: Path) -> None:
        test = []
        for number in (1, 2, 3):
            corpus = own_manifest(
                [lab, voices],
                columns={"command": "label"},
                attributes=("gender",),
                hold_out_from=[lab],
                hold_out_only=Fold(number, 3),
                stratify=("gender",),
            )
            table = corpus.manifest.table
            assert len(table) == 10 * 3 + 6 * 2
            held = table[table["split"] == "test"]
            assert set(held.groupby("speaker").size()) == {3}  # all clips of each
            test += held["speaker"].unique().tolist()
        assert sorted(test) == [f"lab{i}" for i in range(10)]

    def test_numbers_become_ranges_and_those_outside_are_told(self, lab: Path, voices: Path) -> None:
        corpus = own_manifest(
            [lab, voices],
            columns={"command": "label"},
            attributes=("strength",),
            ranges={"strength": Ranges.parse("0-3:4-8")},
        )
        group = corpus.manifest.table.drop_duplicates("speaker").set_index("speaker")["strength"]
        assert group[[f"lab{i}" for i in range(10)]].tolist() == ["0-3"] * 4 + ["4-8"] * 5 + ["undeclared"]
        assert set(group[[f"voice{i}" for i in range(6)]]) == {"undeclared"}
        assert corpus.cleanings == (Cleaning("strength", "9", "undeclared", 1),)

    def test_given_splits_are_kept(self, tmp_path: Path) -> None:
        rows = [
            {"command": "go", "speaker": f"s{i}", "split": split}
            for i, split in enumerate(["train", "validation", "test", "test"])
        ]
        table = own_manifest([build(tmp_path / "m", rows)], attributes=(), split="given").manifest.table
        assert table["split"].tolist() == ["train", "validation", "test", "test"]

    def test_closed_split(self, tmp_path: Path) -> None:
        rows = [{"command": "go", "speaker": f"s{i % 2}"} for i in range(20)]
        table = own_manifest([build(tmp_path / "m", rows)], attributes=(), split="closed").manifest.table
        assert Counter(table["split"]) == {"train": 14, "validation": 2, "test": 4}

    def test_a_speaker_of_two_manifests_is_noted_and_in_one_split(self, tmp_path: Path) -> None:
        paths = [
            build(tmp_path / name, [{"command": "go", "speaker": f"s{i}", "accent": name} for i in speakers])
            for name, speakers in {"a": range(6), "b": range(5, 9)}.items()
        ]
        corpus = own_manifest(paths, attributes=("accent",))
        assert corpus.notes == ("1 speakers are in several manifests and taken for the same people: s5",)
        assert corpus.cleanings == (Cleaning("accent", "a / b", "undeclared", 1),)
        assert corpus.manifest.table.groupby("speaker")["split"].nunique().max() == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"columns": {}}, "has no column command"),
            ({"columns": {"command": "word"}}, "no manifest has a column word; they have age, gender, label"),
            ({"attributes": ("height",)}, "no manifest has a column for height"),
            ({"native_from": "mother tongue"}, "no manifest has a column mother tongue"),
            ({"commands": ("yes", "halt")}, "no clip says halt; the labels are cat, no, yes"),
            ({"hold_out_from": [Path("else.csv")]}, r"else\.csv, which is not among the manifests"),
            ({"renames": {"accent": {"x": "y"}}}, "values of accent are to be renamed"),
            ({"ranges": {"accent": Ranges.parse("0-1:2-3")}}, "values of accent are to be put into ranges"),
            ({"hold_out_only": Fold(1, 2)}, "no manifest is named whose speakers are divided"),
            ({"split": "given"}, "has no column split"),
        ],
    )
    def test_what_is_missing_is_named(self, lab: Path, arguments: dict[str, object], message: str) -> None:
        options: dict[str, object] = {"columns": {"command": "label"}, "attributes": ("gender",), **arguments}
        with pytest.raises(ManifestError, match=message):
            own_manifest([lab], **options)  # type: ignore[arg-type]

    def test_one_speaker_a_missing_file_an_empty_label(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="no manifest was given"):
            own_manifest([])
        one = build(tmp_path / "one", [{"command": "go", "speaker": "ann"}, {"command": "stop", "speaker": "ann"}])
        with pytest.raises(ManifestError, match="1 speaker can't be divided"):
            own_manifest([one], attributes=())
        with pytest.raises(ManifestError, match="the same clip twice"):
            own_manifest([one, one], attributes=())
        with pytest.raises(ManifestError, match="speakers can be held out of an open split only"):
            own_manifest([one], attributes=(), split="closed", hold_out_from=[one])
        (tmp_path / "one" / "audio" / "1.wav").unlink()
        with pytest.raises(ManifestError, match="no such file in 1 of 2 rows"):
            own_manifest([one], attributes=())
        with pytest.raises(ManifestError, match="no command in 1 of 1 rows"):
            own_manifest([build(tmp_path / "two", [{"command": " ", "speaker": "ann"}])], attributes=())

    @pytest.mark.parametrize(
        ("language", "group"),
        [
            *(("en", "native"), ("en-us", "native"), ("en_gb", "native"), ("english", "native")),
            *(("en (from accent tag)", "native"), ("english (uk)", "native")),
            *(("native", "native"), ("non-native", "non-native")),
            *(("de (from accent tag)", "non-native"), ("hindi", "non-native"), ("enets", "non-native")),
        ],
    )
    def test_native_means_english_is_the_first_language(self, language: str, group: str) -> None:
        assert native_group(language) == group


def test_four_real_manifests(speech: Path) -> None:
    names = ("fsdd", "kokoro20", "speech_commands_mini", "duke_digits")
    duke = speech / "duke_digits" / "manifest.csv"
    corpus = own_manifest(
        [speech / name / "manifest.csv" for name in names],
        columns={"command": "label", "accent_strength": "accent_strength_0_10"},
        attributes=("accent", "age", "gender", "accent_strength"),
        commands=DIGITS,
        native_from="native",
        hold_out_from=[duke],
        hold_out_share=0.5,
        stratify=("gender",),
    )
    table = corpus.manifest.table
    with duke.open(newline="") as file:
        rows = list(csv.DictReader(file))
    people = table.drop_duplicates("speaker").set_index("speaker")
    duke_people = people[people.index.str.startswith("duke_")]
    assert set(duke_people.index) == {row["speaker"] for row in rows}
    english = {row["speaker"] for row in rows if row["native"] == "English"}
    assert set(duke_people.index[duke_people["native"] == "native"]) == english
    assert set(duke_people["age"]) == {"twenties", "thirties"}
    assert (people.loc[~people.index.str.startswith("duke_"), "accent_strength"] == "undeclared").all()
    assert (people.loc[people.index.str.startswith("gsc_"), "native"] == "undeclared").all()
    assert set(people.index[people["split"] == "test"]) < set(duke_people.index)
    assert (duke_people["split"] == "test").sum() == round(0.5 * len(duke_people))
    assert corpus.manifest.commands == tuple(sorted(DIGITS))
    assert (table["command"] == UNKNOWN).any()
    assert Cleaning("gender", "prefer not to say", "undeclared", 1) in corpus.cleanings


def test_all_clips_of_a_real_corpus_are_heard_out_of_fold(speech: Path) -> None:
    """Those that were cut uncertainly, too: which those are depends on the accent."""
    duke = speech / "duke_digits" / "manifest.csv"
    with duke.open(newline="") as file:
        rows = list(csv.DictReader(file))
    held: list[tuple[str, str, str]] = []
    for number in range(1, 6):
        corpus = own_manifest(
            [speech / "fsdd" / "manifest.csv", duke],
            columns={"command": "label", "accent_strength": "accent_strength_0_10"},
            attributes=("gender", "accent_strength"),
            ranges={"accent_strength": Ranges.parse("0-3:4-6:7-10")},
            hold_out_from=[duke],
            hold_out_only=Fold(number, 5),
            stratify=("gender",),
        )
        test = corpus.manifest.split("test").table
        held += zip(test["path"].map(lambda p: Path(p).name), test["speaker"], test["accent_strength"], strict=True)
        assert Counter(test.drop_duplicates("speaker")["gender"])["female"] in (4, 5)
    assert sorted(clip for clip, *_ in held) == sorted(Path(row["path"]).name for row in rows)
    for _, speaker, group in held:
        strength = next(int(row["accent_strength_0_10"]) for row in rows if row["speaker"] == speaker)
        assert group == ("0-3" if strength < 4 else "4-6" if strength < 7 else "7-10")
