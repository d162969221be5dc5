"""Stored answers judged again, and verifiers compared on them: `reasoning-rl verify FILE…`. Torch is never imported here."""
