"""POST /fit: only with the token, one fit at a time, and never for a worse model."""

from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.passengers import csv_bytes, passengers
from titanic_batch.models.evaluation import Estimate, Evaluation
from titanic_batch.models.fitting import fit_and_evaluate
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.server import refitting
from titanic_batch.server.app import create_app
from titanic_batch.server.media import Limits
from titanic_batch.server.refitting import Refitter
from titanic_batch.server.reloading import ModelHolder

TRAIN = Path(__file__).parents[2] / "data" / "train.csv"
TOKEN = "a token of some length"


@pytest.fixture
def holder(tmp_path: Path, small_model: Model) -> ModelHolder:
    small_model.save(tmp_path / "model.skops")
    holder = ModelHolder(str(tmp_path / "model.skops"))
    holder.load()
    return holder


@pytest.fixture
def client(holder: ModelHolder) -> FlaskClient:
    return create_app(holder, Limits(binary=True), Refitter(TOKEN)).test_client()


@pytest.fixture(scope="module")
def accuracy() -> float:
    """What cross-validation gives the packaged passengers."""
    return fit_and_evaluate(packaged_rows())[1].accuracy


def fit(client: FlaskClient, body: bytes, token: str | None = TOKEN, media_type: str = "text/csv") -> TestResponse:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.post("/fit", data=body, content_type=media_type, headers=headers)


def test_fitting_is_off_by_default(small_model: Model) -> None:
    client = create_app(small_model, Limits(binary=True)).test_client()
    answer = fit(client, TRAIN.read_bytes())
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.get_json()["detail"] == "fitting is off: titanic serve --allow-fit turns it on."
    assert "--allow-fit" not in client.post("/fits").get_json()["detail"]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "é"])
def test_fitting_requires_the_token(client: FlaskClient, holder: ModelHolder, token: str | None) -> None:
    before = holder.current
    answer = fit(client, TRAIN.read_bytes(), token)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    wrong = "" if token is None else ", and the one that was given is not it"
    assert answer.get_json()["detail"] == f"a bearer token is needed{wrong}."
    assert holder.current is before


def test_only_the_bearer_scheme_is_accepted() -> None:
    assert Refitter(TOKEN).is_authorized(f"Bearer {TOKEN}")
    assert Refitter(TOKEN).is_authorized(f"bearer {TOKEN}")
    assert not Refitter(TOKEN).is_authorized(f"Basic {TOKEN}")
    assert not Refitter(TOKEN).is_authorized(TOKEN)


@pytest.mark.slow
def test_a_good_model_is_fitted_saved_and_served(client: FlaskClient, holder: ModelHolder, accuracy: float) -> None:
    body = csv_bytes(passengers(50))
    before = client.post("/predict", data=body, content_type="text/csv").data
    answer = fit(client, TRAIN.read_bytes())
    found = answer.get_json()
    expected = Model().fit(pd.read_csv(TRAIN))
    assert answer.status_code == 200
    assert found["rows"] == 891
    assert found["accuracy"] == accuracy
    saved = Model.load(holder.path)
    assert found["model"] == saved.sha256 == client.get("/model").get_json()["model"]
    assert saved.manifest["metrics"]["cross_validation"]["accuracy"]["value"] == accuracy
    frame = pd.read_csv(TRAIN)
    assert (saved.predict_proba(frame) == expected.predict_proba(frame)).all()
    assert client.post("/predict", data=body, content_type="text/csv").data != before
    assert 'titanic_fits_total{outcome="taken"} 1.0' in client.get("/metrics").get_data(as_text=True)


@pytest.mark.slow
def test_a_worse_model_is_refused(client: FlaskClient, holder: ModelHolder) -> None:
    before = holder.current
    frame = pd.read_csv(TRAIN)
    frame["Survived"] = frame["Survived"].sample(frac=1, random_state=1).to_numpy()
    answer = fit(client, frame.to_csv(index=False).encode())
    assert answer.status_code == 422
    assert answer.get_json()["accuracy"] < answer.get_json()["present_accuracy"] - 0.05
    assert holder.current is before
    assert 'titanic_fits_total{outcome="refused"} 1.0' in client.get("/metrics").get_data(as_text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("lead", "status"), [(0.02, 200), (0.0201, 422), (-0.1, 200)])
def test_a_new_model_may_be_less_accurate_by_the_margin(
    holder: ModelHolder, accuracy: float, lead: float, status: int
) -> None:
    assert holder.current is not None
    recorded = Evaluation(891, {"accuracy": Estimate(accuracy + lead, 0, 1)})
    holder.current.model.record("cross_validation", recorded)
    client = create_app(holder, refitter=Refitter(TOKEN, 0.02)).test_client()
    assert fit(client, TRAIN.read_bytes()).status_code == status


@pytest.mark.slow
def test_a_second_fit_at_the_same_time_is_refused(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(frame: pd.DataFrame) -> tuple[Model, Evaluation]:
        begun.set()
        assert go_on.wait(30)
        return fit_and_evaluate(frame)

    monkeypatch.setattr(refitting, "fit_and_evaluate", slowly)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(fit(client, TRAIN.read_bytes()).status_code))
    thread.start()
    assert begun.wait(30)
    second = fit(client, TRAIN.read_bytes())
    served = client.post("/predict", data=csv_bytes(passengers(1)), content_type="text/csv")
    go_on.set()
    thread.join(30)
    assert (second.status_code, served.status_code, answers) == (409, 200, [200])


def test_rejected_rows_are_reported_and_nothing_is_fitted(client: FlaskClient, holder: ModelHolder) -> None:
    before = holder.current
    body = TRAIN.read_bytes().replace(b",male,", b",SECRET,", 1)
    answer = fit(client, body)
    assert answer.status_code == 422
    assert answer.get_json()["rejects"] == [{"row": 1, "column": "Sex", "rule": "not_allowed"}]
    assert b"SECRET" not in answer.data
    assert holder.current is before


@pytest.mark.parametrize("rows", [0, 15])
def test_too_few_rows_are_refused(client: FlaskClient, rows: int) -> None:
    body = b"\n".join(TRAIN.read_bytes().splitlines()[: rows + 1])
    assert fit(client, body).status_code == 400


def test_rows_without_a_label_are_refused(client: FlaskClient) -> None:
    answer = fit(client, csv_bytes(passengers(30)))
    assert (answer.status_code, answer.get_json()["detail"]) == (400, "the body: column missing: Survived.")


def test_other_media_types_are_refused(client: FlaskClient) -> None:
    assert fit(client, b"[]", media_type="application/json").status_code == 415


def test_a_failed_save_is_reported_without_the_path(client: FlaskClient, holder: ModelHolder, tmp_path: Path) -> None:
    before = holder.current
    (tmp_path / "model.skops").unlink()
    (tmp_path / "model.skops").mkdir()
    answer = fit(client, TRAIN.read_bytes())
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert str(tmp_path) not in answer.get_data(as_text=True)
    assert holder.current is before
