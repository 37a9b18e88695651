"""The pages' style, and the hash by which the content-security policy lets it, and nothing else, pass."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
STYLE_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
"""As `style-src` names what stands between <style> and </style>."""
