"""The report's files: a page that stands alone and says the same as its CSVs, also of studies that failed or go on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from recognizer.groups import UNDECLARED
from training.study.folder import Failure, StudyError, StudyFolder, write_record
from training.study.report import write_report
from training.study.report.exhibits import NOTHING, header
from training.study.report.summary import Summary

from .written_study import write_study

MODELS, GUESSERS = 10, 3
"""Of each split of `study`."""

RULE = (
    "At least 25 of the 40 models must beat 1.1x chance on clean clips, else the study is reported as FAILED, "
    "not as a result."
)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


@pytest.fixture(scope="module", autouse=True)
def _quick_figures() -> Iterator[None]:
    """Figures are composed and not rendered: `test_figures.py` renders them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda _figure, file, **_: file.write(PIXEL))
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(
        tmp_path_factory.mktemp("study"),
        configurations=("*_noise0",),
        attributes=("gender", "accent"),
        guessers=GUESSERS,
    )


@pytest.fixture(scope="module")
def out(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    assert write_report(study, folder) == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(
        tmp_path_factory.mktemp("small"),
        splits=("closed",),
        configurations=("m5-small_*_noise0",),
        attributes=("gender",),
        guessers=0,
    )


@pytest.fixture
def small(pristine: Path, tmp_path: Path) -> Path:
    """A study of five configurations of the closed split, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "study"))


class Page(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def tree(path: Path) -> ElementTree.Element:
    """The page as XML, which only a well-formed one is."""
    return ElementTree.fromstring(path.read_text().removeprefix("<!DOCTYPE html>"))


def summary(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "summary.json").read_bytes())


# The page


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(out: Path) -> None:
    tree(out / "index.html")
    page = Page(out / "index.html")
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#"))
    style = (out / "index.html").read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_every_figure_has_words_for_those_who_can_not_see_it(out: Path) -> None:
    pictures = [attributes for tag, attributes in Page(out / "index.html").tags if tag == "img"]
    assert len(pictures) == len(list(out.glob("*.png"))) >= 20
    assert all(len(str(picture["alt"])) > 20 for picture in pictures)


def test_links_lead_to_headings_of_the_page(out: Path) -> None:
    page = Page(out / "index.html")
    ids = {attributes.get("id") for _, attributes in page.tags}
    links = [str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"]
    assert len(links) == 5
    assert set(links) <= ids


def test_every_table_of_the_page_is_its_csv_rounded(out: Path) -> None:
    tables = tree(out / "index.html").findall(".//table")
    assert {table.get("id") for table in tables} == {path.stem for path in out.glob("*.csv")}
    for table in tables:
        frame = pd.read_csv(out / f"{table.get('id')}.csv", keep_default_na=False, dtype=str)
        assert [th.text for th in table.findall("./thead/tr/th")] == [header(column) for column in frame.columns]
        rows = [[td.text or "" for td in row] for row in table.findall("./tbody/tr")]
        assert len(rows) == len(frame)
        for row, written in zip(rows, frame.itertuples(index=False), strict=True):
            for cell, full in zip(row, written, strict=True):
                assert says_the_same(cell, full), (table.get("id"), cell, full)


def says_the_same(cell: str, full: str) -> bool:
    """Whether a cell is the CSV's text, or its number to within half of the cell's last digit."""
    if full in ("", "nan"):
        return cell == NOTHING
    if full in ("True", "False"):
        return cell == ("yes" if full == "True" else "no")
    if cell == full:
        return True
    plain = cell.replace("−", "-")
    mantissa, _, power = plain.partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(plain) - float(full)) <= 0.5001 * unit


def test_undeclared_groups_are_in_the_tables(out: Path) -> None:
    for name in ("closed_groups", "closed_group_auc", "closed_group_auc_fpr", "open_under_attack", "open_loudness"):
        assert UNDECLARED in set(pd.read_csv(out / f"{name}.csv")["group"])


def test_the_heading_says_what_was_run_and_its_limits(out: Path) -> None:
    text = Page(out / "index.html").text
    for words in (
        "m5-small",
        "12 epochs",
        "100 steps",
        "0.0001, 0.001, 0.01, 0.1, 0.2, 0.3",
        "nested",
        "56 clips of 28",
    ):
        assert words in text
    assert text.index(RULE) < text.index("What was run") < text.index("Limits") < text.index("Closed split: known")
    assert "accent 'welsh' is only in test" in text
    assert "NR's machine was fitted on 640 held-out clips of 28 speakers." in text
    assert "n = 55 attacked clips, without 1 that are silent" in text
    settings = pd.read_csv(out / "run.csv").set_index("setting")["value"]
    assert "nested attack, 40 steps at each eps" in settings["smoothing"]  # of the 100 asked for
    assert "nested attack, 100 steps at each eps" in settings["neural rejection under attack"]
    assert "40 steps at each" in settings["purification"]


# Guessers and the verdict


def test_guessers_are_listed_and_left_out_of_correlations(out: Path) -> None:
    models = pd.read_csv(out / "closed_models.csv")
    guessers = set(models.loc[models["clean_accuracy"] <= 1.1 / 10, "key"])
    assert len(guessers) == GUESSERS
    assert set(summary(out).splits[0].guessers) == guessers
    assert not guessers & set(pd.read_csv(out / "closed_defense_parity.csv")["key"])
    assert set(pd.read_csv(out / "closed_presence.csv")["n"]) == {MODELS - GUESSERS}
    assert pd.read_csv(out / "closed_tricks.csv")["models"].sum() == MODELS - GUESSERS
    text = Page(out / "index.html").text
    assert all(key in text for key in guessers)


def test_a_study_in_which_too_many_models_guess_is_reported_as_failed(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study", splits=("closed",), configurations=("*_noise0",), attributes=("gender",), guessers=4
    )
    write_report(study, tmp_path / "out")
    found = summary(tmp_path / "out")
    assert found.is_failed
    assert (found.splits[0].recognisers, found.splits[0].needed) == (6, 7)
    page = Page(tmp_path / "out" / "index.html")
    assert "FAILED: closed split: 6 of 10 models beat 1.1x chance, 7 must" in page.text
    assert "What follows is no result." in page.text
    assert any(tag == "p" and "failed" in str(attributes.get("class")).split() for tag, attributes in page.tags)
    assert "<title>FAILED" in (tmp_path / "out" / "index.html").read_text()


def test_a_study_with_enough_recognisers_is_a_result(out: Path) -> None:
    found = summary(out)
    assert (found.is_failed, found.is_finished, found.rule) == (False, True, RULE)
    assert not any("failed" in str(a.get("class")).split() for tag, a in Page(out / "index.html").tags if tag == "p")


def test_fewer_configurations_are_asked_for_the_same_share(small: Path) -> None:
    write_report(small, small / "report")
    verdict = "5 of 5 models beat 1.1x chance, 4 must (25/40 of the 5 that were run, rounded up)"
    assert verdict in Page(small / "report" / "index.html").text
    assert summary(small / "report").splits[0].verdict == verdict


def test_summary_has_no_nan_and_the_numbers_of_the_csvs(out: Path) -> None:
    raw = (out / "summary.json").read_text()
    assert "NaN" not in raw
    assert json.loads(raw)["schema"] == "evenvoice.study/1"
    split = summary(out).splits[1]
    presence = pd.read_csv(out / "open_presence.csv")
    found = [np.nan if row.pearson is None else row.pearson for row in split.presence]
    assert found == pytest.approx(presence["pearson"].tolist(), nan_ok=True)
    gaps = pd.read_csv(out / "open_gaps.csv")
    lower = [np.nan if row.lower is None else row.lower for row in split.gaps]
    assert lower == pytest.approx(gaps["lower"].tolist(), nan_ok=True)
    assert any(row.lower is None for row in split.gaps)


# What is missing


def test_one_split_alone_has_no_contrast_and_says_so(small: Path) -> None:
    write_report(small, small / "report")
    text = Page(small / "report" / "index.html").text
    assert "The open split was not run, so there is nothing to contrast." in text
    assert "Open split" not in text


def test_unfinished_and_failed_configurations_are_named(small: Path) -> None:
    place = StudyFolder(small)
    place.network("closed", "m5-small_at0.01_noise0").done.unlink()
    failed = place.network("closed", "m5-small_at0.1_noise0")
    failed.done.unlink()
    write_record(failed.failed, Failure(error="the loss is no longer finite in epoch 3"))
    write_report(small, small / "report")
    found = summary(small / "report")
    assert found.splits[0].unfinished == ("m5-small_at0.01_noise0",)
    assert found.splits[0].failed == {"m5-small_at0.1_noise0": "the loss is no longer finite in epoch 3"}
    assert (found.splits[0].recognisers, found.splits[0].configurations, found.is_finished) == (3, 4, False)
    text = Page(small / "report" / "index.html").text
    assert "m5-small_at0.1_noise0 (the loss is no longer finite in epoch 3)" in text
    assert "not finished: 1 configurations and 0 other parts are to come" in text


def test_other_parts_that_are_missing_are_named_with_their_reasons(small: Path) -> None:
    place = StudyFolder(small)
    smoothing = place.network("closed", "m5-small_at0_noise0.1_smoothing")
    smoothing.done.unlink()
    write_record(smoothing.failed, Failure(error="the loss is no longer finite in epoch 7"))
    (place.rejection("closed") / "pieces" / "purification-opus-0001.parquet").unlink()
    write_report(small, small / "report")
    found = summary(small / "report")
    assert not found.is_finished
    assert found.splits[0].unfinished == ("purification-opus-0001",)
    assert found.splits[0].failed == {"m5-small_at0_noise0.1_smoothing": "the loss is no longer finite in epoch 7"}
    assert found.splits[0].recognisers == found.splits[0].configurations == 5
    table = pd.read_csv(small / "report" / "closed_missing.csv", keep_default_na=False)
    assert sorted(table.itertuples(index=False, name=None)) == [
        ("m5-small_at0_noise0.1_smoothing", "failed", "the loss is no longer finite in epoch 7"),
        ("purification-opus-0001", "to come", ""),
    ]
    assert pd.read_csv(small / "report" / "splits.csv")["verdict"].tolist() == ["unfinished"]


def test_a_rejector_on_a_network_that_guesses_is_marked_on_the_page_and_in_the_summary(small: Path) -> None:
    path = small / "closed" / "rejection" / "smoothing.parquet"
    pd.read_parquet(path).assign(is_right=False, p_value=0.0, score=0.0).to_parquet(path)
    write_report(small, small / "report")
    page = Page(small / "report" / "index.html")
    assert page.text.count("GUESSING: RS: its leading command is right on 0.0% of clean clips") == 3
    marked = {row.defense for row in summary(small / "report").splits[0].rejection if row.is_guesser}
    assert marked == {"RS"}
    assert all(row.accuracy == 0 for row in summary(small / "report").splits[0].rejection if row.defense == "RS")


def test_loudness_that_was_not_measured_is_said(small: Path) -> None:
    (small / "closed" / "loudness.parquet").unlink()
    write_report(small, small / "report")
    assert "The loudness of the closed split has not been measured (yet)." in Page(small / "report" / "index.html").text


def test_a_split_of_another_study_is_not_reported(small: Path) -> None:
    shutil.copytree(small / "closed", small / "open")
    write_report(small, small / "report")
    assert "Open split" not in Page(small / "report" / "index.html").text


def test_going_on_under_other_versions_is_said(small: Path) -> None:
    record = json.loads((small / "study.json").read_text())
    record["gone_on_with"] = [record["versions"] | {"torch": "9.9.9"}]
    (small / "study.json").write_text(json.dumps(record))
    write_report(small, small / "report")
    text = Page(small / "report" / "index.html").text
    assert re.search(r"gone on with evenvoice \S+, python \S+, torch 9\.9\.9", text)
    assert "made under different versions" in text


def test_nothing_finished_yet_is_a_page_and_no_verdict(small: Path) -> None:
    shutil.rmtree(small / "closed" / "networks")
    lost = list((small / "closed" / "rejection" / "pieces").iterdir())
    shutil.rmtree(small / "closed" / "rejection")
    write_report(small, small / "report")
    found = summary(small / "report").splits[0]
    assert (found.is_failed, found.verdict, len(found.unfinished)) == (
        False,
        "no configuration is finished",
        5 + 1 + len(lost),
    )
    assert "there is nothing to report yet" in Page(small / "report" / "index.html").text


def test_a_split_that_is_not_begun_is_named(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", configurations=("m5-small_at0_noise0",), attributes=("gender",), guessers=0)
    shutil.rmtree(study / "open")
    write_report(study, tmp_path / "out")
    assert "The open split is not begun." in Page(tmp_path / "out" / "index.html").text
    assert not summary(tmp_path / "out").is_finished


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("neural_rejection", "Neural rejection of the closed split has not been measured (yet)."),
        ("smoothing", "Smoothing of the closed split has not been measured (yet)."),
        ("under_attack", "Rejection under attack of the closed split has not been measured (yet)."),
        ("purification", "Purification of the closed split has not been measured (yet)."),
    ],
)
def test_a_missing_table_of_rejection_is_said(small: Path, file: str, words: str) -> None:
    (small / "closed" / "rejection" / f"{file}.parquet").unlink()
    write_report(small, small / "report")
    assert words in Page(small / "report" / "index.html").text


@pytest.mark.parametrize(
    ("guessers", "says"),
    [
        (0, ["The corpus names no attribute of its speakers"]),
        (5, ["The corpus names no attribute of its speakers", "Every model guesses"]),
    ],
)
def test_no_attributes_or_models_that_all_guess_give_a_page(tmp_path: Path, guessers: int, says: list[str]) -> None:
    study = write_study(tmp_path / "study", configurations=("m5-small_*_noise0",), attributes=(), guessers=guessers)
    write_report(study, tmp_path / "out")
    text = Page(tmp_path / "out" / "index.html").text
    assert all(words in text for words in says)
    assert summary(tmp_path / "out").is_failed == (guessers == 5)


# What is no study


def test_a_folder_that_is_no_study_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"holds no study\.json; the folder that `evenvoice study run` was given"):
        write_report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_without_clips_is_told_to_go_on(small: Path) -> None:
    (small / "closed" / "clips.parquet").unlink()
    with pytest.raises(StudyError, match="no split with clips yet"):
        write_report(small, small / "report")


@pytest.mark.parametrize(
    "file",
    [
        "study.json",
        "closed/clips.parquet",
        "closed/networks/m5-small_at0_noise0/outcomes.parquet",
        "closed/networks/m5-small_at0_noise0/health.json",
        "closed/rejection/smoothing.parquet",
    ],
)
def test_a_damaged_file_is_named(small: Path, file: str) -> None:
    (small / file).write_bytes(b"PAR1 and no more")
    with pytest.raises(StudyError, match=re.escape(str(small / file)) + ".*damaged"):
        write_report(small, small / "report")


def test_a_missing_column_is_named(small: Path) -> None:
    path = small / "closed" / "networks" / "m5-small_at0_noise0" / "outcomes.parquet"
    pd.read_parquet(path).drop(columns="snr_db").to_parquet(path)
    with pytest.raises(StudyError, match=r"outcomes\.parquet lacks the columns \['snr_db'\]"):
        write_report(small, small / "report")


def test_text_of_the_corpus_can_not_become_markup(small: Path) -> None:
    record = json.loads((small / "study.json").read_text())
    record["source"] = "<script>alert(1)</script>.csv"
    (small / "study.json").write_text(json.dumps(record))
    write_report(small, small / "report")
    assert not any(tag == "script" for tag, _ in Page(small / "report" / "index.html").tags)
