"""Tables of a documentation page, so that tests can hold the page to what the program does."""

from pathlib import Path


def tables(path: Path) -> list[list[dict[str, str]]]:
    """All tables of a Markdown page: one list of rows each, a row being its cells by the title of their column."""
    found: list[list[dict[str, str]]] = []
    head: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not head:
            head = cells
            found.append([])
        elif set("".join(cells)) - set("-: "):
            found[-1].append(dict(zip(head, cells, strict=True)))
    return found
