"""Small setups of each trainer that the tests of the check start from."""

from __future__ import annotations

AITOOLKIT = """\
job: extension
config:
  name: grace_char_v1   # folder and prefix
  process:
    - type: diffusion_trainer
      training_folder: output
      device: cuda:0
      trigger_word: grace_char
      network: {type: lora, linear: 16, linear_alpha: 16}
      save: {dtype: bf16, save_every: 250, max_step_saves_to_keep: 999}
      datasets:
        - folder_path: dataset/grace_char
          caption_ext: txt
          num_repeats: 1
          resolution: [512, 768, 1024]
      train:
        batch_size: 1
        steps: 3000
        gradient_accumulation: 1
        noise_scheduler: flowmatch
        optimizer: adamw8bit
        lr: 1.0e-4
        dtype: bf16
        cache_text_embeddings: true
      model:
        name_or_path: Qwen/Qwen-Image-Edit-2509
        arch: qwen_image
        quantize: true
        qtype: qfloat8
      sample:
        sampler: flowmatch
        width: 1024
        height: 1024
        samples:
          - prompt: grace_char, close-up portrait
meta: {name: "[name]", version: "1.0"}
"""

MUSUBI = """\
[general]
resolution = [1024, 1024]
caption_extension = ".txt"
batch_size = 1
enable_bucket = true

[[datasets]]
image_directory = "data/grace"
control_directory = "data/ctrl"
control_resolution = [1024, 1024]
cache_directory = "cache/grace"
num_repeats = 1
"""

COMMAND = """\
accelerate launch --mixed_precision bf16 src/musubi_tuner/qwen_image_train_network.py \\
  --dit qwen_image_edit_2509_bf16.safetensors --model_version edit-2509 \\
  --dataset_config d.toml --sdpa --mixed_precision bf16 --learning_rate 5e-5 \\
  --gradient_checkpointing --network_module networks.lora_qwen_image \\
  --network_dim 16 --network_alpha 16 \\
  --max_train_epochs 16 --save_every_n_epochs 1 --output_dir O --output_name N
"""

SIMPLETUNER = """\
{
  "model_type": "lora",
  "model_family": "qwen_image",
  "model_flavour": "edit-v2",
  "lora_rank": 16,
  "lora_alpha": 16,
  "train_batch_size": 1,
  "gradient_accumulation_steps": 4,
  "max_train_steps": 3000,
  "num_train_epochs": 0,
  "checkpoint_step_interval": 300,
  "checkpoints_total_limit": 10,
  "learning_rate": 1e-4,
  "data_backend_config": "multidatabackend.json"
}
"""

BACKENDS = """\
[
  {"id": "grace", "type": "local", "instance_data_dir": "data/grace", "repeats": 9,
   "caption_strategy": "textfile", "cache_dir_vae": "cache/vae",
   "conditioning_data": ["refs"]},
  {"id": "refs", "type": "local", "dataset_type": "conditioning",
   "conditioning_type": "reference_strict", "instance_data_dir": "data/refs"},
  {"id": "text", "type": "local", "dataset_type": "text_embeds", "default": true,
   "cache_dir": "cache/text"}
]
"""
