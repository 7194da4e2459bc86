"""How Limner's own face finder and identity embedder for drawings were made.

1. `corpus` reads (or draws) pictures of many drawn characters at 128 px with exact labels;
   `families` adds look-alikes, `views` cuts faces as the embedder meets them.
2. `networks` holds the two small networks and their augmentations; `train` fits them, resumable.
3. `onnx_file` writes a chain of layers as ONNX, so that no exporter is needed.
4. `report` measures both embedders on characters that were left out and writes the calibrations.
5. `scripts/train_embedder.py` runs all of it with one command.
"""
