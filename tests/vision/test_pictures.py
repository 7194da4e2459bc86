"""Files of strangers become arrays, or a clear error."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import InputError
from limner.vision import open_picture


def bomb(path: Path, side: int) -> None:
    """A PNG whose header claims `side` x `side` pixels; a few kilobytes of zeros follow."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [20_000, 12_000, 8_001])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    bomb(tmp_path / "bomb.png", side)
    start = time.monotonic()
    with pytest.raises(InputError, match="too large") as error:
        open_picture(tmp_path / "bomb.png")
    assert time.monotonic() - start < 0.5 and "Scale it down" in (error.value.fix or "")


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole)
    for name, data in (
        ("cut.png", whole.read_bytes()[:2000]),
        ("empty.png", b""),
        ("text.png", b"hello, I am no picture"),
        ("huge-claim.png", whole.read_bytes()[:33]),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError) as error:
            open_picture(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
    with pytest.raises(InputError, match="missing"):
        open_picture(tmp_path / "none.png")


def test_every_kind_of_picture_comes_out_upright_rgb(tmp_path: Path) -> None:
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :20] = (200, 10, 10)  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    Image.fromarray(wide).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = open_picture(tmp_path / "turned.jpg")
    assert upright.shape == (40, 20, 3) and upright[5, 10, 0] > 150 > upright[35, 10, 0]

    clear = np.zeros((8, 8, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (open_picture(tmp_path / "clear.png") == 255).all()

    deep = np.full((8, 8), 32768, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert abs(int(open_picture(tmp_path / "deep.png")[0, 0, 0]) - 128) <= 1

    Image.fromarray(wide).convert("CMYK").save(tmp_path / "print.jpg")
    assert open_picture(tmp_path / "print.jpg").shape == (20, 40, 3)
