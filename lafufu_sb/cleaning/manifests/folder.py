"""A folder as its own manifest: all recordings below it."""

import os
from pathlib import Path

from lafufu_sb.cleaning.manifests.base import Manifest, register


@register
class FolderManifest(Manifest):
    """All recordings below a folder. There is nothing to write."""

    kind = "folder"
    takes = ("folder",)

    def read(self):
        """See ``Manifest``; the results mirror the folder."""
        from lafufu_sb.audio.finding import find_recordings

        root = Path(os.path.abspath(self.path))
        self.name, self.root = None, str(root)
        self.sources = {str(p.relative_to(root)): str(p) for p in find_recordings(root)}

    def write(self, path, cleaned):
        """Nothing: the folder of the results is its own manifest."""
