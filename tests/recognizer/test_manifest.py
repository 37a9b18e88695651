"""A manifest that is accepted can be relied on, and one that is not says which rows are wrong."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED
from recognizer.manifest import Manifest, ManifestError, load_manifest, merge, read_table, write_table

Row = dict[str, str]


def rows(count: int = 6) -> list[Row]:
    return [
        {
            "path": f"clips/{i}.wav",
            "command": ("left", "right", UNKNOWN)[i % 3],
            "speaker": f"s{i // 3}",
            "split": ("train", "validation", "test")[i // 3 % 3],
            "accent": ("Scotland ", "", "new  York")[i % 3],
        }
        for i in range(count)
    ]


def write(folder: Path, table: Sequence[Row], name: str = "manifest.csv") -> Path:
    """A manifest, and a file of its own bytes for each clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in table:
        if row.get("path", "").strip():
            clip = folder / row["path"]
            clip.parent.mkdir(parents=True, exist_ok=True)
            clip.write_bytes(f"sound of {row['path']}".encode())
    write_table(pd.DataFrame(table), folder / name)
    return folder / name


# What is accepted


def test_paths_become_absolute_and_groups_clean(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, rows()))
    assert manifest.table["path"].tolist() == [str(tmp_path / f"clips/{i}.wav") for i in range(6)]
    assert manifest.table["accent"].tolist() == ["scotland", UNDECLARED, "new york"] * 2
    assert manifest.attributes == ("accent",)
    assert manifest.commands == ("left", "right")
    assert manifest.vocabulary == {"accent": ("new york", "scotland")}


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    write(tmp_path / "clips", rows())
    elsewhere = [{**row, "path": str(tmp_path / "clips" / row["path"])} for row in rows()]
    manifest = load_manifest(write(tmp_path / "lists", elsewhere))
    assert manifest.table["path"].tolist() == [row["path"] for row in elsewhere]


def test_parquet_and_csv_are_the_same_manifest(tmp_path: Path) -> None:
    csv = load_manifest(write(tmp_path, rows()))
    parquet = load_manifest(write(tmp_path, rows(), "manifest.parquet"))
    pd.testing.assert_frame_equal(parquet.table, csv.table)
    assert parquet.fingerprint() == csv.fingerprint()


def test_parquet_columns_that_are_no_text_become_text(tmp_path: Path) -> None:
    write(tmp_path, rows())
    table = pd.DataFrame(rows()).assign(
        speaker=[1, 1, 1, 2, 2, 2], accent=pd.Categorical(["us", None, "us", "uk", "uk", None])
    )
    table.to_parquet(tmp_path / "typed.parquet")
    loaded = load_manifest(tmp_path / "typed.parquet").table
    assert loaded["speaker"].tolist() == ["1", "1", "1", "2", "2", "2"]
    assert loaded["accent"].tolist() == ["us", UNDECLARED, "us", "uk", "uk", UNDECLARED]


def test_words_that_pandas_takes_for_missing_are_words(tmp_path: Path) -> None:
    table = [{**row, "speaker": "NA", "command": "null"} for row in rows()]
    loaded = load_manifest(write(tmp_path, table)).table
    assert set(loaded["speaker"]) == {"NA"}
    assert set(loaded["command"]) == {"null"}


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    table = [
        {"file": r["path"], "label": r["command"], "who": r["speaker"], "split": r["split"], "dialect": r["accent"]}
        for r in rows()
    ]
    path = write(tmp_path, table)
    write(tmp_path, rows(), "plain.csv")
    mapped = load_manifest(path, columns={"path": "file", "command": "label", "speaker": "who", "accent": "dialect"})
    pd.testing.assert_frame_equal(mapped.table, load_manifest(tmp_path / "plain.csv").table)


def test_a_mapped_column_wins_over_one_of_our_name(tmp_path: Path) -> None:
    table = [{**row, "label": "stop"} for row in rows()]
    assert load_manifest(write(tmp_path, table), columns={"command": "label"}).commands == ("stop",)


def test_only_the_attributes_asked_for_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, [{**row, "room": "Kitchen", "age": "teens"} for row in rows()])
    assert load_manifest(path).attributes == ("accent", "age")
    manifest = load_manifest(path, attributes=["room"])
    assert manifest.vocabulary == {"room": ("kitchen",)}
    assert "accent" not in manifest.table


def test_the_default_split_is_for_files_without_one(tmp_path: Path) -> None:
    without = [{k: v for k, v in row.items() if k != "split"} for row in rows()]
    assert set(load_manifest(write(tmp_path, without), default_split="test").table["split"]) == {"test"}
    assert set(load_manifest(write(tmp_path, rows()), default_split="test").table["split"]) == {"train", "validation"}
    with pytest.raises(ManifestError, match="has no column split"):
        load_manifest(write(tmp_path, without))


def test_a_split_holds_its_clips_only(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, rows(9)))
    assert manifest.split("test").table["speaker"].tolist() == ["s2"] * 3
    assert len(manifest.split("test", "train").table) == 6
    with pytest.raises(ManifestError, match=r"no clip is in the split test; found \['train', 'validation'\]"):
        load_manifest(write(tmp_path, rows())).split("test")


def test_where_keeps_the_chosen_rows_in_order(tmp_path: Path) -> None:
    kept = load_manifest(write(tmp_path, rows())).where([True, False, False, False, True, True])
    assert [Path(p).name for p in kept.table["path"]] == ["0.wav", "4.wav", "5.wav"]
    assert kept.table.index.tolist() == [0, 1, 2]


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": " "}, r"no command in 1 of 6 rows \(row 4: '.*clips/2\.wav'\)"),
        ({"speaker": ""}, r"no speaker in 1 of 6 rows \(row 4: '.*clips/2\.wav'\)"),
        ({"path": ""}, r"no path in 1 of 6 rows \(row 4: 's0'\)"),
        ({"split": "dev"}, r"the split is none of train, validation, test in 1 of 6 rows \(row 4: 'dev'\)"),
        ({"path": "clips/1.wav"}, r"the same clip twice in 1 of 6 rows \(row 4: '.*clips/1\.wav'\)"),
    ],
)
def test_a_bad_row_is_named_as_an_editor_counts_them(tmp_path: Path, change: Row, message: str) -> None:
    table = rows()
    table[2] |= change
    with pytest.raises(ManifestError, match=message):
        load_manifest(write(tmp_path, table))


def test_a_clip_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, rows())
    (tmp_path / "clips/3.wav").unlink()
    (tmp_path / "clips/4.wav").unlink()
    (tmp_path / "clips/4.wav").mkdir()
    with pytest.raises(ManifestError, match=r"no such file in 2 of 6 rows \(row 5: '.*3\.wav'; row 6: '.*4\.wav'\)"):
        load_manifest(path)


def test_of_many_bad_rows_five_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    table = [{**row, "split": "dev"} for row in rows(9)]
    with pytest.raises(ManifestError, match=r"in 9 of 9 rows \(row 2: .*row 6: 'dev' and 4 more\)"):
        load_manifest(write(tmp_path, table))


def test_a_missing_column_says_what_there_is_and_how_to_map_it(tmp_path: Path) -> None:
    table = [{("label" if k == "command" else k): v for k, v in row.items()} for row in rows()]
    with pytest.raises(ManifestError, match=r"no column command; it has \['path', 'label'.*--columns command=label"):
        load_manifest(write(tmp_path, table))
    with pytest.raises(ManifestError, match="no column 'word' to use as 'command'"):
        load_manifest(tmp_path / "manifest.csv", columns={"command": "word"})
    with pytest.raises(ManifestError, match="no column command, age"):
        load_manifest(tmp_path / "manifest.csv", attributes=["age"])


def test_refuses_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"there is no manifest at .*none\.csv"):
        load_manifest(tmp_path / "none.csv")
    for name, content in [("empty.csv", b""), ("binary.csv", b"\xff\xfe\0"), ("broken.parquet", b"PAR1 and no more")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ManifestError, match=name):
            load_manifest(tmp_path / name)
    with pytest.raises(ManifestError, match="can't be read"):
        load_manifest(tmp_path)
    (tmp_path / "rowless.csv").write_text("path,command,speaker,split\n")
    with pytest.raises(ManifestError, match=r"rowless\.csv has no rows"):
        load_manifest(tmp_path / "rowless.csv")


# Names and fingerprints


def test_clip_ids_do_not_depend_on_where_the_corpus_lies(tmp_path: Path) -> None:
    write(tmp_path / "here/corpus", rows())
    shutil.copytree(tmp_path / "here", tmp_path / "there/far")
    here = load_manifest(tmp_path / "here/corpus/manifest.csv")
    there = load_manifest(tmp_path / "there/far/corpus/manifest.csv")
    assert here.clip_ids == there.clip_ids == [f"corpus/clips/{i}.wav" for i in range(6)]
    assert here.fingerprint() == there.fingerprint()


def test_two_clips_can_not_get_the_same_id(tmp_path: Path) -> None:
    table = rows(2)
    table[0]["path"], table[1]["path"] = "one/deep/a/0.wav", "two/deep/a/0.wav"
    manifest = load_manifest(write(tmp_path, table))
    with pytest.raises(ManifestError, match=r"twice in 1 of 2 rows \(row 3: 'deep/a/0\.wav'\)"):
        _ = manifest.clip_ids


def test_the_fingerprint_is_that_of_clips_and_labels_and_of_no_order(tmp_path: Path) -> None:
    path = write(tmp_path, rows())
    fingerprint = load_manifest(path).fingerprint()
    assert fingerprint.startswith("sha256:")
    assert load_manifest(write(tmp_path, rows()[::-1])).fingerprint() == fingerprint
    for column, value in [("command", "stop"), ("speaker", "s9"), ("split", "test"), ("accent", "wales")]:
        table = rows()
        table[4][column] = value
        assert load_manifest(write(tmp_path, table)).fingerprint() != fingerprint
    path = write(tmp_path, rows())
    (tmp_path / "clips/4.wav").write_bytes(b"sound of clips/4.waw")
    assert load_manifest(path).fingerprint() != fingerprint
    assert load_manifest(write(tmp_path, rows())).fingerprint() == fingerprint


# Merging


def test_an_attribute_that_one_corpus_lacks_is_undeclared_there(tmp_path: Path) -> None:
    one = load_manifest(write(tmp_path / "one", rows(3)))
    two = load_manifest(write(tmp_path / "two", [{**row, "age": "teens"} for row in rows(3)]), attributes=["age"])
    both = merge([one, two])
    assert both.attributes == ("accent", "age")
    assert both.table["age"].tolist() == [UNDECLARED] * 3 + ["teens"] * 3
    assert both.table["accent"].tolist() == ["scotland", UNDECLARED, "new york"] + [UNDECLARED] * 3
    assert both.clip_ids == one.clip_ids + two.clip_ids


def test_what_a_sound_is_stays_with_its_clip_and_is_empty_where_nobody_said(tmp_path: Path) -> None:
    said = [row | {"sound": "tree" if row["command"] == UNKNOWN else ""} for row in rows(3)]
    one = load_manifest(write(tmp_path / "one", said))
    assert one.attributes == ("accent",)
    assert one.table["sound"].tolist() == ["", "", "tree"]
    both = merge([one, load_manifest(write(tmp_path / "two", rows(3)))])
    assert both.table["sound"].tolist() == ["", "", "tree", "", "", ""]


def test_a_clip_that_stands_in_two_corpora_is_refused(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, rows()))
    with pytest.raises(ManifestError, match="the merged manifest: the same clip twice in 6 of 12 rows"):
        merge([manifest, manifest])


def test_a_table_survives_writing_and_reading(tmp_path: Path) -> None:
    table = pd.DataFrame(rows()).assign(accent=['a "b", c', "ünï", "", "\n", "d", "NaN"])
    for name in ("deep/down/table.csv", "table.parquet"):
        write_table(table, tmp_path / name)
        pd.testing.assert_frame_equal(read_table(tmp_path / name), table)


def test_a_manifest_can_not_be_changed_by_accident(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, rows()))
    with pytest.raises(AttributeError):
        manifest.attributes = ()  # type: ignore[misc]
    assert isinstance(manifest, Manifest)
