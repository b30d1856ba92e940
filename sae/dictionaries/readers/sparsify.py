"""EleutherAI's sparsify: <hook point>/cfg.json and sae.safetensors.

pre = (x - b_dec) encoder.weight^T + encoder.bias, the k largest of ReLU(pre), decoded by W_dec [F, D] (a row
per latent) plus b_dec. SAELens's reader (6.54.12) transposes W_dec, which fails, and leaves the shift out.
"""

from __future__ import annotations

from pathlib import Path

from sae.dictionaries.readers.parts import (
    Opened,
    block_output,
    opened,
    safetensors,
    settings,
    taken,
    unreadable,
    unsupported,
)


def read(folder: Path) -> Opened:
    """A sparse autoencoder.

    Raises:
        DictionaryError: the files cannot be read or do not fit each other, or it is no autoencoder with TopK.
    """
    config, path = settings(folder / "cfg.json"), folder / "sae.safetensors"
    for name, kind in (("transcode", "transcoder"), ("skip_connection", "transcoder with a skip connection")):
        if config.get(name):
            raise unsupported(folder / "cfg.json", kind, "name a sparse autoencoder")
    activation = str(config.get("activation", "topk"))
    if activation != "topk" or config.get("signed"):
        kind = f"{activation}{', signed' if config.get('signed') else ''}"
        raise unsupported(folder / "cfg.json", kind, "name one with the activation topk")
    encoder, bias, decoder, out = taken(
        safetensors(path), path, "encoder.weight", "encoder.bias", "W_dec", "b_dec"
    )
    try:
        k = int(config["k"])
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(folder / "cfg.json", error) from error
    return opened(
        encoder, bias, decoder, out, k=k, shifted=True,
        notes={"folder": folder.name, "hook_name": block_output(folder.name)},
    )  # fmt: skip
