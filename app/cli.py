"""The command line: `python -m app serve | migrate | seed | schema | explain | reconcile | doctor`."""

import asyncio
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from pydantic import SecretStr

from app.analytics.models import TABLES
from app.core import clickhouse_migrations, migrations
from app.core.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.core.errors import RepositoryError
from app.core.logging import configure
from app.orders.models.mirror import MIRROR, MIRROR_COLUMNS
from app.resources import closing_clickhouse, database_dsn, migrate_all, open_resources
from app.settings import Settings, SettingsError, read_settings

SCHEMA_FILE = Path("schema.graphql")
README_FILE = Path("README.md")
T = TypeVar("T")

cli = typer.Typer(help="The Neurotracker gateway.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _settings() -> Settings:
    try:
        settings = read_settings()
    except SettingsError as error:
        _fail(str(error))
    configure(settings.log_level, settings.log_format)
    return settings


def _fail(message: str) -> Any:
    typer.secho(message, err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (EmbeddedPostgresError, migrations.MigrationError, RepositoryError, OSError) as error:
        return cast(T, _fail(str(error)))


@cli.command()
def serve() -> None:
    """Serve the gateway until it is told to stop; requests in flight are finished."""
    from app.serving import serve as serve_gateway

    settings = _settings()
    _check_manifest(settings)
    serve_gateway(settings)


def _check_manifest(settings: Settings) -> None:
    """Complain of trusted documents that cannot be read before any process starts."""
    from app.api.trusted_documents import read_manifest

    try:
        read_manifest(settings)
    except SettingsError as error:
        _fail(str(error))


@cli.command()
def worker() -> None:
    """Run what happens in the background until told to stop."""
    from app.worker import work

    _run(work(_settings()))


@cli.command()
def migrate(
    check: Annotated[bool, typer.Option(help="Only check that the migrations make what the models say.")] = False,
    down: Annotated[str | None, typer.Option(help="Go back to this revision, or to `base`.")] = None,
) -> None:
    """Bring the database's schema up to date, or check the migrations against the models."""
    _run(_check_migrations() if check else _migrate(_settings(), down))


async def _check_migrations() -> None:
    """In a scratch server, so that neither a running gateway nor anybody's data matters."""
    with tempfile.TemporaryDirectory(prefix="neurotracker-check-") as folder:
        async with EmbeddedPostgres(Path(folder), fsync=False) as scratch:
            await migrations.upgrade(scratch.dsn)
            await migrations.check(scratch.dsn)
        async with closing_clickhouse(read_settings(data_dir=Path(folder), clickhouse_url=None)) as clickhouse:
            await clickhouse_migrations.check(clickhouse, {**TABLES, MIRROR: MIRROR_COLUMNS})
    typer.echo("the migrations make what the models say")


async def _migrate(settings: Settings, down: str | None) -> None:
    async with database_dsn(settings) as dsn:
        if down is not None:
            await migrations.downgrade(dsn, down)
        else:
            await migrate_all(dsn)
            await _migrate_clickhouse(settings)
        typer.echo(f"the database is at revision {await migrations.current(dsn) or 'base'}")


async def _migrate_clickhouse(settings: Settings) -> None:
    """The embedded engine belongs to its gateway, which migrates it."""
    if settings.clickhouse_url is not None:
        async with closing_clickhouse(settings) as clickhouse:
            await clickhouse_migrations.upgrade(clickhouse)


@cli.command()
def seed(
    benchmark: Annotated[bool, typer.Option(help="Load 10,000 products and 20,000 orders instead of the demo shop.")] = False,
) -> None:
    """Fill the database with the demo shop, once."""
    _run(_seed(_settings(), benchmark=benchmark))


async def _seed(settings: Settings, *, benchmark: bool) -> None:
    from app.accounts.passwords import PasswordHasher
    from app.seed import seed_benchmark, seed_demo

    async with open_resources(settings, migrate=True) as resources:
        load = seed_benchmark if benchmark else seed_demo
        report = await load(resources.repositories, PasswordHasher.from_settings(settings).hash)
    typer.echo(str(report))


@cli.command()
def schema(
    check: Annotated[bool, typer.Option(help="Only check that the files are what the code says.")] = False,
    path: Annotated[Path, typer.Option(help="Where the schema is written.")] = SCHEMA_FILE,
    readme: Annotated[Path, typer.Option(help="Where the table of who may do what is written, between its marks.")] = README_FILE,
) -> None:
    """Print the GraphQL schema into schema.graphql, and who may do what into README.md."""
    from app.matrix import between_marks
    from app.schema import printed_schema

    _keep(path, printed_schema(), check=check)
    if readme.is_file():
        _keep(readme, between_marks(readme, _run(_permission_table())), check=check)


def _keep(path: Path, text: str, *, check: bool) -> None:
    """Write a file that is made from the code, or check that it is up to date."""
    if not check:
        path.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {path}")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        _fail(f"{path} is stale; run `make schema`")
    else:
        typer.echo(f"{path} is up to date")


async def _permission_table() -> str:
    """With the roles that the migrations make, in a scratch server."""
    from app.matrix import permission_table

    with tempfile.TemporaryDirectory(prefix="neurotracker-roles-") as folder:
        async with EmbeddedPostgres(Path(folder), fsync=False) as scratch:
            await migrations.upgrade(scratch.dsn)
            settings = Settings(_env_file=None, database_url=SecretStr(scratch.dsn), data_dir=Path(folder))
            async with open_resources(settings) as resources:
                return await permission_table(resources.repositories)


@cli.command()
def explain(
    file: Annotated[Path, typer.Argument(help="A GraphQL document with one query.", exists=True, dir_okay=False)],
    variables: Annotated[str, typer.Option(help="Its variables, as a JSON object.")] = "{}",
) -> None:
    """Show how a query is executed for an administrator: the plan, the SQL, and how PostgreSQL runs it."""
    _run(_explain(_settings(), file.read_text(encoding="utf-8"), variables))


async def _explain(settings: Settings, text: str, variables: str) -> None:
    from app.explaining import explained

    async with open_resources(settings) as resources:
        try:
            typer.echo(await explained(resources.repositories, text, variables))
        except ValueError as error:
            _fail(str(error))


@cli.command()
def reconcile(
    rule: Annotated[str, typer.Argument(help="The name of a reconciliation rule.")],
    segment: Annotated[int, typer.Option(help="Rows that are compared at a time.", min=1, max=50_000)] = 50_000,
) -> None:
    """Run a reconciliation rule and watch it. Ends with 0 where both tables agree."""
    if not _run(_reconcile(_settings(), rule, segment)):
        raise typer.Exit(1)


async def _reconcile(settings: Settings, rule: str, segment: int) -> bool:
    from app.quality.reconciling import Watch, unknown_rule

    # An embedded ClickHouse belongs to the gateway beside it, whose worker then does the run.
    works = settings.clickhouse_url is not None or settings.database_url is None
    async with open_resources(settings) as resources:
        found = await resources.repositories.reconciliation_rules.find_first({"name": rule})
        if found is None:
            return cast(bool, _fail(await unknown_rule(resources.repositories, rule)))
        with typer.progressbar(length=100, label=rule) as bar:
            run = await Watch(resources.repositories, segment, works=works, tell=bar.update).run(found)
    typer.echo(
        f"{run.status}: {run.records_checked:,} rows compared, {run.missing_in_target:,} missing in {found.target_table}, "
        f"{run.missing_in_source:,} missing in {found.source_table}, {run.differing:,} differing"
    )
    if run.error_message:
        typer.echo(run.error_message, err=True)
    return bool(run.status == "PASSED")


def main() -> None:
    """Entry point of the `neurotracker` script and of `python -m app`."""
    try:
        cli()
    except KeyboardInterrupt:
        sys.exit(130)
