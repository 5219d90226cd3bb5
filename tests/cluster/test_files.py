"""The files that describe clusters: Ray's own schema, KubeRay's fields, our wishes for both."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private.runtime_env.packaging import create_package, get_uri_for_directory
from ray.autoscaler._private.util import prepare_config, validate_config

from search.common.errors import ConfigError
from search.config import compose
from search.run.__main__ import parser
from search.study.tuning.watch import placement
from tests.cluster.nodes import free_port

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = [ROOT / "ray_cluster.yaml", ROOT / "cluster" / "on_prem.yaml"]
RAYJOB = ROOT / "cluster" / "kuberay.yaml"
FIELDS = Path(__file__).with_name("rayjob_fields.yaml")


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def schema(kind: Any) -> dict[str, Any]:
    """A type of rayjob_fields.yaml as JSON schema; keys that it does not name are refused."""
    if isinstance(kind, list):
        return {"type": "array", "items": schema(kind[0])}
    if isinstance(kind, dict) and "any" in kind:
        return {"type": "object", "additionalProperties": schema(kind["any"])}
    if isinstance(kind, dict):
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {name.rstrip("!"): schema(inner) for name, inner in kind.items()},
            "required": [name.rstrip("!") for name in kind if name.endswith("!")],
        }
    if kind in ("string", "integer", "boolean", "number"):
        return {"type": kind}
    if kind == "quantity":
        return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+([KMGT]i)?$"}]}
    if kind in (types := read(FIELDS)) and kind != "RayJob":
        return schema(types[kind])
    return {"enum": str(kind).split("|")}


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.stem)
def test_launcher_files_are_what_ray_wants(file: Path) -> None:
    data = prepare_config(read(file))
    validate_config(data)
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        validate_config(data | {"max_wrokers": 3})


def test_rayjob_has_only_fields_that_kuberay_knows() -> None:
    wanted, job = schema(read(FIELDS)["RayJob"]), read(RAYJOB)
    jsonschema.validate(job, wanted)
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(job, wanted)


def test_a_head_without_engines_and_gpu_workers_from_none() -> None:
    types = read(LAUNCHER[0])["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["gpu"]["min_workers"] == 0 < types["gpu"]["max_workers"]
    assert types["gpu"]["resources"]["GPU"] > 0
    cluster = read(RAYJOB)["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    (gpu,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] and gpu["minReplicas"] == 0 < gpu["maxReplicas"]
    (worker,) = gpu["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] > 0
    for file in LAUNCHER:
        assert any("--num-cpus=0" in command for command in read(file)["head_start_ray_commands"])


def test_every_cluster_wants_a_token_and_launched_dashboards_are_on_loopback() -> None:
    for file in LAUNCHER:
        data = read(file)
        assert "~/.ray/auth_token" in data["file_mounts"]
        first = data["setup_commands"][0].partition("#")[0]
        assert first.split() == "chmod 700 ~/.ray && chmod 600 ~/.ray/auth_token".split()
        assert "(umask 077; ray get-auth-token --generate)" in file.read_text("utf-8")
        starts = data["head_start_ray_commands"] + data["worker_start_ray_commands"]
        for command in starts:
            if "ray start" in command:
                assert "RAY_AUTH_MODE=token" in command
                assert ("--dashboard-host=127.0.0.1" in command) == ("--head" in command)
        assert not any("0.0.0.0" in str(value) for value in data.values())
    assert read(RAYJOB)["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.stem)
def test_mlflow_on_the_head_starts_behind_a_password_that_the_driver_knows(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files' own commands, in the shell that Ray runs them in; mlflow's stands in."""
    program = tmp_path / "layer-swap-search" / ".venv" / "bin" / "mlflow"
    program.parent.mkdir(parents=True)
    echo = 'echo "$$ $MLFLOW_AUTH_ADMIN_PASSWORD $*" > ~/part; mv ~/part ~/said'
    program.write_text(f"#!/bin/sh\n{echo}\nexec sleep 60\n")  # a server stays
    program.chmod(0o755)
    head, said = read(file), tmp_path / "said"
    own = [c for c in head["head_setup_commands"] if "password" in c]
    own += [c for c in head["head_start_ray_commands"] if "mlflow server" in c]
    assert len(own) == 3
    home, port = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, free_port()
    for command in own:
        own_port = command.replace(":5000/", f":{port}/").replace("port 5000", f"port {port}")
        shell = ["bash", "--login", "-c", "-i", f"true && {own_port}"]
        how = {"capture_output": True, "start_new_session": True, "timeout": 30}
        subprocess.run(shell, check=True, env=home, **how)  # it does not wait for the server
    deadline = time.monotonic() + 30
    while not said.exists():
        assert time.monotonic() < deadline, (tmp_path / "mlflow.log").read_text()
        time.sleep(0.05)
    password = (tmp_path / "mlflow-password").read_text().strip()
    words = said.read_text().split()
    os.kill(int(words.pop(0)), signal.SIGKILL)
    assert words[:2] == [password, "server"] and len(password) > 20
    assert f"--app-name basic-auth --host 127.0.0.1 --port {port}" in " ".join(words)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    from mlflow.utils.credentials import MlflowCreds, read_mlflow_creds

    assert read_mlflow_creds() == MlflowCreds("admin", password)
    secret = (tmp_path / "mlflow-password", tmp_path / ".mlflow" / "credentials")
    assert all(found.stat().st_mode & 0o077 == 0 for found in secret)
    (ray,) = [c for c in head["head_start_ray_commands"] if "ray start" in c]
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:5000" in ray


def test_no_secret_is_written_out() -> None:
    containers = [
        group["template"]["spec"]["containers"][0]
        for spec in [read(RAYJOB)["spec"]["rayClusterSpec"]]
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]
    variables = [variable for container in containers for variable in container["env"]]
    assert variables and all("secretKeyRef" in v["valueFrom"] for v in variables)


def test_versions_are_those_of_the_lock() -> None:
    lock = (ROOT / "requirements" / "cuda.lock").read_text(encoding="utf-8")
    ray = re.search(r"^ray==(\S+)", lock, re.MULTILINE)
    mlflow = re.search(r"^mlflow==(\S+)", lock, re.MULTILINE)
    assert ray and mlflow
    assert read(RAYJOB)["spec"]["rayClusterSpec"]["rayVersion"] == ray[1]
    assert f"mlflow[auth]=={mlflow[1]}" in LAUNCHER[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.stem)
def test_machines_get_what_kernels_are_compiled_with(file: Path) -> None:
    before, install = read(file)["setup_commands"][-2:]
    assert "apt-get install" in before and "python3.12-dev" in before
    assert "make install ACCEL=cuda PYTHON=python3.12" in install


def commands() -> list[list[str]]:
    """Every `python -m search.run ...` of the cluster's files, as words."""
    found = [read(RAYJOB)["spec"]["entrypoint"]]
    for file in LAUNCHER:
        text = re.sub(r"\\\n#", " ", file.read_text(encoding="utf-8"))
        found += re.findall(r"python -m search\.run[^\n]*", text)
    return [shlex.split(command) for command in found]


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[-1])
def test_commands_in_the_files_are_ours(words: list[str]) -> None:
    arguments = parser().parse_intermixed_args(words[3:])
    assert arguments.study and str(arguments.resume) == "auto"
    assert "objective=mgsm_lcb" in arguments.overrides  # and not the demo's
    assert arguments.mgsm_dir and arguments.lcb_dir


def test_a_jobs_working_directory_is_small(tmp_path: Path) -> None:
    """Ray refuses 512 MiB. The demo's weights travel; environments, studies and models do not."""
    excludes = [".git", ".venv", "venv", "__pycache__"]  # Ray's own default
    (ROOT / "runs").mkdir(exist_ok=True)
    uri = get_uri_for_directory(str(ROOT), include_gitignore=True, excludes=excludes)
    package = tmp_path / Path(uri).name
    create_package(str(ROOT), package, include_gitignore=True, excludes=excludes)
    assert package.stat().st_size < 50 * 1024**2
    names = zipfile.ZipFile(package).namelist()
    assert "demo/weights/base/model.safetensors" in names and "search/run/__main__.py" in names
    held = [n for n in names if not n.endswith("/")]  # folders themselves are listed, empty
    assert not [n for n in held if n.startswith((".git/", ".venv/", "runs/", "docs/"))]


def test_paths_in_a_jobs_folder_do_not_change_with_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for package in ("_ray_pkg_1", "_ray_pkg_2"):
        folder = tmp_path / "working_dir_files" / package
        for place in ("base", "math", "te"):
            (folder / "models" / place).mkdir(parents=True)
        places = "base: models/base\ntask: [models/math]\nlanguage: {te: [models/te, /elsewhere]}\n"
        (folder / "my.yaml").write_text(f"name: my\n{places}")
        monkeypatch.chdir(folder)
        found.append(compose.load(["family=my.yaml"], {"lang": "te"}))
    assert found[0] == found[1]
    assert found[0].family.language["te"] == ("models/te", "/elsewhere")


def test_an_engine_gets_all_its_gpus() -> None:
    too_few = ["search=gpu", "search.engine.tensor_parallel_size=2"]
    with pytest.raises(ConfigError, match=r"gpus_per_engine 1 is less than .*per_engine=2"):
        compose.load(too_few, {"lang": "te"})
    enough = compose.load([*too_few, "search.gpus_per_engine=2"], {"lang": "te"}).search
    wanted = placement(4, enough.gpus_per_engine, ())
    assert wanted.bundles == [{"CPU": 4, "GPU": 2}] and wanted.strategy == "STRICT_PACK"  # one node
