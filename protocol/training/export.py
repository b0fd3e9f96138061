"""The trained model as an ordinary transformers folder, and a try at it.

The last step of a job: the requester exports S_R and uses it with stock software, which knows
nothing of this project. INVARIANT: the folder holds exactly the parameters of the state, bit for
bit, and the tokenizer the job was trained with.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protocol.training.errors import DataError
from protocol.training.manifest import Manifest
from protocol.training.model import parameters_of, skeleton
from protocol.training.tokens import END_TEXT, TextEncoder, byte_encoder, load_bpe


def export_model(
    manifest: Manifest,
    state: Mapping[str, Tensor],
    out: Path,
    tokenizer_file: bytes | None = None,
) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer's files into a folder.

    `AutoModelForCausalLM.from_pretrained(out)` and `AutoTokenizer.from_pretrained(out)` load
    them. `tokenizer_file` is the published file of a BPE job. Raises `ModelError` for a state of
    another job, `DataError` when a BPE job comes without its file.
    """
    from safetensors.torch import save_file

    parameters = parameters_of(manifest, state)
    encoder = _encoder(manifest, tokenizer_file)
    out.mkdir(parents=True, exist_ok=True)
    module = skeleton(manifest).module
    # Typed as anything, since the library ships no types.
    config: Any = copy.deepcopy(module.config)
    config.architectures = [type(module).__name__]
    config.bos_token_id = config.eos_token_id = encoder.end
    # Training never caches; whoever generates text wants to.
    config.use_cache = True
    config.save_pretrained(out)
    contiguous = {name: tensor.contiguous() for name, tensor in parameters.items()}
    save_file(contiguous, out / "model.safetensors", metadata={"format": "pt"})
    (out / "tokenizer.json").write_bytes(encoder.file)
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_TEXT,
        "eos_token": END_TEXT,
        "model_max_length": manifest.model.positions,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(described, indent=2, sort_keys=True)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def generate(
    folder: Path, prompt: str, characters: int, *, temperature: float = 0.7, seed: int = 0
) -> str:
    """Continue a prompt with an exported model by about `characters` characters.

    Uses stock transformers only. The same seed gives the same text on the same machine; this is
    a try at the model, not part of what is verified.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    chance = torch.Generator().manual_seed(seed)
    end = tokenizer.eos_token_id
    tokens = tokenizer.encode(prompt, add_special_tokens=False) or [end]
    start = len(tokens)
    # Vocabulary rows beyond the tokenizer's were never trained.
    known = len(tokenizer)
    text = ""
    # A character takes at most four bytes, and a token holds at least one.
    for _ in range(4 * characters):
        window = torch.tensor([tokens[-model.config.n_positions :]])
        with torch.no_grad():
            logits = model(window).logits[0, -1, :known]
        weights = torch.softmax(logits / temperature, dim=-1)
        tokens.append(int(torch.multinomial(weights, 1, generator=chance)))
        text = tokenizer.decode(tokens[start:], skip_special_tokens=True)
        if tokens[-1] == end or len(text) >= characters:
            break
    return str(text[:characters])


def _encoder(manifest: Manifest, tokenizer_file: bytes | None) -> TextEncoder:
    if manifest.tokenizer.kind == "bytes":
        return byte_encoder()
    if tokenizer_file is None:
        raise DataError(
            "The job has a BPE tokenizer, but its file was not given",
            fix=f"Fetch {manifest.tokenizer.cid} and pass its bytes.",
        )
    return load_bpe(tokenizer_file)
