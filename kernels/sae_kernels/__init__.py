"""Encoding, decoding and training sparse autoencoders without the dense [N, F] matrix.

    codes = encode_topk(x, W_enc, b_enc, k)        x [N, C], W_enc [C, F] -> values, indices [N, k]
    y = decode(codes, W_dec, b_dec)                sparse gather
    values, y = autoencode(x, W_enc.T, b_enc, W_dec, codes)     with gradients

Triton kernels on a CUDA device, PyTorch elsewhere; `plan` says which. Every operation has a plain twin of its
name with `_plain`. The folder above has no `__init__.py`: a top-level package called `kernels` would hide the
Hugging Face package of that name from transformers.
"""

from sae_kernels.autoencode import Autoencoded, autoencode, autoencode_plain
from sae_kernels.auxk import auxk, auxk_plain, encode_dead, encode_dead_plain
from sae_kernels.backward import backward, backward_plain
from sae_kernels.batchtopk import encode_batchtopk, encode_batchtopk_plain
from sae_kernels.decode import decode, decode_plain
from sae_kernels.dispatch import PATHS, Plan, plan
from sae_kernels.encode import encode_threshold, encode_topk, encode_topk_plain
from sae_kernels.errors import KernelError
from sae_kernels.jumprelu import (
    Jumped,
    autoencode_jumprelu,
    autoencode_jumprelu_plain,
    encode_band,
    encode_band_plain,
    jumprelu,
)
from sae_kernels.types import Encoded, Gradients, Kept, Streams

__all__ = [
    "PATHS",
    "Autoencoded",
    "Encoded",
    "Gradients",
    "Jumped",
    "Kept",
    "KernelError",
    "Plan",
    "Streams",
    "autoencode",
    "autoencode_jumprelu",
    "autoencode_jumprelu_plain",
    "autoencode_plain",
    "auxk",
    "auxk_plain",
    "backward",
    "backward_plain",
    "decode",
    "decode_plain",
    "encode_band",
    "encode_band_plain",
    "encode_batchtopk",
    "encode_batchtopk_plain",
    "encode_dead",
    "encode_dead_plain",
    "encode_threshold",
    "encode_topk",
    "encode_topk_plain",
    "jumprelu",
    "plan",
]
