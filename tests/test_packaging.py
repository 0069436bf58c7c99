"""What is shipped: the locks, the wheel, the image, the compose file, and the commands that the README promises."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from compose_spec import PyOptions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME_LOCK = ROOT / ".ci" / "requirements.lock"
DEV_LOCK = ROOT / ".ci" / "requirements-dev.lock"

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
PASSWORDS = ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "CLICKHOUSE_PASSWORD")
VARIABLE = re.compile(r"\$\{(?P<name>\w+):(?P<operator>[-?])(?P<rest>[^}]*)\}")
PART_OF = {"pydantic-core": "pydantic"}
"""A distribution that is imported though another one is declared, which requires it in exactly one version."""


def run(*command: str, timeout: float = 60, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pins(lock: Path) -> Iterator[Requirement]:
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line.startswith((" ", "#")):
            yield Requirement(line.removesuffix("\\"))


def declared(*groups: str) -> list[Requirement]:
    texts = [*PYPROJECT["project"]["dependencies"], *(text for group in groups for text in PYPROJECT["dependency-groups"][group])]
    return [Requirement(text) for text in texts]


def version_of(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


def requirements_of(name: str) -> list[str]:
    """What an installed package asks for; nothing of one that this system does not need."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


class TestLocks:
    @pytest.mark.parametrize("lock", [RUNTIME_LOCK, DEV_LOCK])
    def test_say_what_to_install_and_not_from_where(self, lock: Path) -> None:
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"://|^-|\bfile:", text, re.MULTILINE)
        blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
        assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []

    @pytest.mark.parametrize(("lock", "groups"), [(RUNTIME_LOCK, ("build",)), (DEV_LOCK, ("build", "dev"))])
    def test_hold_a_fitting_version_of_everything_declared(self, lock: Path, groups: tuple[str, ...]) -> None:
        locked = {canonicalize_name(pin.name): version_of(pin) for pin in pins(lock)}
        wanted = declared(*groups)
        misfits = [
            str(each) for each in wanted if not each.specifier.contains(locked.get(canonicalize_name(each.name), "0"), prereleases=True)
        ]
        assert misfits == [], "run `make lock`"

    def test_agree_with_each_other(self) -> None:
        runtime, development = ({(pin.name, version_of(pin), pin.marker) for pin in pins(lock)} for lock in (RUNTIME_LOCK, DEV_LOCK))
        assert runtime <= development

    def test_name_the_extras_that_others_ask_for(self) -> None:
        """Without them, pip takes the newest release for `coverage[toml]`, whose hash it then does not know."""
        locked = {canonicalize_name(pin.name): pin.extras for pin in pins(DEV_LOCK)}
        asked = [Requirement(text) for name in locked for text in requirements_of(name)]
        wanted = [each for each in asked if each.extras and (each.marker is None or each.marker.evaluate({"extra": ""}))]
        assert wanted
        assert [str(each) for each in wanted if not each.extras <= locked[canonicalize_name(each.name)]] == []


def imported_modules(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def test_everything_imported_is_declared() -> None:
    """A package that only comes along with another one may be gone with that one's next version."""
    names = {canonicalize_name(each.name) for each in declared()}
    owners = packages_distributions()
    modules = (imported_modules(ROOT / "app") | imported_modules(ROOT / "migrations")) - sys.stdlib_module_names - {"app"}
    makers = {module: {canonicalize_name(owner) for owner in owners.get(module, [module])} for module in modules}
    assert {module for module, found in makers.items() if not {PART_OF.get(name, name) for name in found} & names} == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel of a copy of the sources, in which GraphiQL has been built."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "app", sources / "app", ignore=shutil.ignore_patterns("node_modules", "dist", "__pycache__"))
    built = sources / "app" / "api" / "graphiql" / "dist"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").touch()
    (built / "assets" / "index-1.js").touch()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out", cwd=sources)
    (made,) = (sources / "out").glob("*.whl")
    return ZipFile(made)


class TestWheel:
    def test_holds_the_gateway_and_nothing_else(self, wheel: ZipFile) -> None:
        names = wheel.namelist()
        assert {"app/main.py", "app/cli.py", "app/settings/__init__.py"} <= set(names)
        assert {name.partition("/")[0] for name in names} == {"app", f"neurotracker_gateway-{PYPROJECT['project']['version']}.dist-info"}

    def test_holds_the_built_page(self, wheel: ZipFile) -> None:
        assert {"app/api/graphiql/dist/index.html", "app/api/graphiql/dist/assets/index-1.js"} <= set(wheel.namelist())

    def test_holds_what_the_insight_page_asks(self, wheel: ZipFile) -> None:
        assert "app/api/graphiql/insight/documents/overview.graphql" in wheel.namelist()

    def test_brings_the_command(self, wheel: ZipFile) -> None:
        (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "neurotracker = app.cli:main" in wheel.read(name).decode()


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = (line.strip() for line in text.splitlines())
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line and not line.startswith("#"))]


def copied_into_the_image() -> Iterator[str]:
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            yield from shlex.split(rest)[:-1]


class TestImage:
    def test_copies_what_exists(self) -> None:
        sources = list(copied_into_the_image())
        assert sources
        assert [source for source in sources if not (ROOT / source).exists()] == []

    def test_copies_what_docker_is_sent(self) -> None:
        rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        sent = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
        assert "*" in rules
        assert [source for source in copied_into_the_image() if not any(f"{source}/".startswith(f"{rule}/") for rule in sent)] == []
        assert [rule for rule in sent if not any(f"{source}/".startswith(f"{rule}/") for source in copied_into_the_image())] == []

    def test_runs_without_root_and_says_when_it_is_ready(self) -> None:
        words = instructions()
        last_stage = words[max(index for index, (word, _) in enumerate(words) if word == "FROM") :]
        final = dict(last_stage)
        assert int(final["USER"].partition(":")[0]) > 0
        assert "/readyz" in final["HEALTHCHECK"]
        assert (final["ENTRYPOINT"], final["CMD"], final["EXPOSE"]) == ('["neurotracker"]', '["serve"]', "8000")

    def test_checks_its_health_with_python_that_runs(self) -> None:
        health = dict(instructions())["HEALTHCHECK"]
        interpreter, option, code = yaml.safe_load(health.partition("CMD ")[2])
        assert (interpreter, option) == ("python", "-c")
        compile(code, "HEALTHCHECK", "exec")


def interpolated(text: str) -> str:
    """As docker compose does it, with all passwords given."""
    return VARIABLE.sub(lambda found: found["rest"] if found["operator"] == "-" else "given", text).replace("$$", "$")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file, which is validated against the compose specification on the way."""
    project = PyOptions(apply_merge=True).from_yaml(interpolated(COMPOSE))
    project.validate()
    found: dict[str, Any] = project.to_dict()["services"]
    return found


class TestCompose:
    def test_validation_refuses_what_the_specification_does_not_know(self) -> None:
        with pytest.raises(ValueError, match="depend_on"):
            PyOptions(apply_merge=True).from_yaml(interpolated(COMPOSE).replace("depends_on", "depend_on"))

    def test_starts_the_whole_platform(self, services: dict[str, Any]) -> None:
        assert set(services) == {"gateway", "worker", "migrate", "postgres", "valkey", "clickhouse"}
        assert services["gateway"]["deploy"]["replicas"] == 2
        assert services["postgres"]["image"] == "postgres:18"

    @pytest.mark.parametrize("name", ["gateway", "worker"])
    def test_waits_for_migrations_and_servers(self, services: dict[str, Any], name: str) -> None:
        conditions = {other: how["condition"] for other, how in services[name]["depends_on"].items()}
        assert conditions == {"migrate": "service_completed_successfully", "valkey": "service_healthy", "clickhouse": "service_healthy"}
        assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"

    @pytest.mark.parametrize("name", ["gateway", "worker", "migrate"])
    def test_gateways_have_little_to_take_and_nothing_to_break_out_with(self, services: dict[str, Any], name: str) -> None:
        service = services[name]
        assert (service["mem_limit"], service["pids_limit"]) == ("1gb", 256)
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])

    @pytest.mark.parametrize("name", ["postgres", "valkey", "clickhouse"])
    def test_servers_are_checked_and_not_published(self, services: dict[str, Any], name: str) -> None:
        assert services[name]["healthcheck"]["test"]
        assert "ports" not in services[name]

    def test_holds_no_password(self) -> None:
        lines = [line for line in COMPOSE.splitlines() if "PASSWORD" in line and not line.lstrip().startswith("#")]
        assert lines
        assert [line for line in lines if not re.search(r"\$\{\w+_PASSWORD:\?[^}]+\}", line)] == []
        assert {found["name"] for found in VARIABLE.finditer(COMPOSE) if found["operator"] == "?"} == set(PASSWORDS)

    def test_sets_settings_that_exist(self, services: dict[str, Any]) -> None:
        code = "import json, sys; from app.settings import read_settings; settings = read_settings(); print(settings.is_production)"
        assert run(sys.executable, "-c", code, **services["gateway"]["environment"]).strip() == "True"
        names = run(sys.executable, "-m", "app.settings")
        assert [name for name in services["gateway"]["environment"] if f"`{name}`" not in names] == []

    def test_runs_commands_that_exist(self, services: dict[str, Any]) -> None:
        commands = {services[name]["command"][0] for name in ("gateway", "worker", "migrate")}
        for command in commands:
            run(sys.executable, "-m", "app", command, "--help")


class TestCommands:
    def test_make_explains_its_targets(self) -> None:
        told = {line.split()[0] for line in run("make", "--no-print-directory", "help").splitlines()}
        assert {"run", "test", "check", "bench", "schema", "migrate", "format", "clean", "graphiql", "lock", "help"} == told

    def test_the_readme_sets_up_in_two_commands(self) -> None:
        section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Set-up\n")[2].partition("\n## ")[0]
        (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        assert block.splitlines() == ["make run", "make test"]

    def test_the_pipeline_can_be_run(self) -> None:
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        run("bash", "-n", str(script))
