"""Objectives side by side: each a few seeds of the same recipe, trained and evaluated by the ordinary stages, and one report."""
