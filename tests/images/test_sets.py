"""The bundled set and folders: their images, names, roles and identities."""

import hashlib
import shutil

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

import conf
from swag_repro.errors import ImageError, SettingError
from swag_repro.images import Picture, bundled, folder
from swag_repro.images.files import READ_FORMATS


@pytest.fixture
def make(tmp_path):
    """Makes image files of distinct colours below a folder and returns that folder."""

    def images(*names):
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
        return tmp_path

    return images


def keys(pictures):
    return [picture.key for picture in pictures]


def test_bundled_has_enough_of_both_roles_and_all_can_be_read():
    pictures = bundled()
    assert [picture.role for picture in pictures] == 7 * ["content"] + 7 * ["style"]
    assert len(set(keys(pictures))) == len({picture.sha256 for picture in pictures}) == len(pictures)
    for picture in pictures:
        image = picture.read()
        assert image.mode == "RGB"
        assert min(image.size) >= 256
        assert picture.licence


def test_bundled_limit_keeps_the_first_of_each_role():
    whole = bundled()
    first = bundled(limit=2)
    assert keys(first) == keys(
        [p for p in whole if p.role == "content"][:2] + [p for p in whole if p.role == "style"][:2]
    )
    assert bundled(limit=99) == whole


@pytest.mark.parametrize("limit", [0, -1, "few", 1.5])
def test_limit_below_one(limit, tmp_path):
    for source in (bundled, lambda *, limit: folder(tmp_path, limit=limit)):
        with pytest.raises(SettingError, match=f"limit` should be a whole number from 1; found {limit!r}"):
            source(limit=limit)


def test_roles_by_sub_folder(make):
    root = make("content/b.png", "style/deep/a.jpg", "c.gif", "style/content/d.png")
    assert keys(folder(root)) == ["content/c", "content/b", "content/d", "style/a"]


def test_role_of_the_folder_itself_but_not_of_those_above(make):
    root = make("style/paintings/a.png")
    assert keys(folder(root / "style")) == ["style/a"]
    assert keys(folder(root / "style" / "paintings")) == ["content/a"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*/*.png", ["content/a", "style/b"]),
        ("style/*", ["style/b"]),
        ("**/*", ["content/a", "content/d", "style/b"]),
        ("content/a.png", ["content/a"]),
        ("[cs]*/?.png", ["content/a", "style/b"]),
    ],
)
def test_globs(make, pattern, expected):
    root = make("content/a.png", "style/b.png", "content/deep/d.png")
    assert keys(folder(root / pattern)) == expected


def test_places_whose_names_look_like_globs(make):
    root = make("[set]/a[1].png")
    assert keys(folder(root / "[set]")) == ["content/a[1]"]
    assert keys(folder(root / "[set]" / "a[1].png")) == ["content/a[1]"]


def test_relative_path_and_home(make, monkeypatch):
    root = make("style/a.png")
    monkeypatch.chdir(root / "style")
    monkeypatch.setenv("HOME", str(root))
    assert keys(folder(".")) == keys(folder("*.png")) == keys(folder("~/style")) == ["style/a"]


def test_links_to_folders_are_followed(make):
    root = make("elsewhere/a.png", "set/b.png")
    (root / "set" / "style").symlink_to(root / "elsewhere", target_is_directory=True)
    assert keys(folder(root / "set")) == ["content/b", "style/a"]


def test_only_visible_images_count(make):
    root = make("a.png", ".hidden.png", ".cache/b.png")
    (root / "notes.txt").write_text("no image")
    (root / "folder.png").mkdir()
    shutil.copy(root / "a.png", root / "UPPER.PNG")
    assert keys(folder(root)) == ["content/UPPER", "content/a"]


ENDINGS = {
    "a.jfif": "JPEG",
    "b.jpe": "JPEG",
    "c.JFIF": "JPEG",
    "d": "PNG",
    "e.photo": "WEBP",
    "f.avif": "AVIF",
}


def test_images_are_told_by_what_they_hold(tmp_path, caplog):
    for name, kind in ENDINGS.items():
        Image.new("RGB", (32, 32), (9, 9, len(name))).save(tmp_path / name, kind)
    (tmp_path / "IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    Image.new("RGB", (32, 32)).save(tmp_path / "raw.nef", "TIFF")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0")
    assert [picture.name for picture in folder(tmp_path)] == ["a", "b", "c", "d", "e", "f"]
    assert f"left out of {tmp_path}: 1 .eps, 1 .heic, 1 .nef, 1 .txt. Images are AVIF" in caplog.text
    folder(tmp_path)
    assert caplog.text.count("left out") == 1


def test_a_folder_without_an_image_tells_what_it_holds(tmp_path):
    (tmp_path / "IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ImageError, match=r"found none in .*, but 1 \.heic"):
        folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.png", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b.png"]),
        (["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"]),
        (["a.jpg.png", "a.jpg", "a.png"], ["a.jpg", "a.jpg.png", "a.png"]),
        (["content/a.png", "style/a.jpg"], ["a", "a"]),
    ],
)
def test_names_are_unique_within_a_role(make, files, names):
    pictures = folder(make(*files))
    assert [picture.name for picture in pictures] == names
    assert len(set(keys(pictures))) == len(pictures)


def test_folder_limit_counts_each_role(make):
    root = make("content/a.png", "content/b.png", "style/c.png", "style/d.png")
    assert keys(folder(root, limit=1)) == ["content/a", "style/c"]


def test_identity_is_that_of_the_bytes(make):
    root = make("a.png")
    (picture,) = folder(root)
    assert picture.sha256 == hashlib.sha256((root / "a.png").read_bytes()).hexdigest()
    assert picture.read().getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("place", [".", "*.png", "missing", "missing/*.png"])
def test_no_image_found_lists_the_formats(tmp_path, place):
    finding = "no such place" if "missing" in place else "none in"
    with pytest.raises(ImageError, match=finding) as error:
        folder(tmp_path / place)
    assert all(kind in str(error.value) for kind in READ_FORMATS)


def test_a_bad_file_is_named_at_once(make):
    root = make("good.png")
    (root / "bad.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"bad\.png"):
        folder(root)


def test_pictures_compare_by_identity_not_by_place(make):
    root = make("one/a.png")
    shutil.copytree(root / "one", root / "two")
    assert folder(root / "one") == folder(root / "two")
    assert isinstance(hash(folder(root / "one")[0]), int)


@pytest.mark.parametrize("choice", ["bundled", "folder"])
def test_configured_sources(make, choice):
    group = OmegaConf.load(f"{next(iter(conf.__path__))}/images/{choice}.yaml")
    config = OmegaConf.create({"images": group})
    if choice == "folder":
        config.images.path = str(make("a.png"))
    config.images.source.limit = 1
    assert config.images.name == choice
    assert all(isinstance(picture, Picture) for picture in instantiate(config.images.source))


def test_a_whole_disk_is_no_set_of_images(make, monkeypatch):
    monkeypatch.setattr("swag_repro.images.sets.MOST_FILES", 3)
    root = make("a/one.png")
    assert keys(folder(root)) == ["content/one"]
    for name in "bcd":
        (root / name).mkdir()
    with pytest.raises(ImageError, match="should match at most 3 files and folders; found more in"):
        folder(root)
