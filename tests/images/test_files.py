"""Every kind of file becomes the same upright sRGB image, or one clear error."""

import struct
import warnings
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from swag_repro.errors import ImageError
from swag_repro.images.files import check_header, read_alpha, read_rgb, sha256_of

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(*colours, width=40, height=24, mode="RGB"):
    """Four quarters of one colour each: upper left, upper right, lower left, lower right."""
    image = Image.new(mode, (width, height))
    for place, colour in enumerate(colours):
        left, top = place % 2 * width // 2, place // 2 * height // 2
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def corners(image):
    right, low = image.width - 3, image.height - 3
    return [image.getpixel(place) for place in ((2, 2), (right, 2), (2, low), (right, low))]


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def close(found, expected, tolerance):
    return np.abs(np.subtract(found, expected)).max() <= tolerance


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif", "webp"])
def test_formats_agree(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    read = read_rgb(saved(tmp_path, quarters(RED, GREEN, BLUE, WHITE), f"image.{suffix}", **options))
    assert read.mode == "RGB"
    assert corners(read) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    upright = quarters(RED, GREEN, BLUE, WHITE)
    turns = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # Image.Transpose that a viewer undoes
    stored = upright
    for turn in turns.get(orientation, []):
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_rgb(saved(tmp_path, stored, "turned.jpg", exif=exif, quality=95))
    assert read.size == upright.size
    assert close(corners(read), [RED, GREEN, BLUE, WHITE], 6)


def exif(*entries):
    """EXIF with these tags: `(tag, type, count, bytes)`."""
    body, data, start = struct.pack("<H", len(entries)), b"", 8 + 2 + 12 * len(entries) + 4
    for tag, type_, count, value in sorted(entries):
        inside = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", start + len(data))
        data += value if len(value) > 4 else b""
        body += struct.pack("<HHI", tag, type_, count) + inside
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + data


TURNED = (0x112, 3, 1, struct.pack("<H", 6))


@pytest.mark.parametrize(
    "other",
    [
        (0x11A, 7, 8, struct.pack("<II", 72, 1)),  # XResolution, a fraction, as bytes
        (0x11A, 2, 3, b"72\0"),
        (0x10F, 3, 1, struct.pack("<H", 6)),  # Make, a text, as a number
        (0x132, 7, 20, b"2020:01:01 00:00:00\0"),
        (0x8825, 4, 1, struct.pack("<I", 2**31)),  # GPS data at an invalid place
        (0x8769, 2, 4, b"Exif"),
    ],
)
def test_tags_beside_the_orientation_do_no_harm(tmp_path, other):
    stored = quarters(BLUE, RED, WHITE, GREEN, width=24, height=40)
    read = read_rgb(saved(tmp_path, stored, "turned.jpg", exif=exif(TURNED, other), quality=95))
    assert read.size == (40, 24)
    plain = read_rgb(saved(tmp_path, stored, "plain.jpg", exif=exif(TURNED), quality=95))
    assert np.array_equal(read, plain)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(
                [0x112, 0x10F, 0x11A, 0x11B, 0x128, 0x132, 0x213, 0x8769, 0x8825, 0xA005, 0x9286]
            ),
            st.integers(0, 14),
            st.integers(0, 9) | st.just(2**32 - 1),
            st.binary(max_size=40),
        ),
        max_size=5,
        unique_by=lambda entry: entry[0],
    ),
    suffix=st.sampled_from(["jpg", "png", "webp"]),
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # a warning of Pillow itself on corrupt metadata
def test_any_tags_are_read_around(tmp_path, entries, suffix):
    path = saved(tmp_path, Image.new("RGB", (32, 48)), f"any.{suffix}", exif=exif(*entries))
    assert sorted(read_rgb(path).size) == [32, 48]


def test_an_orientation_of_another_type_leaves_the_picture_as_it_is(tmp_path):
    for value in ((0x112, 2, 2, b"6\0"), (0x112, 7, 2, b"\6\0"), (0x112, 3, 1, struct.pack("<H", 77))):
        path = saved(tmp_path, Image.new("RGB", (32, 48)), "odd.jpg", exif=exif(value))
        assert read_rgb(path).size == (32, 48)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path, suffix):
    cyan, magenta, black, paper = (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255), (0, 0, 0, 0)
    read = read_rgb(saved(tmp_path, quarters(cyan, magenta, black, paper, mode="CMYK"), f"ink.{suffix}"))
    assert close(corners(read), [(0, 255, 255), (255, 0, 255), (0, 0, 0), WHITE], 6)


def test_palette(tmp_path):
    image = quarters(RED, GREEN, BLUE, WHITE).quantize(4)
    assert corners(read_rgb(saved(tmp_path, image, "palette.png"))) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff\x80\xff"])
def test_transparent_palette_is_laid_on_white(tmp_path, transparency):
    image = quarters(0, 1, 2, 3, mode="P")
    image.putpalette([*RED, *GREEN, *BLUE, *WHITE])
    third = BLUE if transparency == 0 else (127, 127, 255)
    read = read_rgb(saved(tmp_path, image, "palette.png", transparency=transparency))
    assert corners(read) == [WHITE, GREEN, third, WHITE]


def test_alpha_is_laid_on_white(tmp_path):
    image = quarters((*RED, 0), (*GREEN, 255), (*BLUE, 128), (0, 0, 0, 51), mode="RGBA")
    assert corners(read_rgb(saved(tmp_path, image, "alpha.png"))) == [
        WHITE,
        GREEN,
        (127, 127, 255),
        (204, 204, 204),
    ]


def test_alpha_is_read_upright(tmp_path):
    stored = quarters((*RED, 0), (*GREEN, 255), (*BLUE, 128), (0, 0, 0, 51), width=24, height=40, mode="RGBA")
    alpha = read_alpha(saved(tmp_path, stored, "alpha.png", exif=exif(TURNED)))
    assert alpha.size == (40, 24)
    assert corners(alpha) == [128, 0, 51, 255]
    opaque = quarters((*RED, 255), (*GREEN, 255), (*BLUE, 255), (0, 0, 0, 255), mode="RGBA")
    assert read_alpha(saved(tmp_path, opaque, "opaque.png")) is None
    assert read_alpha(saved(tmp_path, opaque.convert("RGB"), "plain.png")) is None


def test_grey_with_alpha(tmp_path):
    image = quarters((0, 0), (0, 255), (100, 255), (0, 51), mode="LA")
    read = read_rgb(saved(tmp_path, image, "grey.png"))
    assert [pixel[0] for pixel in corners(read)] == [255, 0, 100, 204]


def test_transparent_colour_of_an_rgb_image(tmp_path):
    path = saved(tmp_path, quarters(RED, GREEN, BLUE, WHITE), "key.png", transparency=GREEN)
    assert corners(read_rgb(path)) == [RED, WHITE, BLUE, WHITE]


@pytest.mark.parametrize(("mode", "values"), [("L", (0, 77, 128, 255)), ("1", (0, 1, 1, 0))])
def test_grey_and_bilevel(tmp_path, mode, values):
    read = read_rgb(saved(tmp_path, quarters(*values, mode=mode), "grey.png"))
    scale = 255 if mode == "1" else 1
    assert corners(read) == [(value * scale,) * 3 for value in values]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_uses_its_whole_range(tmp_path, suffix):
    values = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    read = np.asarray(read_rgb(saved(tmp_path, Image.fromarray(values), f"deep.{suffix}")))
    np.testing.assert_allclose(read, np.repeat(values[..., None] / 257, 3, axis=-1), atol=0.51)


def test_grey_that_is_no_16_bit_integer_is_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.full((32, 32), 0.5, np.float32)), "float.tif")
    with pytest.raises(ImageError, match=r"float\.tif.*16-bit integers"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif", "png"])
def test_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    path = saved(tmp_path, frames[0], f"moving.{suffix}", save_all=True, append_images=frames[1:])
    assert close(corners(read_rgb(path)), [RED] * 4, 8)


def test_embedded_profile_is_applied(tmp_path):
    """A gamma-1 profile: stored 0.5 is half the light, which is 188 of 255 in sRGB (IEC 61966-2-1)."""
    image = Image.new("RGB", (20, 20), (128, 128, 128))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    linear = _with_curves(profile, struct.pack(">4s4xI", b"curv", 0))
    plain = read_rgb(saved(tmp_path, image, "srgb.png", icc_profile=profile))
    bright = read_rgb(saved(tmp_path, image, "linear.png", icc_profile=linear))
    assert close(plain.getpixel((5, 5)), (128,) * 3, 1)
    assert close(bright.getpixel((5, 5)), (188,) * 3, 1)


def _with_curves(profile, curve):
    """The profile with all three tone curves replaced by one that fits in their place."""
    changed = bytearray(profile)
    for entry in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * entry)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            assert size >= len(curve)
            changed[offset : offset + len(curve)] = curve
            struct.pack_into(">I", changed, 132 + 12 * entry + 8, len(curve))
    return bytes(changed)


def test_profile_that_does_not_fit_is_left_aside(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = read_rgb(saved(tmp_path, Image.new("L", (20, 20), 90), "grey.png", icc_profile=profile))
    broken = read_rgb(saved(tmp_path, Image.new("RGB", (20, 20), RED), "red.png", icc_profile=b"nonsense"))
    assert grey.getpixel((5, 5)) == (90, 90, 90)
    assert broken.getpixel((5, 5)) == RED


def test_a_file_is_judged_by_what_it_holds(tmp_path):
    jpeg = saved(tmp_path, quarters(RED, GREEN, BLUE, WHITE), "true.jpg", quality=95)
    named_png = jpeg.rename(tmp_path / "false.png")
    assert close(corners(read_rgb(named_png)), [RED, GREEN, BLUE, WHITE], 6)


@pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
@pytest.mark.parametrize("reader", [check_header, read_rgb])
def test_no_image(tmp_path, content, reader):
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"text\.png` should be an image.*found something else"):
        reader(path)


@pytest.mark.parametrize("reader", [check_header, read_rgb, sha256_of])
def test_missing_file(tmp_path, reader):
    with pytest.raises(ImageError, match=r"(?i)lost\.png.*no such file"):
        reader(tmp_path / "lost.png")


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
@pytest.mark.parametrize("reader", [check_header, read_rgb])
def test_too_small(tmp_path, size, reader):
    path = saved(tmp_path, Image.new("RGB", size), "dot.png")
    with pytest.raises(ImageError, match=f"at least 16 pixels; found {size[0]}x{size[1]}"):
        reader(path)


def bomb(path, side):
    """A PNG that announces `side` x `side` pixels and holds none: decoding it would be another error."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("side", [10_000, 14_000, 60_000])  # Pillow warns, refuses, refuses
@pytest.mark.parametrize("reader", [check_header, read_rgb])
def test_decompression_bomb(tmp_path, side, reader):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a user may have set this
        with pytest.raises(ImageError, match=r"bomb\.png.*at most 89478485 pixels.*decompression bomb"):
            reader(bomb(tmp_path / "bomb.png", side))


def encoded(kind, **options):
    rng = np.random.default_rng(0)
    buffer = BytesIO()
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


@pytest.mark.parametrize("kind", FILES)
def test_truncated(tmp_path, kind):
    path = tmp_path / "half.png"
    path.write_bytes(FILES[kind][: len(FILES[kind]) // 2])
    with pytest.raises(ImageError, match=r"half\.png"):
        read_rgb(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(FILES)), cut=st.floats(0, 1), place=st.floats(0, 1), byte=st.integers(0, 255)
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # a warning of Pillow itself on corrupt metadata
def test_damaged_files_are_read_or_refused(tmp_path, kind, cut, place, byte):
    data = bytearray(FILES[kind])
    data[int(place * (len(data) - 1))] = byte
    path = tmp_path / "damaged"
    path.write_bytes(data[: int(cut * len(data)) + 1])
    with suppress(ImageError):
        assert read_rgb(path).mode == "RGB"
