"""Pictures the demo model was never trained on, and the questions it is measured by.

Other seeds, sides of 96-512 px, JPEG (quality 40-95) and PNG, half of them with added noise.
"""

import base64
import random
from dataclasses import dataclass

from demo import scenes


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One encoded picture and at most one question a skill."""

    data: bytes
    media_type: str
    questions: tuple[scenes.Question, ...]

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


def held_out(index: int) -> HeldOut:
    """The picture of this index, always the same."""
    rng = random.Random(f"held-out/{index}")
    scene = scenes.draw_scene(rng)
    image = scenes.add_noise(scene.image, rng, rng.uniform(1, 12)) if rng.random() < 0.5 else scene.image
    data, media_type = scenes.compress(image, rng)
    return HeldOut(data, media_type, tuple(scenes.skill_questions(scene, rng)))
