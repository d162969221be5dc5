"""The pages that explain the objectives name code and settings that exist."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from reasoning_rl.config import Config

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["concepts.md", "faq.md", "objectives.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_code_link_leads_to_a_definition(page: str) -> None:
    links = re.findall(r"\[`(\w+)`\]\(([^)]+\.py)\)", (DOCS / page).read_text(encoding="utf-8"))
    assert links
    for name, target in links:
        source = (DOCS / target).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE), f"{target} defines no {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_is_one_of_the_config(page: str) -> None:
    sections = "|".join(Config.model_fields)
    for path in re.findall(rf"`((?:{sections})(?:\.\w+)+)", (DOCS / page).read_text(encoding="utf-8")):
        model: object = Config
        for part in path.split("."):
            assert isinstance(model, type), path
            assert issubclass(model, BaseModel), path
            assert part in model.model_fields, f"{page} speaks of {path}"
            model = model.model_fields[part].annotation


def test_every_test_that_the_faq_names_exists() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", (DOCS / "faq.md").read_text(encoding="utf-8")):
        assert f"def {name}(" in sources
