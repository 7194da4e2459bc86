"""A real ComfyUI server with toy checkpoints, as a subprocess. Nothing of it is imported here."""
