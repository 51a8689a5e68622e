"""Alerts and dashboard speak only of figures that the programs have, in a language that Prometheus understands."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.core import Metric

from pinnace.records import FileState
from pinnace_api.database import Database
from pinnace_api.observing import Meters
from pinnace_sidecar.health import Status, StatusCollector
from support.chart import CHART, ROOT, Manifest, containers, helm, of_kind, one, render

RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"
ON: dict[str, Any] = {"store__bucket": "artifacts", "monitoring__install": "always"}
#: What Prometheus adds to the figures of a target, and our monitor to those of training pods.
OF_A_TARGET = {"job", "instance", "namespace", "pod", "container", "endpoint", "service"}
OF_A_TRAINING_POD = {"pinnace_dev_experiment", "pinnace_dev_iteration"}
ALERTS = [
    rule
    for group in yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


def series(metrics: Iterable[Metric]) -> Iterator[tuple[str, set[str]]]:
    """Each series of these metrics, and the labels that it has."""
    for metric in metrics:
        for sample in metric.samples:
            yield sample.name, set(sample.labels)


def of_the_sidecar() -> dict[str, set[str]]:
    status = Status(
        last_pass_at=0.0,
        upload_failures={"SlowDown": 1},
        verified={"size": 1},
        credentials_expire_seconds=1.0,
    )
    return {name: labels | OF_A_TRAINING_POD for name, labels in series(StatusCollector(lambda: status).collect())}


def of_the_api(folder: Path) -> dict[str, set[str]]:
    meters = Meters()
    meters.watch(Database(f"sqlite:///{folder / 'api.db'}"))
    meters.requests.labels("GET", "/", 200).inc()
    for meter in (meters.received, meters.sent):
        meter.labels("GET", "/").inc()
    meters.seconds.labels("GET", "/").observe(1)
    return dict(series(meters.registry.collect()))


#: The operator's, by the name that its code gives them.
OF_THE_OPERATOR: dict[str, dict[str, set[str]]] = {
    "pinnace_operator_look_seconds": {
        "pinnace_operator_look_seconds_bucket": {"le"},
        "pinnace_operator_look_seconds_count": set(),
    },
    "pinnace_operator_errors": {"pinnace_operator_errors_total": {"kind"}},
    "pinnace_operator_admissions": {"pinnace_operator_admissions_total": {"hook", "outcome"}},
    "pinnace_operator_admission_seconds": {
        "pinnace_operator_admission_seconds_bucket": {"hook", "le"},
        "pinnace_operator_admission_seconds_count": {"hook"},
    },
    "pinnace_operator_jobs_created": {"pinnace_operator_jobs_created_total": set()},
    "pinnace_operator_experiments": {"pinnace_operator_experiments": set()},
    "pinnace_operator_oldest_unshipped_seconds": {"pinnace_operator_oldest_unshipped_seconds": set()},
    "pinnace_operator_leader": {"pinnace_operator_leader": set()},
    "pinnace_operator_last_watch_event_timestamp_seconds": {
        "pinnace_operator_last_watch_event_timestamp_seconds": set()
    },
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each series there is, with its labels."""
    return {
        "up": set(),
        **of_the_sidecar(),
        **of_the_api(tmp_path_factory.mktemp("api")),
        **{name: labels for of_one in OF_THE_OPERATOR.values() for name, labels in of_one.items()},
    }


def test_the_operators_figures_are_those_that_its_code_names() -> None:
    code = "".join(file.read_text() for file in sorted((ROOT / "operator" / "src" / "pinnace_operator").glob("*.py")))
    assert set(re.findall(r'"(pinnace_operator_[a-z_]+)"', code)) <= OF_THE_OPERATOR.keys()


def misunderstood(expression: str, known: dict[str, set[str]]) -> list[str]:
    """What an expression names that does not exist. Raises ValueError where it is no PromQL."""
    spelt = promql_parser.parse(expression).prettify()
    wrong = []
    labels: set[str] = set(OF_A_TARGET)
    selectors = re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}|\b((?:pinnace_(?!dev_)\w+)|up)\b", spelt)
    assert selectors
    for braced, matchers, bare in selectors:
        name = braced or bare
        if name not in known:
            wrong.append(name)
            continue
        labels |= known[name]
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if label not in known[name] | OF_A_TARGET:
                wrong.append(f"{name}{{{label}}}")
    for grouped in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", spelt):
        wrong += [label.strip() for label in grouped.split(",") if label.strip() not in labels]
    return wrong


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ('max by (pod) (pinnace_files{state="seen"}) > 1', []),
        ("pinnace_filez > 1", ["pinnace_filez"]),
        ('pinnace_files{stat="seen"} > 1', ["pinnace_files{stat}"]),
        ("sum by (stat) (pinnace_files) > 1", ["stat"]),
    ],
)
def test_an_expression_on_what_does_not_exist_is_noticed(
    expression: str, wrong: list[str], known: dict[str, set[str]]
) -> None:
    assert misunderstood(expression, known) == wrong


def test_an_expression_that_is_no_promql_is_noticed() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum(pinnace_files")


def rendered_alerts(**settings: Any) -> list[dict[str, Any]]:
    rule = one(render(**{**ON, **settings}), "PrometheusRule")
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def test_every_alert_is_about_figures_that_exist(known: dict[str, set[str]]) -> None:
    alerts = rendered_alerts()
    assert [alert["alert"] for alert in alerts] == [alert["alert"] for alert in ALERTS]
    for alert in alerts:
        assert misunderstood(alert["expr"], known) == [], alert["alert"]
        assert "JOB-" not in alert["expr"]
        assert "UNSHIPPED" not in alert["expr"]


def test_every_alerts_words_use_labels_that_its_expression_keeps(known: dict[str, set[str]]) -> None:
    for alert in rendered_alerts():
        said = set(re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"])))
        kept = re.findall(r"\bby \(([^)]*)\)", alert["expr"])
        if kept:
            assert said <= {label.strip() for group in kept for label in group.split(",")}, alert["alert"]
        else:
            assert said <= OF_A_TARGET | OF_A_TRAINING_POD, alert["alert"]


def test_states_that_alerts_ask_for_are_states_of_files() -> None:
    asked = re.findall(r'state="(\w+)"', " ".join(alert["expr"] for alert in ALERTS if "_files" in alert["expr"]))
    assert asked
    assert set(asked) <= set(FileState)


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}
    for alert in rendered_alerts():
        text = (ROOT / alert["annotations"]["runbook_url"]).read_text()
        assert text.startswith(f"# {alert['alert']}\n")
        assert "\n## What to look at\n" in text
        assert "\n## What to do\n" in text
        assert "```sh\n" in text


def test_links_between_the_pages_lead_somewhere() -> None:
    links = [(page, link) for page in RUNBOOKS.glob("*.md") for link in re.findall(r"\]\(([^)#]+)", page.read_text())]
    assert len(links) > 10
    assert [(page.name, link) for page, link in links if not (page.parent / link).is_file()] == []


def test_jobs_of_alerts_are_those_that_the_monitors_make() -> None:
    manifests = render(**ON)
    # The Prometheus operator calls a job after the Service, or after the PodMonitor and its namespace.
    jobs = {one(manifests, "Service", "-api")["metadata"]["name"]} | {
        f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
        for monitor in of_kind(manifests, "PodMonitor")
    }
    assert {job for alert in rendered_alerts() for job in re.findall(r'job="([^"]*)"', alert["expr"])} == jobs


def test_alerts_are_the_installations_own() -> None:
    alerts = rendered_alerts(
        monitoring__alerts={
            "unshippedSeconds": 90,
            "labels": {"team": "harbour", "severity": "page"},
            "without": ["PinnaceApiSlow"],
            "runbooks": "https://runbooks.example.org/",
        }
    )
    first = alerts[0]
    assert first["expr"].split()[-1] == "90"
    assert first["labels"] == {"team": "harbour", "severity": "page"}
    assert first["annotations"]["runbook_url"] == "https://runbooks.example.org/PinnaceArtifactsNotAshore.md"
    assert "PinnaceApiSlow" not in [alert["alert"] for alert in alerts]
    assert len(alerts) == len(ALERTS) - 1


MADE_OF_ITS_OWN = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


@pytest.mark.parametrize(
    ("install", "cluster_knows", "made"),
    [("never", True, False), ("auto", False, False), ("auto", True, True), ("always", False, True)],
)
def test_monitors_are_made_where_they_are_wanted_and_known(install: str, cluster_knows: bool, made: bool) -> None:
    text = helm(
        *("template", "pinnace", str(CHART), "--kube-version", "1.34", "--set", "store.bucket=artifacts"),
        *("--set", f"monitoring.install={install}"),
        *(("--api-versions", "monitoring.coreos.com/v1") if cluster_knows else ()),
    )
    kinds = {manifest["kind"] for manifest in yaml.safe_load_all(text) if manifest}
    assert kinds & MADE_OF_ITS_OWN == (MADE_OF_ITS_OWN if made else set())


def test_monitors_ask_ports_that_pods_have() -> None:
    manifests = render(**ON)
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    service = one(manifests, "Service", "-api")
    assert service["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items()
    assert [end["port"] for end in monitor["spec"]["endpoints"]] == [port["name"] for port in service["spec"]["ports"]]
    sidecars = one(manifests, "PodMonitor", "-sidecars")["spec"]
    assert sidecars["namespaceSelector"] == {"any": True}
    assert sidecars["podTargetLabels"] == ["pinnace.dev/experiment", "pinnace.dev/iteration"]
    operator = one(manifests, "PodMonitor", "-operator")["spec"]
    template = one(manifests, "Deployment", "-operator")["spec"]["template"]
    assert template["metadata"]["labels"].items() >= operator["selector"]["matchLabels"].items()
    ports = [port["name"] for container in containers(template["spec"]) for port in container["ports"]]
    assert [end["port"] for end in operator["podMetricsEndpoints"]] == ["health"]
    assert "health" in ports


def test_sidecars_are_asked_by_the_port_and_the_label_that_their_pods_have() -> None:
    endpoint, selector = (
        one(render(**ON), "PodMonitor", "-sidecars")["spec"][key] for key in ("podMetricsEndpoints", "selector")
    )
    code = (ROOT / "operator" / "src" / "pinnace_operator" / "sidecar.py").read_text()
    assert f'"ports": [{{"name": "{endpoint[0]["port"]}", "containerPort"' in code
    assert [rule["key"] for rule in selector["matchExpressions"]] == ["pinnace.dev/iteration-id"]


def test_in_chosen_namespaces_only_their_sidecars_are_asked() -> None:
    manifests = render(CHART / "ci" / "namespaced-values.yaml", monitoring__install="always")
    spec = one(manifests, "PodMonitor", "-sidecars")["spec"]
    assert spec["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}


def dashboard() -> Manifest:
    manifest = one(render(**ON, monitoring__dashboard__enabled=True), "ConfigMap")
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    found: Manifest = json.loads(manifest["data"]["pinnace.json"])
    return found


def test_every_panel_of_the_dashboard_shows_figures_that_exist(known: dict[str, set[str]]) -> None:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    assert len(panels) > 12
    for panel in panels:
        for target in panel["targets"]:
            assert misunderstood(target["expr"], known) == [], panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= set(re.findall(r"\w+", target["expr"]))


def test_every_figure_but_those_of_the_moment_is_on_the_dashboard(known: dict[str, set[str]]) -> None:
    shown = json.dumps(dashboard())
    hidden = {
        name
        for name in known
        if name.startswith("pinnace_") and not name.endswith(("_created", "_sum", "_count")) and name not in shown
    }
    assert hidden == {
        "pinnace_store_bandwidth_limit_bytes_per_second",  # what the values say
        "pinnace_verified_total",  # tells how, not how much
    }


def test_panels_of_the_dashboard_lie_side_by_side_and_have_ids_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_variables_of_the_dashboard_are_the_ones_that_panels_use() -> None:
    shown = dashboard()
    named = {variable["name"] for variable in shown["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(shown["panels"])))
    assert used == named
