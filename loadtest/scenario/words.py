"""Questions of a wanted length: common short words, of which large vocabularies have a token each."""

import random

WORDS = (
    "what is the color of this part and how many are there in the left or right side near top line look at each "
    "small large red blue green black white box label number price name date total item row count read tell find "
    "show list where which when who does it have any more than one two three four five same other new old first "
    "last open closed clear dark light high low long short wide full empty good bad yes no can you see between "
    "under over behind front back door wall road car sign text page table cup hand tree"
).split()
QUESTION = "What does the picture show?"


def draw_words(count: int, rng: random.Random) -> str:
    """Random words first, so that no two questions share a prefix by accident; the question's end asks."""
    asks = QUESTION.split()[:count]
    drawn = rng.choices(WORDS, k=count - len(asks))
    return " ".join([*drawn, *asks])
