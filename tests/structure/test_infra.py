"""infra/: what an operator deploys parses, agrees with itself, and names metrics that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from compose_viz.spec.compose_spec import ComposeSpecification

from protocol.runtime.metrics import RoleMetrics
from protocol.runtime.settings import Settings
from protocol.storage.counters import Counters

REPOSITORY = Path(__file__).parents[2]
INFRA = REPOSITORY / "infra"
ROLES = ("coordinator", "worker", "verifier")
OURS = re.compile(r"\bgradproof_[a-z_]+\b")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((INFRA / "compose.yaml").read_text())
    # Fragments for reuse (`x-...`) belong to nobody once they are merged in.
    return {name: part for name, part in loaded.items() if not name.startswith("x-")}


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """Every sample name that a role can export."""
    names = set()
    for family in RoleMetrics("worker", "1", Counters()).registry.collect():
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_count", "_sum"),
            "info": ("_info",),
        }.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def alerts() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((INFRA / "prometheus" / "alerts.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    """Every PromQL expression of alerts and dashboard, variables filled in."""
    for rule in alerts():
        yield rule["expr"]
    dashboard = json.loads((INFRA / "grafana" / "gradproof.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$instance", ".*")


# --- compose ---


def test_compose_meets_its_specification(compose: dict[str, Any]) -> None:
    ComposeSpecification(**compose)
    wrong = {**compose, "services": {"worker": {"imagee": "x"}}}
    with pytest.raises(ValueError, match="imagee"):
        ComposeSpecification(**wrong)


def test_compose_names_only_what_it_declares(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for secret in service.get("secrets", ()):
            assert secret in compose["secrets"], name
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"], name
        for network in service.get("networks", ()):
            assert network in compose["networks"], name
        for needed in service.get("depends_on", ()):
            assert needed in compose["services"], name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source.startswith("./"), (name, volume)


def test_compose_exposes_nothing_but_the_swarm(compose: dict[str, Any]) -> None:
    """The RPC of the store, the database and the queue are for the roles alone."""
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:") or (name == "kubo" and "4001" in port), (
                name,
                port,
            )
    for name in ("postgres", "redis"):
        assert compose["services"][name]["networks"] == ["inside"]
    assert compose["networks"]["inside"]["internal"] is True


def test_compose_runs_every_role_without_privileges(compose: dict[str, Any]) -> None:
    for role in ROLES:
        service = compose["services"][role]
        assert service["command"] == [role, "run"]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["secrets"]
        assert not [k for k in service["environment"] if "PASSWORD" in k]


def test_consumer_of_compose_has_no_key(compose: dict[str, Any]) -> None:
    service = compose["services"]["compute"]
    assert service["secrets"] == ["gradproof_database"]
    assert not any("wallets" in volume for volume in service["volumes"])


def test_what_compose_is_given_stays_out_of_git(compose: dict[str, Any]) -> None:
    given = [part["file"] for kind in ("secrets", "configs") for part in compose[kind].values()]
    given += ["role.env", "wallets/worker/operator.json"]
    paths = [str(INFRA / name) for name in given]
    ignored = subprocess.run(
        ["git", "check-ignore", *paths], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert len(ignored.stdout.splitlines()) == len(paths), ignored.stdout


def test_settings_of_compose_exist(compose: dict[str, Any]) -> None:
    known = {f"GRADPROOF_{name.upper()}" for name in Settings.model_fields} | {"GRADPROOF_SECRETS"}
    used = {name for role in ROLES for name in compose["services"][role]["environment"]}
    lines = (INFRA / "role.env.example").read_text().splitlines()
    assert "GRADPROOF_IPFS_API=http://127.0.0.1:5001" in lines
    assert "--port 5001 " in (INFRA / "store.env.example").read_text()
    used |= {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert used <= known


def test_prometheus_scrapes_every_role(compose: dict[str, Any]) -> None:
    loaded = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
    [scraped] = loaded["scrape_configs"]
    [file] = scraped["file_sd_configs"][0]["files"]
    targets = (INFRA / "prometheus" / Path(file).name).read_text()
    port = compose["services"]["worker"]["environment"]["GRADPROOF_METRICS"].rpartition(":")[2]
    # What is not started is not missed: the others wait in comments.
    assert yaml.safe_load(targets) == [{"targets": [f"worker:{port}"]}]
    everything = yaml.safe_load(targets.replace("#   -", "    -"))
    assert set(everything[0]["targets"]) == {f"{role}:{port}" for role in ROLES}
    assert all((INFRA / "prometheus" / name).exists() for name in loaded["rule_files"])


# --- eyes ---


def test_every_query_parses_and_names_metrics_that_exist(exported: set[str]) -> None:
    seen = list(queries())
    assert len(seen) > 25
    for query in seen:
        promql_parser.parse(query)
        for name in OURS.findall(query):
            assert name in exported, query
    with pytest.raises(ValueError, match="unexpected"):
        promql_parser.parse("rate(gradproof_acts_total[5m)")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (`make servers`)")
def test_every_alert_fires_when_it_should() -> None:
    tried = INFRA / "prometheus" / "alerts.test.yml"
    judged = subprocess.run(["promtool", "test", "rules", tried], capture_output=True, text=True)
    assert judged.returncode == 0, judged.stderr + judged.stdout
    fired = {
        case["alertname"]
        for test in yaml.safe_load(tried.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in alerts()}


def test_alerts_say_what_and_are_explained() -> None:
    guide = (REPOSITORY / "docs" / "how-to" / "operate.md").read_text()
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"], rule["alert"]
        assert f"**{rule['alert']}**" in guide, rule["alert"]


def test_dashboard_is_whole() -> None:
    dashboard = json.loads((INFRA / "grafana" / "gradproof.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["targets"], panel["title"]


def test_every_metric_is_in_the_reference(exported: set[str]) -> None:
    reference = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    for name in exported:
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        assert f"`{base}`" in reference, base


# --- containers and units ---


def test_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    text = (INFRA / "docker" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users[-1] == "gradproof"
    assert [line.split()[-1] for line in lines if line.startswith("FROM")] == [
        "base",
        "cpu",
        "cuda",
    ]
    for line in lines:
        assert not re.search(r"(PASSWORD|KEY|SECRET)=", line)
    copied = {part for line in lines if line.startswith("COPY") for part in line.split()[1:-1]}
    kept = {
        line[1:]
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert copied == kept
    assert all((REPOSITORY / name).exists() for name in copied)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", ["gradproof@.service", "gradproof-store.service"])
def test_unit_is_valid_and_hardened(unit: str, tmp_path: Path) -> None:
    text = (INFRA / "systemd" / unit).read_text()
    # The program is not installed where the unit expects it: any other stands in.
    text = text.replace("/opt/gradproof/.venv/bin/gradproof", "/bin/true")
    path = tmp_path / unit.replace("@", "@worker")
    path.write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(path)],
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stdout[-200:]
