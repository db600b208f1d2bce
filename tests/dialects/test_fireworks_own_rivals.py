"""Files of weights of one's own that come, change, or go while others look at them: none that has come is lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from app.actions import own_weights
from app.blobs import storage as blobs
from app.store import own_weights as rows
from app.store.db import transaction
from tests.dialects.fireworks import refused
from tests.dialects.own_weights import FILES, account, announce, begin, check, ready, send
from tests.services import eventually
from tests.store.conftest import waits_for_a_lock
from workers import clock, sweep

__all__ = ["account"]


def test_what_is_missing_is_named_and_what_has_come_stays_when_it_is_announced_anew(account, storage):
    begin(account)
    assert "No files have come" in refused(check(account), 400, 9)
    name, content = "adapter_model.safetensors", FILES["adapter_model.safetensors"]
    before = announce(account, {file: len(content) for file, content in FILES.items()})
    assert account.put(before[name], content).status_code == 200
    assert "1 of 2 files of 'm' have not come: 'adapter_config.json'" in refused(check(account), 400, 9)
    config = FILES["adapter_config.json"] + b"\n"
    after = announce(account, {"adapter_config.json": len(config)})
    assert list(after) == ["adapter_config.json"]
    assert "awaited at this URL" in refused(account.put(before["adapter_config.json"], config[:-1]), 403, 7)
    clock.purge_uploads()
    assert account.put(after["adapter_config.json"], config).status_code == 200
    assert check(account).status_code == 200
    clock.purge_uploads()
    assert [path for path in (storage / "uploads").rglob("*") if path.is_file()] == []


def test_weights_that_are_never_validated_go_as_uploads_do(account, storage):
    begin(account)
    send(account, FILES)
    with transaction() as conn:
        conn.execute("update uploads set expires_at = now() - interval '3 hours' where status = 'pending'")
    clock.purge_uploads()
    assert [path for path in (storage / "uploads").rglob("*") if path.is_file()] == []
    assert "2 of 2 files" in refused(check(account), 400, 9)
    send(account, FILES)
    assert check(account).status_code == 200


def test_of_two_who_validate_at_once_both_are_told_that_it_is_done(account, storage, monkeypatch):
    begin(account)
    send(account, FILES)
    look = own_weights.inspection.look

    def late(own, files):
        seen = look(own, files)
        monkeypatch.setattr(own_weights.inspection, "look", look)
        assert check(account).status_code == 200
        clock.purge_uploads()
        return seen

    monkeypatch.setattr(own_weights.inspection, "look", late)
    assert check(account).status_code == 200
    assert len(list((storage / "weights").glob("*/*"))) == 1


def test_files_that_change_while_they_are_published_are_not(account, storage, monkeypatch):
    begin(account)
    urls = announce(account, {name: len(content) for name, content in FILES.items()})
    for name, content in FILES.items():
        account.put(urls[name], content)
    become = own_weights._become_model

    def late(*given):
        assert account.put(urls["adapter_config.json"], FILES["adapter_config.json"]).status_code == 200
        become(*given)

    with monkeypatch.context() as patch:
        patch.setattr(own_weights, "_become_model", late)
        assert "anew meanwhile" in refused(check(account), 400, 9)
    assert list((storage / "weights").glob("*/*")) == []
    assert check(account).status_code == 200


@pytest.mark.parametrize("place", ["look", "gather"])
@pytest.mark.parametrize("what", ["sent", "announced", "deleted"])
def test_files_that_go_while_they_are_looked_at_or_published_are_no_fault_of_storage(account, monkeypatch, what, place):
    begin(account)
    send(account, FILES)
    changes = {
        "sent": lambda: account.put(again["adapter_config.json"], FILES["adapter_config.json"]),
        "announced": lambda: announce(account, {"adapter_config.json": 1}),
        "deleted": lambda: account.delete("models/m"),
    }
    again = announce(account, {name: len(content) for name, content in FILES.items()})
    owner = own_weights.inspection if place == "look" else type(blobs())
    plain = getattr(owner, place)

    def late(*given):
        assert changes[what]() is not None
        clock.purge_uploads()
        return plain(*given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, place, late)
        answer = check(account)
    if what == "deleted":
        refused(answer, 404, 5)
    else:
        assert "anew meanwhile" in refused(answer, 400, 9)


def test_what_is_written_of_a_model_while_it_becomes_ready_stays(account):
    begin(account)
    told = {"base_identity": "", "hyperparameters": {}, "not_used": [], "warnings": []}
    with ThreadPoolExecutor(1) as threads:
        with transaction() as conn:
            own = rows.hold(conn, "ann", "m")
            changing = threads.submit(account.patch, "models/m", {"displayName": "Mine"})
            eventually(waits_for_a_lock)
            rows.become_model(conn, own.id, name="ft:m", org_id="ann-org", base="tiny/base", path="", manifest=told)
        changed = changing.result().json
    assert (changed["displayName"], changed["state"]) == ("Mine", "READY")


def test_the_sweep_leaves_weights_that_are_a_models_and_takes_what_a_lost_validation_left(account):
    ready(account)
    blobs().put("weights/weights-lost/part/config.json", b"{}")
    assert "weights" in sweep.PLACES
    found = list(blobs().stored("weights"))
    assert len(found) == 1 + len(FILES)
    removed = sweep.remove_unnamed(found, before=datetime.now(UTC) + timedelta(days=1))
    assert removed == ["weights/weights-lost/part/config.json"]
