"""The dashboards as JSON, and the files from which Grafana provisions itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.dashboards import audits, defenses, fairness, operations

DASHBOARDS: dict[str, Callable[[], board.Dashboard]] = {
    "fairness": fairness.build,
    "operations": operations.build,
    "audits": audits.build,
    "defenses": defenses.build,
}
"""Name of the file -> what builds it."""

FOLDER = "evenvoice"
"""Of Grafana, in which they stand; its title and its uid."""

_DATASOURCES = """\
# Grafana reads this at its start: /etc/grafana/provisioning/datasources
apiVersion: 1
datasources:
  - name: Prometheus
    uid: evenvoice-prometheus
    type: prometheus
    access: proxy
    url: ${PROMETHEUS_URL}   # such as http://prometheus:9090
    isDefault: true
    jsonData:
      timeInterval: 15s   # scrape_interval of deploy/prometheus/prometheus.yml
      httpMethod: POST   # the queries are longer than an address may be
"""

_PROVIDERS = f"""\
# Grafana reads this at its start: /etc/grafana/provisioning/dashboards
apiVersion: 1
providers:
  - name: evenvoice
    folder: {FOLDER}
    folderUid: {FOLDER}
    type: file
    allowUiUpdates: false   # they are built in Python: a change there would be lost
    updateIntervalSeconds: 30
    options:
      path: /var/lib/grafana/dashboards/evenvoice
"""

_KUSTOMIZATION = "\n".join(
    [
        "# A ConfigMap for each dashboard, with the label that Grafana's sidecar looks for; see docs/kubernetes.md.",
        "apiVersion: kustomize.config.k8s.io/v1beta1",
        "kind: Kustomization",
        "generatorOptions:",
        "  disableNameSuffixHash: true   # the sidecar follows changes by itself",
        "  labels:",
        '    grafana_dashboard: "1"',
        "configMapGenerator:",
        *(f"  - name: evenvoice-dashboard-{name}\n    files: [dashboards/{name}.json]" for name in DASHBOARDS),
        "",
    ]
)


def dashboard_json(name: str) -> str:
    """A dashboard as Grafana reads it; the same text every time.

    Raises:
        KeyError: not one of `DASHBOARDS`.
    """
    built = DASHBOARDS[name]().build()
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def grafana_files() -> dict[str, str]:
    """Every file that Grafana is provisioned from: path below the folder -> text."""
    return {
        **{f"dashboards/{name}.json": dashboard_json(name) for name in DASHBOARDS},
        "provisioning/datasources/prometheus.yaml": _DATASOURCES,
        "provisioning/dashboards/evenvoice.yaml": _PROVIDERS,
        "kustomization.yaml": _KUSTOMIZATION,
    }


def write_grafana(folder: Path) -> list[Path]:
    """Write them; files of other names are left alone."""
    written = []
    for name, text in grafana_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
