"""A folder of pages: templates filled with data, pictures made small, and files to download."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from analysis.tables.provenance import Provenance, write_provenance
from swag_repro.errors import StoreError
from swag_repro.runs.files import clear_but, digest, whole_file, write_text

HERE = Path(__file__).parent

STATIC = HERE / "static"

LONGEST, QUALITY = 512, 85
"""Longest side in pixels of a picture in a report, and its quality as WebP, of 100."""

FORMATS = ["PNG", "WEBP", "JPEG"]

TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Shown:
    """A picture on a page.

    Attributes:
        file: Its file, relative to the site's folder.
        width: Its width in pixels.
        height: Its height in pixels.
    """

    file: str
    width: int
    height: int


@dataclass
class Site:
    """A folder of pages that is being written; a page that is there already is replaced as a whole.

    Attributes:
        folder: The folder. Those in it that pages use, such as `pictures/`, hold nothing else.
        title: Its title, in the head of each page.
        provenance: Where its numbers come from; None if no run is behind them.
        lost: Pictures that could not be shown, and why.
    """

    folder: Path
    title: str
    provenance: Provenance | None = None
    lost: dict[str, str] = field(default_factory=dict)
    _files: dict[str, Path] = field(default_factory=dict)
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def page(self, name: str, template: str, **values: Any) -> Path:
        """Write a page from a template, such as `claims/C01.html`, and return its path."""
        root = "../" * (len(PurePath(name).parts) - 1)
        made = TEMPLATES.get_template(template).render(root=root, here=name, site=self, **values)
        return self.text(name, made)

    def text(self, name: str, text: str) -> Path:
        """Write a file of text, and return its path."""
        path = self._files[name] = self.folder / name
        write_text(path, text)
        return path

    def copy(self, path: Path) -> str:
        """Copy a file to download, and return its place in the folder."""
        name = f"files/{path.name}"
        self._write(name, path.read_bytes)
        return name

    def original(self, path: Path) -> Shown:
        """Copy a picture as it is."""
        content = path.read_bytes()
        name = f"pictures/{path.name}"
        self._write(name, lambda: content)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return Shown(name, *image.size)

    def picture(self, name: str, read: Callable[[], bytes]) -> Shown | None:
        """Return a picture, made small; None if it is gone or damaged, which `lost` then says.

        Args:
            name: Its name for messages.
            read: Returns the content of its file.
        """
        try:
            content = read()
            file = f"pictures/{digest(content)[:16]}.webp"
            if file not in self._sizes:
                self._sizes[file] = self._shrink(content, file)
            return Shown(file, *self._sizes[file])
        except StoreError as error:
            self.lost[name] = str(error)
        except Exception as error:  # a decoder can raise any error for a damaged file
            self.lost[name] = f"{type(error).__name__}: {error}"
        return None

    def _shrink(self, content: bytes, file: str) -> tuple[int, int]:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            opaque = Image.new("RGBA", image.size, "white")
            opaque.alpha_composite(image.convert("RGBA"))
        small = opaque.convert("RGB")
        small.thumbnail((LONGEST, LONGEST))
        made = io.BytesIO()
        small.save(made, "WEBP", quality=QUALITY)
        self._write(file, made.getvalue)
        return small.size

    def _write(self, name: str, content: Callable[[], bytes]) -> None:
        self._files[name] = self.folder / name
        with whole_file(self.folder / name) as file:
            file.write(content())

    def finish(self) -> None:
        """Add styles and scripts, say where all comes from, and delete what an earlier report left."""
        for path in STATIC.iterdir():
            self._write(f"static/{path.name}", path.read_bytes)
        if self.provenance is not None:
            for folder in {path.parent for path in self._files.values()}:
                own = [path for path in self._files.values() if path.parent == folder]
                made = write_provenance(folder / "report", self.provenance, own)
                self._files[made.relative_to(self.folder).as_posix()] = made
        inner = [PurePath(name) for name in self._files if "/" in name]
        for place in {path.parts[0] for path in inner}:
            clear_but(
                self.folder / place, [path.relative_to(place) for path in inner if path.parts[0] == place]
            )
