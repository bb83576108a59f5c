from server.engine.encoder_cache.circuit import FIRST_PAUSE_S, LONGEST_PAUSE_S, Circuit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def lose(circuit: Circuit) -> None:
    begun = circuit.begin()
    assert begun is not None
    circuit.fail(begun)


def pause_of(circuit: Circuit, clock: Clock) -> float:
    """In steps of a tenth."""
    start = clock.now
    while circuit.is_off():
        clock.now += 0.1
    return clock.now - start


def test_while_it_is_off_nobody_tries() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    lose(circuit)
    assert [circuit.begin() for _ in range(1000)] == [None] * 1000


def test_pauses_grow_to_the_longest_and_begin_anew_after_a_success() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    pauses = []
    for _ in range(8):
        lose(circuit)
        pauses.append(pause_of(circuit, clock))
    for pause, wanted in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert 0.75 * wanted <= pause <= wanted + 0.2
    assert circuit.begin() is not None
    assert circuit.succeed()
    lose(circuit)
    assert pause_of(circuit, clock) <= FIRST_PAUSE_S + 0.2


def test_after_a_pause_one_tries_and_the_others_stay_out() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    lose(circuit)
    clock.now += FIRST_PAUSE_S
    assert circuit.begin() is not None
    assert [circuit.begin() for _ in range(10)] == [None] * 10


def test_one_that_never_comes_back_is_followed_by_another() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    lose(circuit)
    clock.now += FIRST_PAUSE_S
    assert circuit.begin() is not None
    clock.now += LONGEST_PAUSE_S
    assert circuit.begin() is not None


def test_many_that_fail_together_count_as_one() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    begun = [circuit.begin() for _ in range(8)]
    for each in begun:
        assert each is not None
        circuit.fail(each)
    assert pause_of(circuit, clock) <= FIRST_PAUSE_S + 0.2


def test_it_says_once_that_it_was_off() -> None:
    circuit = Circuit(Clock())
    assert not circuit.succeed()
    lose(circuit)
    assert circuit.succeed()
    assert not circuit.succeed()
    assert circuit.begin() is not None
