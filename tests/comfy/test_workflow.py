"""A user's own workflow: marks in titles and texts, and what is said when they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner import comfy
from limner.comfy.workflow import INPUTS, parse
from limner.errors import InputError

VALUES = {
    **{"prompt": "grace in a park", "negative": "", "seed": 7, "width": 640, "height": 480},
    **{"reference1": "limner/a.png", "reference2": "limner/b.png", "lora": "x", "strength": 0.8},
}


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"class_type": kind, "inputs": inputs}
    return {**found, "_meta": {"title": title}} if title else found


def graph(**more: Any) -> dict[str, Any]:
    return {
        "1": node("CLIPTextEncode", "my words limner:prompt", text="old", clip=["9", 0]),
        "2": node("KSampler", "limner:seed", seed=0, model=["9", 0]),
        "3": node("SaveImage", filename_prefix="mine/x", images=["2", 0]),
        **more,
    }


def test_marks_in_titles_and_texts_are_filled() -> None:
    flow = parse(
        graph(
            **{
                "4": node("EmptyLatentImage", "limner:size", width=1, height=1),
                "5": node("LoadImage", "limner:reference", image="a"),
                "6": node("LoadImage", "limner:reference2", image="b"),
                "7": node("Loader", "limner:lora limner:strength=power", lora_name="", power=1.0),
                "8": node("Text", text="seed {{ seed }} of {{prompt}}, {keep|this} {{other}}"),
                "10": node("Number", value="{{seed}}"),
            }
        )
    )
    made = flow.fill(VALUES, prefix="limner/one")
    assert made["1"]["inputs"] == {"text": "grace in a park", "clip": ["9", 0]}
    assert made["2"]["inputs"]["seed"] == 7
    assert made["3"]["inputs"]["filename_prefix"] == "limner/one" and flow.output == "3"
    assert made["4"]["inputs"] == {"width": 640, "height": 480}
    assert (made["5"]["inputs"], made["6"]["inputs"]) == (
        {"image": "limner/a.png"},
        {"image": "limner/b.png"},
    )
    assert made["7"]["inputs"] == {"lora_name": "x", "power": 0.8}
    assert made["8"]["inputs"]["text"] == "seed 7 of grace in a park, {keep|this} {{other}}"
    assert made["10"]["inputs"]["value"] == 7  # a number, where the mark is all there is
    assert flow.references == 2 and flow.guessed == ()
    assert flow.graph["1"]["inputs"]["text"] == "old"  # the workflow itself is never changed


def test_every_file_of_a_graph_is_recorded() -> None:
    loras = {n: node("LoraLoaderModelOnly", lora_name=f"{n}.safetensors") for n in ("4", "5")}
    found = comfy.recorded(graph(**loras))
    assert found == {"lora_name": "4.safetensors", "lora_name 5": "5.safetensors"}


def test_a_file_saved_on_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(graph(), indent=1).replace("\n", "\r\n").encode())
    assert comfy.load_workflow(path).output == "3"


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    def fails(found: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            parse(found)

    fails({"nodes": [], "links": []}, r"window format.*Export \(API\)")
    fails({}, r"no nodes")
    fails({"1": {"inputs": {}}}, r"a node has no class_type")
    unmarked = graph()
    unmarked["1"]["_meta"] = {}
    fails(unmarked, r"nowhere where the prompt goes.*may be node 1 \(CLIPTextEncode\)")
    seeds = graph(**{"4": node("KSampler", seed=1)})
    seeds["2"]["_meta"] = {}
    fails(seeds, r"2 seeds, and none is marked: nodes 2 \(KSampler\), 4 \(KSampler\)")
    fails(graph(**{"4": node("A", "limner:colour", x=1)}), r"no mark limner:colour.*Use one of")
    fails(graph(**{"4": node("A", "limner:lora", x=1)}), r"no input for limner:lora.*: x")
    fails(graph(**{"4": node("SaveImage", images=[])}), r"2 nodes that save a picture")
    fails(graph(**{"4": node("A", "limner:output"), "5": node("B", "limner:output")}), r"marked")
    twice = graph()
    twice["1"]["inputs"]["text"] = "{{prompt}}"
    fails(twice, r"Two marks write into the same input")
    with pytest.raises(InputError, match=r"reference1, and there is nothing.*--reference"):
        shown = node("LoadImage", "limner:reference", image="")
        parse(graph(**{"4": shown})).fill({"prompt": "a", "seed": 1})
    none = graph()
    none["2"] = node("Sampler", model=["9", 0])
    assert "no seed" in parse(none).guessed[0]
    path = tmp_path / "w.json"
    with pytest.raises(InputError, match=r"cannot be read"):
        comfy.load_workflow(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"no JSON"):
        comfy.load_workflow(path)
    path.write_text(json.dumps({"prompt": graph()}))  # as the browser's network tab shows it
    assert comfy.load_workflow(path).fields == {"prompt", "seed"}


WORDS = st.dictionaries(
    st.sampled_from(["text", "seed", "image", "value", "nodes", "prompt"]),
    st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=2),
)
TITLES = st.sampled_from([f"limner:{name}" for name in (*INPUTS, "size", "x")]) | st.text(
    max_size=9
)


@given(
    st.dictionaries(
        st.text("0123456789", min_size=1, max_size=2),
        st.builds(
            lambda kind, title, inputs: {
                "class_type": kind,
                "inputs": inputs,
                "_meta": {"title": title},
            },
            st.sampled_from(["SaveImage", "KSampler", "Text"]),
            TITLES,
            WORDS,
        ),
        max_size=5,
    )
)
def test_any_graph_is_read_or_refused(found: dict[str, Any]) -> None:
    try:
        flow = parse(found)
    except InputError:
        return
    made = flow.fill({**VALUES, "reference3": "c", **{f"reference{n}": "r" for n in range(10)}})
    assert set(made) == set(found)
    for place in flow.places:
        if place.whole and place.field in VALUES and not place.field.startswith("reference"):
            assert made[place.node]["inputs"][place.input] == VALUES[place.field]
