"""An audit a week from Apache Airflow: a verdict is a success, exit code 3 a failure, 75 skipped."""

import subprocess

import pendulum
from airflow.exceptions import AirflowException, AirflowSkipException
from airflow.sdk import dag, task

AUDIT = (
    "/opt/evenvoice/bin/evenvoice audit run --bundle /srv/evenvoice/bundle --manifest /srv/evenvoice/audit/manifest.csv"
    " --corpus audit --out /var/lib/evenvoice-audit/audit --exclusive /var/lib/evenvoice-audit"
    " --pushgateway http://127.0.0.1:9091"
)


@dag(schedule="0 3 * * 0", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False, max_active_runs=1)
def evenvoice_audit():
    @task
    def audit() -> int:
        code = subprocess.run(AUDIT.split()).returncode
        if code == 75:
            raise AirflowSkipException("another audit is at work")
        if code not in (0, 1, 2):
            raise AirflowException(f"the audit could not be made: exit code {code}")
        return code

    audit()


evenvoice_audit()
