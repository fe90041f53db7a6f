"""The parts of the package metadata that are computed; pyproject.toml has the rest."""

import re
from pathlib import Path

from setuptools import find_packages, setup

REPOSITORY = "https://lafufu-sb.example/lafufu_sb"  # where links of the README lead
README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")


def absolute_links(text):
    """Lead relative Markdown links to the repository, as package indexes need them."""

    def absolute(match):
        kind = "raw" if match["image"] else "blob"
        return f"{match['text']}({REPOSITORY}/{kind}/main/{match['target']})"

    pattern = r"(?P<text>(?P<image>!?)\[[^\]]*\])\((?P<target>(?!\w+:|#)[^)\s]+)\)"
    return re.sub(pattern, absolute, text)


if __name__ == "__main__":
    setup(
        long_description=absolute_links(README),
        long_description_content_type="text/markdown",
        # The folders of shipped models are at the top level of the repository.
        packages=[
            *find_packages(include=["lafufu_sb*"]),
            "lafufu_sb.pretrained_interfaces",
        ],
        package_dir={"lafufu_sb.pretrained_interfaces": "pretrained_interfaces"},
        project_urls={
            "Homepage": REPOSITORY,
            "Documentation": f"{REPOSITORY}/tree/main/docs",
            "Issues": f"{REPOSITORY}/issues",
            "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        },
    )
