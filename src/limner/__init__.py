"""Limner: from a character description to a measured LoRA for Qwen-Image-Edit-2509."""

__version__ = "0.1.0"
