"""The measures by name: unit, what it is, what it needs. One table for records, pages and docs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Info:
    """unit: as shown. says: what it is. needs: when it is not measured (`missing` key), if ever."""

    unit: str
    says: str
    needs: str = ""


MEASURES: dict[str, Info] = {
    "picture_clipped": Info("share", "pixels black or with a channel at the top"),
    "picture_clipped_light": Info("share", "pixels with a channel at the top, small copy"),
    "picture_clipped_dark": Info("share", "black pixels, small copy"),
    "picture_lightness": Info("L*", "median lightness of the picture"),
    "picture_chroma": Info("C*ab", "mean chroma of the picture"),
    "picture_chroma_high": Info("C*ab", "95th percentile of the chroma"),
    "picture_vivid": Info("share", "pixels on the edge of the gamut: one channel at 0, one lit"),
    "blockiness": Info(
        "ratio", "steps across JPEG's 8 x 8 grid over steps beside it", "blockiness"
    ),
    "fine_detail": Info(
        "log10",
        "power above .25 cycles/px over .05-.25; enlarged pictures have none",
        "fine_detail",
    ),
    "noise": Info("0-255", "standard deviation of pixel noise in the flattest blocks", "noise"),
    "border": Info("share of side", "widest plain strip along an edge"),
    "border_sides": Info("sides", "sides that have such a strip"),
    "text_share": Info("share", "area covered by writing", "text"),
    "text_pieces": Info("pieces", "pieces of writing", "text"),
    "face_share": Info("share", "face height over picture height", "face_share"),
    "eye_distance": Info("px", "between the eye centres", "eye_distance"),
    "face_clipped": Info("share", "clipped pixels of the face", "lightness"),
    "face_lightness": Info("L*", "median lightness of the face", "lightness"),
    "face_chroma": Info("C*ab", "mean chroma of the face", "lightness"),
    "face_clipped_light": Info(
        "share", "pixels of the face with a channel at the top", "lightness"
    ),
    "face_clipped_dark": Info("share", "black pixels of the face", "lightness"),
    "sharpness": Info("at 128 or 64 px", "Laplacian variance of the face crop", "sharpness"),
    "spectral_slope": Info("at 128 or 64 px", "log power over log frequency", "sharpness"),
    "face_noise": Info("0-255", "pixel noise of the face crop", "sharpness"),
    "skin_scale": Info("px", "eye distance at which skin was read: 160, 80 or 40", "skin"),
    "skin_fine": Info("RMS", "skin contrast at 2-4 px, over local lightness", "skin"),
    "skin_middle": Info("RMS", "skin contrast at 4-8 px", "skin"),
    "skin_coarse": Info("RMS", "skin contrast at 8-16 px", "skin"),
    "skin_gloss": Info("share", "glossy skin: L* above 92 with little chroma", "skin"),
    "person_height": Info("share", "height of the person in the picture (coarse)", "person"),
    "person_share": Info("share", "area of the person (coarse)", "person"),
    "person_cut": Info("0 or 1", "the person leaves the picture at its lower edge", "person"),
    "background_l": Info("L*", "median lightness behind the person", "background"),
    "background_a": Info("a*", "median red-green behind the person", "background"),
    "background_b": Info("b*", "median yellow-blue behind the person", "background"),
    "background_structure": Info("share", "pixels on an edge behind the person", "background"),
}
"""What a reading holds, by the name it has in a project's records."""

OTHER_NAMES = {"clipped": "face_clipped", "lightness": "face_lightness"}
"""A reading's own names for two of them."""
