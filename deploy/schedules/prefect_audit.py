"""An audit a week from Prefect: a verdict is a success, exit code 3 a failure, 75 cancelled."""

import subprocess

from prefect import flow
from prefect.states import Cancelled, Completed, Failed, State

AUDIT = (
    "/opt/evenvoice/bin/evenvoice audit run --bundle /srv/evenvoice/bundle --manifest /srv/evenvoice/audit/manifest.csv"
    " --corpus audit --out /var/lib/evenvoice-audit/audit --exclusive /var/lib/evenvoice-audit"
    " --pushgateway http://127.0.0.1:9091"
)


@flow(name="evenvoice-audit")
def audit() -> State:
    code = subprocess.run(AUDIT.split()).returncode
    if code == 75:
        return Cancelled(message="another audit is at work")
    if code not in (0, 1, 2):
        return Failed(message=f"the audit could not be made: exit code {code}")
    return Completed(message=("pass", "disparity", "inconclusive")[code])


if __name__ == "__main__":
    audit.serve(cron="0 3 * * 0", limit=1)
