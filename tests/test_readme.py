"""The README says what the code says: settings, the variables of the Procfile, hyperparameters, the state diagram."""

import re
from dataclasses import fields
from pathlib import Path

from app.config import Settings
from app.core.hyperparameters import LIMITS
from app.core.states import diagram
from app.dialects.openai.hyperparameters import PreferenceHyperparametersSchema
from workers.backends.child import ALLOWED

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def shown(default: object) -> str:
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, float):
        return f"{default:g}"
    return str(default).replace(f"{ROOT}/", "")


def settings_table() -> list[str]:
    return [
        f"| `{item.name.upper()}` | {f'`{text}`' if (text := shown(item.default)) else ''} | {item.metadata['doc']} |"
        for item in fields(Settings)
    ]


def test_the_table_of_settings_is_the_one_of_the_code():
    rows = [line for line in README.splitlines() if re.match(r"\| `[A-Z_]+` \|", line)]
    assert [row for row in rows if row.split("`")[1].lower() in Settings.__dataclass_fields__] == settings_table()


def test_every_variable_of_the_procfile_is_explained():
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "Procfile").read_text("utf-8")))
    assert used <= set(re.findall(r"\| `([A-Z_]+)` \|", README))


def test_the_diagram_is_the_one_of_the_table_of_moves():
    assert f"```mermaid\n{diagram()}\n```" in README


def test_every_hyperparameter_is_explained_under_its_wire_name():
    wire = {field.data_key or name for name, field in PreferenceHyperparametersSchema().fields.items()}
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", README, flags=re.MULTILINE))
    assert len(wire) == len(LIMITS)
    assert wire <= explained


def test_what_a_trainer_sees_is_listed():
    paragraph = README.split("it gets only:")[1].split("##")[0]
    assert tuple(re.findall(r"`([A-Z_]+)`", paragraph)) == ALLOWED


def test_every_setting_of_the_example_exists():
    example = (ROOT / "deploy" / "env.example").read_text("utf-8")
    named = set(re.findall(r"^([A-Z_]+)=", example, flags=re.MULTILINE))
    assert named <= set(re.findall(r"\| `([A-Z_]+)` \|", README))
