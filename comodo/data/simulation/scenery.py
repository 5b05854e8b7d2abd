"""Scenes of the simulated recordings, boxes with textured walls, and what a camera in them sees.
Knows nothing of the camera's motion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

PixelArray = NDArray[np.float64]
Painter = Callable[[np.random.Generator], PixelArray]

FRAME_PX = 128
VIEW_TANGENT = 0.9  # tangent of half the field of view
TEXTURE_PX = 256  # a power of two, so that masking an index repeats the texture
SKIN = "c79475"
FIST = 0.15  # its radius, in half frames


def _tiles(rows: int, columns: int) -> Painter:
    """Joints (1) between tiles of different shades (0 to 0.5)."""

    def paint(rng: np.random.Generator) -> PixelArray:
        shades = rng.uniform(0, 0.5, (rows, columns))
        height, width = TEXTURE_PX // rows, TEXTURE_PX // columns
        mask = shades.repeat(height, axis=0).repeat(width, axis=1)
        mask[np.arange(TEXTURE_PX) % height < 2] = 1
        mask[:, np.arange(TEXTURE_PX) % width < 2] = 1
        return mask

    return paint


def _blobs(size_px: float) -> Painter:
    """Soft patches of about `size_px`: foliage, clouds, carpet."""

    def paint(rng: np.random.Generator) -> PixelArray:
        noise = rng.normal(size=(TEXTURE_PX, TEXTURE_PX))
        smooth: PixelArray = gaussian_filter(noise, size_px, mode="wrap")
        return np.asarray(1 / (1 + np.exp(-3 * smooth / smooth.std())))

    return paint


def _boxes(count: int, low_px: int, high_px: int) -> Painter:
    """Upright boxes of several shades: windows, cupboards, books, tree trunks."""

    def paint(rng: np.random.Generator) -> PixelArray:
        mask = np.zeros((TEXTURE_PX, TEXTURE_PX))
        for _ in range(count):
            row, column = rng.integers(0, TEXTURE_PX, 2)
            width = rng.integers(low_px, high_px)
            mask[row : row + 2 * width, column : column + width] = rng.uniform(0.4, 1)
        return mask

    return paint


@dataclass(frozen=True)
class Surface:
    """A texture: the painter's mask, 0 to 1, blends from one colour (hex RGB) to the other."""

    painter: Painter
    colour: str
    other: str


@dataclass(frozen=True)
class Scene:
    """A box-shaped place, `width_m` by `height_m` in section, whose far end is `ahead_m` away."""

    width_m: float
    height_m: float
    ahead_m: float
    texels_per_m: float
    ahead: Surface
    side: Surface
    floor: Surface
    ceiling: Surface
    bench: Surface


_SKY = Surface(_blobs(20), "8cb8eb", "ebf0f7")
_WHITE = Surface(_tiles(4, 4), "edede6", "cccccc")
_WOOD = Surface(_tiles(16, 2), "b88552", "6b4729")

# fmt: off
SCENES: dict[str, Scene] = {
    "street": Scene(
        9, 14, 30, 24, _SKY, Surface(_boxes(40, 14, 30), "a86b57", "404c61"),
        Surface(_tiles(8, 8), "6b6b70", "4c4c4f"), _SKY, _WOOD),
    "park": Scene(
        12, 9, 24, 24, Surface(_blobs(9), "295c1f", "739e47"),
        Surface(_blobs(6), "1f4c1a", "6b9942"), Surface(_blobs(2), "5c8033", "85994c"), _SKY,
        _WOOD),
    "stairwell": Scene(
        2.4, 3.2, 6, 48, Surface(_tiles(2, 2), "b2b2a8", "666666"),
        Surface(_tiles(8, 2), "c7c2a8", "8c8573"), Surface(_tiles(16, 1), "8c8a85", "1f1f1f"),
        _WHITE, _WOOD),
    "kitchen": Scene(
        3.4, 1.9, 1.2, 96, Surface(_tiles(16, 16), "e6ebed", "99a8b2"),
        Surface(_boxes(12, 30, 60), "dbd6c7", "805738"), Surface(_tiles(4, 4), "99806b", "5c4c42"),
        _WHITE, Surface(_blobs(1.5), "4c4c52", "85858a")),
    "office": Scene(
        5, 2.4, 3, 64, Surface(_boxes(14, 20, 50), "d1d6db", "293347"),
        Surface(_boxes(8, 30, 70), "d6d9db", "738cad"), Surface(_blobs(1), "576175", "707a8f"),
        _WHITE, Surface(_boxes(10, 10, 40), "dbd6cc", "333338")),
    "living_room": Scene(
        4.5, 2.4, 2.5, 64, Surface(_boxes(30, 6, 16), "9e704c", "cc4c33"),
        Surface(_boxes(6, 30, 60), "e0cca8", "854238"), _WOOD, _WHITE, _WOOD),
    "gym": Scene(
        8, 4, 6, 48, Surface(_boxes(10, 30, 60), "333842", "d93326"),
        Surface(_tiles(2, 8), "bfc2c7", "333338"), Surface(_tiles(4, 4), "29292e", "595961"),
        _WHITE, _WOOD),
    "workshop": Scene(
        4, 2.4, 1.6, 80, Surface(_boxes(40, 6, 24), "7a6147", "242429"),
        Surface(_boxes(20, 10, 40), "80807a", "a84c24"), Surface(_blobs(4), "73706b", "8c8a80"),
        _WHITE, _WOOD),
}
# fmt: on


def atlas_of(
    scene: Scene, at_bench: bool, light: PixelArray, rng: np.random.Generator
) -> NDArray[np.uint32]:
    """The textures of far end, sides, floor (or bench) and ceiling, concatenated."""
    textures = []
    lower = scene.bench if at_bench else scene.floor
    for surface in (scene.ahead, scene.side, lower, scene.ceiling):
        blend = surface.painter(rng).ravel()
        grain = rng.normal(1, 0.03, blend.shape)
        rest = 1 - blend
        about = zip(rgb_of(surface.other), rgb_of(surface.colour), light, strict=True)
        # Colour by colour, which is faster than with colours as the last axis.
        colours = [
            (blend * other + rest * colour) * grain * level for other, colour, level in about
        ]
        textures.append(packed(colours))
    return np.concatenate(textures)


def rgb_of(colour: str) -> PixelArray:
    """A colour such as "8cb8eb" as RGB from 0 to 1 (3,)."""
    return np.frombuffer(bytes.fromhex(colour), np.uint8) / 255


def packed(colours: Sequence[PixelArray]) -> NDArray[np.uint32]:
    """Red, green and blue from 0 to 1, each (N,), as opaque RGBA words (N,), so that a lookup is
    one gather."""
    levels = np.full((len(colours[0]), 4), 255, np.uint8)
    for channel, colour in enumerate(colours):
        levels[:, channel] = np.clip(colour, 0, 1) * 255
    return levels.view(np.uint32)[:, 0]


def texels(
    scene: Scene, eye_m: float, turn: PixelArray, site_m: PixelArray, along_m: float
) -> NDArray[np.int32]:
    """Index in the atlas of the nearest texel that each pixel's ray meets (FRAME_PX**2,)."""
    # Most of simulating a recording: overwrites its arrays, as new ones would take twice as long.
    half_m = np.array([scene.ahead_m, scene.width_m / 2])
    low_m = np.append(-half_m, -eye_m) - site_m
    high_m = np.append(half_m, scene.height_m - eye_m) - site_m
    rays = turn.astype(np.float32) @ RAYS  # (3, P)
    high, low = np.array([high_m, low_m], np.float32)[:, :, None]
    reach = low / rays
    upward = rays > 0
    np.divide(high, rays, out=reach, where=upward)
    nearest = np.minimum(np.minimum(reach[0], reach[1]), reach[2])
    on_end, on_side = reach[0] == nearest, reach[1] == nearest
    index = np.where(rays[2] < 0, _TEXTURES[2], _TEXTURES[3])
    np.copyto(index, _TEXTURES[1], where=on_side)
    np.copyto(index, _TEXTURES[0], where=on_end)
    corner = np.array([site_m[0] + along_m, site_m[1], site_m[2] + eye_m], np.float32)
    rays *= nearest
    rays += corner[:, None]
    rays *= np.float32(scene.texels_per_m)
    ahead, left, up = rays
    np.copyto(left, ahead, where=on_side)
    np.copyto(ahead, up, where=on_end | on_side)
    for place in (ahead, left):  # row and column in the texture
        index *= TEXTURE_PX
        index += place.astype(np.int32) & np.int32(TEXTURE_PX - 1)
    return np.asarray(index)


def draw_hand(
    frame: NDArray[np.uint32], side: int, reach: PixelArray, skin: NDArray[np.uint32]
) -> None:
    """Draws the right (1) or left (-1) hand and its forearm into a frame (FRAME_PX, FRAME_PX)."""
    busy = 1.0 if side > 0 else 0.3
    x, y = 0.35 * side + busy * reach[0], -0.45 + busy * reach[1]
    below = slice(np.count_nonzero(y + FIST < -_STEPS), None)  # no row above has a part of it
    right, up = _STEPS, -_STEPS[below, None]
    fist = (right - x) ** 2 + (up - y) ** 2 < FIST**2
    arm = (up < y) & (np.abs(right - x - 0.5 * side * (y - up)) < 0.1)
    np.copyto(frame[below], skin, where=fist | arm)


_TEXTURES = np.arange(4, dtype=np.int32)  # in the order of the atlas
_STEPS = (np.arange(FRAME_PX, dtype=np.float32) + 0.5) / FRAME_PX * 2 - 1
PIXELS = np.stack([np.tile(_STEPS, FRAME_PX), -np.repeat(_STEPS, FRAME_PX)])
"""Position of each pixel right of and above the centre (2, FRAME_PX**2), in half frames."""
RAYS = np.stack([np.ones_like(PIXELS[0]), -VIEW_TANGENT * PIXELS[0], VIEW_TANGENT * PIXELS[1]])
"""(3, FRAME_PX**2)"""
