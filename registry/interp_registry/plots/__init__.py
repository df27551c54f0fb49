"""Drawing Figures: Plotly specifications (:mod:`.interactive`) and matplotlib drawings (:mod:`.static`).

The report of the shell and the notebook views of results both use these, so that a figure looks the same in both.
"""

__all__: list[str] = []
