"""What a run reports of the files it read and wrote, and of its predictions."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path
from typing import cast

import pytest

from tests.named_inputs import Inputs, score
from tests.sized_rows import ALL_MAY_FAIL, COLUMNS, write
from titanic_batch.reading.formats import Format


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("piped", [False, True])
def test_the_report_holds_the_digests_of_all_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, piped: bool
) -> None:
    rows = [(str(key), f"{key % 11}", "red") for key in range(100)]
    if suffix == "csv.gz":
        content = gzip.compress(Path(write(tmp_path / "plain.csv", rows)).read_bytes())
        (tmp_path / "in.csv.gz").write_bytes(content)
    else:
        content = Path(write(tmp_path / f"in.{suffix}", rows)).read_bytes()
    name = str(tmp_path / f"in.{suffix}")
    if piped:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        name = "-"
    inputs = Inputs(
        [name],
        input_format=cast("Format", suffix),
        max_rejects=ALL_MAY_FAIL,
        rejects=str(tmp_path / "bad.csv"),
        detailed=True,
    )
    report = score(inputs, COLUMNS, str(tmp_path / "out.csv"))
    (source,) = report.inputs
    assert (source.bytes, source.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [file.name for file in report.outputs] == [str(tmp_path / "bad.csv"), str(tmp_path / "out.csv")]
    for file in report.outputs:
        written = Path(file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(written), hashlib.sha256(written).hexdigest())


def test_the_report_holds_the_distribution_of_predictions(tmp_path: Path) -> None:
    sizes = [0, 0.5, 1, 2.5, 2.9, 5, 7, 9.99, 10, 10]
    source = write(tmp_path / "in.csv", [(str(key), str(size), "red") for key, size in enumerate(sizes)])
    report = score(Inputs([source], detailed=True), COLUMNS, str(tmp_path / "out.csv"))
    assert report.predictions is not None
    assert report.predictions.labels == {"0": 6, "1": 4}
    assert report.predictions.bins == [2, 1, 2, 0, 0, 1, 0, 1, 0, 3]
    assert report.predictions.total == pytest.approx(sum(sizes) / 10)
    assert score(Inputs([source]), COLUMNS, str(tmp_path / "out.csv")).predictions is None
