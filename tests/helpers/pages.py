"""The documentation's pages: their blocks and their commands."""

import re

from conftest import ROOT

README, DOCS = ROOT / "README.md", ROOT / "docs"


def blocks(page, language):
    """The texts of a page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page):
    """The commands of a page's shell blocks, in order, without their comments."""
    lines = [line.split("#")[0].strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line]


def without_folder(command):
    """A command but for the folder that it writes to."""
    return re.sub(r" --out \S+", "", command)
