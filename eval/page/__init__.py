"""One evaluation as one self-contained HTML page: no network, no script, readable on a phone, in light and in dark."""

from reasoning_rl.eval.page.content import Page, PolicyPage
from reasoning_rl.eval.page.render import write_page

__all__ = ["Page", "PolicyPage", "write_page"]
