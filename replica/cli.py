"""The command line: ``replica models|derive|solve|sweep|threshold|capacity|validate|demo``.

Only argparse is imported to parse; each command imports what it needs, so ``--help`` stays fast. Wrong input
exits with status 2 and one line on standard error, a calculation that did not converge with 1, and an
interruption with 130.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from replica.parameters import check_names, parse_grid, parse_number, unknown, validate, with_given
from solvers.errors import InputError, NotConvergedError

_EXAMPLES = """\
examples:
  replica derive bsr --to bsr.tex
  replica solve bsr alpha=0.3 beta=1 rho=0.2 delta=0.1 --digits 50
  replica sweep bsr alpha=0.1:0.9:9 beta=1 rho=0.1,0.2 delta=0.1 --out curve.nc
  replica threshold sk T between=0.3,1 condition=replicon h=0.5
  replica validate bsr alpha=0.3 beta=1 rho=0.2 delta=0.1 --d 100 --seeds 8 --plot check.png
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all others."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


class _Version(argparse.Action):
    """Print the version; it is looked up only when asked for."""

    def __call__(self, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"replica {version('replica-calculator')}")
        raise SystemExit(0)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="replica", description="Derive, solve and validate replica-symmetric theories.", epilog=_EXAMPLES
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, summary: str, *, model: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.set_defaults(run=run, assignments=[])
        if model:
            sub.add_argument("model", metavar="MODEL", help="a name that `replica models` lists")
            sub.add_argument(
                "assignments",
                metavar="name=value",
                nargs="*",
                help="control parameters and options of the model",
            )
        return sub

    command("models", _models, "list the models", model=False)

    sub = command(
        "derive", _derive, "derive the free energy and its saddle point from the statement of a model"
    )
    sub.add_argument("--to", metavar="FILE", type=Path, help="write a .tex document or a .md file")

    sub = command("solve", _solve, "solve the saddle point at one point")
    sub.add_argument("--digits", type=_positive, help="correct digits wanted (default: double precision)")
    sub.add_argument("--start", help="which solution: informed, uninformed, global, or a state of the model")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("sweep", _sweep, "solve on a grid: name=first:last:points or name=0.1,0.2,0.5")
    sub.add_argument("--out", metavar="FILE.nc", type=Path, required=True, help="the NetCDF file to write")
    sub.add_argument("--force", action="store_true", help="overwrite the file")
    sub.add_argument(
        "--observables",
        metavar="NAME,NAME",
        help="what else to write, as generalisation_error,mutual_information",
    )
    sub.add_argument(
        "--checkpoint",
        metavar="FILE.jsonl",
        type=Path,
        help="keep finished points in this file, and go on from those it holds",
    )

    sub = command("threshold", _threshold, "find where a solution loses stability, ends or is overtaken")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub.epilog = (
        "MODEL is followed by the control parameter to find, condition=OBSERVABLE|fold|coexistence,\n"
        "between=A,B or near=A, start=..., and the other parameters:\n"
        "  replica threshold sk T between=0.3,1 condition=replicon h=0.5"
    )

    sub = command("capacity", _capacity, "how many random patterns per weight a perceptron can hold")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("validate", _validate, "compare the theory with an algorithm on sampled instances")
    sub.add_argument(
        "--d", "--N", dest="d", type=_positive, help="size of the instances (default: 100 to 2000, by model)"
    )
    sub.add_argument("--seeds", type=_positive, default=8, help="number of instances (default: 8)")
    sub.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the comparison")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("demo", _demo, "derive, solve and validate bilinear sequence regression", model=False)
    sub.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the comparison")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 1 not converged, 2 bad input, 130 interrupted."""
    try:
        arguments = _parse(argv)
        if arguments is None:
            return 0
        arguments.run(arguments)
        sys.stdout.flush()
    except InputError as error:
        return _complain(f"replica: error: {_one_line(error)}", 2)
    except NotConvergedError as error:
        return _complain(f"replica: {_one_line(error)}", 1)
    except BrokenPipeError:  # the reader of our output went away: `replica derive bsr | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(f"replica: error: {_one_line(error)}", 2)
    except KeyboardInterrupt as interruption:
        return _complain(f"replica: interrupted; {_one_line(interruption) or 'nothing was written'}", 130)
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace | None:
    """Parse, options and name=value in any order; None when there was no command and help was printed."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return None
    for word in rest:
        if word.startswith("-") or not hasattr(arguments, "model"):
            parser.error(f"unrecognized argument {word}")
    arguments.assignments = [*arguments.assignments, *rest]
    return arguments


def _complain(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got {text!r}")
    return int(text)


def _assignments(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"expected name=value, got {word!r}")
        if name in given:
            raise InputError(f"{name} is given twice")
        given[name] = value
    return given


def _build(arguments: argparse.Namespace) -> tuple[Any, dict[str, str]]:
    """Return the model with its options, and the rest of the assignments: its control parameters."""
    from replica import models

    given = _assignments(arguments.assignments)
    allowed = models.OPTIONS.get(arguments.model, {})
    model = models.build(arguments.model, {name: value for name, value in given.items() if name in allowed})
    model = with_given(model, given)
    return model, {name: value for name, value in given.items() if name not in allowed}


def _names(model: Any) -> list[str]:
    return [parameter.name for parameter in model.control_parameters]


def _models(_: argparse.Namespace) -> None:
    from replica import models

    for name, description in models.MODELS.items():
        print(f"{name}  {description}")
        for option, values in models.OPTIONS.get(name, {}).items():
            print(f"{' ' * len(name)}    {option}={'|'.join(values)}")


def _derive(arguments: argparse.Namespace) -> None:
    from replica import cli_output, models
    from replica.report import latex_report, markdown_report

    path = arguments.to and cli_output.writable(arguments.to, cli_output.DOCUMENT_SUFFIXES)
    given = _assignments(arguments.assignments)
    options = models.OPTIONS.get(arguments.model, {})
    plain = models.build(arguments.model, {name: value for name, value in given.items() if name in options})
    model = with_given(plain, given)
    for name in given:
        if name not in options and name not in set(_names(model)) - set(_names(plain)):
            raise InputError(unknown("option", name, list(options)))
    text = latex_report(model) if path and path.suffix == ".tex" else markdown_report(model)
    if path:
        cli_output.write_text(path, text)
    else:
        print(text)


def _solve(arguments: argparse.Namespace) -> None:
    from replica import cli_output

    model, given = _build(arguments)
    start = given.pop("start", arguments.start)
    values: dict[str, Any] = validate(model.control_parameters, given)

    from replica import solve

    fields = solve(model, digits=arguments.digits, start=start, **values).to_dict()
    if arguments.json:
        print(cli_output.fields_as_json(fields))
    else:
        print(cli_output.fields_as_text(fields, cli_output.OBSERVABLES))


def _sweep(arguments: argparse.Namespace) -> None:
    from replica import cli_output
    from replica.cli_progress import progress_bar

    path = cli_output.writable(arguments.out, cli_output.DATASET_SUFFIXES, overwrite=arguments.force)
    options: dict[str, Any] = {}
    if arguments.observables is not None:
        options["observables"] = arguments.observables.split(",")
    if arguments.checkpoint:
        options["checkpoint"] = cli_output.writable(arguments.checkpoint, cli_output.CHECKPOINT_SUFFIXES)
    model, given = _build(arguments)
    check_names(model.control_parameters, given)
    values: dict[str, Any] = {}
    for parameter in model.control_parameters:
        if parameter.name not in given:
            continue  # it has a default
        text = given[parameter.name]
        if ":" in text or "," in text:
            values[parameter.name] = [parameter.check(x) for x in parse_grid(text, parameter.name)]
        else:
            values[parameter.name] = parameter.check(parse_number(text, parameter.name))

    from replica import sweep

    with progress_bar(f"sweep {arguments.model}") as progress:
        dataset = sweep(model, progress=progress, **options, **values)
    interrupted = bool(dataset.attrs.get("interrupted"))
    kept = dataset.attrs.get("computed", 0)
    if interrupted and not kept:
        raise KeyboardInterrupt
    cli_output.write_dataset(dataset, path)
    if interrupted:
        total = math.prod(dataset.sizes.values())
        raise KeyboardInterrupt(f"{kept} of {total} points are kept in {path}")
    sizes = ", ".join(f"{name} {size}" for name, size in dataset.sizes.items())
    print(f"{path}: {', '.join(map(str, dataset.data_vars))} over {sizes or 'one point'}")
    if "outcome" in dataset:
        outcomes = Counter(str(cli_output.plain(x)) for x in dataset["outcome"].to_numpy().ravel().tolist())
        for outcome, times in outcomes.most_common():
            print(f"{times:6d}  {outcome}")


def _threshold(arguments: argparse.Namespace) -> None:
    from replica import cli_output

    words = list(arguments.assignments)
    bare = [word for word in words if "=" not in word]
    if len(bare) != 1:
        raise InputError(
            "name one control parameter to find, as in: replica threshold sk T between=0.3,1 ..."
        )
    arguments.assignments = [word for word in words if "=" in word]
    given = _assignments(arguments.assignments)
    asked: dict[str, Any] = {name: given[name] for name in ("condition", "near", "start") if name in given}
    if "condition" not in asked:
        raise InputError("give condition=OBSERVABLE, condition=fold or condition=coexistence")
    if "," in asked.get("start", ""):
        asked["start"] = asked["start"].split(",")
    if "between" in given:
        asked["between"] = given["between"].split(",")
    arguments.assignments = [
        f"{name}={value}" for name, value in given.items() if name not in {*asked, "between"}
    ]
    model, values = _build(arguments)

    from replica.thresholds import threshold

    fields = threshold(model, bare[0], **asked, **values).to_dict()
    print(cli_output.fields_as_json(fields) if arguments.json else cli_output.fields_as_text(fields))


def _capacity(arguments: argparse.Namespace) -> None:
    from replica import cli_output

    model, given = _build(arguments)
    values: dict[str, Any] = dict(given)

    from replica import capacity

    fields = capacity(model, **values).to_dict()
    print(cli_output.fields_as_json(fields) if arguments.json else cli_output.fields_as_text(fields))


def _validate(arguments: argparse.Namespace) -> None:
    from replica import cli_output
    from replica.cli_progress import progress_bar

    path = arguments.plot and cli_output.writable(arguments.plot, cli_output.PLOT_SUFFIXES)
    model, given = _build(arguments)
    options: dict[str, Any] = {"start": given.pop("start")} if "start" in given else {}
    values: dict[str, Any] = dict(validate(model.control_parameters, given))
    # a control parameter may be called d: then the size has its other name
    options["N" if "d" in values else "d"] = arguments.d

    from replica import validate as compare

    with progress_bar(f"validate {arguments.model}") as progress:
        check = compare(model, seeds=arguments.seeds, progress=progress, **options, **values)
    if path:
        check.plot(path)
    fields = check.to_dict()
    print(cli_output.fields_as_json(fields) if arguments.json else cli_output.fields_as_text(fields))


def _demo(arguments: argparse.Namespace) -> None:
    from replica import cli_output

    path = arguments.plot and cli_output.writable(arguments.plot, cli_output.PLOT_SUFFIXES)

    from replica.demo import run

    run(plot=path)


if __name__ == "__main__":
    sys.exit(main())
