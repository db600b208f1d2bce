"""What a job of the Fireworks dialect is expected to cost, by the prices of the settings."""

import pytest

from app import config
from app.core.states import Outcome
from app.store.db import transaction
from tests.dialects.fireworks import SFT, Account, trained
from tests.dialects.test_fireworks_jobs import CHOSEN, row
from tests.store.conftest import claimed, finished


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


@pytest.fixture
def prices(account, monkeypatch):
    """What sets prices, by the names of settings."""

    def set_(**named: str) -> None:
        for name, text in named.items():
            monkeypatch.setenv(name.upper(), text)
        config.settings.cache_clear()

    yield set_
    monkeypatch.undo()
    config.settings.cache_clear()


def test_what_a_job_will_have_cost_is_told_when_prices_are_set(account, prices):
    trained(account, "j")
    counted = {"rows": 11, "tokens": 330_000, "held_out": {"rows": 1, "tokens": 30_000}}
    result = {"hyperparameters": {**CHOSEN, "epochs": 2}, "training": counted}
    finished(claimed(row(account, "j")), Outcome.DONE, result=result)
    assert "estimatedCost" not in account.get(f"{SFT}/j").json
    prices(price_per_million_tokens="2.5")
    cost = account.get(f"{SFT}/j").json["estimatedCost"]
    assert cost == {"currencyCode": "USD", "units": "1", "nanos": 500_000_000}


def test_a_job_that_stands_still_is_expected_to_go_on_at_its_pace(account, prices):
    trained(account, "j")
    counted = {"hyperparameters": CHOSEN, "training": {"rows": 10, "tokens": 10}}
    job = finished(claimed(row(account, "j")), Outcome.DONE, result=counted)
    with transaction() as conn:
        conn.execute(
            """update jobs set progress = '{"step": 5, "total_steps": 20}', active_seconds = 900 where id = %s""",
            (job.id,),
        )
    prices(price_per_trainer_hour="3")
    assert account.get(f"{SFT}/j").json["estimatedCost"] == {"currencyCode": "USD", "units": "3", "nanos": 0}
