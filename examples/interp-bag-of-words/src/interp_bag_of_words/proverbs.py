"""The data set."""

from interp_registry.contracts.data import Dataset, TextSample

from interp_bag_of_words import ProverbsConfig

PROVERBS = """A bird in the hand is worth two in the bush
A stitch in time saves nine
A watched pot never boils
Actions speak louder than words
All that glitters is not gold
All roads lead to Rome
An apple a day keeps the doctor away
Beggars cannot be choosers
Better late than never
Birds of a feather flock together
Do not count your chickens before they are hatched
Do not put all your eggs in one basket
Every cloud has a silver lining
Fortune favours the bold
Haste makes waste
Honesty is the best policy
Many hands make light work
No man is an island
Practice makes perfect
Rome was not built in a day
Still waters run deep
The early bird catches the worm
The pen is mightier than the sword
There is no smoke without fire
Time and tide wait for no man
Too many cooks spoil the broth
When in Rome do as the Romans do
Where there is a will there is a way
You cannot teach an old dog new tricks
You reap what you sow""".splitlines()


class Proverbs(Dataset):
    """Thirty English proverbs."""

    name = "proverbs"
    modalities = frozenset({"language"})

    def __init__(self, config: ProverbsConfig) -> None:
        self.texts = [text.lower() if config.lower else text for text in PROVERBS]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> TextSample:
        if not 0 <= index < len(self.texts):
            raise IndexError(index)
        return TextSample(key=f"proverb-{index:02d}", text=self.texts[index])
