from server.label_classes import OTHERS, LabelClasses

NAMES = [f"tenant-{i}" for i in range(10_000)]
CLASSES = {f"other-{i:02d}" for i in range(OTHERS)}


def test_the_first_have_their_names_and_all_others_share_few_classes() -> None:
    classes = LabelClasses(50)
    labels = [classes.of(name) for name in NAMES]
    assert labels[:50] == NAMES[:50]
    assert set(labels[50:]) == CLASSES
    assert len(classes) == 50


def test_a_label_never_changes() -> None:
    classes = LabelClasses(50)
    assert [classes.of(name) for name in NAMES] == [classes.of(name) for name in NAMES]


def test_a_class_is_the_same_in_every_process() -> None:
    """Written down: the sum over gateways of several versions counts a tenant in one place."""
    assert [LabelClasses(0).of(name) for name in ("ann", "bob", "oidc:cid")] == ["other-03", "other-00", "other-10"]


def test_a_class_stays_itself_and_takes_no_place() -> None:
    classes = LabelClasses(1)
    assert (classes.of("other-07"), len(classes)) == ("other-07", 0)
    assert classes.of("other-99") in CLASSES
