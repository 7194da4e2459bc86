"""What can be read off a picture: faces, identity, sharpness, light, duplicates.

1. Pictures are uint8 arrays (H, W, 3), sRGB; `open_picture` makes one from a stranger's file.
2. `find_faces` finds faces; an embedder (`open_embedder`) turns a face into a unit vector.
3. `build_template` and `robust_scores` compare vectors; `calibrate` sets a threshold with its FAR.
4. Functions are pure; models are loaded once, on first use, and nothing heavy is imported before.
5. What cannot be measured raises MissingExtraError or is None with a reason, never 0.
"""

from limner.vision.calibration import Calibration, auc, calibrate, shipped_calibration
from limner.vision.embedders import Embedder, open_embedder, similarity
from limner.vision.face import Face
from limner.vision.faces import find_faces
from limner.vision.pictures import open_picture
from limner.vision.templates import Template, build_template, leave_one_out, robust_scores, yaw_bin

__all__ = [
    "Calibration",
    "Embedder",
    "Face",
    "Template",
    "auc",
    "build_template",
    "calibrate",
    "find_faces",
    "leave_one_out",
    "open_embedder",
    "open_picture",
    "robust_scores",
    "shipped_calibration",
    "similarity",
    "yaw_bin",
]
