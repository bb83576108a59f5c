"""What may befall the encoder cache in vLLM, played with vllm_scheduler.py's engine.

`python -m tests.contract.vllm_scheduler_scenes FOLDER` runs where vLLM is, and prints what came to pass as JSON
(test_encoder_cache_in_vllm.py holds it to account).
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from vllm.v1.request import RequestStatus

from server.engine.encoder_cache import scheduling
from server.engine.encoder_cache.arena_view import ArenaView
from server.engine.encoder_cache.loading import SENTINEL
from tests.contract.vllm_scheduler import Engine


def restarts(folder: Path) -> dict[str, Any]:
    """Ten pictures, asked for thrice by an engine and thrice by the one after it."""
    told = {}
    for name in ("first", "second"):
        engine = Engine(folder)
        for turn in range(3):
            for number in range(10):
                engine.ask([(number, 20)], salt=turn)
            engine.run()
        engine.saved()
        told[name] = engine.close()
    return told


def evictions(folder: Path) -> dict[str, Any]:
    """vLLM's own memory holds three of the ten pictures, and ours all: each is encoded once."""
    engine = Engine(folder, memory=70)
    for turn in range(4):
        for number in range(10):
            engine.ask([(number, 20)], salt=turn)
            engine.run()
            engine.saved()
    return engine.close()


def one_picture_at_once(folder: Path) -> dict[str, Any]:
    """Many requests for one picture, and one that shows it thrice, in one step."""
    seed = Engine(folder)
    seed.ask([(1, 20)])
    seed.run()
    seed.saved()
    seed.close()
    engine = Engine(folder)
    for salt in range(5):
        engine.ask([(1, 20)], salt=salt)
    engine.ask([(1, 20), (1, 20), (1, 20)], salt=9)
    engine.run()
    return engine.close()


def ranks(folder: Path) -> dict[str, Any]:
    """Two ranks: both load, one writes."""
    told = {}
    for name in ("first", "second"):
        engine = Engine(folder, ranks=2)
        for number in range(6):
            engine.ask([(number, 20)])
        engine.run()
        engine.saved()
        told[name] = engine.close() | {"other": sum(engine.workers[1].encoded.values())}
    return told | {"files": len(list(folder.rglob("*.emb")))}


def another_size(folder: Path) -> dict[str, Any]:
    """A name of a picture is given to another one, of another size, in the next engine; and again in the third."""
    told = {}
    for name, rows in (("first", 20), ("second", 24), ("third", 24)):
        engine = Engine(folder)
        engine.ask([(1, rows)])
        engine.run()
        engine.saved()
        told[name] = engine.close()
    return told


def unreadable(folder: Path) -> dict[str, Any]:
    """What was promised cannot be read: those who need it fail, and others do not; the engine lives."""
    restarts(folder)
    engine = Engine(folder)
    engine.workers[0].loading._view.read = None  # type: ignore[union-attr,assignment,method-assign]
    victim, other = engine.ask([(1, 20)], tokens=9), engine.ask([(77, 20)], tokens=9)
    engine.run()
    engine.workers[0].wrong.clear()
    again = engine.ask([(2, 20)])
    engine.run()
    return engine.close() | {"finished": [engine.finished[each] for each in (victim, other, again)]}


def cleared(folder: Path) -> dict[str, Any]:
    """vLLM clears its encoder cache, as it does when weights change: nothing older is used after that."""
    restarts(folder)
    engine = Engine(folder)
    engine.ask([(1, 20)])
    engine.run()
    engine.scheduler.reset_encoder_cache()
    engine.workers[0].cache.clear()
    victim = engine.ask([(2, 20)], tokens=9)
    engine.run()
    again = engine.ask([(3, 20)], tokens=9)
    engine.run()
    facts = {"sentinel": SENTINEL in engine.workers[0].cache}
    return engine.close() | facts | {"finished": [engine.finished[each] for each in (victim, again)]}


def apart(folder: Path) -> dict[str, Any]:
    """A worker that cannot open the scheduler's memory, as on another machine."""
    attach, ArenaView.attach = ArenaView.attach, staticmethod(refuse)  # type: ignore[assignment,method-assign]
    engine = Engine(folder)
    ArenaView.attach = attach  # type: ignore[method-assign]
    for _ in range(2):
        engine.ask([(1, 20)])
        engine.run()
    return engine.close()


def astonished(folder: Path) -> dict[str, Any]:
    """Each of what the scheduler's half does raises, after something was promised."""
    restarts(folder)
    told = {}
    for name in ("ensure_available", "has_item", "told", "finished", "take_unavailable", "allocated", "scheduled"):
        engine = Engine(folder)
        engine.ask([(1, 20), (2, 20)])
        engine.run()
        half = engine.scheduler.ec_connector._scheduling
        setattr(half.seen if name in ("allocated", "scheduled") else half, name, refuse)
        asked = [engine.ask([(3, 20)]), engine.ask([(1, 20), (99, 20)])]
        engine.run()
        told[name] = engine.close() | {"finished": [engine.finished[each] for each in asked]}
    return told


def refuse(*_: Any) -> Any:
    raise OSError("not here")


def anything(folder: Path, seed: int) -> dict[str, Any]:
    """Random requests, sizes, memories, aborts and priorities, with hardly room for anything.

    Every other time each look-up costs a step, as it does where others run.
    """
    scheduling.PATIENCE_S = 0.01 * (seed % 2)
    rng = random.Random(seed)
    engine = Engine(folder, memory=90, blocks=26, batch=64, scheduling_policy="priority")
    sizes = [4 + 7 * each % 56 for each in range(25)]
    names: list[str] = []
    for _ in range(120):
        if rng.random() < 0.5:
            chosen = [rng.randrange(25) for _ in range(rng.randrange(1, 4))]
            salt, priority = rng.randrange(3), rng.randrange(3)
            pictures = [(each, sizes[each]) for each in chosen]
            names.append(engine.ask(pictures, rng.randrange(1, 30), salt, priority))
        if names and rng.random() < 0.1:
            gone = rng.choice(names)
            engine.figures["aborted"] += gone in engine.scheduler.requests
            engine.scheduler.finish_requests([gone], RequestStatus.FINISHED_ABORTED)
        engine.figures["preempted"] += sum(each.num_preemptions for each in engine.scheduler.requests.values())
        if engine.scheduler.has_requests():
            engine.step()
    engine.run()
    engine.saved()
    return engine.close()


def main() -> None:
    folder = Path(sys.argv[1])
    scenes = {each.__name__: each for each in (
        restarts, evictions, one_picture_at_once, ranks, another_size, unreadable, cleared, apart, astonished,
    )}  # fmt: skip
    told = {name: scene(folder / name) for name, scene in scenes.items()}
    shared = folder / "anything"
    told["anything"] = [anything(shared, seed) for seed in range(4)]  # type: ignore[assignment]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
