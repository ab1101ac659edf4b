"""Builds every overlay and says which rules it breaks: python -m scripts.manifests [--schemas]."""

from __future__ import annotations

import sys

from scripts.manifests import schemas
from scripts.manifests.all_rules import list_complaints
from scripts.manifests.objects import OVERLAYS, build_overlay


def main() -> int:
    """Print the complaints; return the exit code."""
    found = 0
    for overlay in OVERLAYS:
        objects = build_overlay(overlay)
        complaints = list_complaints(objects)
        if "--schemas" in sys.argv[1:]:
            complaints += [
                each for version in schemas.VERSIONS for each in schemas.validate(objects, version)
            ]
        for complaint in complaints:
            print(f"{overlay}: {complaint}")
        found += len(complaints)
    return 1 if found else 0


sys.exit(main())
