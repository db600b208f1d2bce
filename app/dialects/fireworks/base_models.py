"""Base models: `accounts/fireworks/models/` and the last part of the name that the catalogue has for one."""

from app.actions import models
from app.core.errors import Invalid

CATALOGUE = "accounts/fireworks/models/"


def name_of(base: str) -> str:
    """The full name of a base model of the catalogue."""
    return CATALOGUE + base.rsplit("/", 1)[-1]


def named(name: str) -> str:
    """The catalogue's name, or an alias there, for a full name, the last part of a name, or all of it.

    Raises Invalid for a model that is not there, and for a part that several share.
    """
    wanted = name.removeprefix(CATALOGUE)
    catalogue = models.catalogue()
    if catalogue.find(wanted) is not None:
        return wanted
    found = [known for known in catalogue.names() if known.rsplit("/", 1)[-1] == wanted]
    if len(found) > 1:
        raise Invalid(f"'{wanted}' is {' or '.join(found)}: name one of them whole.", param="baseModel")
    return models.tunable(found[0] if found else wanted).name
