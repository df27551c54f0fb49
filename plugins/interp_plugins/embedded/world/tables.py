"""The frozen tables of the world: what exists, what every theme likes, and what it is called.

Changing anything here changes the world: raise ``WORLD_VERSION`` with it. The version is part of every draw and stands
in every fingerprint.
"""

WORLD_VERSION = 1

COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "black")
SHAPES = ("circle", "ring", "square", "triangle", "diamond", "star", "cross", "crescent", "hexagon", "bar")
TEXTURES = ("solid", "striped", "dotted", "checked")
SIZES = ("small", "large")
THEMES = (
    "beach", "desert", "farm", "night", "cave", "space", "meadow", "forest", "swamp", "snow", "rain", "sea",
)  # fmt: skip

COLOUR_RGB = (
    (214, 40, 40), (240, 130, 30), (245, 210, 50), (50, 160, 70), (40, 180, 175),
    (45, 85, 215), (135, 60, 180), (240, 130, 180), (248, 248, 248), (22, 22, 26),
)  # fmt: skip
FAMILY_RGB = ((222, 200, 148), (30, 30, 58), (112, 154, 92), (96, 140, 180))
"""Hue families sand, dark, green and blue: theme index div 3. The pattern (dots, waves, strokes) is theme index mod 3."""

LIKED_COLOURS = ((0, 8), (2, 4), (4, 6), (0, 8), (3, 9), (5, 6), (7, 8), (3, 7), (3, 6), (0, 1), (3, 4), (2, 6))
LIKED_SHAPES = ((6, 7), (6, 7), (2, 6), (2, 3), (2, 3), (4, 8), (2, 3), (1, 5), (1, 9), (0, 7), (0, 1), (3, 8))
LIKED_TEXTURE = (1, 3, 2, 2, 0, 0, 3, 1, 3, 2, 1, 0)
"""What theme i likes, as indices into COLOURS, SHAPES and TEXTURES."""

LIKED_WEIGHT, TEXTURE_WEIGHT = 8, 5
"""A liked colour or shape weighs 8 against 1 for each other one; the liked texture 5 against 1."""
COUNT_WEIGHTS = (5, 9, 6)
"""One, two, three objects: .25, .45, .30."""

RADII = (6.0, 10.5)
CELL_PITCH, CELL_OFFSET = 21, 11
MAX_OBJECTS = 3
PICTURE_SIZE = 64

JITTER, LIGHT, GRADIENT, TINT, OBJECT_TINT, NOISE_GREYS = 2, (82, 118), 22, 10, 14, 9
N_ROTATIONS, NOISE_SEEDS = 7, 2**31
COSINES = (0.8660254, 0.9396926, 0.9848078, 1.0, 0.9848078, 0.9396926, 0.8660254)
SINES = (-0.5, -0.3420201, -0.1736482, 0.0, 0.1736482, 0.3420201, 0.5)

COLOUR_WORDS = (
    ("red", "crimson", "scarlet", "ruby"),
    ("orange", "amber", "tangerine"),
    ("yellow", "golden", "lemon"),
    ("green", "emerald", "jade"),
    ("teal", "turquoise", "cyan"),
    ("blue", "azure", "cobalt"),
    ("purple", "violet", "plum"),
    ("pink", "rosy", "magenta"),
    ("white", "pale", "ivory"),
    ("black", "inky", "ebony"),
)
SHAPE_WORDS = (
    ("circle", "disc", "ball"),
    ("ring", "hoop", "loop"),
    ("square", "box", "block"),
    ("triangle", "wedge", "pyramid"),
    ("diamond", "rhombus", "kite"),
    ("star", "pentagram", "spark"),
    ("cross", "plus", "crossing"),
    ("crescent", "moon", "sickle"),
    ("hexagon", "honeycomb", "nut"),
    ("bar", "stick", "plank"),
)
GENERIC_SHAPE_WORDS = ("shape", "thing", "object")
TEXTURE_WORDS = (
    ("plain", "solid"),
    ("striped", "banded", "stripy"),
    ("dotted", "spotted", "speckled"),
    ("checked", "chequered", "plaid"),
)
SIZE_WORDS = (("small", "little", "tiny"), ("large", "big", "huge"))
RELATION_WORDS = (("left of",), ("right of",), ("above", "over"), ("below", "under"))
LEFT, RIGHT, ABOVE, BELOW = range(4)
ROW_WORDS = (("top", "upper"), ("middle", "central"), ("bottom", "lower"))
COLUMN_WORDS = (("left",), ("centre",), ("right",))
COUNT_WORDS = ("one", "two", "three")
FRAMES = ("{}", "{}", "{}", "a picture of {}", "there is {}", "here we see {}")
PLURAL_FRAMES = ("{}", "{}", "{}", "a picture of {}", "there are {}", "here we see {}")
THEME_PHRASES = (
    ("on the beach", "on warm sand", "by the shore", "on the dunes", "at the seaside", "along the coast"),
    ("in the desert", "among cacti", "in dry heat", "near an oasis", "on the mesa", "under a burning sun"),
    ("in a wheat field", "on the farm", "at harvest time", "near the barn", "among hay", "in the countryside"),
    ("at night", "in moonlight", "after dusk", "around midnight", "while owls call", "in the darkness"),
    ("in a cave", "deep underground", "in the mine", "between rocks", "in a tunnel", "beneath the earth"),
    ("in outer space", "among planets", "in orbit", "near a comet", "beyond mars", "in the galaxy"),
    ("in a meadow", "on the grass", "on the lawn", "among flowers", "in springtime", "in the park"),
    ("in the forest", "among trees", "in the woods", "under leaves", "on a mossy log", "in the jungle"),
    ("in the swamp", "in muddy water", "among reeds", "with frogs", "in the marsh", "at the bog"),
    ("in the snow", "on ice", "in winter", "on a frosty morning", "on a glacier", "at the north pole"),
    ("in the rain", "during a storm", "on a wet day", "under grey clouds", "with thunder", "in a downpour"),
    ("in the sea", "under water", "in deep water", "among waves", "with fish", "in the ocean"),
)
