"""The server as its users meet it: a browser, a fuzzer, a load generator, and the clients of other platforms.

The tools are Debian's chromium and wrk, and the extra ``e2e``; without them these tests are left out, but not in CI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.passengers import csv_bytes, passengers
from tests.serving import Address, command
from titanic_batch.api import fit_file
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.server.app import create_app

pytestmark = pytest.mark.slow

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSENGER = {"Pclass": 1, "Sex": "female", "Age": 29, "SibSp": 0, "Parch": 0, "Fare": 80, "Cabin": "B28"}
SWAPS = 20


def need(*, program: str | None = None, module: str | None = None) -> str:
    """Return where a program is; skip the test where it, or a module, is not there, which CI does not stand for."""
    found = shutil.which(program) if program else importlib.util.find_spec(module or "")
    if not found:
        assert not os.environ.get("CI"), f"{program or module} is needed in CI"
        pytest.skip(f"{program or module} is not installed")
    return str(found)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Address]:
    with command(tmp_path_factory.mktemp("serve"), "-m", model_file) as address:
        yield address


# A browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = need(program="chromium")
    need(module="playwright")
    need(module="axe_playwright_python")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, address: Address) -> Iterator[Any]:
    """The page, which must not complain, nor ask for anything that is not the server's."""
    context = browser.new_context(color_scheme=request.param, accept_downloads=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url))
    page.goto(address.url)
    yield page
    context.close()
    # The browser itself notes an answer that is an error.
    assert [line for line in said if not line.startswith((address.url, "blob:")) and "status of 400" not in line] == []


def violations(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    return [found["id"] for found in Axe().run(page).response["violations"]]


def test_one_row_is_predicted_by_keyboard(page: Any, address: Address) -> None:
    assert violations(page) == []
    row = {
        "PassengerId": 1,
        "Pclass": 1,
        "Sex": "female",
        "Age": 29,
        "SibSp": 0,
        "Parch": 0,
        "Fare": 80,
        "Cabin": "B28",
    }
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the form"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for name, value in PASSENGER.items():
        assert page.evaluate("document.activeElement.name") == name
        page.keyboard.type(str(value))
        if name in ("SibSp", "Parch"):
            page.keyboard.press("Control+A")
            page.keyboard.type(str(value))
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    verdict = page.get_by_role("status").first.locator(".verdict")
    verdict.wait_for()
    expected = json.loads(address.ask("/predict", json.dumps(row).encode(), "application/json").body)
    assert f"{100 * expected['Probability']:.1f} %" in verdict.inner_text()
    assert ("likely survived" in verdict.inner_text()) == bool(expected["Survived"])
    assert violations(page) == []


def test_an_invalid_field_is_reported_beside_it(page: Any) -> None:
    age = page.get_by_label("Age in years")
    age.fill("200")
    page.get_by_role("button", name="Predict").click()
    assert page.locator("#error-Age").inner_text() == "This is to be 0 to 120."
    assert age.get_attribute("aria-invalid") == "true"
    assert page.evaluate("document.activeElement.name") == "Age"
    assert violations(page) == []


DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, {type: "text/csv"}));
  const event = (type) => new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
  const drop = document.getElementById("drop");
  drop.dispatchEvent(event("dragover"));
  drop.dispatchEvent(event("drop"));
}"""


def test_a_dropped_file_gets_predictions_and_rejects(page: Any, address: Address) -> None:
    rows = passengers(300)
    body = csv_bytes([row | {"Sex": "x"} if row["PassengerId"] == "3" else row for row in rows])
    page.evaluate(DROP, ["mine.csv", body.decode()])
    page.locator("#results").wait_for(state="visible")
    assert page.locator("#summary").inner_text() == "mine.csv: 299 rows scored, 1 rejected. The first 200 are shown."
    assert page.locator("#rejects tbody tr").all_inner_texts() == ["3\tSex\tnot_allowed"]
    good = csv_bytes([row for row in rows if row["PassengerId"] != "3"])
    with page.expect_download() as download:
        page.get_by_role("link", name="Download predictions").click()
    assert Path(download.value.path()).read_bytes() == address.ask("/predict", good).body
    with page.expect_download() as download:
        page.get_by_role("link", name="Download rejects").click()
    assert Path(download.value.path()).read_bytes() == b'row,column,rule\n3,"Sex","not_allowed"\n'
    assert violations(page) == []


WIDTHS = (1280, 1024, 768, 390)
# All that is wider than its place, in which a scroll bar or an edge hides the rest, and all that leaves a figure.
CUT_OFF = """() => {
  const inside = (part, whole) => part.left > whole.left - 1 && part.right < whole.right + 1
    && part.top > whole.top - 1 && part.bottom < whole.bottom + 1;
  return [...document.querySelectorAll("*")].filter((part) => part.ownerSVGElement
    ? part.matches("text") && !inside(part.getBoundingClientRect(), part.ownerSVGElement.getBoundingClientRect())
    : part.clientWidth && part.scrollWidth > part.clientWidth + 1
  ).map((part) => part.outerHTML.slice(0, 200));
}"""


def cut_off(page: Any) -> dict[int, list[str]]:
    """Return what is cut off at each width."""
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[width] = page.evaluate(CUT_OFF)
    return found


def test_nothing_is_cut_off_at_any_width(page: Any) -> None:
    assert cut_off(page) == {width: [] for width in WIDTHS}
    page.get_by_role("button", name="Predict").click()
    page.locator(".verdict").wait_for()
    rows = passengers(30)
    body = csv_bytes([row | {"Sex": "x"} if row["PassengerId"] == "3" else row for row in rows])
    page.evaluate(DROP, ["a-file-of-a-rather-long-name-" * 4 + ".csv", body.decode()])
    page.locator("#results").wait_for(state="visible")
    assert cut_off(page) == {width: [] for width in WIDTHS}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a model of few trees."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    fit_file(None, path.with_suffix(".skops"), parameters={"n_estimators": 5}, html=path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_the_page_about_a_model(browser: Any, report: Path, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(report.as_uri())
    assert cut_off(page) == {width: [] for width in WIDTHS}
    context.close()


FORM = """async (body) => {
  const headers = {"Content-Type": "text/csv", Accept: "text/csv"};
  const response = await fetch("predict?rejects=allow", {method: "POST", headers, body});
  return [...await response.formData()].map(([name, file]) => [name, file.name, file.type]);
}"""


def test_a_browser_reads_the_files_of_a_form(page: Any) -> None:
    found = page.evaluate(FORM, csv_bytes(passengers(3)).decode())
    assert found == [["predictions", "predictions", "text/csv"], ["rejects", "rejects", "text/csv"]]


def test_a_file_without_the_columns_is_reported(page: Any) -> None:
    page.evaluate(DROP, ["mine.csv", "no,passengers\n1,2\n"])
    page.locator("#summary .bad").wait_for()
    assert "names none of the columns PassengerId" in page.locator("#summary").inner_text()
    assert violations(page) == []


# A fuzzer


def test_a_fuzzer_finds_the_openapi_description_true(address: Address, tmp_path: Path) -> None:
    need(module="schemathesis")
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "run", f"{address.url}/openapi.json", "--max-examples", "25"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"(\d+) generated, \1 passed", done.stdout)


# A model that is replaced under load


def test_no_request_fails_while_the_model_is_replaced(tmp_path: Path, model_file: Path) -> None:
    wrk = need(program="wrk")
    other = tmp_path / "other.skops"
    Model(seed=5, n_estimators=3).fit(packaged_rows()).save(other)
    served = tmp_path / "model.skops"
    shutil.copy(model_file, served)
    body = csv_bytes(passengers(40))
    (tmp_path / "body.csv").write_bytes(body)
    expected = [
        create_app(Model.load(path)).test_client().post("/predict", data=body, content_type="text/csv").data
        for path in (model_file, other)
    ]
    assert expected[0] != expected[1]
    with command(tmp_path, "-m", served) as address:
        load = subprocess.Popen(
            [wrk, "-t1", "-c4", "-d120s", "-s", str(Path(__file__).with_name("swap.lua")), f"{address.url}/predict"],
            env=os.environ | {"BODY": str(tmp_path / "body.csv"), "ANSWERS": str(tmp_path / "answers")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for turn in range(SWAPS):
            new = tmp_path / "new.skops"
            shutil.copy((other, model_file)[turn % 2], new)
            os.replace(new, served)
            taken = f'titanic_model_reloads_total{{outcome="taken"}} {turn + 1}.0'
            deadline = time.monotonic() + 30
            while taken not in address.ask("/metrics").body.decode():
                assert time.monotonic() < deadline, "the file is not taken"
                time.sleep(0.1)
        load.send_signal(signal.SIGINT)  # it stops, and prints what it saw
        printed, _ = load.communicate(timeout=60)
    requests, failed = re.findall(r"requests (\d+) failed (\d+)", printed)[0]
    assert (int(failed), int(requests) > 100) == (0, True)
    answers = (tmp_path / "answers").read_bytes().split(b"\n\n")[:-1]
    assert sorted(answers) == sorted(answer.removesuffix(b"\n") for answer in expected)


# Other platforms' clients


def test_mlflows_own_client_scores(address: Address, test_csv: Path) -> None:
    need(module="mlflow")
    script = """
import sys
import pandas
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.ping()
frame = pandas.read_csv(sys.argv[2])
client.invoke(frame).get_predictions().to_csv(sys.stdout, index=False)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(address.port), str(test_csv)],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = address.ask("/predict", test_csv.read_bytes()).body.decode()
    assert [list(map(float, line.split(","))) for line in done.stdout.splitlines()[1:]] == [
        list(map(float, line.split(","))) for line in expected.splitlines()[1:]
    ]


def test_sagemaker_starts_a_container_and_sends_a_batch(tmp_path: Path, model_file: Path) -> None:
    """As its documentation has it: ``serve``, port 8080 (another here), /ping, and CSV without a header."""
    with command(tmp_path, TITANIC_MODEL=str(model_file)) as address:
        assert address.ask("/ping").status == 200
        body = csv_bytes(passengers(30)).split(b"\n", 1)[1]
        answer = address.ask("/invocations", body, Accept="text/csv")
        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/csv")
        assert [line.split(b",")[0] for line in answer.body.splitlines()] == [b"%d" % key for key in range(1, 31)]
        lines = json.dumps({"PassengerId": 1} | PASSENGER).encode() + b"\n"
        answer = address.ask("/invocations", lines, "application/jsonlines", Accept="application/jsonlines")
        assert json.loads(answer.body).keys() == {"PassengerId", "Survived", "Probability"}


def test_vertex_ai_names_the_routes_and_the_port(tmp_path: Path, model_file: Path) -> None:
    variables = {"AIP_HEALTH_ROUTE": "/v1/health", "AIP_PREDICT_ROUTE": "/v1/models/titanic:predict"}
    with command(tmp_path, TITANIC_MODEL=str(model_file), **variables) as address:
        assert address.ask("/v1/health").status == 200
        rows = [{"PassengerId": 7} | PASSENGER, {"PassengerId": 8} | PASSENGER]
        body = json.dumps({"instances": rows, "parameters": {}}).encode()
        answer = address.ask("/v1/models/titanic:predict", body, "application/json")
        assert [row["PassengerId"] for row in json.loads(answer.body)["predictions"]] == [7, 8]
