"""Facts about scenes and the words that name them: what a text about a scene can be checked against.

A scene has its theme, and the colours, shapes, textures and sizes of its objects. Nuisance and places are no facts here.
"""

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from interp_plugins.embedded.world import tables

if TYPE_CHECKING:
    from interp_plugins.embedded.world.sampling import Scenes

__all__ = ["fact_words", "scene_facts"]


@cache
def fact_words() -> MappingProxyType[str, tuple[str, ...]]:
    """Every fact and the words that name it: ``"colour:red"`` -> red, crimson, scarlet, ruby.

    A theme is named by the words that stand in its phrases and in no other theme's phrase or other table ("moonlight", not "at").
    """
    words: dict[str, tuple[str, ...]] = {}
    groups = (
        ("colour", tables.COLOURS, tables.COLOUR_WORDS),
        ("shape", tables.SHAPES, tables.SHAPE_WORDS),
        ("texture", tables.TEXTURES, tables.TEXTURE_WORDS),
        ("size", tables.SIZES, tables.SIZE_WORDS),
    )
    for kind, names, synonyms in groups:
        words |= {f"{kind}:{name}": said for name, said in zip(names, synonyms, strict=True)}
    taken = {word for said in words.values() for word in said} | _grammar()
    by_theme = [{word for phrase in phrases for word in phrase.split()} for phrases in tables.THEME_PHRASES]
    for number, theme in enumerate(tables.THEMES):
        others = set().union(*(said for other, said in enumerate(by_theme) if other != number))
        words[f"theme:{theme}"] = tuple(sorted(by_theme[number] - others - taken))
    return MappingProxyType(words)


def scene_facts(scenes: "Scenes", row: int) -> frozenset[str]:
    """The facts of scene ``row``; those of its objects are pooled."""
    objects = range(int(scenes.count[row]))
    of_objects = (
        ("colour", tables.COLOURS, scenes.colour),
        ("shape", tables.SHAPES, scenes.shape),
        ("texture", tables.TEXTURES, scenes.texture),
        ("size", tables.SIZES, scenes.size),
    )
    found = {f"{kind}:{names[int(values[row, k])]}" for kind, names, values in of_objects for k in objects}
    return frozenset(found | {f"theme:{tables.THEMES[int(scenes.theme[row])]}"})


def _grammar() -> set[str]:
    """Words that captions have whatever the theme is."""
    lists = (tables.GENERIC_SHAPE_WORDS, *tables.RELATION_WORDS, *tables.ROW_WORDS, *tables.COLUMN_WORDS)
    frames = (*tables.FRAMES, *tables.PLURAL_FRAMES, *tables.COUNT_WORDS)
    phrases = [phrase for words in lists for phrase in words] + [*frames, "a an and next to with in at the"]
    return {word for phrase in phrases for word in phrase.split()}
