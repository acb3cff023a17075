"""Files of a run directory that someone else wrote: readers limit what they load."""

import json
from dataclasses import replace
from io import BytesIO

import pytest
import yaml
from PIL import EpsImagePlugin, Image

from swag_repro.errors import StoreError
from swag_repro.runs.files import MALFORMED, parse_yaml, read_picture
from swag_repro.runs.records import RunRecord, RunStatus, read_status

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * 9)}]\n" for level in range(9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{level + 1}: &a{level + 1} [*a{level}]\n" for level in range(2000))

BOMBS = {
    "aliases": ALIASES,
    "a chain of aliases": CHAIN,
    "an alias of itself": "a: &a [*a]",
    "lists": "[" * 100_000,
    "lists in a line": "- " * 100_000,
    "mappings": "{a: " * 100_000,
    "a long text": f"a: {'x' * 2**23}",
    "many values": f"a: [{'1, ' * 300_000}]",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_yaml_bomb_is_malformed(bomb):
    with pytest.raises(MALFORMED, match="more than|nested deeper"):
        parse_yaml(BOMBS[bomb])


def test_honest_yaml_is_read_with_its_aliases():
    text = "a: &a {x: [1, 2.5, null]}\nb: *a\nc: {<<: *a, y: text}\nd: [[[[]]]]\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    names = {"content": [f"photos/of/a/long/name/{number:06}.jpg" for number in range(20_000)]}
    assert parse_yaml(yaml.safe_dump(names)) == names


def test_an_alias_of_nothing_is_malformed():
    with pytest.raises(yaml.YAMLError, match="undefined alias"):
        parse_yaml("a: *b")


def sealed(directory, **changes):
    started = RunStatus.start(experiment="stylize", name="x", overrides=[], device="cpu")
    (directory / "status.json").write_text(replace(started, state="finished", **changes).to_json())


@pytest.mark.parametrize("name", ["../secret.txt", "images/../../secret.txt", "/etc/passwd"])
def test_files_outside_of_a_run_are_not_read(tmp_path, name):
    (tmp_path / "secret.txt").write_text("secret")
    run = tmp_path / "run"
    run.mkdir()
    sealed(run, files={name: "0" * 64})
    with pytest.raises(StoreError, match="outside of its run"):
        read_status(run)
    sealed(run, files=None)
    with pytest.raises(StoreError, match="outside of its run"):
        RunRecord(run, read_status(run)).read(name)


def test_nested_json_is_malformed(tmp_path):
    (tmp_path / "status.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match="complete file of a run"):
        read_status(tmp_path)


def test_a_name_shows_no_control_characters(tmp_path):
    sealed(tmp_path, name="a\x1b[31mb\nc")
    assert json.loads((tmp_path / "status.json").read_text())["name"] == "a\x1b[31mb\nc"
    assert read_status(tmp_path).name == "a�[31mb�c"


def test_pictures_are_png_or_webp(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'mark'}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"", b"text"):
        with pytest.raises(StoreError, match=r"a\.png"):
            read_picture(tmp_path / "a.png", content)
    assert not (tmp_path / "mark").exists()
    for kind in ("PNG", "WEBP"):
        Image.new("RGBA", (9, 9)).save(buffer := BytesIO(), kind)
        assert read_picture(tmp_path / "a.png", buffer.getvalue()).mode == "RGB"
