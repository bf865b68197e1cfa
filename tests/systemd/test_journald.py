"""What the service says is found in a real journal by its fields."""

from __future__ import annotations

import json

from tests.live import until


def test_all_that_befell_a_task_is_found_by_its_id_and_no_text_with_it(service, tell):
    service.configure(engine={"name": "tone", "options": {"fail_on": "FAIL"}})
    service.restart()
    task = service.post("A SECRET that will FAIL.")
    assert service.ended(task)["status"] == "failed"

    def records():
        said = service.machine.shell(f"journalctl --no-pager -o json INDEXTTSD_TASK={task}")
        return [json.loads(line) for line in said.splitlines()]

    (failed,) = until(records, "the record", pause=0.1)
    wanted = {"INDEXTTSD_ACTION": "task_failed", "LOGGER": "indexttsd.worker", "PRIORITY": "4"}
    assert {key: failed[key] for key in wanted} == wanted
    assert (failed["SYSLOG_IDENTIFIER"], failed["_SYSTEMD_UNIT"]) == ("indexttsd", "indexttsd.service")
    assert "SECRET" not in service.journal()
    engine = service.machine.shell("journalctl --no-pager -o json LOGGER=indexttsd.engine").splitlines()[-1]
    assert json.loads(engine)["MESSAGE"].startswith("1 segments could not be spoken: RuntimeError\n  Traceback")
    tell(f"journalctl INDEXTTSD_TASK={task}: {failed['MESSAGE']}")
