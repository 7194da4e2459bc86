"""The ten outdoor backgrounds, one painter each; `PAINTERS` maps setting id to painter.

The sky follows the light; the land keeps its own palette, so that a place stays itself at dusk.
"""

from __future__ import annotations

from collections.abc import Callable

from limner.atelier.canvas import Canvas, Color

FACADES: tuple[Color, ...] = ((196, 176, 150), (164, 104, 84), (150, 152, 156), (214, 204, 186))
AWNINGS: tuple[Color, ...] = ((186, 44, 40), (34, 110, 78), (40, 78, 150), (222, 150, 40))
CARS: tuple[Color, ...] = (
    (176, 30, 34),
    (38, 78, 140),
    (226, 226, 224),
    (236, 190, 40),
    (40, 42, 46),
)
NEONS: tuple[Color, ...] = (
    (255, 60, 170), (60, 190, 255), (255, 170, 60), (150, 90, 255), (255, 240, 190), (70, 255, 190),
)  # fmt: skip
ROSES: tuple[Color, ...] = ((240, 120, 168), (226, 70, 124), (250, 178, 204), (252, 226, 232))


def city_street(c: Canvas) -> None:
    """House fronts with rows of windows, shop awnings, cars."""
    c.sky(0.5)
    street = max(c.horizon + 0.26, 0.7)
    shop = street - 0.24
    x = -c.u(0, 0.2)
    while x < c.aspect:
        wide, top = c.u(0.28, 0.4), c.u(-0.05, 0.16)
        tone = c.vary(c.pick(FACADES), 0.08)
        c.rect(x, top, x + wide, street, tone)
        c.rect(x, top, x + wide, top + 0.018, c.vary(tone, 0.2))
        for wy in range(6):
            y = top + 0.05 + wy * 0.115
            for wx in range(4):
                a = x + 0.03 + wx * (wide - 0.02) / 4
                glows = c.night and c.rng.random() < 0.5
                pane = c.lit((255, 208, 130)) if glows else (58, 70, 84)
                if y + 0.07 < shop:
                    c.rect(a - 0.006, y - 0.006, a + 0.05, y + 0.076, (232, 228, 220))
                    c.rect(a, y, a + 0.044, y + 0.07, pane)
        awning = c.pick(AWNINGS)
        c.rect(
            x + 0.02,
            shop + 0.05,
            x + wide - 0.02,
            street,
            c.lit((250, 206, 140)) if c.night else (74, 80, 84),
        )
        for k in range(8):
            a, b = x + k * wide / 8, x + (k + 1) * wide / 8
            c.poly(
                [(a, shop), (b, shop), (b, shop + 0.075), (a, shop + 0.075)],
                awning if k % 2 else (240, 236, 226),
            )
        x += wide
    c.rect(0, street - 0.02, c.aspect, street + 0.02, (168, 166, 162))
    c.shade(street + 0.02, 1.01, (86, 88, 92), (104, 106, 110))
    c.soften(0.4)
    for _ in range(int(2 * c.aspect) + 1):
        _car(c, c.u(0, c.aspect), street + 0.05, c.pick(CARS))


def _car(c: Canvas, x: float, y: float, tone: Color) -> None:
    c.poly(
        [(x - 0.09, y - 0.06), (x - 0.05, y - 0.12), (x + 0.07, y - 0.12), (x + 0.11, y - 0.06)],
        tone,
    )
    c.poly(
        [
            (x - 0.07, y - 0.062),
            (x - 0.042, y - 0.108),
            (x + 0.06, y - 0.108),
            (x + 0.09, y - 0.062),
        ],
        (60, 70, 80),
    )
    c.rect(x - 0.17, y - 0.065, x + 0.17, y, tone)
    for dx in (-0.1, 0.1):
        c.disc(x + dx, y, 0.034, 0.034, (24, 24, 26))
    if c.night:
        c.disc(x + 0.165, y - 0.035, 0.016, 0.014, c.lit((255, 240, 200)))
        c.glow(x + 0.17, y - 0.035, 0.06, (255, 226, 170), 0.3)


def park(c: Canvas) -> None:
    """Lawns, rounded trees, a pale path under the sky."""
    c.sky(c.horizon + 0.05)
    for _ in range(int(9 * c.aspect)):
        c.leaves(c.u(0, c.aspect), c.horizon - c.u(0.0, 0.05), 0.12, 0.07, (92, 132, 82), 8)
    c.shade(c.horizon, 1.01, (126, 176, 70), (82, 140, 44))
    c.poly([(c.aspect * 0.44, c.horizon + 0.01), (c.aspect * 0.5, c.horizon + 0.01),
            (c.aspect * 1.1, 1.02), (c.aspect * 0.5, 1.02)], (214, 198, 164))  # fmt: skip
    c.soften(0.5)
    shift = c.u(0.0, 0.16)
    for k in range(int(c.aspect / 0.36) + 2):
        x, r = shift + (k - 0.2) * 0.36 + c.u(-0.03, 0.03), c.u(0.13, 0.17)
        base = c.horizon + c.u(0.04, 0.12)
        y = c.horizon - 0.17 + c.u(-0.03, 0.03)
        c.disc(x, base, r * 0.9, 0.022, (62, 106, 38))
        c.rect(x - 0.018, y, x + 0.018, base, (92, 66, 44))
        c.leaves(
            x,
            y,
            r,
            r * 1.02,
            c.vary(c.pick(((66, 134, 46), (88, 150, 52), (52, 116, 50))), 0.1),
            34,
        )


def beach(c: Canvas) -> None:
    """Sky, a turquoise sea with foam, pale sand, parasols."""
    sea = c.horizon - 0.02
    c.sky(sea + 0.01)
    for _ in range(4):
        x, y = c.u(0, c.aspect), c.u(0.05, sea - 0.12)
        c.disc(x, y, c.u(0.08, 0.16), 0.016, (244, 246, 248))
    shore = sea + 0.17
    c.shade(sea, shore, (18, 120, 158), (86, 206, 200))
    for k in range(7):
        y = sea + 0.02 + k * 0.02
        x = c.u(0, c.aspect)
        c.rect(x, y, x + c.u(0.1, 0.3), y + 0.004, (150, 224, 224))
    wave = [(k * c.aspect / 12, shore + c.u(-0.012, 0.012)) for k in range(13)]
    c.poly([*wave, (c.aspect, 1.02), (0, 1.02)], (244, 246, 240))
    c.poly([*((x, y + 0.016) for x, y in wave), (c.aspect, 1.02), (0, 1.02)], (232, 208, 164))
    c.shade(shore + 0.045, 1.01, (236, 214, 170), (222, 194, 146))
    c.soften(0.7)
    for x in (c.u(0.02, 0.2), c.aspect - c.u(0.02, 0.2)):
        y, tone = shore - 0.06, c.pick(((226, 66, 58), (246, 186, 48), (240, 116, 60)))
        c.line([(x, y), (x, y + 0.2)], 0.01, (240, 236, 226))
        for k in range(4):
            a, b = x - 0.13 + k * 0.065, x - 0.13 + (k + 1) * 0.065
            c.poly(
                [(a, y + 0.02), (b, y + 0.02), (x, y - 0.07)], tone if k % 2 else (250, 246, 238)
            )


def forest(c: Canvas) -> None:
    """Dark trunks before a green dusk, ferns below; hardly any sky."""
    c.shade(0, 0.75, (96, 128, 84), (122, 148, 92))
    c.shade(0.62, 1.01, (70, 82, 40), (48, 50, 28))
    for _ in range(int(14 * c.aspect)):
        c.leaves(c.u(0, c.aspect), c.u(-0.02, 0.3), 0.1, 0.06, c.vary((46, 88, 46), 0.3), 8)
    for _ in range(int(9 * c.aspect)):
        x, w = c.u(0, c.aspect), c.u(0.012, 0.026)
        c.rect(x, 0, x + w, 0.7, c.vary((88, 88, 66), 0.14))
    c.soften(1.0)
    shift = c.u(-0.04, 0.08)
    for k in range(int(c.aspect / 0.17) + 2):
        x, w = shift + k * 0.17 + c.u(-0.04, 0.04), c.u(0.034, 0.062)
        c.poly([(x, 0), (x + w * 0.85, 0), (x + w, 0.86), (x - w * 0.1, 0.86)], (44, 32, 24))
        c.rect(x + w * 0.62, 0, x + w * 0.8, 0.8, (76, 56, 42))
    for _ in range(int(26 * c.aspect)):
        x, y, r = c.u(0, c.aspect), c.u(0.74, 1.02), c.u(0.05, 0.09)
        tone = c.vary((74, 122, 48), 0.26)
        c.line([(x - r, y - r * 0.5), (x, y), (x + r, y - r * 0.5)], 0.014, tone)
        c.line([(x - r * 0.5, y - r), (x, y), (x + r * 0.5, y - r)], 0.014, tone)
    c.soften(0.4)


def mountain(c: Canvas) -> None:
    """Snow-capped peaks, grey rock, a stony trail."""
    c.sky(c.horizon + 0.2)
    _ridge(c, c.horizon - 0.3, c.horizon + 0.12, (112, 128, 152), (236, 242, 250), 0.34)
    _ridge(c, c.horizon - 0.2, c.horizon + 0.2, (92, 98, 108), (250, 252, 255), 0.42)
    crest = [(k * c.aspect / 9, c.horizon + 0.1 + c.u(-0.03, 0.04)) for k in range(10)]
    c.poly([*crest, (c.aspect, 1.02), (0, 1.02)], (104, 100, 92))
    c.shade(c.horizon + 0.2, 1.01, (110, 104, 94), (134, 126, 112))
    for _ in range(int(46 * c.aspect)):
        x, y = c.u(0, c.aspect), c.u(c.horizon + 0.14, 1.0)
        r = 0.014 + 0.06 * max(0.0, y - c.horizon - 0.1)
        c.poly(
            [(x - r, y), (x - r * 0.4, y - r * 0.7), (x + r * 0.5, y - r * 0.6), (x + r, y)],
            c.vary((126, 124, 122), 0.3),
        )


def _ridge(c: Canvas, top: float, base: float, rock: Color, snow: Color, pitch: float) -> None:
    x = c.u(-0.3, -0.1)
    while x < c.aspect + 0.2:
        peak, wide = top + c.u(-0.05, 0.07), pitch * c.u(0.6, 0.8)
        c.poly([(x - wide, base), (x, peak), (x + wide, base)], rock)
        c.poly(
            [(x, peak), (x + wide, base), (x + wide * 0.15, base)],
            (rock[0] * 0.74, rock[1] * 0.74, rock[2] * 0.78),
        )
        cap = 0.46 * (base - peak)
        left = [
            (x - wide * 0.46, peak + cap),
            (x - wide * 0.27, peak + cap * 0.72),
            (x - wide * 0.1, peak + cap * 1.1),
        ]
        right = [
            (x + wide * 0.12, peak + cap * 0.76),
            (x + wide * 0.26, peak + cap * 1.05),
            (x + wide * 0.44, peak + cap * 0.96),
        ]
        c.poly([(x, peak), *left, *right], snow)
        c.poly(
            [(x, peak), (x + wide * 0.02, peak + cap * 0.8), *right],
            (snow[0] * 0.8, snow[1] * 0.84, snow[2] * 0.9),
        )
        x += pitch * c.u(0.8, 1.2)


def night_city(c: Canvas) -> None:
    """Dark street, coloured bokeh, reflections on wet asphalt."""
    c.shade(0, c.horizon, c.lit((8, 9, 22)), c.lit((26, 20, 42)))
    wet = max(0.66, c.horizon + 0.2)
    x = 0.0
    while x < c.aspect:
        wide = c.u(0.14, 0.26)
        c.rect(x, c.u(-0.05, 0.2), x + wide, wet, c.lit(c.vary((22, 22, 36), 0.3)))
        sign = c.pick(NEONS)
        if c.rng.random() < 0.8:
            a, y = x + c.u(0.01, 0.08), c.u(0.12, 0.45)
            c.rect(a, y, a + 0.035, y + c.u(0.1, 0.24), c.lit(sign))
            c.glow(a, y + 0.08, 0.11, sign, 0.1)
        x += wide
    c.shade(wet, 1.01, c.lit((20, 18, 32)), c.lit((10, 10, 18)))
    spots = [
        (c.u(0, c.aspect), c.u(0.06, wet - 0.04), c.u(0.014, 0.04), c.pick(NEONS))
        for _ in range(int(44 * c.aspect))
    ]
    for x, y, r, tone in spots:
        k = c.u(0.16, 0.45)
        low = wet + (wet - y) * 0.5
        c.rect(
            x - r * 0.6,
            wet,
            x + r * 0.6,
            min(low, 1.0),
            c.lit((tone[0] * k, tone[1] * k, tone[2] * k)),
        )
    c.soften(1.2)
    for x, y, r, tone in spots:
        k = c.u(0.4, 0.95)
        c.disc(x, y, r, r, c.lit((tone[0] * k, tone[1] * k, tone[2] * k)))
        c.disc(
            x,
            y,
            r * 0.8,
            r * 0.8,
            c.lit((tone[0] * k * 0.82, tone[1] * k * 0.82, tone[2] * k * 0.82)),
        )
    c.soften(0.15)
    c.blur = 0.0


def brick_alley(c: Canvas) -> None:
    """Red bricks in running bond with pale mortar."""
    c.fill((196, 182, 166))
    tall, wide = 0.052, 0.135
    for j in range(int(1 / tall) + 2):
        off = (j % 2) * wide / 2
        for i in range(int(c.aspect / wide) + 3):
            x, y = i * wide - off, j * tall
            tone = c.vary(c.pick(((158, 70, 52), (146, 62, 48), (172, 84, 60), (128, 56, 46))), 0.1)
            c.rect(x, y, x + wide - 0.012, y + tall - 0.011, tone)
    if c.floor < 1:
        c.shade(c.floor, 1.01, (112, 108, 104), (92, 90, 88))
    c.soften(0.35)
    c.blur = 0.0


def snowy_street(c: Canvas) -> None:
    """Village houses under white roofs, bare trees, snow on the ground and in the air."""
    c.shade(
        0,
        0.6,
        *(c.lit((86, 96, 140) if c.night else t) for t in ((196, 208, 222), (226, 232, 240))),
    )
    ground = c.horizon + 0.14
    x = -c.u(0, 0.15)
    while x < c.aspect:
        wide, eave = c.u(0.26, 0.36), c.horizon - c.u(0.06, 0.14)
        tone = c.pick(((150, 96, 74), (176, 146, 104), (112, 118, 130), (140, 70, 60)))
        c.rect(x + 0.02, eave, x + wide - 0.02, ground + 0.02, tone)
        c.poly(
            [(x - 0.01, eave + 0.03), (x + wide / 2, eave - 0.17), (x + wide + 0.01, eave + 0.03)],
            (246, 249, 255),
        )
        for k in range(3):
            a = x + 0.05 + k * (wide - 0.06) / 3
            c.rect(a, eave + 0.06, a + 0.045, eave + 0.12, c.lit((255, 206, 120)))
        x += wide + c.u(0, 0.05)
    c.shade(ground, 1.01, (236, 242, 250), (214, 224, 240))
    c.soften(0.7)
    shift = c.u(0, 0.12)
    for k in range(int(c.aspect / 0.42) + 2):
        _bare_tree(c, shift + (k - 0.1) * 0.42, ground + c.u(0.02, 0.08), 0.46)
    for _ in range(int(90 * c.aspect)):
        x, y, r = c.u(0, c.aspect), c.u(0, 1), c.u(0.003, 0.008)
        c.disc(x, y, r, r, c.lit((250, 252, 255)))
    c.soften(0.15)
    c.blur = min(c.blur, 0.006)


def _bare_tree(c: Canvas, x: float, y: float, tall: float) -> None:
    bark = (66, 54, 50)
    c.line([(x, y), (x, y - tall * 0.7)], 0.022, bark)
    for k in range(9):
        start = y - tall * (0.3 + 0.045 * k)
        side = 1 if k % 2 else -1
        reach, rise = side * c.u(0.07, 0.13), tall * c.u(0.16, 0.3)
        c.line([(x, start), (x + reach, start - rise)], 0.009, bark)
        c.line(
            [(x + reach * 0.5, start - rise * 0.5), (x + reach * 0.55, start - rise)], 0.006, bark
        )
        c.line(
            [(x + reach * 0.6, start - rise * 0.6), (x + reach * 1.3, start - rise * 0.8)],
            0.006,
            bark,
        )
        c.rect(
            min(x, x + reach),
            start - rise * 0.2,
            max(x, x + reach),
            start - rise * 0.18,
            (240, 244, 250),
        )


def rooftop(c: Canvas) -> None:
    """A wide sky over the far skyline, a glass parapet, wooden decking."""
    c.sky(c.horizon + 0.2)
    line = c.horizon + 0.16
    for depth, tone in enumerate(((150, 160, 184), (96, 104, 128))):
        shown = (
            c.lit(tone)
            if not c.night
            else c.lit((60 - 22 * depth, 62 - 22 * depth, 96 - 34 * depth))
        )
        x = -c.u(0, 0.06)
        while x < c.aspect:
            wide, top = c.u(0.035, 0.085), c.horizon + (0.05 * depth) - c.u(0, 0.15)
            c.rect(x, top, x + wide, line + 0.05, shown)
            if c.rng.random() < 0.2:
                c.line([(x + wide / 2, top), (x + wide / 2, top - 0.06)], 0.005, shown)
            for _ in range(4 if c.night else 0):
                a, b = x + c.u(0.005, wide - 0.008), c.u(top, line)
                c.rect(a, b, a + 0.008, b + 0.01, c.lit((255, 210, 130)))
            x += wide + c.u(-0.004, 0.014)
    c.soften(0.8)
    rail = line - 0.02
    c.rect(0, rail, c.aspect, rail + 0.022, (226, 228, 230))
    c.shade(rail + 0.022, rail + 0.13, (150, 170, 182), (134, 152, 164))
    for k in range(int(c.aspect / 0.24) + 2):
        c.rect(k * 0.24 + 0.05, rail, k * 0.24 + 0.064, rail + 0.15, (206, 208, 212))
    c.shade(rail + 0.13, 1.01, (150, 104, 68), (172, 122, 82))
    for k in range(7):
        y = rail + 0.14 + 0.03 * k * (1 + 0.35 * k)
        c.rect(0, y, c.aspect, y + 0.006, (112, 76, 50))
    for x in (c.u(0, 0.1), c.aspect - c.u(0, 0.1)):
        c.rect(x - 0.05, rail + 0.0, x + 0.05, rail + 0.12, (84, 86, 90))
        c.leaves(x, rail - 0.03, 0.085, 0.07, (86, 122, 66), 14)


def garden(c: Canvas) -> None:
    """A hedge full of pink roses under a strip of sky."""
    c.sky(0.16)
    for _ in range(int(16 * c.aspect)):
        c.leaves(c.u(0, c.aspect), c.u(0.14, 0.2), 0.1, 0.07, c.vary((40, 92, 44), 0.16), 10)
    c.shade(0.2, 1.01, (42, 94, 44), (58, 116, 48))
    spots = c.rng.random((int(110 * c.aspect), 4))
    for a, b, r, k in spots:
        tone = 0.7 + 0.6 * k
        c.disc(
            a * c.aspect,
            0.18 + 0.84 * b,
            0.02 + 0.03 * r,
            0.016 + 0.02 * r,
            (46 * tone, 104 * tone, 46 * tone),
        )
    for _ in range(int(64 * c.aspect)):
        x, y, r = c.u(0, c.aspect), c.u(0.12, 1.0), c.u(0.018, 0.036)
        tone = c.pick(ROSES)
        c.disc(x, y, r, r * 0.94, (tone[0] * 0.82, tone[1] * 0.72, tone[2] * 0.78))
        c.disc(x - r * 0.1, y - r * 0.15, r * 0.74, r * 0.68, tone)
        c.disc(x, y, r * 0.32, r * 0.3, (tone[0] * 0.86, tone[1] * 0.6, tone[2] * 0.7))


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    painter.__name__: painter
    for painter in (
        city_street, park, beach, forest, mountain, night_city, brick_alley, snowy_street,
        rooftop, garden,
    )
}  # fmt: skip
