"""A stand-in for a W&B server, with only what one run, its artifacts and their readers need.

It keeps what it receives as the real one documents it: lines of a run's history at their offsets, so that a
line sent twice is kept once; files by name; artifacts by name and version, each with one digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import unquote

HISTORY = "wandb-history.jsonl"
STREAMED = (HISTORY, "wandb-summary.json", "wandb-events.jsonl")
KEY = "0" * 40
ENTITY = "me"
SWEEP = "sweep"
NOWHERE = "nobody-is-called-so"
"""An entity that the server does not know."""


@dataclass
class ServedRun:
    """What the server knows of one run."""

    project: str
    name: str
    about: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, dict]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)

    @property
    def history(self) -> list[dict]:
        """Return its points, in order."""
        return [line for _, line in sorted(self.lines.get(HISTORY, {}).items())]

    @property
    def summary(self) -> dict[str, Any]:
        """Return its last summary."""
        lines = self.lines.get("wandb-summary.json", {})
        return lines[max(lines)] if lines else {}

    @property
    def settings(self) -> dict[str, Any]:
        """Return its config without W&B's own part."""
        return {key: item["value"] for key, item in self.config.items() if key != "_wandb"}


@dataclass
class ServedArtifact:
    """One version of an artifact."""

    key: str
    given: dict[str, Any]
    version: int
    committed: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """Listens on a free port of this machine.

    Attributes:
        status: of all answers; None closes connections without any.
        denies: every key.
        refuses: any run, in these words.
        vanishes: once it has got so many points of a history; None for never.
        runs: by id.
        artifacts: by key, in the order of their creation.
        asked: GraphQL operations, in order.
        sweep: the config of the only W&B sweep, as it came.
        trials: commands for its agent.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.status: int | None = 200
        self.denies = False
        self.vanishes: int | None = None
        self.refuses = ""
        self.runs: dict[str, ServedRun] = {}
        self.artifacts: dict[str, ServedArtifact] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sweep = ""
        self.trials: list[dict[str, Any]] = []
        self.keys = count(1)
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Clients hang up as they like."""

    def committed(self, run: str | None = None) -> list[ServedArtifact]:
        """Artifacts that are complete; of a run."""
        return [
            one for one in self.artifacts.values() if one.committed and run in (None, one.given["runName"])
        ]

    # --- GraphQL ----------------------------------------------------------------------------------------

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        operation = re.search(r"(?:query|mutation)\s+(\w+)", query)[1]
        self.asked.append(operation)
        if NOWHERE in (variables.get("entity"), variables.get("entityName")):
            return {"errors": [{"message": f"entity {NOWHERE} not found during {operation}"}]}
        if self.refuses and operation == "UpsertBucket":
            return {"errors": [{"message": self.refuses}]}
        answer = getattr(self, f"_{operation}", None)
        if answer is None:
            return {"errors": [{"message": f"the stand-in does not know {operation}"}]}
        return {"data": answer(variables)}

    def _Viewer(self, _):  # noqa: N802
        about = {"id": "v", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "", "admin": False}
        return {"viewer": {**about, "flags": "{}", "teams": {"edges": []}, "apiKeys": {"edges": []}}}

    def _ServerFeaturesQuery(self, _):  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, _):  # noqa: N802
        return {"entity": {"organization": None}}

    def _run(self, given: dict) -> ServedRun:
        name = given.get("name") or given.get("run") or given.get("runName")
        return self.runs.setdefault(name, ServedRun(given["project"], name))

    def _UpsertBucket(self, given):  # noqa: N802
        inserted = given["name"] not in self.runs
        run = self._run(given)
        run.about |= {key: value for key, value in given.items() if value is not None}
        run.config |= json.loads(given["config"] or "{}")
        project = {"id": "p", "name": run.project, "entity": {"id": "e", "name": ENTITY}}
        bucket = {"id": f"b-{run.name}", "name": run.name, "displayName": run.about.get("displayName")}
        counted = {"config": json.dumps(run.config), "historyLineCount": len(run.history)}
        bucket |= {"description": None, "sweepName": None, "project": project, **counted}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _RunResumeStatus(self, given):  # noqa: N802
        about = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": ENTITY}}
        if given["name"] not in self.runs:
            return {"model": {**about, "bucket": None}}
        run = self.runs[given["name"]]
        bucket = {"id": f"b-{run.name}", "name": run.name, "displayName": run.about.get("displayName")}
        bucket |= {"summaryMetrics": json.dumps(run.summary), "config": json.dumps(run.config)}
        bucket |= {"historyLineCount": len(run.history), "logLineCount": 0, "tags": run.about.get("tags")}
        bucket |= {"eventsLineCount": len(run.lines.get("wandb-events.jsonl", {})), "notes": None}
        bucket |= {"historyTail": json.dumps([json.dumps(line) for line in run.history[-1:]])}
        return {"model": {**about, "bucket": {**bucket, "eventsTail": "[]", "wandbConfig": "{}"}}}

    def _CreateRunFiles(self, given):  # noqa: N802
        run = self._run(given)
        files = [{"name": name, "uploadUrl": f"{self.url}/run/{run.name}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": f"b-{run.name}", "uploadHeaders": [], "files": files}}

    # --- Sweeps: trials of one, which agents ask for ----------------------------------------------------

    def _UpsertSweep(self, given):  # noqa: N802
        self.sweep = given["config"]
        project = {"id": "p", "name": given["projectName"], "entity": {"id": "e", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}}

    def _SweepWithRuns(self, _):  # noqa: N802
        about = {"id": "s", "name": SWEEP, "state": "RUNNING", "config": self.sweep, "runs": {"edges": []}}
        nothing = ("method", "description", "createdAt", "heartbeatAt", "updatedAt", "bestLoss")
        return {"project": {"sweep": about | dict.fromkeys(nothing)}}

    _GetSweepState = _SweepWithRuns

    def _CreateAgent(self, _):  # noqa: N802
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _Heartbeat(self, given):  # noqa: N802
        busy = any(json.loads(given["runState"] or "{}").values())
        commands = [] if busy else [self.trials.pop(0) if self.trials else {"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    # --- Artifacts --------------------------------------------------------------------------------------

    def _ArtifactType(self, given):  # noqa: N802
        name = given["name"].partition(":")[0]
        types = [one.given["artifactTypeName"] for one in self.committed() if _name(one) == name]
        artifact = {"artifactType": {"name": types[-1]}} if types else None
        return {"project": {"artifact": artifact}}

    def _FetchArtifactDigestAlgorithm(self, _):  # noqa: N802
        return {"project": {"artifactType": None}}

    def _CreateArtifact(self, given):  # noqa: N802
        given = given["input"]
        same = [one for one in self.artifacts.values() if _name(one) == _name_of(given)]
        found = [one for one in same if one.given["digest"] == given["digest"]]
        if not found:
            found = [ServedArtifact(f"a-{next(self.keys)}", given, len(same))]
            self.artifacts[found[0].key] = found[0]
        state = "COMMITTED" if found[0].committed else "PENDING"
        latest = [{"id": one.key} for one in same if one.committed]
        about = {"state": state, "artifactSequence": {"latestArtifact": latest[-1] if latest else None}}
        return {"createArtifact": {"artifact": {"id": found[0].key, **about}}}

    def _CreateArtifactManifest(self, given):  # noqa: N802
        file = {"id": "f", "uploadUrl": f"{self.url}/manifest/{given['artifactID']}", "uploadHeaders": []}
        return {
            "createArtifactManifest": {"artifactManifest": {"id": f"m-{given['artifactID']}", "file": file}}
        }

    def _UpdateArtifactManifest(self, given):  # noqa: N802
        key = given["artifactManifestID"].removeprefix("m-")
        file = {"id": "f", "uploadUrl": f"{self.url}/manifest/{key}", "uploadHeaders": []}
        return {
            "updateArtifactManifest": {"artifactManifest": {"id": given["artifactManifestID"], "file": file}}
        }

    def _CreateArtifactFiles(self, given):  # noqa: N802
        nodes = []
        for one in given["input"]["artifactFiles"]:
            digest = base64.b64decode(one["md5"]).hex()
            node = {"storagePath": f"blobs/{digest}", "uploadUrl": f"{self.url}/blobs/{digest}"}
            node |= {"uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": one["artifactID"]}}
            nodes.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _CommitArtifact(self, given):  # noqa: N802
        artifact = self.artifacts[given["artifactID"]]
        artifact.committed = True
        return {"commitArtifact": {"artifact": {"id": artifact.key, "digest": artifact.given["digest"]}}}

    # --- Reading ----------------------------------------------------------------------------------------

    def _GetDefaultEntity(self, _):  # noqa: N802
        return {"viewer": {"id": "v", "entity": ENTITY}}

    def _described(self, run: ServedRun) -> dict[str, Any]:
        state = "running" if not run.exit_codes else "failed" if run.exit_codes[-1] else "finished"
        about = {"id": f"b-{run.name}", "name": run.name, "displayName": run.about.get("displayName")}
        about |= {"state": state, "group": run.about.get("groupName"), "jobType": run.about.get("jobType")}
        about |= {"tags": run.about.get("tags") or [], "config": json.dumps(run.config), "projectId": "1"}
        about |= {"summaryMetrics": json.dumps(run.summary), "historyLineCount": len(run.history)}
        nothing = ("sweepName", "commit", "description", "notes", "systemMetrics", "heartbeatAt")
        about |= dict.fromkeys(nothing) | {
            "user": {"name": ENTITY, "username": ENTITY},
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00Z",
        }
        return {
            **about,
            "historyKeys": {"lastStep": max((line["_step"] for line in run.history), default=-1)},
        }

    def _of(self, given: dict) -> ServedRun | None:
        run = self.runs.get(given.get("name") or given.get("run") or given.get("runName"))
        return run if run is not None and run.project == given["project"] else None

    def _Run(self, given):  # noqa: N802
        run = self._of(given)
        return {"project": {"run": run and self._described(run)}}

    _RunHistoryKeys = _Run

    def _RunParquetHistory(self, _):  # noqa: N802
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}

    def _HistoryPage(self, given):  # noqa: N802
        run = self._of(given)
        steps = range(given["minStep"], given["maxStep"])
        return {
            "project": {"run": {"history": [json.dumps(one) for one in run.history if one["_step"] in steps]}}
        }

    def _RunOutputArtifacts(self, given):  # noqa: N802
        nodes = [{"node": self._artifact(one)} for one in self.committed(given["run"])]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        artifacts = {"totalCount": len(nodes), "pageInfo": page, "edges": nodes}
        return {"project": {"run": {"artifacts": artifacts}}}

    def _artifact(self, one: ServedArtifact) -> dict[str, Any]:
        project = {"id": "p", "internalId": "1", "name": one.given["projectName"], "entity": {"name": ENTITY}}
        project["entityName"] = ENTITY
        sequence = {"__typename": "ArtifactSequence", "name": _name(one), "project": project}
        about = {"__typename": "Artifact", "id": one.key, "versionIndex": one.version, "tags": []}
        about |= {"artifactSequence": sequence, "artifactType": {"name": one.given["artifactTypeName"]}}
        about |= {"description": None, "metadata": one.given.get("metadata"), "ttlDurationSeconds": -1}
        about |= {"ttlIsInherited": False, "historyStep": None, "state": "COMMITTED", "size": 1}
        about |= {
            "digest": one.given["digest"],
            "commitHash": "c",
            "fileCount": len(one.manifest["contents"]),
        }
        latest = {"__typename": "ArtifactAlias", "id": "l", "alias": "latest", "artifactCollection": sequence}
        return {**about, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": None, "aliases": [latest]}

    def _ArtifactMembershipByName(self, given):  # noqa: N802
        name = given["name"].partition(":")[0]
        found = [self._artifact(one) for one in self.committed() if _name(one) == name]
        if not found:
            return {"project": {"artifactCollectionMembership": None}}
        about = {"__typename": "ArtifactCollectionMembership", "id": "m", "createdAt": "2026-01-01T00:00:00Z"}
        about |= {"versionIndex": found[-1]["versionIndex"], "aliases": [], "artifact": found[-1]}
        about["artifactCollection"] = found[-1]["artifactSequence"]
        return {"project": {"artifactCollectionMembership": about}}

    def _FetchArtifactManifest(self, given):  # noqa: N802
        file = {"directUrl": f"{self.url}/manifest/{given['id']}"}
        return {"artifact": {"currentManifest": {"file": file}}}

    def _GetArtifactMembershipFileUrls(self, given):  # noqa: N802
        version = int(given["alias"].removeprefix("v"))
        [one] = [
            one for one in self.committed() if (_name(one), one.version) == (given["collection"], version)
        ]
        edges = []
        for name, entry in one.manifest["contents"].items():
            digest = base64.b64decode(entry["digest"]).hex()
            edges.append({"node": {"name": name, "directUrl": f"{self.url}/blobs/{digest}"}, "cursor": ""})
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        membership = {"files": {"pageInfo": page, "edges": edges}}
        return {
            "project": {
                "artifactCollection": {"__typename": "ArtifactSequence", "artifactMembership": membership}
            }
        }

    # --- Files and streams ------------------------------------------------------------------------------

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        lines = self.runs[run].lines
        for name, part in sent.get("files", {}).items():
            content = part["content"] if name in STREAMED else []
            if name == HISTORY and self.vanishes is not None and content:
                content, self.status = content[: self.vanishes], None
            if name == "wandb-summary.json":
                lines.pop(name, None)
            kept = lines.setdefault(name, {})
            kept.update({part["offset"] + at: json.loads(line) for at, line in enumerate(content)})
        if self.status is None:
            raise ConnectionError("vanished")
        if sent.get("complete"):
            self.runs[run].exit_codes.append(sent["exitcode"])

    def put(self, path: str, body: bytes) -> None:
        kind, _, rest = path.strip("/").partition("/")
        if kind == "run":
            run, _, name = rest.partition("/")
            self.runs[run].files[name] = body
        elif kind == "manifest":
            self.artifacts[rest].manifest = json.loads(body)
        elif kind == "blobs":
            assert hashlib.md5(body).hexdigest() == rest
            self.blobs[rest] = body


def _name_of(given: dict[str, Any]) -> str:
    return given.get("artifactCollectionName") or given["artifactCollectionNames"][0]


def _name(artifact: ServedArtifact) -> str:
    return _name_of(artifact.given)


class Answer(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = 401 if self.server.denies and self.path == "/graphql" else self.server.status
        if status is None:
            self.close_connection = True
            return
        content = b"{}"
        if status == 200:
            with self.server.lock:
                content = self.answer(unquote(self.path), body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def answer(self, path: str, body: bytes) -> bytes:
        if path == "/graphql":
            query = json.loads(body)
            return json.dumps(self.server.graphql(query["query"], query.get("variables") or {})).encode()
        if path == "/vanish":
            self.server.status = None
        if path.endswith("file_stream"):
            self.server.stream(path.split("/")[-2], json.loads(body))
        elif self.command == "PUT":
            self.server.put(path, body)
        elif path.startswith("/blobs/"):
            return self.server.blobs[path.removeprefix("/blobs/")]
        elif path.startswith("/manifest/"):
            return json.dumps(self.server.artifacts[path.removeprefix("/manifest/")].manifest).encode()
        return b"{}"

    do_PUT = do_GET = do_POST  # noqa: N815


@contextmanager
def serving() -> Iterator[Server]:
    """A server that listens within."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
