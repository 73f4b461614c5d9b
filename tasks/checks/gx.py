"""Great Expectations 1.24 with its output silenced, used on small frames, never on rows of a database.

Importing it takes seconds and much memory, so it is imported where it is used. Results say which row and
which value failed: callers take the row's label from them and leave the values behind.
"""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from threading import RLock, Thread
from types import ModuleType
from typing import Any

from tasks.checks.measure import statement_problem
from tasks.errors import PlanError, ValidationError
from tasks.options import UserCheck

LABEL = "label"
"""The column of a frame that names its rows."""

FOR_ONE_VALUE = (
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_not_match_regex",
    "expect_column_value_lengths_to_be_between",
    "expect_column_value_lengths_to_equal",
)
"""Those that say something about a single value. Others (unique, increasing, exists) hold for any."""


# Its registry of expectations fills while it is imported, and its newest context counts for the whole
# process: two threads at once met a half-filled registry.
_ALONE = RLock()

# Distributions and charts, which no expectation here uses: a third of the seconds that its import takes.
_LATER = ("scipy.stats", "altair")


class _Later(ModuleType):
    """Stands for a module, and imports it when something in it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks for these
        return getattr(import_module(self.__name__), name)


def _load() -> None:
    """Import Great Expectations, but not what it would import at once and we never use."""
    with _ALONE:
        if "great_expectations" in sys.modules:
            return
        stand_ins = {name: _Later(name) for name in _LATER if name not in sys.modules}
        sys.modules.update(stand_ins)
        try:
            import_module("great_expectations")
        finally:
            # Whoever imports one of them from now on gets the module itself.
            for name, stand_in in stand_ins.items():
                if sys.modules.get(name) is stand_in:
                    del sys.modules[name]


def load_beside() -> None:
    """Import Great Expectations in a thread: it is there when it is needed, which is seconds later."""
    if "great_expectations" not in sys.modules:
        Thread(target=_load_quietly, name="great expectations", daemon=True).start()


def _load_quietly() -> None:
    with suppress(Exception):  # whoever needs it meets the same fault, and tells it
        _load()


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation: passed, the labels of the rows that failed, or that it broke."""

    name: str
    passed: bool
    labels: tuple[str, ...]
    broke: bool


def run(frame: Any, expectations: Sequence[Any]) -> dict[str, Outcome]:
    """Validate a frame with a column ``label``; each expectation is named by its meta ``name``.

    Raises ValidationError where Great Expectations fails or leaves an expectation out.
    """
    names = {wanted.meta["name"] for wanted in expectations}
    try:
        with _ALONE:
            _load()
            results = _validate(frame, expectations)
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was judged
        # `from None`: the text may repeat a value of the frame.
        raise ValidationError(
            f"cannot judge the checks: Great Expectations failed: {type(error).__name__}"
        ) from None
    outcomes = {outcome.name: outcome for outcome in map(_outcome, results)}
    if set(outcomes) != names:
        raise ValidationError("cannot judge the checks: Great Expectations did not answer for all of them")
    return outcomes


def _validate(frame: Any, expectations: Sequence[Any]) -> Any:
    import great_expectations as gx

    asset = _quiet_context().data_sources.add_pandas("checks").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name="checks", expectations=list(expectations))
    result_format = {"result_format": "COMPLETE", "unexpected_index_column_names": [LABEL]}
    return batch.validate(suite, result_format=result_format).results


def expectation(kind: str, name: str, /, **kwargs: object) -> Any:
    """An expectation by its name in Great Expectations, ``name`` for its outcome. Raises its errors."""
    with _ALONE:
        _load()
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        return ExpectationConfiguration(type=kind, kwargs=kwargs, meta={"name": name}).to_domain_obj()


def verify(check: UserCheck) -> None:
    """Try a user's expectation on a harmless value. Raises PlanError, naming the check."""
    import pandas

    problem = statement_problem(check.sql)
    if problem:
        raise PlanError(
            f"cannot use check '{check.title}': of its SQL, {problem}",
            hint="A check is one SELECT that gives one value.",
        )
    trial_expectation = expectation_of(check, "value", "trial")
    trial: list[object] = ["" if check.as_ == "text" else 0]
    frame = pandas.DataFrame({LABEL: ["trial"], "value": trial}, dtype=object)
    if run(frame, [trial_expectation])["trial"].broke:
        raise PlanError(
            f"cannot use check '{check.title}': its limits do not suit a value taken as {check.as_}",
            hint="Check the kinds of its limits, their order, and `as:`.",
        )


def expectation_of(check: UserCheck, column: str, name: str) -> Any:
    """A user's expectation about ``column``. Raises PlanError, naming the check."""
    with _ALONE:
        _load()
        from great_expectations.expectations.expectation import ColumnMapExpectation

    kind, limits = check.expect.type, check.expect.kwargs
    if kind not in FOR_ONE_VALUE:
        near = difflib.get_close_matches(kind, FOR_ONE_VALUE, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"These can be used: {', '.join(FOR_ONE_VALUE)}."
        raise PlanError(
            f"cannot use check '{check.title}': no expectation about one value is named {kind}", hint=hint
        )
    # Fields that all expectations share could only weaken it: `mostly: 0` or a row_condition that
    # matches nothing pass whatever the value is.
    refused = sorted(set(limits) & set(ColumnMapExpectation.__fields__))
    refused += sorted(key for key, value in limits.items() if _is_treacherous(value))
    if refused:
        raise PlanError(
            f"cannot use check '{check.title}': {', '.join(refused)} may not be given like that",
            hint="Under `kwargs:` belong the expectation's own limits, and nothing else.",
        )
    try:
        return expectation(kind, name, column=column, **limits)
    except ValueError as error:
        raise PlanError(
            f"cannot use check '{check.title}': its limits do not fit {kind}",
            hint=f"{' '.join(str(error).split())[:300]}.",
        ) from error


def _is_treacherous(limit: object) -> bool:
    """An empty list is met by everything, a mapping would be looked up elsewhere, and Great Expectations
    makes floats of limits: whole numbers beyond 2^53 would be rounded."""
    return limit == [] or isinstance(limit, dict) or (isinstance(limit, int) and abs(limit) > 2**53)


def _quiet_context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _outcome(result: Any) -> Outcome:
    failed = result.result.get("unexpected_index_list") or []
    return Outcome(
        name=result.expectation_config.meta["name"],
        passed=bool(result.success),
        labels=tuple(row[LABEL] for row in failed),
        # After an error this is a mapping keyed by metrics, without the plain answer.
        broke=result.exception_info.get("raised_exception") is not False,
    )
