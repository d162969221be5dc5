"""What Ray says of a process that is gone, in a line."""

_FIELDS = ("class_name:", "actor_id:", "pid:", "name:", "namespace:", "ip:")

_GUESSES = "Some common causes include"


def cause(failure: BaseException) -> str:
    r"""Ray's report without its particulars.

    >>> cause(RuntimeError("The actor died unexpectedly.\n\tclass_name: Rank\n\tpid: 7\nThe actor's node has died."))
    "The actor died unexpectedly. The actor's node has died"
    """
    lines = (line.strip() for line in str(failure).splitlines())
    told = " ".join(line for line in lines if line and not line.startswith(_FIELDS))
    return told.partition(_GUESSES)[0].rstrip(" .")
