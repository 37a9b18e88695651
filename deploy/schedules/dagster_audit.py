"""An audit a week from Dagster: a verdict is a success with its exit code beside it, exit code 3 a failure."""

import subprocess

import dagster as dg

AUDIT = (
    "/opt/evenvoice/bin/evenvoice audit run --bundle /srv/evenvoice/bundle --manifest /srv/evenvoice/audit/manifest.csv"
    " --corpus audit --out /var/lib/evenvoice-audit/audit --exclusive /var/lib/evenvoice-audit"
    " --pushgateway http://127.0.0.1:9091"
)


@dg.asset
def evenvoice_audit() -> dg.MaterializeResult:
    code = subprocess.run(AUDIT.split()).returncode
    if code not in (0, 1, 2, 75):
        raise dg.Failure(f"the audit could not be made: exit code {code}")
    return dg.MaterializeResult(metadata={"exit_code": code})


weekly = dg.ScheduleDefinition(
    name="evenvoice_weekly", target=dg.AssetSelection.assets(evenvoice_audit), cron_schedule="0 3 * * 0"
)
defs = dg.Definitions(assets=[evenvoice_audit], schedules=[weekly])
