"""Numbers that change over training: exponents and widths of the minimality losses."""

__all__ = ["annealed"]


def annealed(fraction: float, start: float, final: float | None, begin: float, end: float) -> float:
    """Return a value that goes linearly from ``start`` to ``final`` between two shares of the training.

    Args:
        fraction: Share of the training that is done.
        start: Value before ``begin``.
        final: Value from ``end`` on; None keeps ``start``.
        begin: Share at which the change begins; 1 or more means never.
        end: Share at which it is over.
    """
    if final is None or begin >= 1 or fraction < begin:
        return start
    if fraction >= end:
        return final
    return start + (final - start) * (fraction - begin) / (end - begin)
