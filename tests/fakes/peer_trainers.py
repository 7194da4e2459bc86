"""Fake ai-toolkit and musubi-tuner: small scripts that read, print and write as the real ones do.

In: a folder. Out: `run.py`, or `src/musubi_tuner/qwen_image_*.py` and an `accelerate` module. Their
faults are kept: files numbered from 0, pruning by age, resume without the random state, NaN and
out-of-memory swallowed. Behaviour is steered by the environment: FAKE_STEP_S (pace), FAKE_DIE_AT
(exit at a step, once), FAKE_LOSS (a Python expression of `step`), FAKE_CACHE_S (each cache).
"""

from __future__ import annotations

from pathlib import Path

_COMMON = """
import json, math, os, sys, time
import numpy as np
from safetensors.numpy import save_file, load_file
from safetensors import safe_open

STEP_S = float(os.environ.get("FAKE_STEP_S", "0"))
DIE_AT = int(os.environ.get("FAKE_DIE_AT", "0"))
LOSS = os.environ.get("FAKE_LOSS", "0.1 + 0.3 * math.exp(-step / 200)")

def loss_at(step):
    return float(eval(LOSS, {"math": math, "step": step}))

def die(step, output):
    marker = os.path.join(output, ".died")
    if DIE_AT and step >= DIE_AT and not os.path.exists(marker):
        open(marker, "w").close()
        sys.stdout.flush()
        os._exit(137)

def clock(seconds):
    return "%02d:%02d" % (seconds // 60, seconds % 60)
"""

_AITOOLKIT = (
    '"""A fake of ai-toolkit 0.12.26."""'
    + _COMMON
    + """
import glob, shutil, sqlite3
from ruamel.yaml import YAML

class Db:
    def __init__(self, path, start):
        self.db = sqlite3.connect(path)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.executescript(
            "CREATE TABLE IF NOT EXISTS steps(step INTEGER PRIMARY KEY, wall_time REAL);"
            "CREATE TABLE IF NOT EXISTS metric_keys(key TEXT PRIMARY KEY, first_seen_step INTEGER,"
            " last_seen_step INTEGER);"
            "CREATE TABLE IF NOT EXISTS metrics(step INTEGER, key TEXT, value_real REAL,"
            " value_text TEXT, PRIMARY KEY(step, key));")
        self.db.execute("DELETE FROM metrics WHERE step >= ?", (start,))
        self.db.execute("DELETE FROM steps WHERE step >= ?", (start,))
        self.db.commit()
    def log(self, step, values):
        self.db.execute("INSERT OR REPLACE INTO steps VALUES(?, ?)", (step, time.time()))
        for key, value in values.items():
            self.db.execute("INSERT OR REPLACE INTO metrics VALUES(?,?,?,NULL)", (step, key, value))
        self.db.commit()

def save(folder, name, step, rank, last=False):
    rng = np.random.default_rng(step)
    weights = {}
    for block in range(2):
        for linear in ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"):
            key = f"diffusion_model.transformer_blocks.{block}.{linear}"
            weights[f"{key}.lora_A.weight"] = rng.normal(size=(rank, 64)).astype(np.float32)
            weights[f"{key}.lora_B.weight"] = rng.normal(size=(64, rank)).astype(np.float32)
    meta = {"software": json.dumps({"name": "ai-toolkit", "version": "0.12.26"}),
            "training_info": json.dumps({"step": step, "epoch": 0}), "format": "pt"}
    path = os.path.join(folder, f"{name}.safetensors" if last else f"{name}_{step:09d}.safetensors")
    save_file(weights, path, metadata=meta)
    open(os.path.join(folder, "optimizer.pt"), "wb").write(b"state %d" % step)
    print(f"Saved checkpoint to {path}")

def prune(folder, name, keep):
    files = sorted(glob.glob(os.path.join(folder, f"{name}_*.safetensors")), key=os.path.getctime)
    for old in files[:-keep] if keep else []:
        print(f"Removing old save: {old}")
        os.remove(old)

def sample(folder, config, step):
    from PIL import Image
    os.makedirs(os.path.join(folder, "samples"), exist_ok=True)
    for index, row in enumerate(config.get("samples") or []):
        picture = Image.new("RGB", (64, 64), (90, 60 + index * 20, 60))
        picture.paste((200, 180, 60), (index * 12, 8, index * 12 + 14, 40))
        name = f"{int(time.time() * 1000)}__{step:09d}_{index}.jpg"
        picture.save(os.path.join(folder, "samples", name))

def main():
    path = [a for a in sys.argv[1:] if not a.startswith("-")][0]
    data = YAML(typ="safe").load(open(path))
    if not isinstance(data, dict) or "job" not in data:
        raise ValueError("config file must have a job key")
    name, job = data["config"]["name"], data["config"]["process"][0]
    folder = os.path.join(job["training_folder"], name)
    os.makedirs(folder, exist_ok=True)
    for row in job["datasets"]:
        pictures = [f for f in os.listdir(row["folder_path"]) if f.endswith((".png", ".jpg"))]
        print(f"Dataset: {row['folder_path']}\\n  -  Found {len(pictures)} images")
        edits = job["model"]["arch"].startswith("qwen_image_edit_plus")
        for picture in pictures if edits else []:
            stem = os.path.splitext(picture)[0]
            listed = row.get("control_path") or []
            if not any(glob.glob(os.path.join(c, stem + ".*")) for c in listed):
                raise ValueError("Missing control images for QwenImageEditPlusModel")
    shutil.copy(path, os.path.join(folder, "config.yaml"))
    save_cfg, train = job.get("save", {}), job["train"]
    every, keep = save_cfg.get("save_every", 1000), save_cfg.get("max_step_saves_to_keep", 5)
    start = 0
    old = sorted(glob.glob(os.path.join(folder, f"{name}*.safetensors")), key=os.path.getctime)
    if old:
        print(f"#### IMPORTANT RESUMING FROM {old[-1]} ####")
        with safe_open(old[-1], "numpy") as file:
            start = json.loads(file.metadata()["training_info"])["step"]
        print(f"Found step {start} in metadata, starting from there")
    db = Db(os.path.join(folder, "loss_log.db"), start)
    began, total = time.time(), train["steps"]
    first = start
    for step in range(start, total):
        value = loss_at(step)
        db.log(step, {"loss/loss": value, "learning_rate": train["lr"]})
        rate = (time.time() - began) / max(step + 1 - first, 1)
        left = clock((total - step - 1) * rate)
        sys.stderr.write(f"\\r{name}: {100 * (step + 1) // total:3d}%|##5  | {step + 1}/{total} "
                         f"[{clock(time.time() - began)}<{left}, {rate:5.2f}s/it, "
                         f"lr: {train['lr']:.1e} loss: {value:.3e}]")
        if step and step != first and step % every == 0:
            print(f"\\nSaving at step {step}")
            save(folder, name, step, job["network"]["linear"])
            prune(folder, name, keep)
            sample(folder, job.get("sample", {}), step)
        sys.stderr.flush(); sys.stdout.flush()
        die(step, folder)
        time.sleep(STEP_S)
    save(folder, name, total, job["network"]["linear"], last=True)
    sample(folder, job.get("sample", {}), total)
    print("\\nResult:\\n - 0 failures\\n - 1 completed job")

try:
    main()
except Exception as error:
    print(f"Error running job: {error}")
    raise
"""
)

_MUSUBI = (
    '"""A fake of musubi-tuner 30c658c: one of its three programs."""'
    + _COMMON
    + """
import tomllib

def given():
    made, key = {}, None
    for word in sys.argv[1:]:
        if word.startswith("--"):
            key = word[2:]
            made[key] = True
        else:
            made[key] = word
    return made

def save(folder, file, step, rank, alpha):
    rng = np.random.default_rng(step)
    weights = {}
    for block in range(2):
        for linear in ("attn_to_q", "attn_to_k", "attn_to_v", "attn_to_out_0"):
            key = f"lora_unet_transformer_blocks_{block}_{linear}"
            weights[f"{key}.lora_down.weight"] = rng.normal(size=(rank, 64)).astype(np.float32)
            weights[f"{key}.lora_up.weight"] = rng.normal(size=(64, rank)).astype(np.float32)
            weights[f"{key}.alpha"] = np.array(alpha, np.float32)
    meta = {"ss_steps": str(step), "ss_network_dim": str(rank), "ss_network_alpha": str(alpha)}
    save_file(weights, os.path.join(folder, file), metadata=meta)
    print(f"\\nsaving checkpoint: {os.path.join(folder, file)}")

def main():
    args = given()
    data = tomllib.load(open(args["dataset_config"], "rb"))
    for row in data["datasets"]:
        cache = row["cache_directory"]
        os.makedirs(cache, exist_ok=True)
        open(os.path.join(cache, os.path.basename(sys.argv[0]) + ".done"), "w").close()
    if "train_network" not in sys.argv[0]:
        time.sleep(float(os.environ.get("FAKE_CACHE_S", "0")))
        return
    for row in data["datasets"]:
        caches = os.listdir(row["cache_directory"])
        assert len(caches) >= 3, "cache latents and text encoder outputs first"
    folder, name = args["output_dir"], args["output_name"]
    rank, alpha = int(args["network_dim"]), float(args.get("network_alpha", 1))
    total, every = int(args["max_train_steps"]), int(args["save_every_n_steps"])
    os.makedirs(folder, exist_ok=True)
    start = 0
    if args.get("resume"):
        print(f"resume training from local state: {args['resume']}")
        start = json.load(open(os.path.join(args["resume"], "train_state.json")))["current_step"]
    began, mean = time.time(), None
    for step in range(start + 1, total + 1):
        value = loss_at(step)
        mean = value if mean is None else mean + (value - mean) / (step - start)
        rate = (time.time() - began) / max(step - start, 1)
        sys.stderr.write(f"\\rsteps: {100 * step // total:3d}%|#    | {step}/{total} "
                         f"[{clock(time.time() - began)}<{clock((total - step) * rate)}, "
                         f"{rate:5.2f}s/it, avr_loss={mean:.3g}]")
        if step % every == 0 and step < total:
            save(folder, f"{name}-step{step:08d}.safetensors", step, rank, alpha)
            state = os.path.join(folder, f"{name}-step{step:08d}-state")
            os.makedirs(state, exist_ok=True)
            json.dump({"current_step": step}, open(os.path.join(state, "train_state.json"), "w"))
        sys.stderr.flush(); sys.stdout.flush()
        die(step, folder)
        time.sleep(STEP_S)
    save(folder, f"{name}.safetensors", total, rank, alpha)
    print("model saved.")

main()
"""
)

_ACCELERATE = '''"""A fake of `accelerate launch`: runs the script in this process's place."""
import os, sys
args = sys.argv[2:]
while args and not args[0].endswith(".py"):
    args.pop(0)
os.execv(sys.executable, [sys.executable, *args])
'''


def aitoolkit(folder: Path) -> Path:
    """An ai-toolkit folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.py").write_text(_AITOOLKIT)
    return folder


def musubi(folder: Path) -> Path:
    """A musubi-tuner folder; returns it. `accelerate` lies in `bin/` as a module for PYTHONPATH."""
    place = folder / "src" / "musubi_tuner"
    place.mkdir(parents=True, exist_ok=True)
    for step in ("cache_latents", "cache_text_encoder_outputs", "train_network"):
        (place / f"qwen_image_{step}.py").write_text(_MUSUBI)
    launcher = folder / "bin" / "accelerate" / "commands"
    launcher.mkdir(parents=True, exist_ok=True)
    (launcher.parent / "__init__.py").write_text("")
    (launcher / "__init__.py").write_text("")
    (launcher / "launch.py").write_text(_ACCELERATE.replace("sys.argv[2:]", "sys.argv[1:]"))
    return folder
