import re
from collections import Counter

from blake3 import blake3

from server.engines.capacity import EngineReport
from server.engines.cards import Card
from server.engines.engine import Engine
from server.engines.group import Group
from server.engines.lanes import Lanes
from tests.unit.engines.lanes_of import make_group

TENANTS = [f"tenant-{i}" for i in range(10_000)]
DIGESTS = [blake3(str(i).encode()).hexdigest() for i in range(200)]


def make_lanes(*groups: Group, **aliases: str) -> Lanes:
    lanes = Lanes(groups, aliases)
    lanes.remake()
    return lanes


def group_of(lanes: Lanes, tenant: str, model: str = "demo", digest: str = DIGESTS[0]) -> str:
    chosen = lanes.choose(model, tenant, digest)
    assert chosen is not None
    return chosen.name.rpartition("-")[0]


def test_a_canary_gets_its_part_of_the_tenants_and_keeps_them() -> None:
    lanes = make_lanes(make_group("stable", 3, "demo", weight=95), make_group("canary", 2, "demo", weight=5))
    groups = {tenant: group_of(lanes, tenant) for tenant in TENANTS}
    # Three standard deviations of a binomial with p = 0.05.
    assert 435 <= Counter(groups.values())["canary"] <= 565
    for tenant in TENANTS[:500]:
        assert {group_of(lanes, tenant, digest=digest) for digest in DIGESTS[:5]} == {groups[tenant]}


def test_a_canary_that_grows_takes_tenants_and_gives_none_away() -> None:
    small = make_lanes(make_group("stable", 1, "demo", weight=95), make_group("canary", 1, "demo", weight=5))
    large = make_lanes(make_group("stable", 1, "demo", weight=80), make_group("canary", 1, "demo", weight=20))
    before = {tenant for tenant in TENANTS if group_of(small, tenant) == "canary"}
    after = {tenant for tenant in TENANTS if group_of(large, tenant) == "canary"}
    assert before < after
    assert 1880 <= len(after) <= 2120


def test_the_canarys_tenants_are_others_for_another_model() -> None:
    groups = [make_group("stable", 1, "a", "b", weight=50), make_group("canary", 1, "a", "b", weight=50)]
    lanes = make_lanes(*groups)
    same = sum(group_of(lanes, tenant, "a") == group_of(lanes, tenant, "b") for tenant in TENANTS)
    assert 4500 < same < 5500


def test_while_a_canary_is_out_the_others_serve_its_tenants_and_nobody_elses_move() -> None:
    stable, canary = make_group("stable", 2, "demo", weight=1), make_group("canary", 1, "demo", weight=1)
    lanes = make_lanes(stable, canary)
    before = {tenant: group_of(lanes, tenant) for tenant in TENANTS[:200]}
    (only,) = canary.engines.values()
    only.health.put_out(at_fault=False)
    lanes.remake()
    assert {group_of(lanes, tenant) for tenant in TENANTS[:200]} == {"stable"}
    only.health.prove()
    lanes.remake()
    assert {tenant: group_of(lanes, tenant) for tenant in TENANTS[:200]} == before


def test_a_group_of_no_weight_serves_only_where_no_other_can() -> None:
    main, spare = make_group("main", 1, "demo"), make_group("spare", 1, "demo", weight=0)
    lanes = make_lanes(spare, main)
    assert {group_of(lanes, tenant) for tenant in TENANTS[:200]} == {"main"}
    (only,) = main.engines.values()
    assert lanes.choose("demo", "ann", DIGESTS[0], frozenset({only})) in spare.engines.values()


def test_each_model_has_its_own_engines() -> None:
    lanes = make_lanes(make_group("one", 2, "a"), make_group("two", 2, "b"))
    assert {group_of(lanes, "ann", "a", digest) for digest in DIGESTS} == {"one"}
    assert {group_of(lanes, "ann", "b", digest) for digest in DIGESTS} == {"two"}
    assert lanes.choose("c", "ann", DIGESTS[0]) is None


def test_an_alias_is_a_model_as_long_as_what_it_stands_for_is_one() -> None:
    group = make_group("one", 1, "demo")
    lanes = make_lanes(group, **{"gpt-4o": "demo", "gpt-5": "nothing"})
    assert lanes.models == {"demo": 4096, "gpt-4o": 4096}
    assert (lanes.real_name("gpt-4o"), lanes.real_name("demo")) == ("demo", "demo")
    assert lanes.bases["gpt-4o"] == "demo"


def test_an_adapter_stands_on_its_base() -> None:
    group = make_group("one", 1, "demo")
    (engine,) = group.engines.values()
    engine.models = {"demo": Card(4096, "demo"), "sql": Card(4096, "demo")}
    lanes = make_lanes(group)
    assert (lanes.models["sql"], lanes.bases["sql"], lanes.bases["demo"]) == (4096, "demo", "demo")


def test_what_engines_served_that_are_gone_is_still_known_and_forgotten_once_others_serve() -> None:
    group = make_group("one", 1, "demo")
    lanes = make_lanes(group)
    group.engines.clear()
    lanes.remake()
    assert lanes.models == {"demo": 4096}
    assert lanes.choose("demo", "ann", DIGESTS[0]) is None
    group.engines = make_group("one", 1, "next").engines
    lanes.remake()
    assert lanes.models == {"next": 4096}


def test_the_largest_engine_says_what_a_request_can_have_and_none_where_one_does_not_tell() -> None:
    first, second = make_group("one", 2, "demo"), make_group("two", 1, "demo", "other")
    lanes = make_lanes(first, second, alias="demo")
    assert lanes.most_tokens == {"demo": None, "other": None}
    engines = [*first.engines.values(), *second.engines.values()]
    for tokens, engine in zip((100, 300, 200), engines, strict=True):
        assert lanes.most_tokens["demo"] is None
        engine.report = EngineReport(0, 0, most_tokens=tokens)
        lanes.remake()
    assert lanes.most_tokens == {"demo": 300, "other": 200}
    engines[1].health.put_out(at_fault=True)  # it may be back
    lanes.remake()
    assert lanes.most_tokens["demo"] == 300


def test_engines_that_were_tried_are_not_chosen_again() -> None:
    group = make_group("one", 3, "demo")
    lanes, tried = make_lanes(group), set[Engine]()
    for _ in range(3):
        chosen = lanes.choose("demo", "ann", DIGESTS[0], frozenset(tried))
        assert chosen is not None
        tried.add(chosen)
    assert tried == set(group.engines.values())
    assert lanes.choose("demo", "ann", DIGESTS[0], frozenset(tried)) is None


def test_names_of_engines_never_show_where_they_are() -> None:
    group = make_group("one", 1)
    group.source.written = None
    names = {group.name_of(f"http://10.0.0.{i}:8000") for i in range(2)}
    assert len(names) == 2
    assert all(re.fullmatch(r"one-[0-9]{1,9}", name) for name in names)


def test_a_picture_is_at_home_where_it_belongs_and_spilled_elsewhere_also_while_that_is_out() -> None:
    group = make_group("engine", 3, "demo")
    lanes = make_lanes(group)
    at_home = lanes.choose("demo", "ann", DIGESTS[0])
    assert at_home is not None
    others = [each for each in group.engines.values() if each is not at_home]
    assert lanes.affinity("demo", "ann", DIGESTS[0], at_home) == "home"
    assert [lanes.affinity("demo", "ann", DIGESTS[0], each) for each in others] == ["spilled"] * 2
    at_home.health.put_out(at_fault=True)
    lanes.remake()
    chosen = lanes.choose("demo", "ann", DIGESTS[0])
    assert chosen in others
    assert lanes.affinity("demo", "ann", DIGESTS[0], chosen) == "spilled"


def test_of_one_engine_there_is_nothing_to_tell() -> None:
    lanes = make_lanes(make_group("engine", 1, "demo"))
    chosen = lanes.choose("demo", "ann", DIGESTS[0])
    assert chosen is not None
    assert lanes.affinity("demo", "ann", DIGESTS[0], chosen) == "none"


def test_without_affinity_a_picture_belongs_to_no_engine() -> None:
    lanes = Lanes([make_group("stable", 2, "demo")], {}, affinity=False)
    lanes.remake()
    chosen = [lanes.choose("demo", "ann", DIGESTS[0]) for _ in range(4)]
    assert chosen[0] is chosen[2]
    assert chosen[1] is chosen[3]
    assert chosen[0] is not chosen[1]
    assert chosen[0] is not None
    assert lanes.affinity("demo", "ann", DIGESTS[0], chosen[0]) == "none"
