from server.wiring.admission import part_of


def test_each_of_several_processes_takes_its_part_rounded_up() -> None:
    assert (part_of(64, 1), part_of(64, 6), part_of(1, 6), part_of(0, 6)) == (64, 11, 1, 0)
