"""Folders of runs as tests want them."""

import json
import re
import shutil
from pathlib import Path


def unlisted_copy(folder: Path, target: Path) -> Path:
    """Copy a run as it would have been written before files had hashes (format 1)."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("manifest.jsonl", "sample.json"))
    for path in target.rglob("*.jsonl"):
        path.write_text(re.sub(r', "chain": "[0-9a-f]{16}"\}', "}", path.read_text()))
    path = target / "environment.json"
    known = json.loads(path.read_text())
    for name in ("fingerprint", "search", "truth"):
        known.pop(name)
    path.write_text(json.dumps({**known, "format": 1}))
    return target
