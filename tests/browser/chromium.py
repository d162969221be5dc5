"""A headless Chromium without a network, found where the system has it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
HEIGHT = 900
Scheme = Literal["light", "dark"]


def executable() -> str | None:
    """`REASONING_RL_CHROMIUM` where it is set, else the first browser on the path; None where there is none."""
    return os.environ.get("REASONING_RL_CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)


def lacking() -> str:
    """What is missing for a browser to start, and where it comes from; "" for nothing."""
    if find_spec("playwright") is None:
        return "playwright is not installed: pip install -e '.[dev]'"
    if executable() is None:
        return f"no Chromium: none of {', '.join(NAMES)} is on the path; apt-get install chromium, or name one in REASONING_RL_CHROMIUM"
    return ""


@contextmanager
def browser() -> Iterator["Browser"]:
    """Without its sandbox where it runs as root, for whom it would not start."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(), chromium_sandbox=os.geteuid() != 0)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def tab(started: "Browser", *, width: int, scheme: Scheme = "light") -> Iterator["Page"]:
    """An empty one that is offline."""
    context = started.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, offline=True)
    try:
        yield context.new_page()
    finally:
        context.close()


@contextmanager
def opened(started: "Browser", page: Path, *, width: int, scheme: Scheme = "light") -> Iterator["Page"]:
    """A tab that shows a file."""
    with tab(started, width=width, scheme=scheme) as empty:
        empty.goto(page.resolve().as_uri())
        yield empty
