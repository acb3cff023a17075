"""A web server for a study, on this machine or its network; it writes the answers that people send."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from analysis.questionnaire.building import SITE
from analysis.study.answers import ANSWERS, LONGEST, check_content
from analysis.study.design import Study
from swag_repro.errors import SettingError, StoreError
from swag_repro.runs.files import make_folder, whole_file

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"


class Handler(SimpleHTTPRequestHandler):
    """The page's files, and one place for answers."""

    def __init__(self, *arguments: Any, study: Study, folder: Path, **named: Any) -> None:
        self.study, self.folder = study, folder
        super().__init__(*arguments, directory=str(folder / SITE), **named)

    def do_GET(self) -> None:
        """Lead to the page, which then sends answers here; or give a file."""
        if self.path.partition("?")[0] != "/":
            super().do_GET()
            return
        given = self.path.partition("?")[2]
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", f"/index.html?serve&{given}".rstrip("&"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Write the answers of one rater, whole; refuse others of the same rater, and of another study."""
        length = int(self.headers.get("Content-Length", "0")) if self.path == "/answers" else 0
        if not 0 < length <= LONGEST:
            self._reply(HTTPStatus.BAD_REQUEST, "No answers.")
            return
        content = self.rfile.read(length)
        try:
            path = self.folder / ANSWERS / f"{check_content(self.study, content)['rater']}.json"
            if path.is_file() and path.read_bytes() != content:
                self._reply(HTTPStatus.CONFLICT, "There are other answers by this code already.")
                return
            with whole_file(path) as file:
                file.write(content)
        except ValueError as error:
            self._reply(HTTPStatus.BAD_REQUEST, f"These answers don't belong to this study: {error}.")
        except (StoreError, OSError) as error:
            self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, f"Please download your answers: {error}")
        else:
            self._reply(HTTPStatus.OK, "Your answers have arrived.")

    def list_directory(self, path: Any) -> None:
        """Refuse lists of files."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Log nothing: not even addresses are kept."""

    def _reply(self, status: HTTPStatus, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def server(study: Study, folder: Path, *, port: int, lan: bool) -> ThreadingHTTPServer:
    """Return a server of a study, which waits for `serve_forever`.

    Args:
        study: The study.
        folder: Its folder, which has the page and gets the answers.
        port: The port; 0 for any free one.
        lan: Whether other machines of the network may reach it.

    Raises:
        SettingError: The port is not free.
        StoreError: The folder of answers can't be made.
    """
    make_folder(folder / ANSWERS)
    try:
        return ThreadingHTTPServer(
            (EVERYWHERE if lan else HERE, port), partial(Handler, study=study, folder=folder)
        )
    except (OSError, OverflowError) as error:
        raise SettingError(
            "--port", "should be free", f"{port} ({error})", "Choose another, or 0."
        ) from error
