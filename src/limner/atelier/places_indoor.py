"""The indoor and studio backgrounds, one painter each; `PAINTERS` maps setting id to painter.

Every place has its own palette and its own structure, repeated across the whole width, because a
person hides the middle of the picture.
"""

from __future__ import annotations

from collections.abc import Callable

from limner.atelier.canvas import Canvas, Color

SPINES: tuple[Color, ...] = (
    (150, 44, 38), (46, 72, 110), (44, 96, 66), (196, 158, 84), (96, 52, 34),
    (190, 176, 150), (92, 40, 66), (36, 40, 52), (204, 108, 48), (70, 104, 120),
)  # fmt: skip
CUSHIONS: tuple[Color, ...] = ((52, 118, 122), (206, 150, 58), (176, 92, 70), (92, 104, 132))
BOLD: tuple[Color, ...] = (
    (226, 60, 44), (28, 88, 190), (246, 190, 30), (24, 26, 32), (18, 148, 120), (238, 126, 164),
)  # fmt: skip
PLATES: tuple[Color, ...] = ((206, 40, 40), (36, 90, 190), (236, 186, 40), (46, 150, 70))


def modern_cafe(c: Canvas) -> None:
    """Wooden boards, pendant lamps, hanging plants, a counter."""
    c.fill((150, 104, 66))
    step = 0.11
    for k in range(int(c.aspect / step) + 2):
        c.rect(k * step, 0, k * step + step - 0.006, 1, c.vary((158, 108, 68), 0.13))
    c.rect(0, c.floor - 0.3, c.aspect, c.floor, (96, 62, 38))
    c.rect(0, c.floor - 0.33, c.aspect, c.floor - 0.29, (206, 168, 118))
    c.shade(c.floor, 1.0, (122, 96, 74), (92, 70, 52))
    for y in (0.3, 0.5):
        c.rect(0, y, c.aspect, y + 0.018, (66, 42, 26))
        for _ in range(int(11 * c.aspect)):
            x, tall = c.u(0, c.aspect), c.u(0.03, 0.07)
            c.rect(
                x, y - tall, x + 0.035, y, c.pick(((236, 228, 212), (206, 198, 180), (78, 96, 92)))
            )
    shift = c.u(0.02, 0.16)
    for k in range(int(c.aspect / 0.3) + 2):
        x, drop = shift + (k - 0.5) * 0.3 + c.u(-0.03, 0.03), c.u(0.2, 0.36)
        c.leaves(x, 0.02, 0.12, 0.09, (70, 126, 50), 12)
        for dx in (-0.05, 0.0, 0.05):
            reach = drop * c.u(0.6, 1.0)
            c.leaves(x + dx, reach * 0.5, 0.034, reach * 0.5, c.vary((80, 142, 56), 0.2), 12)
    c.soften(0.7)
    for k in range(int(c.aspect / 0.3) + 2):
        x, y = shift + k * 0.3, 0.17 + 0.05 * (k % 2)
        c.line([(x, 0), (x, y)], 0.006, (30, 24, 20))
        c.disc(x, y + 0.02, 0.05, 0.04, c.lit((255, 216, 142)))
        c.glow(x, y + 0.03, 0.09, (255, 176, 88), 0.34)


def living_room(c: Canvas) -> None:
    """Cream wall, framed prints, a linen sofa with cushions, a floor lamp."""
    c.shade(0, 1, (226, 214, 194), (212, 198, 176))
    seat = max(0.56, c.floor - 0.22)
    shift = c.u(-0.12, 0.02)
    for k in range(int(c.aspect / 0.27) + 2):
        x, y = shift + k * 0.27, c.u(0.12, 0.18)
        tall = c.u(0.22, 0.3)
        c.rect(x - 0.008, y - 0.008, x + 0.19, y + tall + 0.01, (70, 52, 40))
        c.rect(x + 0.004, y + 0.004, x + 0.178, y + tall - 0.002, (246, 242, 234))
        tone = c.pick(((198, 122, 92), (108, 134, 118), (88, 108, 140), (214, 178, 110)))
        c.disc(x + 0.09, y + tall * 0.42, 0.052, 0.06, tone)
        c.rect(x + 0.035, y + tall * 0.58, x + 0.145, y + tall * 0.8, c.vary(tone, 0.3))
    c.rect(0, c.floor, c.aspect, 1.01, (168, 126, 88))
    c.rect(-0.1, seat, c.aspect + 0.1, seat + 0.36, (188, 178, 164))
    for k in range(3):
        x = k * c.aspect / 2.6
        c.disc(x + 0.2, seat + 0.03, 0.24, 0.075, (202, 193, 180))
    for _ in range(int(5 * c.aspect) + 1):
        x = c.u(0, c.aspect)
        tone = c.pick(CUSHIONS)
        c.poly(
            [(x, seat - 0.03), (x + 0.15, seat - 0.05), (x + 0.17, seat + 0.13), (x, seat + 0.12)],
            tone,
        )
    x = c.pick(((0.1, 0, 0), (0.9, 0, 0)))[0] * c.aspect
    c.line([(x, 0.3), (x, 1)], 0.012, (84, 66, 48))
    c.poly(
        [(x - 0.06, 0.26), (x + 0.06, 0.26), (x + 0.1, 0.42), (x - 0.1, 0.42)],
        c.lit((250, 226, 176)),
    )
    c.glow(x, 0.36, 0.2, (255, 196, 120), 0.2 if c.night else 0.08)


def library(c: Canvas) -> None:
    """Shelves of coloured book spines from edge to edge."""
    c.fill((44, 28, 18))
    rows = 5
    pitch = 1.0 / rows
    for k in range(rows + 1):
        top = k * pitch - 0.04
        x = -c.u(0, 0.05)
        while x < c.aspect:
            if c.rng.random() < 0.04:
                x += 0.06
            wide, tall = c.u(0.018, 0.046), c.u(0.115, 0.16)
            base = top + pitch - 0.022
            tone = c.vary(c.pick(SPINES), 0.2)
            c.rect(x, base - tall, x + wide - 0.003, base, tone)
            if wide > 0.03:
                c.rect(x, base - tall * 0.75, x + wide - 0.003, base - tall * 0.66, (214, 180, 100))
            x += wide
        c.rect(0, top + pitch - 0.024, c.aspect, top + pitch, (112, 70, 40))
    shift = c.u(0, 0.3)
    for k in range(int(c.aspect / 0.55) + 2):
        x = shift + (k - 0.5) * 0.55
        c.rect(x, 0, x + 0.045, 1, (92, 56, 32))
        c.rect(x + 0.032, 0, x + 0.045, 1, (60, 36, 20))
    if c.floor < 1:
        c.shade(c.floor, 1, (104, 70, 44), (84, 54, 34))


def kitchen(c: Canvas) -> None:
    """White tiles, copper pans on a rail, white cupboards, a counter."""
    c.fill((176, 182, 184))
    tile = 0.066
    for j in range(int(0.75 / tile) + 1):
        off = (j % 2) * tile
        for i in range(int(c.aspect / (2 * tile)) + 2):
            x, y = i * 2 * tile - off, j * tile
            c.rect(x, y, x + 2 * tile - 0.007, y + tile - 0.007, c.vary((238, 241, 240), 0.025))
    c.rect(0, 0.1, c.aspect, 0.118, (70, 66, 62))
    shift = c.u(0.0, 0.1)
    for k in range(int(c.aspect / 0.2) + 2):
        x, r = shift + k * 0.2, c.u(0.062, 0.086)
        y = 0.2 + r
        c.line([(x, 0.11), (x, y)], 0.016, (120, 66, 36))
        c.disc(x, y, r, r, (176, 88, 44))
        c.disc(x - r * 0.12, y - r * 0.12, r * 0.78, r * 0.78, (216, 126, 72))
        c.disc(x - r * 0.3, y - r * 0.3, r * 0.3, r * 0.3, (246, 190, 146))
    top = max(0.6, c.floor - 0.24)
    c.rect(0, top, c.aspect, top + 0.035, (120, 92, 66))
    c.rect(0, top + 0.035, c.aspect, 1.01, (226, 228, 226))
    for k in range(int(c.aspect / 0.24) + 1):
        x = k * 0.24
        c.rect(x, top + 0.04, x + 0.006, c.floor, (178, 180, 180))
        c.rect(x + 0.1, top + 0.08, x + 0.15, top + 0.09, (110, 106, 100))
    c.disc(c.u(0.04, 0.2), top - 0.05, 0.03, 0.07, (92, 140, 76))
    c.disc(c.aspect - c.u(0.06, 0.2), top - 0.03, 0.06, 0.035, (232, 180, 60))
    if c.floor < 1:
        c.shade(c.floor, 1, (196, 186, 172), (170, 160, 146))


def office(c: Canvas) -> None:
    """A wall of glass with the city behind, dark mullions, desks with screens."""
    sill = max(0.66, c.floor - 0.12)
    c.sky(sill)
    tower = (84, 92, 116) if c.night else (142, 162, 184)
    x = -c.u(0, 0.1)
    while x < c.aspect:
        wide, top = c.u(0.09, 0.17), c.u(0.16, 0.44)
        tone = c.vary(c.lit(tower), 0.16)
        c.rect(x, top, x + wide, sill, tone)
        for _ in range(9):
            wx, wy = x + c.u(0.01, wide - 0.02), c.u(top + 0.02, sill)
            pane = c.lit((250, 214, 140)) if c.night else c.lit((196, 214, 230))
            c.rect(wx, wy, wx + 0.016, wy + 0.022, pane)
        x += wide + c.u(0, 0.03)
    c.soften(0.5)
    c.rect(0, 0, c.aspect, 0.055, (206, 210, 212))
    shift = c.u(0, 0.2)
    for k in range(int(c.aspect / 0.26) + 2):
        c.rect(shift + (k - 0.5) * 0.26, 0, shift + (k - 0.5) * 0.26 + 0.016, sill, (52, 58, 66))
    c.rect(0, 0.33, c.aspect, 0.343, (52, 58, 66))
    c.rect(0, sill, c.aspect, 1.01, (186, 190, 192))
    c.shade(max(sill + 0.1, c.floor), 1.01, (122, 128, 134), (98, 104, 110))
    for k in range(int(c.aspect / 0.34) + 2):
        x = shift - 0.18 + k * 0.34
        c.rect(x, sill - 0.13, x + 0.17, sill - 0.02, (30, 34, 40))
        c.rect(x + 0.008, sill - 0.12, x + 0.162, sill - 0.032, c.lit((120, 176, 214)))
        c.rect(x + 0.075, sill - 0.02, x + 0.095, sill + 0.02, (30, 34, 40))
    c.rect(0, sill + 0.015, c.aspect, sill + 0.04, (232, 226, 214))


def gym(c: Canvas) -> None:
    """Charcoal wall, racks of coloured weight plates, strip lights, rubber floor."""
    c.shade(0, 1, (66, 70, 76), (50, 53, 58))
    for y in (0.02, 0.1):
        shift = c.u(0, 0.2)
        for k in range(int(c.aspect / 0.5) + 2):
            x = shift + (k - 0.5) * 0.5
            c.poly(
                [(x, y), (x + 0.32, y), (x + 0.3, y + 0.022), (x + 0.02, y + 0.022)],
                c.lit((236, 242, 246)),
            )
    c.soften(0.6)
    for row, y in enumerate((0.27, 0.5, 0.73)):
        c.rect(0, y + 0.075, c.aspect, y + 0.095, (20, 21, 24))
        x = c.u(-0.05, 0.05)
        while x < c.aspect + 0.1:
            tone = c.vary(c.pick(PLATES), 0.1) if c.rng.random() < 0.72 else (26, 27, 30)
            r = c.u(0.066, 0.084) if row != 2 else c.u(0.05, 0.064)
            c.disc(x, y, r, r, tone)
            c.disc(x, y, r * 0.62, r * 0.62, (tone[0] * 0.72, tone[1] * 0.72, tone[2] * 0.72))
            c.disc(x, y, r * 0.22, r * 0.22, (188, 192, 196))
            x += 2 * r + c.u(0.006, 0.05)
    shift = c.u(0, 0.2)
    for k in range(int(c.aspect / 0.45) + 2):
        x = shift + (k - 0.5) * 0.45
        c.rect(x, 0.15, x + 0.026, 1, (212, 176, 30) if k % 2 else (24, 25, 28))
    c.shade(max(0.84, c.floor), 1.01, (38, 39, 42), (28, 29, 32))


def art_gallery(c: Canvas) -> None:
    """White walls with large bold abstract canvases under spots, pale wooden floor."""
    c.shade(0, 1, (236, 236, 234), (246, 245, 242))
    x = c.u(-0.16, -0.02)
    while x < c.aspect:
        wide, top, low = c.u(0.3, 0.4), c.u(0.1, 0.16), c.u(0.58, 0.68)
        ground = c.pick(BOLD)
        c.rect(x + 0.008, top + 0.01, x + wide + 0.012, low + 0.014, (188, 188, 186))
        c.rect(x, top, x + wide, low, ground)
        others = [tone for tone in BOLD if tone != ground]
        for k in range(3):
            tone = others[(k * 2 + int(c.rng.integers(5))) % 5]
            a, b = x + c.u(0, 0.6) * wide, top + c.u(0, 0.6) * (low - top)
            if c.rng.random() < 0.5:
                r = min(c.u(0.06, 0.1), (x + wide - a) / 1.2)
                c.disc(min(max(a, x + r), x + wide - r), min(b + r, low - r), r, r, tone)
            else:
                c.rect(a, b, min(a + c.u(0.1, 0.2), x + wide), min(b + c.u(0.1, 0.3), low), tone)
        c.glow(x + wide / 2, top, 0.16, (255, 246, 226), 0.1)
        x += wide + c.u(0.1, 0.16)
    c.rect(0, 0, c.aspect, 0.03, (206, 206, 204))
    if c.floor < 1.02:
        c.shade(c.floor, 1.01, (206, 178, 142), (190, 160, 122))


def theatre_foyer(c: Canvas) -> None:
    """Red curtains in folds, a gilded pelmet, gilded glowing lamps."""
    fold = 0.115
    for k in range(int(c.aspect / fold) + 2):
        x = k * fold
        for part, tone in enumerate(((64, 4, 10), (140, 18, 24), (206, 40, 42), (112, 10, 16))):
            c.rect(x + part * fold / 4, 0, x + (part + 1) * fold / 4 + 0.004, 1, c.vary(tone, 0.06))
    c.rect(0, 0, c.aspect, 0.07, (122, 14, 20))
    for k in range(int(c.aspect / 0.16) + 2):
        x = k * 0.16
        c.disc(x, 0.08, 0.085, 0.095, (226, 176, 74))
        c.disc(x, 0.05, 0.078, 0.088, (140, 18, 24))
    c.rect(0, 0, c.aspect, 0.04, (226, 176, 74))
    if c.floor < 1.02:
        c.shade(c.floor, 1.01, (110, 64, 40), (84, 44, 28))
        c.rect(0, c.floor - 0.02, c.aspect, c.floor, (196, 148, 58))
    c.soften(0.6)
    shift = c.u(0.04, 0.14)
    for k in range(int(c.aspect / 0.4) + 2):
        x, y = shift + k * 0.4, 0.36
        c.rect(x - 0.014, y + 0.04, x + 0.014, y + 0.24, (206, 160, 66))
        c.disc(x, y + 0.24, 0.04, 0.03, (190, 142, 52))
        for dx in (-0.055, 0.0, 0.055):
            c.line([(x, y + 0.1), (x + dx, y + 0.04)], 0.01, (206, 160, 66))
            c.disc(x + dx, y, 0.026, 0.036, c.lit((255, 232, 168)))
        c.glow(x, y, 0.08, (255, 190, 96), 0.34)


def grey_studio(c: Canvas) -> None:
    """Seamless grey paper with an even falloff."""
    c.shade(0, 1, (104, 106, 110), (138, 140, 143))
    k = c.u(0.9, 1.06)
    c.disc(c.aspect / 2, 0.42, 0.4, 0.4, (146 * k, 148 * k, 151 * k))
    c.soften(0.5)
    _even(c, 0.16)


def white_studio(c: Canvas) -> None:
    """A clean white backdrop that runs into a bright floor."""
    c.shade(0, 1, (246, 247, 248), (238, 238, 238))
    if c.floor < 1:
        c.shade(c.floor - 0.05, c.floor + 0.1, (242, 243, 244), (228, 229, 230))
        c.shade(c.floor + 0.1, 1, (228, 229, 230), (240, 240, 240))


def blue_studio(c: Canvas) -> None:
    """A painted blue canvas, brushed by hand."""
    c.mottle((48, 92, 152), 0.34, 0.07)
    _even(c, 0.03)


def ochre_studio(c: Canvas) -> None:
    """A painted ochre canvas, brushed by hand."""
    c.mottle((186, 130, 52), 0.3, 0.07)
    _even(c, 0.03)


def _even(c: Canvas, radius: float) -> None:
    """A wide blur of its own: studio backdrops have no edges at any depth."""
    from PIL import ImageDraw, ImageFilter

    c.image = c.image.filter(ImageFilter.GaussianBlur(radius * c.h))
    c.draw = ImageDraw.Draw(c.image)


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    painter.__name__: painter
    for painter in (
        modern_cafe, living_room, library, kitchen, office, gym, art_gallery, theatre_foyer,
        grey_studio, white_studio, blue_studio, ochre_studio,
    )
}  # fmt: skip
