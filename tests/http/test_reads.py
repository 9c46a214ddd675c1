"""What the API shows is what is in the files, and what it changes is there."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h5py
import numpy as np
import pytest
from http_service import WITHOUT_VALUE, Answer, HttpService

from conftest import pipe

wait_for = pipe.wait_for

_CLIENT = Path(__file__).resolve().parents[2] / "context/damnit_ctx/client.py"
_spec = importlib.util.spec_from_file_location("amore_client", _CLIENT)
assert _spec is not None and _spec.loader is not None
client_module = importlib.util.module_from_spec(_spec)
sys.modules["amore_client"] = client_module
_spec.loader.exec_module(client_module)
connect, ApiError = client_module.connect, client_module.ApiError

VALUES = """
import xarray as xr

@Variable(title="Number", tags=["scalar"])
def number(run):
    print("number was computed")
    return 1.5

@Variable(title="Text", tags=["scalar"])
def text(run):
    return "sample-2"

@Variable(title="Complex")
def impedance(run):
    return 3 + 4j

@Variable(title="Vector", summary="mean")
def vector(run):
    values = np.zeros(100_000)
    values[77_777] = 1e6
    values[5] = np.nan
    return values

@Variable(title="Cube")
def cube(run):
    return np.arange(24, dtype=np.int32).reshape(2, 3, 4)

@Variable(title="Flags")
def flags(run):
    return xr.DataArray([True, False, True], dims="x")

@Variable(title="Flux", units="uJ")
def flux(run):
    return xr.DataArray(np.arange(12.0).reshape(4, 3), dims=("trainId", "pulse"), coords={"trainId": [10, 20, 30, 40]},
                        name="flux", attrs={"units": "uJ"})

@Variable(title="Dataset")
def dataset(run):
    return xr.Dataset({"a": ("x", [1.0, 2.0]), "b": ("y", [3, 4, 5])}, attrs={"note": "hello"})

@Variable(title="Large")
def large(run):
    return np.arange(5_000_000, dtype=float)

@Variable(title="Image")
def image(run):
    return np.arange(200.0).reshape(10, 20)

"""


@pytest.fixture
def reads(database: pipe.Database, start: Callable[..., HttpService]) -> HttpService:
    """A service of a database with three runs."""
    database.context(VALUES + WITHOUT_VALUE)
    database.amore("reprocess", "1-3")
    return start()


def proposal_of(service: HttpService) -> Any:
    """The proposal, by the client."""
    return connect(service.database.path).proposal(1234)


def stored(service: HttpService, run: int, dataset: str) -> np.ndarray:
    """A dataset as h5py reads it."""
    with h5py.File(service.database.path / f"extracted_data/p1234_r{run}.h5") as file:
        return np.asarray(file[dataset][()])


def test_values_are_those_of_the_run_file(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    assert proposal.value(1, "number")["data"] == 1.5
    assert proposal.value(1, "text")["data"] == "sample-2"
    assert proposal.value(1, "impedance")["data"] == [3.0, 4.0]
    for name, dataset in (("cube", "cube/data"), ("vector", "vector/data"), ("flux", "flux/flux"), ("large", "large/data")):
        expected = stored(reads, 1, dataset)
        found = proposal.array(1, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    cube = stored(reads, 1, "cube/data")
    np.testing.assert_array_equal(proposal.array(1, "cube", slice="1,::2,-3:"), cube[1, ::2, -3:])
    assert proposal.value(1, "cube", slice=":,0")["data"] == cube[:, 0].tolist()
    np.testing.assert_array_equal(proposal.array(1, "large", slice="::1000000"), np.arange(5) * 1e6)
    assert proposal.value(1, "flags")["data"] == [True, False, True]
    assert proposal.array(1, "flags").dtype == bool
    flux = proposal.value(1, "flux", slice=":2")
    assert flux["dims"] == ["trainId", "pulse"] and flux["attributes"]["units"] == "uJ"
    assert proposal.array(1, "flux", array="trainId").tolist() == [10, 20, 30, 40]
    assert proposal.array(1, "dataset", array="b").tolist() == [3, 4, 5]
    with pytest.raises(ApiError) as several:
        proposal.array(1, "dataset")
    assert several.value.status == 400 and "name one of: a, b" in several.value.hint


def test_values_are_those_that_damnits_reader_reads(reads: HttpService, peer_python: Path) -> None:
    names = ["number", "text", "vector", "cube", "flux", "large", "image"]
    code = (
        "import json, sys, numpy as np\n"
        "from damnit import Damnit\n"
        "run = Damnit(sys.argv[1])[3]\n"
        "values = {name: np.asarray(run[name].read()) for name in sys.argv[2:]}\n"
        "print(json.dumps({n: [str(v.dtype), list(v.shape), float(np.nansum(v)) if v.dtype.kind in 'fiu' else str(v)]"
        " for n, v in values.items()}))\n"
    )
    told = subprocess.run(
        [str(peer_python), "-c", code, str(reads.database.path), *names], check=True, capture_output=True, text=True
    )
    proposal = proposal_of(reads)
    for name, (dtype, shape, content) in json.loads(told.stdout.splitlines()[-1]).items():
        if name == "text":
            assert proposal.value(3, name)["data"] == content
            continue
        found = proposal.array(3, name)
        assert (str(found.dtype), list(found.shape), float(np.nansum(found))) == (dtype, shape, content), name


def test_fewer_points_keep_the_extremes(reads: HttpService) -> None:
    extremes = proposal_of(reads).value(1, "vector", points=100)["extremes"]
    edges = extremes["edges"][0]
    assert len(edges) == 101 and edges[-1] == 100_000
    (bucket,) = (at for at, value in enumerate(extremes["max"]) if value == 1e6)
    assert edges[bucket] <= 77_777 < edges[bucket + 1]
    assert min(extremes["min"]) == 0.0 and extremes["not_numbers"] == 1
    part = proposal_of(reads).value(1, "vector", slice="4:7")
    assert part["data"] == [0.0, "NaN", 0.0]


def test_what_is_known_about_a_value(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    flux = proposal.about(2, "flux")
    assert flux["value"]["kind"] == "dataarray"
    assert [array["name"] for array in flux["value"]["arrays"]] == ["flux", "trainId"]
    assert flux["provenance"]["outcome"] == "value" and flux["provenance"]["python"]
    vector = proposal.about(2, "vector")
    assert vector["cell"]["kind"] == "number" and vector["summary_method"] == "mean"
    broken = proposal.about(2, "broken")
    assert broken["cell"] == {"kind": "error", "class": "ValueError", "message": "no beam"}
    assert broken["value"] is None and "no beam" in broken["provenance"]["traceback"]
    assert proposal.about(2, "dataset")["value"]["attributes"]["note"] == "hello"
    thumbnail = proposal.thumbnail(2, "image")
    assert thumbnail.startswith((b"\x89PNG", b"\x93NUMPY"))


def test_a_stored_file_is_given_as_it_is(reads: HttpService) -> None:
    content = b"PAR1" + bytes(range(200)) + b"PAR1"
    with h5py.File(reads.database.path / "extracted_data/p1234_r2.h5", "r+") as file:
        file["frame/data"] = np.frombuffer(content, dtype=np.uint8)
        file["frame"].attrs["_damnit_objtype"] = "dataframe"
    proposal = proposal_of(reads)
    assert proposal.about(2, "frame")["value"]["kind"] == "dataframe"
    assert proposal.file(2, "frame") == content
    with pytest.raises(ApiError) as refused:
        proposal.value(2, "frame")
    assert refused.value.status == 406 and "parquet" in refused.value.detail


def test_pictures(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    png = proposal.png(1, "image", colors="gray")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (20, 10)
    path = "/v1/proposals/1234/runs/1/variables/image/value"
    by_accept = reads.local("GET", path, Accept="image/png")
    assert by_accept.headers["content-type"] == "image/png"
    assert [float(number) for number in by_accept.headers["amore-range"].split(",")] == [0.0, 199.0]
    assert reads.local("GET", f"{path}?size=5", Accept="image/png").body[16:20] == (5).to_bytes(4, "big")
    assert reads.local("GET", f"{path}?format=png&range=2,1").status == 400
    assert reads.local("GET", "/v1/proposals/1234/runs/1/variables/text/value?format=png").status == 406


def test_a_value_that_has_not_changed_is_not_sent_again(reads: HttpService) -> None:
    path = "/v1/proposals/1234/runs/1/variables/cube/value?format=npy"
    first = reads.local("GET", path)
    tag = first.headers["etag"]
    assert reads.local("GET", path, **{"If-None-Match": tag}).status == 304
    reads.database.amore("reprocess", "1", "--var", "cube")
    again = reads.local("GET", path, **{"If-None-Match": tag})
    assert again.status == 200 and again.headers["etag"] != tag and again.body == first.body


def test_what_cannot_be_read_is_said(reads: HttpService) -> None:
    variables = "/v1/proposals/1234/runs/1/variables"
    refused: list[tuple[str, int]] = [
        (f"{variables}/nothing/value", 404),
        (f"{variables}/unknown", 404),
        ("/v1/proposals/1234/runs/999/variables/number/value", 404),
        ("/v1/proposals/1234/runs/x/variables/number/value", 400),
        (f"{variables}/{quote('../number', safe='')}/value", 400),
        (f"{variables}/-x", 400),
        (f"{variables}/cube/value?slice=9", 400),
        (f"{variables}/cube/value?slice=::0", 400),
        (f"{variables}/cube/value?array=..%2Ftext", 400),
        (f"{variables}/cube/value?points=0", 400),
        (f"{variables}/cube/value?format=exe", 400),
        (f"{variables}/text/value?format=npy", 406),
        ("/v1/proposals/77/table", 404),
    ]
    for path, status in refused:
        answer = reads.local("GET", path)
        assert answer.status == status, (path, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


def test_a_lost_array_is_an_error_and_links_are_not_followed(reads: HttpService) -> None:
    extracted = reads.database.path / "extracted_data"
    (array,) = (extracted / "arrays/p1234_r1").glob("large-*.h5")
    array.rename(array.with_suffix(".gone"))
    lost = reads.local("GET", "/v1/proposals/1234/runs/1/variables/large/value?slice=0:3")
    assert lost.status == 409 and "missing" in lost.json()["detail"], lost.body
    assert proposal_of(reads).value(1, "number")["data"] == 1.5

    run_file = extracted / "p1234_r2.h5"
    run_file.rename(run_file.with_suffix(".h5.real"))
    run_file.symlink_to(run_file.with_suffix(".h5.real"))
    linked = reads.local("GET", "/v1/proposals/1234/runs/2/variables/number/value")
    assert linked.status == 409, linked.body
    with h5py.File(extracted / "p1234_r3.h5", "r+") as file:
        del file["number"]
        file["number"] = h5py.ExternalLink(str(extracted / "p1234_r1.h5"), "/number")
    outside = reads.local("GET", "/v1/proposals/1234/runs/3/variables/number/value")
    assert outside.status == 409 and "link" in outside.json()["detail"], outside.body

    log = reads.database.path / "process_logs/r1-p1234.out"
    log.unlink()
    log.symlink_to("/etc/hostname")
    assert reads.local("GET", "/v1/proposals/1234/runs/1/logs").status == 404


def test_the_table_in_pages_and_its_version(reads: HttpService) -> None:
    path = "/v1/proposals/1234/table?limit=2&variables=number,broken"
    first = reads.local("GET", path)
    page = first.json()
    assert (page["total"], page["next"]) == (3, 2)
    assert [column["name"] for column in page["columns"]] == ["number", "broken"]
    assert [row["run"] for row in page["rows"]] == [1, 2]
    assert page["rows"][0]["cells"]["number"] == {"kind": "number", "value": 1.5}
    assert page["rows"][0]["cells"]["broken"]["class"] == "ValueError"
    second = reads.local("GET", f"{path}&after=2").json()
    assert [row["run"] for row in second["rows"]] == [3] and second["next"] is None
    assert reads.local("GET", path, **{"If-None-Match": first.headers["etag"]}).status == 304

    with sqlite3.connect(reads.database.path / "runs.sqlite") as connection:
        connection.execute("INSERT INTO run_variables (proposal, run, name, version, value) VALUES (1234, 1, 'comment', 1, 'hi')")
    connection.close()
    changed = reads.local("GET", path, **{"If-None-Match": first.headers["etag"]})
    assert changed.status == 200 and changed.json()["rows"][0]["comment"] == "hi"

    proposal = proposal_of(reads)
    assert [row["run"] for row in proposal.table(latest_first=True)] == [3, 2, 1]
    assert [row["run"] for row in proposal.table(from_run=2, to_run=2)] == [2]
    assert {name for row in proposal.table(tags=["scalar"]) for name in row["cells"]} == {"number", "text"}
    assert [row["run"] for row in proposal.table(errors=True)] == [1, 2, 3]
    assert list(proposal.table(errors=True, variables=["number", "skipped"])) == []
    (run,) = proposal.runs(from_run=3)
    assert (run["errors"], run["skipped"], run["values"]) == (1, 1, 10)
    titles = {variable["name"]: variable["title"] for variable in proposal.variables()}
    assert titles["flux"] == "Flux" and proposal.variables()[0]["tags"] == ["scalar"]
    assert reads.local("GET", "/v1/proposals/1234/table?limit=0").status == 400
    assert reads.local("GET", "/v1/proposals/1234/table?order=sideways").status == 400


def test_a_new_thumbnail_is_a_new_version_of_the_table(reads: HttpService) -> None:
    table, runs = "/v1/proposals/1234/table?to=1", "/v1/proposals/1234/runs"
    thumbnail = "/v1/proposals/1234/runs/1/variables/image/thumbnail"
    first = {path: reads.local("GET", path) for path in (table, runs, thumbnail)}
    tags = {path: answer.headers["etag"] for path, answer in first.items()}

    def again(path: str) -> Any:
        return reads.local("GET", path, **{"If-None-Match": tags[path]})

    for path in (table, runs, thumbnail):
        same = again(path)
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tags[path])
    for change in (
        "timestamp = timestamp + 1, value = CAST(value || x'00' AS BLOB)",
        # Neither its time nor its length changes.
        "value = CAST(substr(value, 1, length(value) - 1) || x'01' AS BLOB)",
    ):
        with sqlite3.connect(reads.database.path / "runs.sqlite") as connection:
            connection.execute(f"UPDATE run_variables SET {change} WHERE run = 1 AND name = 'image'")
        connection.close()
        for path in (table, thumbnail):
            changed = again(path)
            assert changed.status == 200 and changed.headers["etag"] != tags[path], (change, path)
            assert (changed.body == first[path].body) == (path == table)
            tags[path] = changed.headers["etag"]
            assert again(path).status == 304
        # Nothing of it depends on the image.
        assert again(runs).status == 304
    # What other runs have is not on this page.
    with sqlite3.connect(reads.database.path / "runs.sqlite") as connection:
        connection.execute("UPDATE run_variables SET timestamp = timestamp + 1 WHERE run = 2")
    connection.close()
    assert again(table).status == 304


def test_plan_explain_logs_and_jobs(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    plan = proposal.plan(2, variables=["cube"])
    assert [run["run"] for run in plan["runs"]] == [2] and "cube" in json.dumps(plan)
    with pytest.raises(ApiError) as missing:
        proposal.plan(999)
    assert missing.value.status == 404
    story = proposal.explain(2, "broken")
    assert any(entry["kind"] == "error" and "no beam" in entry["message"] for entry in story)
    assert "number was computed" in proposal.log(2)
    logs = reads.local("GET", "/v1/proposals/1234/runs/2/logs?format=json&lines=3").json()
    assert len(logs) == 1 and len(logs[0]["lines"]) == 3
    assert proposal.jobs() == []
    assert reads.local("GET", "/v1/proposals/1234/runs/999/logs").status == 404


def test_a_log_is_followed(reads: HttpService) -> None:
    lines: list[str] = []
    found = threading.Event()

    def follow(log: Iterator[str]) -> None:
        for line in log:
            lines.append(line)
            if line == "something new":
                found.set()
                return

    follower = threading.Thread(target=follow, args=(proposal_of(reads).follow_log(1),), daemon=True)
    follower.start()
    wait_for("the log so far", lambda: any("number was computed" in line for line in list(lines)), reads.process)
    with (reads.database.path / "process_logs/r1-p1234.out").open("a") as log:
        log.write("something new\n")
    assert found.wait(60)


def test_settings_are_shown_and_changed_together(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    assert proposal.settings()["proposal"] == 1234
    assert proposal.change_settings({"variable_time": 600, "slurm_partition": "upex"}) == []
    assert proposal.settings()["variable_time"] == 600
    proposal.change_settings({"slurm_partition": None})
    assert "slurm_partition" not in proposal.settings()
    before = proposal.settings()
    for key, value in (
        ("variable_time", "soon"),
        ("variable_time", 1e30),
        ("variable_mem", -1),
        ("slurm_time", "soon"),
        ("concurrent_jobs", 1e30),
        ("concurrent_jobs", 2.5),
        ("context_python", 3),
        ("proposal", 5),
        ("proposal", None),
        ("db_id", "x"),
        ("db_id", None),
        ("data_format_version", 9),
    ):
        with pytest.raises(ApiError) as refused:
            proposal.change_settings({"slurm_account": "mine", key: value})
        assert refused.value.status in (400, 403) and refused.value.where == f"body, {key}", (key, value)
        assert key in refused.value.detail and refused.value.hint, (key, value)
    assert proposal.settings() == before and before["concurrent_jobs"] == 15
    # As for db-config: no limit, and settings of other programs.
    assert proposal.change_settings({"concurrent_jobs": 0}) == []
    [told] = proposal.change_settings({"slurm_partiton": "x"})
    assert told == "slurm_partiton is set, but there is no such setting; did you mean slurm_partition?"
    assert proposal.settings()["slurm_partiton"] == "x"
    assert proposal.change_settings({"context_python": "/no/python"}) != []
    read = reads.token("process")
    assert reads.ask("PATCH", "/v1/proposals/1234/settings", read, json={"variable_time": 1}).status_code == 403


def test_settings_are_changed_only_if_they_are_those_that_were_read(reads: HttpService) -> None:
    path = "/v1/proposals/1234/settings"
    first = reads.local("GET", path)
    tag = first.headers["etag"]
    assert reads.local("GET", path, **{"If-None-Match": tag}).status == 304
    # Runs are stored in the same file, and are no settings.
    reads.database.amore("reprocess", "1", "--var", "number")
    changed = reads.local("PATCH", path, {"slurm_account": "a"}, **{"If-Match": tag})
    assert changed.status == 200 and changed.headers["etag"] != tag
    assert reads.local("GET", path).headers["etag"] == changed.headers["etag"]
    refused = reads.local("PATCH", path, {"slurm_account": "b"}, **{"If-Match": tag})
    assert refused.status == 412 and refused.json()["hint"], refused.body
    assert reads.local("GET", path).json()["settings"]["slurm_account"] == "a"
    for headers in ({}, {"If-Match": "*"}, {"If-Match": changed.headers["etag"]}):
        assert reads.local("PATCH", path, {"slurm_account": "a"}, **headers).status == 200


def test_names_and_titles_of_variables_are_given_once(reads: HttpService) -> None:
    def add(name: str, title: str | None = None) -> Answer:
        new = {"name": name, "type": "string", **({} if title is None else {"title": title})}
        return reads.local("POST", "/v1/proposals/1234/user-variables", new)

    for name in ("run", "Run", "start_time", "PROPOSAL", "Added_at", "Comment", "number", "NUMBER"):
        refused = add(name, f"My {name}")
        assert refused.status == 409 and refused.json()["hint"], (name, refused.body)
    assert add("quality", "Sample quality").status == 201
    for name, title in (
        ("other", "Number"),
        ("other", "sample QUALITY"),
        ("other", "Timestamp"),
        ("other", "run"),
        ("other", "number"),
        ("Quality", "Other"),
        ("Flux", "Other"),
    ):
        assert add(name, title).status == 409, (name, title)
    assert add("other", "two\nlines").status == 400
    # As in DAMNIT, whose own column is "Status".
    assert add("status").status == 201
    with sqlite3.connect(reads.database.path / "runs.sqlite") as connection:
        columns = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info('runs')")]
    connection.close()
    assert not [column for column in columns if ":" in column]
    assert len({column.lower() for column in columns}) == len(columns)


def test_what_users_enter(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    value, etag = proposal.entered(2)
    assert value is None
    changed = proposal.enter(2, "comment", "good beam", etag)
    assert proposal.entered(2) == ("good beam", changed)
    with pytest.raises(ApiError) as conflict:
        proposal.enter(2, "comment", "bad beam", etag)
    assert (conflict.value.status, conflict.value.kind) == (412, "changed")
    assert conflict.value.detail == 'it was changed meanwhile: it is "good beam" now'
    assert reads.database.rows(2)["comment"] == "good beam"
    new = {"name": "quality", "type": "integer", "title": "Quality"}
    assert reads.local("POST", "/v1/proposals/1234/user-variables", new).status == 201
    assert reads.local("POST", "/v1/proposals/1234/user-variables", new).status == 409
    proposal.enter(2, "quality", 3)
    assert reads.database.rows(2)["quality"] == 3
    for wrong in ("three", 2.5, True):
        with pytest.raises(ApiError) as refused:
            proposal.enter(2, "quality", wrong)
        assert refused.value.status == 400
    for path in ("runs/2/user-values/number", "runs/99/user-values/comment"):
        assert reads.local("PUT", f"/v1/proposals/1234/{path}", {"value": 1}, **{"If-Match": "*"}).status == 404
    assert reads.local("PUT", "/v1/proposals/1234/runs/2/user-values/quality", {"value": 1}).status == 428
    gone = reads.local("DELETE", "/v1/proposals/1234/user-variables?name=quality&with_values=true")
    assert gone.status == 204 and "quality" not in reads.database.rows(2)


def put(service: HttpService, text: str, **headers: str) -> Answer:
    """Puts a context file on the Unix socket."""
    import http_service

    connection = http_service.SocketConnection(service.socket)
    connection.request(
        "PUT", "/v1/proposals/1234/context", body=text.encode(), headers={"Content-Type": "text/x-python", **headers}
    )
    answer = connection.getresponse()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def test_the_context_file_is_changed_by_one_at_a_time(reads: HttpService) -> None:
    proposal = proposal_of(reads)
    path = reads.database.path / "context.py"
    os.chmod(path, 0o640)
    before = proposal.context()
    assert before.text == path.read_text()
    better = before.text + "\n@Variable(title='More')\ndef more(run):\n    return 1\n"
    after = proposal.put_context(better, before.etag)
    assert path.read_text() == better and proposal.context() == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

    with pytest.raises(ApiError) as conflict:
        proposal.put_context("x = 1\n", before.etag)
    assert (conflict.value.status, conflict.value.kind) == (412, "changed")
    assert put(reads, "x = 1\n").status == 428
    with pytest.raises(ApiError) as rejected:
        proposal.put_context(better + "\n@Variable()\ndef f(run, x: 'var#nowhere'):\n    pass\n", after.etag)
    assert rejected.value.status == 422 and "nowhere" in rejected.value.detail
    assert path.read_text() == better

    checked = proposal.check_context("import os\nfrom damnit_ctx import Variable\n")
    assert checked["usable"] and checked["problems"], "unused imports are warnings"
    broken = proposal.check_context("def f(:\n")
    assert not broken["usable"] and broken["problems"][0]["line"] == 1
    assert path.read_text() == better
    warned = put(reads, "import os\n" + better, **{"If-Match": after.etag})
    assert warned.status == 200 and warned.json()["usable"]
    reads.database.amore("reprocess", "1", "--var", "more")
    assert reads.database.rows(1)["more"] == 1
    process = reads.token("process")
    assert reads.ask("PUT", "/v1/proposals/1234/context", process, data="x", headers={"If-Match": "*"}).status_code == 403


def test_a_context_file_of_others_is_not_shown_by_a_link(reads: HttpService) -> None:
    path = reads.database.path / "context.py"
    path.unlink()
    assert reads.local("GET", "/v1/proposals/1234/context").status == 404
    created = put(reads, "x = 1\n", **{"If-None-Match": "*"})
    assert created.status == 200 and path.read_text() == "x = 1\n"
    assert put(reads, "x = 2\n", **{"If-None-Match": "*"}).status == 412
    path.rename(reads.database.path / "mine.py")
    path.symlink_to("mine.py")
    linked = reads.local("GET", "/v1/proposals/1234/context")
    assert linked.status == 200 and linked.body == b"x = 1\n"
    assert put(reads, "x = 2\n", **{"If-Match": linked.headers["etag"]}).status == 409
    if os.geteuid() == 0:
        os.chown(reads.database.path / "mine.py", 1, 1)
        assert reads.local("GET", "/v1/proposals/1234/context").status == 403


def test_an_npy_file_can_be_loaded_by_numpy_alone(reads: HttpService) -> None:
    token = reads.token("read", "--proposal", "1234")
    answer = reads.ask("GET", "/v1/proposals/1234/runs/1/variables/cube/value", token, headers={"Accept": "application/x-npy"})
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert np.load(io.BytesIO(answer.content)).shape == (2, 3, 4)
    assert connect(reads.url, token).proposal(1234).value(1, "number")["data"] == 1.5
    with pytest.raises(ApiError) as unknown:
        connect(reads.url).proposal(1234).value(1, "number")
    assert unknown.value.status == 401 and unknown.value.hint


def test_an_answer_keeps_its_version_while_nobody_changes_anything(service: HttpService) -> None:
    """Neither the renewal of ownership in the table nor another service changes what clients have."""
    service.database.amore("reprocess", "1")
    paths = ["/v1/proposals/1234/table", "/v1/proposals/1234/runs?limit=1", "/v1/proposals/1234/settings"]
    first = {path: service.local("GET", path).headers["etag"] for path in paths}
    term = owner_term(service)
    pipe.wait_for("the ownership is renewed", lambda: owner_term(service) != term, service.process)
    for path in paths:
        again = service.local("GET", path, **{"If-None-Match": first[path]})
        assert again.status == 304 and again.headers["etag"] == first[path], path
    service.database.amore("comment", "1", "good beam")
    assert service.local("GET", paths[0], **{"If-None-Match": first[paths[0]]}).status == 200


def owner_term(service: HttpService) -> Any:
    """Until when the service owns the directory, if it does not renew that."""
    with sqlite3.connect(service.database.path / "runs.sqlite", timeout=30) as connection:
        return connection.execute("SELECT until FROM amore_owner").fetchone()[0]
