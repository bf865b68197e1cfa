"""How the Python packages that only IndexTTS needs come to where this program runs."""

from __future__ import annotations


def install(*settings: str) -> str:
    """What to run, in a checkout and for the installed service, for they have environments of their own.

    Args:
        settings: of make, such as `TORCH=cpu`.
    """
    commands = ("make setup-indextts", "sudo make install INDEXTTS=1")
    checkout, service = (" ".join((command, *settings)) for command in commands)
    return f"run `{checkout}`, or for the installed service `{service}`"
