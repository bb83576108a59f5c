"""What was refused must not stay in memory because of the exception that says so."""


def let_go(problem: BaseException) -> None:
    """Part an exception that has been answered from the frames that it came through, and from those before it.

    Frames hold bodies and pictures; a task that one of them waited for holds the exception, which holds the frames.
    Nothing but the garbage collector would end such a circle, and it does not count bytes: hundreds of megabytes of
    refused bodies were seen to lie there, outside of every permit.
    """
    left: list[BaseException | None] = [problem]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
        each.__traceback__ = each.__cause__ = each.__context__ = None
