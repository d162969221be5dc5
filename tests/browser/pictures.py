"""Pictures of a page as a browser shows it: `python tests/browser/pictures.py PAGE.html FOLDER` writes light and dark, wide and narrow."""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from chromium import Scheme, browser, lacking, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTHS = {"wide": 1280, "narrow": 390}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def pictures(started: "Browser", page: Path, folder: Path) -> Iterator[Path]:
    """Of the whole page, one file for each scheme and width."""
    folder.mkdir(parents=True, exist_ok=True)
    for scheme, (name, width) in product(SCHEMES, WIDTHS.items()):
        path = folder / f"{page.stem}-{scheme}-{name}.png"
        with opened(started, page, width=width, scheme=scheme) as tab:
            tab.screenshot(path=path, full_page=True)
        yield path


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if missing := lacking():
        sys.exit(missing)
    with browser() as started:
        for picture in pictures(started, Path(sys.argv[1]), Path(sys.argv[2])):
            print(picture)


if __name__ == "__main__":
    main()
