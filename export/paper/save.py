"""The only place that writes: the bundle, and beside it the certificate with what was measured, as JSON and as a page."""

from __future__ import annotations

import os
from pathlib import Path

from edge.bundle import save_bundle
from edge.errors import ExportError
from export.paper.certificate import to_json
from export.paper.html import page
from export.paper.measured import Measured
from export.paper.outputs import Outputs, require_free
from export.pipeline import Exported


def save(exported: Exported, found: Measured, path: Path, *, force: bool = False) -> Outputs:
    """Write the three files, each atomically, the bundle first: an interruption leaves the old bundle or the new one, whole.

    The page and the JSON beside it name the bundle's hash, so that a pair that does not belong together shows. Raises ExportError.
    """
    outputs = require_free(path, force=force)
    texts = {outputs.json: to_json(found), outputs.html: page(found).encode()}
    try:
        save_bundle(exported.data, path)
        for file, data in texts.items():
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            temporary.write_bytes(data)
            temporary.replace(file)
    except OSError as exc:
        raise ExportError(f"cannot write the bundle {path}", seen=exc.strerror, remedy="Choose a folder that exists and has room") from exc
    return outputs
