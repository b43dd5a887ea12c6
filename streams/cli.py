"""The gridtape command.

Each command imports what it needs when it is called: all of it together takes ten times as long as this page.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from streams import cli_field as field
from streams.cli_options import Kafka, settings_from

app = typer.Typer(
    name="gridtape",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Field telemetry and market ticks in; live positions, limits, alerts and trades out. "
    "Exactly once, explainable, on Kafka.\n\nNew here? Run [bold]gridtape demo[/bold]. "
    "Own cluster? Set [bold]GRIDTAPE_KAFKA=host:port[/bold], then [bold]gridtape doctor[/bold].",
)
run_app = typer.Typer(no_args_is_help=True, help="Run one kind of process in the foreground; SIGTERM ends it cleanly.")
app.add_typer(run_app, name="run")
app.add_typer(field.connect_app, name="connect")
app.add_typer(field.modbus_app, name="modbus")
app.add_typer(field.plant_app, name="plant")

ALL_OF_THEM = "all that are wired"


@app.command()
def demo(
    duration: Annotated[int | None, typer.Option("--for", min=10, help="End after this many seconds.")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line a second and a summary instead of a screen.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier demos left behind.")] = False,
    kafka: Kafka = None,
) -> None:
    """Show the whole flow on real servers: field and market in, alerts and trades out.

    Starts Apache Kafka, Redis and an MQTT broker on this machine (those that the settings do not name), three field
    devices, a market replay and the pipeline. Without a terminal it behaves as with --for 60 --plain.
    """
    from streams.demo.run import run

    if not sys.stdout.isatty():
        plain = True
        duration = duration or 60
    raise typer.Exit(run(settings_from(kafka=kafka), duration=duration, plain=plain, fresh=fresh, console=Console()))


@run_app.command("processors")
def run_processors(
    names: Annotated[list[str] | None, typer.Argument(help="Processors to run.", show_default=ALL_OF_THEM)] = None,
    slot: Annotated[int, typer.Option(min=0, help="Number of this process; another one for each on the cluster.")] = 0,
    engine: Annotated[
        Literal["native", "faust"], typer.Option(help="native: exactly once; faust: faust-streaming, at least once.")
    ] = "native",
    kafka: Kafka = None,
) -> None:
    """Keep positions, limits, triggers and the gate."""
    from streams.commands import run
    from streams.commands.process import running

    settings = settings_from(kafka=kafka)
    with running(settings, "processors") as stop:
        run.processors(settings, names or [], slot, stop, run.Engine(engine))


@run_app.command("connectors")
def run_connectors(
    file: Annotated[
        Path | None, typer.Option("--config", help="TOML file instead of GRIDTAPE_CONNECTORS_FILE.")
    ] = None,
    kafka: Kafka = None,
) -> None:
    """Take telemetry and ticks in, as the TOML file says."""
    from streams.commands import run
    from streams.commands.process import running

    settings = settings_from(kafka=kafka)
    with running(settings, "connectors") as stop:
        run.connectors(settings, file, stop)


@run_app.command("sinks")
def run_sinks(
    names: Annotated[list[str] | None, typer.Argument(help="Sinks to run.", show_default="all that are set up")] = None,
    kafka: Kafka = None,
) -> None:
    """Push alerts and trades out: webhook, Redis, the simulated venue, Parquet."""
    from streams.commands import run
    from streams.commands.process import running

    settings = settings_from(kafka=kafka)
    with running(settings, "sinks") as stop:
        run.sinks(settings, names or [], stop)


@app.command()
def kafka(
    port: Annotated[int | None, typer.Option(help="Port to listen on; a free one by default.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Instead of GRIDTAPE_DATA_DIR.")] = None,
) -> None:
    """Run Apache Kafka alone on this machine, in the foreground, and print its address."""
    from streams.commands.local import kafka as serve

    serve(settings_from(data_dir=data_dir), port, Console())


@app.command()
def topology(
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a drawing to this file instead.")] = None,
) -> None:
    """Draw the wiring from the code."""
    from streams.commands.topology import as_svg, as_text

    if svg is None:
        typer.echo(as_text())
    else:
        svg.write_text(as_svg())
        typer.echo(f"written: {svg}")


@app.command()
def watch(kafka: Kafka = None) -> None:
    """Watch ticks, positions, limits, alerts and devices live; Ctrl-C ends it."""
    from streams.commands.process import interruptible
    from streams.commands.watch import watch as show

    with interruptible() as stop:
        show(settings_from(kafka=kafka).cluster(), stop, Console())


@app.command()
def why(
    decision: Annotated[str, typer.Argument(metavar="ID", help="Id of an alert, intent, order or rejection.")],
    kafka: Kafka = None,
) -> None:
    """Prove a decision: the rule or limit version and the exact input records, read back from Kafka."""
    from streams.commands.why import explain, render

    render(explain(settings_from(kafka=kafka).cluster(), decision), Console())


@app.command()
def replay(
    applications: Annotated[
        list[str] | None, typer.Argument(help="Processors, or all.", show_default=ALL_OF_THEM)
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Commit number, or time (ISO 8601, UTC).", show_default="as far as inputs are kept"
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Commit number, or time (ISO 8601, UTC).", show_default="now")
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="This one only.", show_default="all")] = None,
    supposed: Annotated[
        Path | None,
        typer.Option("--with", help="TOML or JSON as for publish: show which decisions it would have changed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
    kafka: Kafka = None,
) -> None:
    """Make every decision of a span again from what was fed, and compare it with what was committed.

    Exit status 1 if anything comes out otherwise, or cannot be replayed any more.
    """
    import logging

    from streams.commands import replay as command
    from streams.commands import suppose
    from streams.commands.process import configure_logging

    configure_logging(logging.CRITICAL)  # what a processor complained of, it complains of again
    cluster, span = settings_from(kafka=kafka).cluster(), command.span_of(begin, end)
    if supposed is not None:
        if partition is not None:
            raise typer.BadParameter("--with follows the flow through all partitions", param_hint="--partition")
        answer = suppose.suppose(cluster, applications or [], span, supposed)
        if as_json:
            typer.echo(suppose.as_json(answer))
        else:
            suppose.show(answer, Console())
        raise typer.Exit(not answer.trustworthy)
    outcomes = command.verify(cluster, command.chosen(applications or []), span, partition)
    if as_json:
        text, equal = command.as_json(outcomes)
        typer.echo(text)
    else:
        equal = command.show(outcomes, Console())
    raise typer.Exit(not equal)


@app.command()
def reset(
    application: Annotated[str, typer.Argument(help="Processor to start afresh.")],
    beginning: Annotated[
        bool, typer.Option("--to-beginning", help="All that Kafka still has is processed again; the default.")
    ] = False,
    end: Annotated[bool, typer.Option("--to-end", help="Only what comes from now on is processed.")] = False,
    time_: Annotated[
        str | None, typer.Option("--to-time", help="From this time on (ISO 8601, UTC), as Kafka's timestamps tell it.")
    ] = None,
    left: Annotated[
        bool, typer.Option("--skip-lost", help="Keep the state; go on at the first record that is still there.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, instead of saying what it would change.")] = False,
    kafka: Kafka = None,
) -> None:
    """Start a processor afresh: delete its state, set its offsets. Without --yes it says what that means.

    It must be stopped. Limits, rules, switches and instruments are always read from their beginning.
    """
    from streams.commands import reset as command

    start = command.start_of(beginning=beginning, end=end, time=time_, left=left)
    work = command.reset_of(settings_from(kafka=kafka), application)
    plan = work.plan(start)
    if yes:
        work.carry_out(plan)
    command.show(plan, Console(), done=yes)


@app.command()
def doctor(kafka: Kafka = None) -> None:
    """Examine broker, topics, rights, clocks and lag; say how to mend what is wrong. Exit status 1 if anything is."""
    from streams import pipeline
    from streams.commands.doctor import changes_of, examine, render

    settings = settings_from(kafka=kafka)
    specs = pipeline.layout(settings.partitions)
    findings = examine(settings.cluster(), specs, changes=changes_of(settings.connectors_file))
    render(findings, Console())
    raise typer.Exit(any(finding.level == "fail" for finding in findings))


@app.command()
def contracts(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path("schemas/contracts"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 if they are not current.")
    ] = False,
) -> None:
    """Write JSON Schema and AsyncAPI for every topic."""
    from schemas import generate

    if not check:
        generate.generate(folder)
        typer.echo(f"written: {folder}")
        return
    differences = generate.check(folder)
    for difference in differences:
        typer.echo(difference)
    raise typer.Exit(bool(differences))


@app.command()
def publish(
    file: Annotated[
        Path,
        typer.Argument(
            help=escape(
                "TOML with [[instruments]], [[limits]], [[rules]], [[control]], [[fills]], [[device_settings]]."
            )
        ),
    ],
    kafka: Kafka = None,
) -> None:
    """Publish instruments, limits, rules, switches, fills or settings of devices, all or nothing."""
    from streams import control
    from streams.commands.quiet import quiet
    from streams.commands.run import prepare

    settings = settings_from(kafka=kafka)
    records = control.read_file(file, time.time_ns() // 1000)
    prepare(settings)
    control.publish(quiet(settings.cluster()), records, settings.partitions)
    for topic, key, _ in records:
        typer.echo(f"published: {topic.name} {key}")


@app.command("kill-switch")
def kill_switch(
    state: Annotated[str, typer.Argument(metavar="on|off", help="on: the gate rejects every intent.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in every rejection.")],
    scope: Annotated[str, typer.Option(help="all or book:NAME.")] = "all",
    actor: Annotated[str, typer.Option(help="Who.", show_default="user name")] = os.environ.get("USER", "operator"),
    kafka: Kafka = None,
) -> None:
    """Stop trading at once, or let it go on."""
    from streams import control
    from streams.commands.quiet import quiet

    if state not in ("on", "off"):
        raise typer.BadParameter("must be on or off")
    settings = settings_from(kafka=kafka)
    switch = control.kill_switch(scope, state == "on", reason, actor, time.time_ns() // 1000)
    control.publish(quiet(settings.cluster()), [switch], settings.partitions)
    typer.echo(f"kill switch {scope}: {state}")


def _mendable() -> tuple[type[Exception], ...]:
    """What goes wrong for reasons that a person can mend; the message says how."""
    from connectors.config import ConfigError
    from streams.commands.errors import CommandError
    from streams.control import ControlError
    from streams.engine.errors import EngineError
    from streams.local.errors import ServiceError
    from streams.settings import SettingsError

    return SettingsError, EngineError, ControlError, CommandError, ServiceError, ConfigError


def main() -> None:
    """Entry point: errors that a person can mend are told in words, without a traceback."""
    try:
        app()
    except Exception as error:
        from streams.commands.errors import of_kafka

        words = of_kafka(error) or (str(error) if isinstance(error, _mendable()) else None)
        if words is None:
            raise
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), words), soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
