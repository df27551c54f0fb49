"""The one training loop: schedules, exact resume, early stop, checkpoints. It knows nothing of methods.

``schedules`` and ``config`` import no torch, so configurations may use them.
"""

__all__: list[str] = []
