from server.metering.label_classes import OTHERS, LabelClasses

NAMES = [f"tenant-{i}" for i in range(10_000)]
CLASSES = {f"other-{i:02d}" for i in range(OTHERS)}


def classes_of(most: int) -> LabelClasses:
    return LabelClasses(most, {"": "-", "-": "-"})


def test_the_first_have_their_names_and_all_others_share_few_classes() -> None:
    classes = classes_of(50)
    labels = [classes.of(name) for name in ("", *NAMES)]
    assert labels[:51] == ["-", *NAMES[:50]]
    assert set(labels[51:]) == CLASSES


def test_a_label_never_changes() -> None:
    classes = classes_of(50)
    assert [classes.of(name) for name in NAMES] == [classes.of(name) for name in NAMES]


def test_a_class_is_the_same_in_every_process() -> None:
    """Written down: the sum over gateways of several versions counts a tenant in one place."""
    assert [classes_of(0).of(name) for name in ("ann", "bob", "oidc:cid")] == ["other-03", "other-00", "other-10"]


def test_a_class_stays_itself_and_takes_no_place() -> None:
    classes = classes_of(1)
    assert [classes.of(name) for name in ("other-07", "other-99", "-")] == ["other-07", "other-03", "-"]
    assert classes.of("ann") == "ann"
