"""The mesh data that ship are those the build script makes, and hold every target that is used."""

from __future__ import annotations

import hashlib

import numpy as np

from limner.atelier import mesh
from limner.atelier.expression import face_unit_names, face_units
from limner.atelier.identity import feature_targets, identity_from_seed, morphs
from limner.lexicon import drawable as lexicon

BUNDLE = "04582198ded966ad94f05fe0faeddc311b21f62bf65bf8ae617ee872dcfeac7d"


def test_the_bundle_is_the_one_that_was_checked_against_the_wheel() -> None:
    # A new bundle gives new faces: rebuild, check with --check, raise RENDERER_VERSION, then this.
    assert hashlib.sha256(mesh.read_data("bundle.npz")).hexdigest() == BUNDLE
    assert b"CC0" in mesh.read_data("LICENSE-CC0.md") and b"MakeHuman" in mesh.read_data(
        "CREDITS.md"
    )


def test_every_target_that_a_person_or_a_mood_can_ask_for_is_stored() -> None:
    for name in (*feature_targets(), *face_unit_names()):
        assert len(mesh.target(name)[0]), name
    for seed in range(30):
        asked = {n.replace("*", side) for n in morphs(identity_from_seed(seed)) for side in "lr"}
        assert all(len(mesh.target(name)[0]) for name in asked)
    for mood, entry in lexicon.moods().items():
        units = {unit for gaze in entry.gaze for unit in face_units(mood, 0, gaze)}
        assert all(len(mesh.target(unit)[0]) for unit in units)


def test_skin_weights_and_refined_cloth_are_sound() -> None:
    index, weight = mesh.skin_weights()
    assert index.shape == weight.shape == (len(mesh.rest()), mesh.INFLUENCES)
    assert np.allclose(weight.sum(1), 1, atol=1e-5) and (weight >= 0).all()
    # Refining follows the body's shape: a taller figure's added vertices rise with it.
    taller = mesh.rest() * np.float32(1.1)
    mesh.refine(taller)
    assert np.allclose(taller, mesh.rest() * np.float32(1.1), atol=2e-3)
