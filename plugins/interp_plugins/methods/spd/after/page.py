"""A self-contained page to browse components: no script from elsewhere, everything escaped."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["components_page"]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}input{font:inherit;padding:.4rem .6rem;width:100%;max-width:30rem;border:1px solid #8a929c;border-radius:6px}
details{border-bottom:1px solid #d8dde3;padding:.4rem 0}summary{cursor:pointer;display:flex;gap:1rem;align-items:baseline}
summary b{min-width:14rem}summary span:not(.bar){min-width:8rem}.bar{display:inline-block;height:.6rem;background:#3465a4;border-radius:3px}
table{border-collapse:collapse;margin:.5rem 0 .5rem 1.5rem}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#e6e9ed;background:#15181c}details{border-color:#3a424c}.bar{background:#7aa7e0}}
"""
_SCRIPT = """
document.getElementById('find').addEventListener('input',function(){var q=this.value.toLowerCase();
document.querySelectorAll('details').forEach(function(d){d.hidden=d.textContent.toLowerCase().indexOf(q)<0;});});
"""


def components_page(name: str, records: Sequence[Mapping[str, Any]], n_rows: float) -> str:
    """Return the page as HTML.

    Args:
        name: Name of the experiment.
        records: One record per component, as harvested, the most frequent first.
        n_rows: Inputs seen.
    """
    largest = max((record["density"] for record in records), default=1.0)
    body = "\n".join(_component(record, largest) for record in records)
    title = html.escape(f"Components of {name}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{len(records)} components fire on {n_rows:.0f} inputs. Open one for its strongest inputs and relations.</p>"
        f'<p><label>Find <input id="find" type="search"></label></p>{body}<script>{_SCRIPT}</script></body></html>'
    )


def _component(record: Mapping[str, Any], largest: float) -> str:
    width = 12 * record["density"] / largest
    examples = "".join(
        f"<tr><td>{example['importance']:.3f}</td><td>{html.escape(example['text'])}</td></tr>"
        for example in record["examples"]
    )
    related = "".join(
        f"<tr><td>{html.escape(r['component'])}</td><td>{r['precision']:.2f}</td><td>{r['pmi']:.2f}</td></tr>"
        for r in record["related"]
    )
    return (
        f'<details id="{html.escape(record["component"])}"><summary><b>{html.escape(record["component"])}</b>'
        f'<span>fires on {record["density"]:.2%}</span><span class="bar" style="width:{width:.2f}rem"></span></summary>'
        f"<table><tr><th>importance</th><th>input</th></tr>{examples}</table>"
        f"<table><tr><th>fires with</th><th>precision</th><th>PMI, nats</th></tr>{related}</table></details>"
    )
