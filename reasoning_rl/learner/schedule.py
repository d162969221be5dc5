"""Learning rates as functions of the step, so that resuming needs no state."""


def warmup_then_linear(step: int, steps: int, *, warmup: int, final: float, flat_until: float = 0.0) -> float:
    """Share of the full rate at `step` of `steps` (0-based): up over `warmup` steps, flat, then down to `final` at the last.

    >>> [round(warmup_then_linear(step, 5, warmup=2, final=0.0), 2) for step in range(5)]
    [0.5, 1.0, 0.67, 0.33, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    start = max(warmup - 1, round(flat_until * (steps - 1)))
    if step <= start or steps - 1 <= start:
        return 1.0
    return 1.0 - (1.0 - final) * (step - start) / (steps - 1 - start)
