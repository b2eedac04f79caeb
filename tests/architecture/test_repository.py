"""The files around the source: locks, workflows, compose, what the make targets say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

import chatsvc
from chatsvc.settings.table import TABLE, Settings, load

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# Addresses that configuration may name: schemas and the project's own dependencies' pages do
# not belong here, and neither does any package index: each machine brings its own.
ADDRESS = re.compile(r"\b(?:https?|git\+\w+|ftp|file)://[^\s\"'<>)]+")
CONFIGURATION = [
    *LOCKS,
    ROOT / "requirements" / "build.in",
    ROOT / "pyproject.toml",
    ROOT / "Makefile",
    ROOT / "Dockerfile",
    ROOT / "docker-compose.yml",
    ROOT / ".ci" / "run",
    *sorted((ROOT / "scripts").iterdir()),
    *WORKFLOWS,
]


def test_there_are_locks_for_each_use() -> None:
    assert {lock.stem for lock in LOCKS} == {"build", "run", "demo", "dev", "mutation"}


@pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
def test_no_configuration_names_a_package_index(path: Path) -> None:
    text = path.read_text("utf-8")
    hosts = {urlsplit(address).hostname for address in ADDRESS.findall(text)}
    assert hosts <= {"127.0.0.1", "localhost"}, f"{path.name} names {hosts}"
    assert not re.search(r"--(extra-)?index-url|--find-links|PIP_(EXTRA_)?INDEX", text)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_lock_is_exact_and_hashed(lock: Path) -> None:
    entries = [
        entry
        for entry in re.split(r"\n(?=\S)", lock.read_text("utf-8"))
        if entry.strip() and not entry.startswith("#")
    ]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.\-]+(\[[a-z,]+\])?==[0-9]", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_locks_agree_with_one_another() -> None:
    def versions(lock: Path) -> dict[str, str]:
        found = re.findall(r"^([a-z0-9.\-]+)(?:\[[a-z,]+\])?==(\S+)", lock.read_text("utf-8"), re.M)
        return dict(found)

    widest = versions(ROOT / "requirements" / "dev.txt")
    for lock in LOCKS:
        found = versions(lock)
        if lock.name == "mutation.txt":  # adds a tool of its own to what dev.txt has
            found = {name: version for name, version in found.items() if name in widest}
        assert found.items() <= widest.items(), lock.name


def test_what_runs_needs_no_test_tool() -> None:
    text = (ROOT / "requirements" / "run.txt").read_text("utf-8")
    assert not re.search(r"^(pytest|mypy|ruff|hypothesis|rich)==", text, re.M)


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{chatsvc.__version__}]" in changelog
    assert "## [Unreleased]" in changelog


def check_schema(schema: str, *paths: Path) -> None:
    """``check-jsonschema`` with a schema that it carries: nothing is fetched."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        schema,
        *map(str, paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_follow_their_published_schema() -> None:
    assert WORKFLOWS
    check_schema("vendor.github-workflows", *WORKFLOWS)


def test_compose_follows_its_published_schema() -> None:
    check_schema("vendor.compose-spec", ROOT / "docker-compose.yml")


def test_compose_publishes_on_loopback_only_and_keeps_both_volumes() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    services = compose["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), f"{name} publishes {port}"
        assert "healthcheck" in service or name == "chatsvc", name
    mounted = {
        volume.partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
    }
    assert mounted == set(compose["volumes"])
    assert len(mounted) == 2
    known = {variable.name for variable in TABLE}
    assert set(services["chatsvc"]["environment"]) <= known


def test_compose_gives_the_service_time_to_end_well() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    service = compose["services"]["chatsvc"]
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace > compose_settings().shutdown_seconds


def compose_settings() -> Settings:
    """What the service in the compose file runs with when nothing is set outside it."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    environment = compose["services"]["chatsvc"]["environment"]
    unset = re.compile(r"\$\{\w+:-([^}]*)\}")
    return load({name: unset.sub(r"\1", str(value)) for name, value in environment.items()})


def test_compose_lets_every_setting_of_an_env_file_through() -> None:
    """What compose sets itself is before the file, so it must come from there as well."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    service = compose["services"]["chatsvc"]
    assert service["env_file"] == [{"path": ".env", "required": False}]
    of_the_container = {"HOST", "PORT", "DATA_DIR"}
    for name, value in service["environment"].items():
        if name not in of_the_container:
            assert str(value).startswith(f"${{{name}:-"), name


def test_compose_starts_with_nothing_set() -> None:
    settings = compose_settings()
    assert settings.chosen_store == "mongodb"
    assert settings.dev_login == "anywhere"
    assert settings.source["MONGO_URI"] == "environment"


def test_the_image_does_not_run_as_root_and_checks_hashes() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    final = text[text.rindex("\nFROM ") :]
    user = re.findall(r"^USER (\S+)", final, re.M)
    assert user
    assert user[-1].split(":")[0] not in {"root", "0"}
    assert re.search(r'^HEALTHCHECK .*\n?.*"?chatsvc"?,? "?healthcheck', final, re.M)
    installs = re.findall(r"pip install[^\n]*(?:\\\n[^\n]*)*", text)
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-deps" in install, install


def test_the_folder_of_messages_is_private_in_the_image_and_in_the_documented_unit() -> None:
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"install -d -o chatsvc -g chatsvc -m 0700 /data\b", image)
    unit = re.search(
        r"```ini\n(.*?)```", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.S
    )
    assert unit
    assert "StateDirectory=chatsvc\nStateDirectoryMode=0700\n" in unit[1]
    assert "UMask=0077\n" in unit[1]


def test_every_workflow_action_is_pinned() -> None:
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                if "uses" in step:
                    assert re.search(r"@(v\d+(\.\d+)*|[0-9a-f]{40})$", step["uses"]), step["uses"]


def test_every_supported_python_is_tried() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    declared = set(re.findall(r"Programming Language :: Python :: (3\.\d+)", text))
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    tried = set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])
    assert declared <= tried


def test_tests_have_distinct_names() -> None:
    """Two tests of one name in one module: the first would never run."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert len(names) == len(set(names)), path
