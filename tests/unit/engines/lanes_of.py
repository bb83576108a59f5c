"""Groups of engines that serve a model, without any network."""

from server.engines.cards import Card
from server.engines.discovery.source import WrittenSource
from server.engines.engine import Engine
from server.engines.group import Group
from server.engines.health import Health, HealthRules
from tests.unit.engines.clock import Clock


class NoClient:
    """A client that nobody calls."""

    def __init__(self, name: str) -> None:
        self.name = name


def make_group(name: str, count: int, *models: str, weight: float = 1) -> Group:
    """With `count` engines, all ready."""
    urls = [f"http://{name}-{i}.example:8000" for i in range(count)]
    group = Group(name, WrittenSource(urls), weight)
    for url in urls:
        engine = Engine(NoClient(group.name_of(url)), url, Health(HealthRules(), Clock()))  # type: ignore[arg-type]
        engine.models = {model: Card(4096, model) for model in models}
        engine.health.prove()
        group.engines[url] = engine
    return group
