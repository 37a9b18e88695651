"""Every figure is drawn, even of little data; matplotlib is needed for drawing and for nothing else."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from training.study.folder import StudyError
from training.study.report.analysis import Analysis, analyse
from training.study.report.correlations import presence_correlations
from training.study.report.evidence import read_study
from training.study.report.figures import COLOURS, check_matplotlib, eps_axis, panels, styles, to_png
from training.study.report.loudness import loudness_chart
from training.study.report.rejection_charts import (
    cost_chart,
    gaps_chart,
    group_outcomes_chart,
    outcomes_chart,
    purification_chart,
)
from training.study.report.training_charts import correlation_chart, curves_chart, histogram_chart

from .written_study import write_study

image = pytest.importorskip("PIL.Image", reason="matplotlib brings pillow")


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = write_study(
        tmp_path_factory.mktemp("study"),
        splits=("closed",),
        configurations=("*_noise0",),
        attributes=("gender", "accent"),
        guessers=1,
    )
    study = read_study(folder)
    return analyse(study.splits[0], study.record.settings)


CHARTS: dict[str, Callable[[Analysis], bytes]] = {
    "correlations": lambda a: correlation_chart(a.hardening.presence),
    "curves": lambda a: curves_chart(a.hardening.curves, a.hardening.models, chance=0.1),
    "histograms": lambda a: histogram_chart(a.hardening.histogram, chance=0.1),
    "gaps": lambda a: gaps_chart(a.rejection.gaps, a.rejection.overall),
    "cost": lambda a: cost_chart(a.rejection.gaps),
    "outcomes": lambda a: outcomes_chart(a.under_attack.shares),
    "outcomes by group": lambda a: group_outcomes_chart(a.under_attack.shares, "accent"),
    "purification": lambda a: purification_chart(a.purification),
    "loudness": lambda a: loudness_chart(a.loudness),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_wide_picture_with_colours_in_it(name: str, analysis: Analysis) -> None:
    picture = image.open(io.BytesIO(CHARTS[name](analysis)))
    assert picture.format == "PNG"
    assert picture.width >= 900
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in COLOURS[:2]]
    assert any((pixels == colour).all(axis=1).any() for colour in colours)


def test_charts_are_drawn_where_a_rejector_or_the_correlations_are_missing(analysis: Analysis) -> None:
    assert analysis.rejection is not None
    assert analysis.hardening is not None
    for defense in ("NR", "RS"):
        tables = (analysis.rejection.gaps, analysis.rejection.overall)
        gaps, overall = (table[table["defense"] == defense] for table in tables)
        assert gaps_chart(gaps, overall)
        assert cost_chart(gaps)
    one = analysis.hardening.recognisers.iloc[:1]
    parity = analysis.hardening.parity[analysis.hardening.parity["key"] == one["key"].iloc[0]]
    without = presence_correlations(one, parity)
    assert without["pearson"].isna().all()
    assert correlation_chart(without)


def test_the_same_numbers_give_the_same_bytes(analysis: Analysis) -> None:
    assert analysis.hardening is not None
    assert correlation_chart(analysis.hardening.levels) == correlation_chart(analysis.hardening.levels)


def test_the_eps_axis_has_zero_on_it_and_labels_that_do_not_touch() -> None:
    figure, (axis,) = panels(1, 1, height=2)
    eps_axis(axis, [0, 0.0001, 0.001, 0.01, 0.1, 0.2, 0.3])
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels == ["0", "0.0001", "0.001", "0.01", "0.1", "0.3"]
    assert to_png(figure).startswith(b"\x89PNG")


def test_groups_beyond_the_colours_are_faint_and_one_entry_of_the_legend() -> None:
    speakers = {f"g{i:02}": 30 - i for i in range(10)} | {"rare": 2}
    found = dict(styles(speakers, fewest=10))
    assert len({style.colour for style in list(found.values())[:7]}) == 7
    assert [found[g].label for g in ("g07", "g08", "rare")] == ["4 smaller groups", None, None]
    assert (found["rare"].dash, found["g00"].dash) == (":", "-")


def test_missing_matplotlib_is_a_clear_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(StudyError, match=r"pip install 'evenvoice\[study\]'"):
        check_matplotlib()


def test_nothing_but_drawing_loads_matplotlib_and_nothing_loads_pyplot() -> None:
    code = (
        "import sys, training.study.report, training.study.report.figures as f\n"
        "assert 'matplotlib' not in sys.modules\n"
        "f.to_png(f.panels(1, 1, height=1)[0])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_equal_loudness_is_drawn() -> None:
    group = {"attribute": "age", "snr_db": 20.0, "sd": 0.0, "speakers": 12, "clips": 24}
    rows = [group | {"group": name, "eps": eps} for name in ("teens", "twenties") for eps in (0.1, 0.2)]
    assert loudness_chart(pd.DataFrame(rows))
