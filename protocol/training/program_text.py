"""The description of the program `causal-lm-1`, and the root that manifests name.

A job pins the root, so that a release that would compute anything else refuses the job instead of
computing other bits. INVARIANT: whoever changes a step of `program.py` changes this text.
"""

from __future__ import annotations

import hashlib
from typing import Final

from protocol.training.canonical import encode_json

NAME: Final = "causal-lm-1"
_DOMAIN: Final = b"gradproof/program\x00"

_DESCRIPTION: Final[dict[str, object]] = {
    "name": NAME,
    "arithmetic": "numeric profile of the manifest; every sign is one primitive or composition",
    "parameters": "sorted names; a tied weight once, its gradients summed in program order",
    "clip": [
        "m = max2(amax over all tensors of amax(abs(g)), 2^-126)",
        "q = sum over tensors, stacked in name order, of sum((g/m)*(g/m))",
        "scale = min2(1, (norm_clip/m) / sqrt(q))",
        "g = g*scale",
    ],
    "task": [
        "per micro-batch, ascending: loss = cross_entropy(model(tokens), next tokens), mean",
        "g = gradient of the loss; grad = grad + g, loss = loss + l, from micro-batch 0",
        "grad = grad/micro_batches, loss = loss/micro_batches if more than one",
        "clip grad",
    ],
    "update": [
        "per included result, ascending task: clip",
        "grad = sum over results, stacked in task order, / n",
        "row = optimiser[step]; adamw, p = p*d only for parameters of two or more dimensions",
        "step = step + 1",
        "validation_loss = sum over evaluation batches of the mean loss, stacked, / batches",
    ],
    "witness": {
        "task": [
            "per micro-batch: outputs of the witness layers in running order, then the logits",
            "grad before it is clipped, by name",
        ],
        "update": [
            "grad, by name",
            "per evaluation batch: outputs of the witness layers in running order, then the logits",
        ],
    },
}


def program_root(name: str = NAME) -> bytes:
    """Return the 32-byte root of a program's description. Raises KeyError for an unknown name."""
    text = {NAME: _DESCRIPTION}[name]
    return hashlib.sha256(_DOMAIN + encode_json(text)).digest()
