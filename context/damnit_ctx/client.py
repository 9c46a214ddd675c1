"""A client of Amore's HTTP API, in one file that needs nothing but Python's standard library (3.9 or later).

    from damnit_ctx.client import connect

    amore = connect("/gpfs/exfel/exp/SPB/202601/p001234/usr/Shared/amore")      # on the service's host
    amore = connect("https://max-exfl001:8711", token="amore_…")                # from anywhere

    proposal = amore.proposal(1234)
    for row in proposal.table(from_run=10, variables=["xgm_intensity"]):
        print(row["run"], row["cells"])
    proposal.value(42, "xgm_intensity", slice="0:100")     # numbers as lists
    proposal.array(42, "xgm_intensity", slice="::10")      # a numpy array
    for event in amore.events():
        print(event.id, event.kind, event.data)

Errors of the service are `ApiError`, with what is wrong, where, and what to do.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ApiError", "Client", "ContextFile", "Event", "Proposal", "connect"]

#: Where the socket of a service is, below its directory.
SOCKET = ".amore/service.sock"
#: The system allows no longer paths of sockets.
LONGEST_SOCKET = 100

Json = Any
Parameters = Mapping[str, Union[str, int, float, bool, Sequence[str], None]]


class ApiError(Exception):
    """The service refused a request, or could not answer it (RFC 9457).

    Attributes:
        status: The HTTP status.
        kind: The kind of error, which programs can rely on: ``not-found``, ``changed``, …
        detail: What is wrong.
        where: Where it is: a parameter, a directory.
        hint: What to do about it.
        retry_after: After how many seconds it may work.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        where: Optional[str] = None,
        hint: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        words = f"{where}: {detail}" if where else detail
        super().__init__(f"{words} (HTTP {status})" + (f"\n  hint: {hint}" if hint else ""))
        self.status = status
        self.kind = kind
        self.detail = detail
        self.where = where
        self.hint = hint
        self.retry_after = retry_after


@dataclass(frozen=True)
class Event:
    """Something that happened in the service."""

    #: Where it is in the stream; `Client.events` continues after it.
    id: str
    #: What happened.
    kind: str
    #: The details.
    data: Json


@dataclass(frozen=True)
class ContextFile:
    """A context file, and the version that it is."""

    text: str
    #: The version: `Proposal.put_context` changes the file only if it is still this one.
    etag: str


class _UnixConnection(http.client.HTTPConnection):
    """A connection through a Unix socket."""

    def __init__(self, path: str, timeout: Optional[float]) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) < LONGEST_SOCKET:
            self.sock.connect(self._path)
            return
        # By way of its open folder, the path is always short.
        folder, name = os.path.split(self._path)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{opened}/{name}")
        finally:
            os.close(opened)


def connect(
    address: Union[str, os.PathLike[str], None] = None,
    token: Optional[str] = None,
    *,
    ca_file: Union[str, os.PathLike[str], None] = None,
    timeout: float = 120.0,
) -> Client:
    """A client of a service.

    Args:
        address: ``https://host:port``, or the service's directory, or its Unix socket; by default the working
            directory.
        token: A token of ``amore token new``; by default that in the environment variable ``AMORE_TOKEN``. Through a
            Unix socket none is needed: it is enough to have the right to use the files.
        ca_file: The certificates that sign the service's, if the system does not know them.
        timeout: How long to wait for an answer, in seconds.
    """
    return Client(address, token, ca_file=ca_file, timeout=timeout)


class Client:
    """A service. See `connect`."""

    def __init__(
        self,
        address: Union[str, os.PathLike[str], None] = None,
        token: Optional[str] = None,
        *,
        ca_file: Union[str, os.PathLike[str], None] = None,
        timeout: float = 120.0,
    ) -> None:
        given = os.fspath(address) if address is not None else os.curdir
        self._timeout = timeout
        self._token = token or os.environ.get("AMORE_TOKEN") or None
        self._base = ""
        self._context: Optional[ssl.SSLContext] = None
        self._host: Optional[str] = None
        self._port: Optional[int] = None
        self._socket: Optional[str] = None
        if given.startswith(("http://", "https://")):
            parts = urlsplit(given)
            self._host, self._port = parts.hostname or "localhost", parts.port
            self._base = parts.path.rstrip("/")
            if parts.scheme == "https":
                self._context = ssl.create_default_context(cafile=None if ca_file is None else os.fspath(ca_file))
        else:
            path = Path(given)
            self._socket = str(path / SOCKET if path.is_dir() else path)

    def _connection(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        if self._socket is not None:
            return _UnixConnection(self._socket, timeout)
        host = self._host or "localhost"
        if self._context is not None:
            return http.client.HTTPSConnection(host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(host, self._port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        parameters: Optional[Parameters] = None,
        *,
        body: Union[bytes, Json, None] = None,
        headers: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> http.client.HTTPResponse:
        """Sends a request and returns the answer, whose body has to be read.

        Args:
            method: ``GET``, …
            path: The path, with special characters quoted.
            parameters: The query; ``None`` leaves a parameter out, a list is joined by commas.
            body: Bytes, or anything that can be JSON.
            headers: Further headers.
            timeout: How long to wait for data, in seconds.

        Raises:
            ApiError: The service refused it.
        """
        sent = {"Accept": "application/json", **(headers or {})}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        query = urlencode({name: _word(value) for name, value in (parameters or {}).items() if value is not None})
        target = f"{self._base}{path}" + (f"?{query}" if query else "")
        connection = self._connection(self._timeout if timeout is None else timeout)
        try:
            connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise _error(answer)
        except BaseException:
            connection.close()
            raise
        # Without this the connection would be closed when it is forgotten, before the body was read.
        answer._amore_connection = connection  # type: ignore[attr-defined]
        return answer

    def get(self, path: str, parameters: Optional[Parameters] = None) -> Json:
        """The JSON at a path."""
        with self.request("GET", path, parameters) as answer:
            return json.load(answer)

    def send(self, method: str, path: str, body: Json = None, parameters: Optional[Parameters] = None) -> Json:
        """Sends JSON, and returns the JSON of the answer, if there is any."""
        with self.request(method, path, parameters, body=body) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def proposals(self) -> list[Json]:
        """The proposals and directories that you may read."""
        found: list[Json] = self.get("/v1/proposals")["proposals"]
        return found

    def proposal(self, number: int, directory: Union[str, os.PathLike[str], None] = None) -> Proposal:
        """A proposal of the service.

        Args:
            number: Its number.
            directory: One of its database directories, if there are several and the official one is not meant.
        """
        return Proposal(self, number, None if directory is None else os.fspath(directory))

    def events(
        self, last_id: Optional[str] = None, *, pause: float = 1.0, kinds: Sequence[str] = ()
    ) -> Iterator[Event]:
        """What happens in the service, as it happens. A connection that breaks is made again, and nothing is missed.

        An event of kind ``reset`` says that events were missed, because the service has begun anew or forgotten them:
        read the state again.

        Args:
            last_id: The id of the last event that is known; by default only new ones are given.
            pause: How long to wait before a new connection, in seconds.
            kinds: Only these kinds.
        """
        while True:
            headers = {"Accept": "text/event-stream"}
            if last_id is not None:
                headers["Last-Event-ID"] = last_id
            try:
                with self.request("GET", "/v1/events", headers=headers) as answer:
                    for event in _events(answer):
                        last_id = event.id or last_id
                        if not kinds or event.kind in kinds:
                            yield event
            except ApiError as error:
                if error.status < 500 and error.status != 429:
                    raise
                time.sleep(error.retry_after or pause)
            except (OSError, http.client.HTTPException):
                # The service ends, or the network is away.
                time.sleep(pause)


class Proposal:
    """A database directory of a proposal. See `Client.proposal`."""

    def __init__(self, client: Client, number: int, directory: Optional[str] = None) -> None:
        self.client = client
        self.number = number
        self._directory = directory

    def _path(self, *parts: Union[str, int]) -> str:
        return "/".join(["/v1/proposals", *(quote(str(part), safe="") for part in (self.number, *parts))])

    def _with(self, **parameters: Union[str, int, float, bool, Sequence[str], None]) -> Parameters:
        return {**parameters, "directory": self._directory}

    def _get(self, *parts: Union[str, int], **parameters: Union[str, int, float, bool, Sequence[str], None]) -> Json:
        return self.client.get(self._path(*parts), self._with(**parameters))

    def _pages(self, what: str, key: str, **parameters: Any) -> Iterator[Json]:
        after: Optional[int] = None
        while True:
            page = self._get(what, after=after, **parameters)
            yield from page[key]
            after = page["next"]
            if after is None:
                return

    def table(
        self,
        *,
        from_run: Optional[int] = None,
        to_run: Optional[int] = None,
        variables: Optional[Sequence[str]] = None,
        tags: Optional[Sequence[str]] = None,
        errors: bool = False,
        latest_first: bool = False,
    ) -> Iterator[Json]:
        """The rows of the run table, page by page.

        A row has ``run``, ``start_time``, ``comment``, and ``cells`` by variable, each with its ``kind`` and ``value``.

        Args:
            from_run: The first run.
            to_run: The last run.
            variables: Only these variables.
            tags: Only variables with one of these tags.
            errors: Only runs in which one of the variables has an error.
            latest_first: The latest run first.
        """
        return self._pages(
            "table",
            "rows",
            **{"from": from_run, "to": to_run},
            variables=variables,
            tags=tags,
            errors=errors,
            order="descending" if latest_first else "ascending",
            limit=500,
        )

    def runs(
        self, *, from_run: Optional[int] = None, to_run: Optional[int] = None, latest_first: bool = False
    ) -> Iterator[Json]:
        """The runs, with how many values, errors and skipped variables they have."""
        order = "descending" if latest_first else "ascending"
        return self._pages("runs", "runs", **{"from": from_run, "to": to_run}, order=order, limit=1000)

    def variables(self) -> list[Json]:
        """The variables, with title, description, tags, and the type of those that users edit."""
        found: list[Json] = self._get("variables")["variables"]
        return found

    def about(self, run: int, name: str) -> Json:
        """What is known about a variable of a run: its cell or error, its arrays, where it comes from."""
        return self._get("runs", run, "variables", name)

    def value(
        self,
        run: int,
        name: str,
        *,
        slice: Optional[str] = None,
        array: Optional[str] = None,
        points: Optional[int] = None,
        preview: bool = False,
    ) -> Json:
        """A value as JSON: ``data`` has all elements, or, of too many, ``extremes`` the smallest and largest of parts.

        NaN and infinity are texts.

        Args:
            run: The run.
            name: The variable.
            slice: Which part of the array, as numpy's slices: ``0:100,::10``.
            array: The array of a dataset, or a coordinate.
            points: How many elements at most.
            preview: What the function gave to be shown, instead of its value.
        """
        return self._get(
            "runs",
            run,
            "variables",
            name,
            "value",
            format="json",
            slice=slice,
            array=array,
            points=points,
            preview=preview,
        )

    def _file(self, run: int, name: str, **parameters: Any) -> bytes:
        path = self._path("runs", run, "variables", name, "value")
        with self.client.request("GET", path, self._with(**parameters), headers={"Accept": "*/*"}) as answer:
            return answer.read()

    def npy(self, run: int, name: str, *, slice: Optional[str] = None, array: Optional[str] = None) -> bytes:
        """A value as a ``.npy`` file. See `value`."""
        return self._file(run, name, format="npy", slice=slice, array=array)

    def array(
        self, run: int, name: str, *, slice: Optional[str] = None, array: Optional[str] = None
    ) -> np.ndarray[Any, Any]:
        """A value as a numpy array. (This needs numpy.) See `value`."""
        import numpy as np

        loaded: np.ndarray[Any, Any] = np.load(
            io.BytesIO(self.npy(run, name, slice=slice, array=array)), allow_pickle=False
        )
        return loaded

    def png(
        self,
        run: int,
        name: str,
        *,
        slice: Optional[str] = None,
        array: Optional[str] = None,
        range: Optional[tuple[float, float]] = None,
        colors: Optional[str] = None,
        size: Optional[int] = None,
        preview: bool = False,
    ) -> bytes:
        """A value with two axes, or an image, as a PNG file.

        Args:
            run: The run.
            name: The variable.
            slice: Which part of the array.
            array: The array of a dataset.
            range: Numbers that get the first and the last colour; not for an image with colours of its own.
            colors: ``viridis`` (for numbers, if nothing is said) or ``gray``; not for an image with colours of its own.
            size: Pixels of the longer side at most.
            preview: What the function gave to be shown, instead of its value.
        """
        limits = None if range is None else f"{range[0]!r},{range[1]!r}"
        return self._file(
            run, name, format="png", slice=slice, array=array, range=limits, colors=colors, size=size, preview=preview
        )

    def file(self, run: int, name: str) -> bytes:
        """The stored file of a table (parquet) or of a plotly figure (JSON)."""
        return self._file(run, name, format="file")

    def thumbnail(self, run: int, name: str) -> bytes:
        """What the table has in place of a number: a PNG file, or a ``.npy`` file of a curve."""
        with self.client.request(
            "GET", self._path("runs", run, "variables", name, "thumbnail"), self._with()
        ) as answer:
            return answer.read()

    def plan(self, run: int, *, data: str = "all", variables: Optional[Sequence[str]] = None) -> Json:
        """What would be computed for a run, in which task, where and why. ``data`` is ``raw``, ``proc`` or ``all``."""
        return self._get("runs", run, "plan", data=data, variables=variables)

    def explain(self, run: int, variable: Optional[str] = None) -> list[Json]:
        """What happened to a run or variable, or what it is waiting for."""
        found: list[Json] = self._get("runs", run, "explain", variable=variable)
        return found

    def log(self, run: int, *, lines: Optional[int] = None) -> str:
        """What the variables of a run printed. ``lines``: only so many last ones of each log."""
        with self.client.request("GET", self._path("runs", run, "logs"), self._with(lines=lines)) as answer:
            return answer.read().decode("utf-8", "replace")

    def follow_log(self, run: int) -> Iterator[str]:
        """The lines of the logs of a run, and those that follow, until the caller has enough."""
        path = self._path("runs", run, "logs")
        answer = self.client.request("GET", path, self._with(follow=True), timeout=1e6)
        with answer:
            for line in answer:
                yield line.decode("utf-8", "replace").rstrip("\n")

    def jobs(self) -> list[Json]:
        """Unfinished tasks, with their Slurm jobs and why those wait."""
        found: list[Json] = self._get("jobs")
        return found

    def settings(self) -> dict[str, Union[str, int, float, None]]:
        """The settings that are set."""
        found: dict[str, Union[str, int, float, None]] = self._get("settings")["settings"]
        return found

    def change_settings(self, changes: Mapping[str, Union[str, int, float, None]]) -> list[str]:
        """Changes settings, all of them or none; ``None`` removes one. Returns notes about the new values."""
        answer = self.client.send("PATCH", self._path("settings"), dict(changes), self._with())
        notes: list[str] = answer.get("notes", [])
        return notes

    def context(self) -> ContextFile:
        """The context file."""
        with self.client.request("GET", self._path("context"), self._with(), headers={"Accept": "*/*"}) as answer:
            return ContextFile(answer.read().decode(), answer.headers["ETag"])

    def check_context(self, text: str) -> Json:
        """What is wrong with a text as a context file: ``usable``, ``problems``. It is not stored."""
        path = self._path("context", "check")
        headers = {"Content-Type": "text/x-python"}
        with self.client.request("POST", path, self._with(), body=text.encode(), headers=headers) as answer:
            return json.load(answer)

    def put_context(self, text: str, etag: Optional[str]) -> ContextFile:
        """Replaces the context file, if it has no errors.

        Args:
            text: The new text.
            etag: The version that it replaces, from `context`; ``None``: there must be none.

        Raises:
            ApiError: kind ``changed`` if it is another version now, ``rejected`` if the new text has errors.
        """
        headers = {"Content-Type": "text/x-python"}
        headers["If-None-Match" if etag is None else "If-Match"] = "*" if etag is None else etag
        with self.client.request(
            "PUT", self._path("context"), self._with(), body=text.encode(), headers=headers
        ) as answer:
            answer.read()
            return ContextFile(text, answer.headers["ETag"])

    def entered(self, run: int, name: str = "comment") -> tuple[Union[str, int, float, bool, None], str]:
        """A value that users enter, and its version; the name ``comment`` is the comment on the run."""
        with self.client.request("GET", self._path("runs", run, "user-values", name), self._with()) as answer:
            return json.load(answer)["value"], answer.headers["ETag"]

    def enter(self, run: int, name: str, value: Union[str, int, float, bool, None], etag: str = "*") -> str:
        """Changes a value that users enter; ``None`` empties it. Returns the new version.

        Args:
            run: The run.
            name: The variable; ``comment`` is the comment on the run.
            value: The new value.
            etag: The version that is changed, from `entered`; by default any.

        Raises:
            ApiError: kind ``changed`` if it is another version now.
        """
        path, headers = self._path("runs", run, "user-values", name), {"If-Match": etag}
        with self.client.request("PUT", path, self._with(), body={"value": value}, headers=headers) as answer:
            answer.read()
            return answer.headers["ETag"]

    def trigger(self, run: int, data: str = "raw", *, key: Optional[str] = None) -> Json:
        """Tells the service that data of a run have arrived.

        Args:
            run: The run.
            data: ``raw`` or ``proc``.
            key: Identifies the event: it is stored once, however often it is sent.
        """
        body = {"data": data, **({} if key is None else {"key": key})}
        return self.client.send("POST", self._path("runs", run, "triggers"), body, self._with())

    def reprocess(
        self, runs: Union[Sequence[int], str], *, variables: Sequence[str] = (), match: Sequence[str] = ()
    ) -> str:
        """Has variables of runs computed; ``runs`` may be ``"all"``. Returns the id of the request (see `progress`)."""
        wanted = runs if isinstance(runs, str) else list(runs)
        body = {"runs": wanted, "variables": list(variables), "match": list(match)}
        made: str = self.client.send("POST", self._path("reprocess"), body, self._with())["id"]
        return made

    def progress(self, request: str) -> Json:
        """How far a request is."""
        return self._get("requests", request)


def _word(value: Union[str, int, float, bool, Sequence[str]]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    return ",".join(value)


def _error(answer: http.client.HTTPResponse) -> ApiError:
    content = answer.read()
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    after = answer.headers.get("Retry-After", "")
    return ApiError(
        answer.status,
        str(body.get("type", "")).rpartition(":")[2] or "unknown",
        str(body.get("detail") or answer.reason),
        body.get("where"),
        body.get("hint"),
        float(after) if after.isdigit() else None,
    )


def _events(lines: Iterator[bytes]) -> Iterator[Event]:
    """Events of a stream in the format of server-sent events."""
    last, kind = "", "message"
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                text = "\n".join(data)
                try:
                    yield Event(last, kind, json.loads(text))
                except ValueError:
                    yield Event(last, kind, text)
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "id":
            last = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
