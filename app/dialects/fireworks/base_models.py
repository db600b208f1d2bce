"""Base models: `accounts/fireworks/models/` and the last part of the name that the catalogue has for one."""

from app.actions import models
from app.core.errors import Invalid

CATALOGUE = "accounts/fireworks/models/"


def name_of(base: str) -> str:
    """The full name of a base model of the catalogue."""
    return CATALOGUE + base.rsplit("/", 1)[-1]


def named(name: str) -> str:
    """The catalogue's name, or an alias there, for a full name, the last part of a name, or all of it.

    A blank name is the only model of a catalogue that has one. Raises Invalid for a model that is not there, for a part
    that several share, and for a blank where there are several.
    """
    catalogue = models.catalogue()
    wanted = name.removeprefix(CATALOGUE)
    if catalogue.find(wanted) is not None:
        return wanted
    found = [known for known in catalogue.names() if known.rsplit("/", 1)[-1] == wanted] if wanted else []
    if len(found) > 1:
        raise Invalid(f"'{wanted}' is {' or '.join(found)}: name one of them whole.", param="baseModel")
    found = found or ([] if wanted else list(catalogue.models))
    if len(found) != 1:
        missing = "Name a base model, or a tuned one to go on from."
        if wanted:
            missing = f"The base model {wanted[:200]} is not available for fine-tuning or does not exist."
        raise Invalid(f"{missing} Available here: {', '.join(catalogue.names())}.", param="baseModel")
    return found[0]
