"""Settings: what `read` takes, makes of it, and says about what it does not take."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from simulst.core.settings import check, describe, read, setting
from simulst.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Inner:
    share: float = setting(0.5, "a part", above=0, below=1)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    work: Path
    mode: Literal["none", "fast"] | None = None
    size: int = setting(3, "how many", unit="things", at_least=1, at_most=9, why="nobody has ten", published="3, 5")
    kind: str = setting("word", "what counts", choices=("word", "char"))
    loud: bool = False
    seconds: float | None = None
    inner: Inner = field(default_factory=Inner)
    more: tuple[Inner, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)


def made(**values: Any) -> Outer:
    return read(Outer, {"work": "w", **values}, "r.toml", DataError)


def test_text_tables_and_lists_become_what_fields_declare() -> None:
    found = made(
        size="5",
        loud="yes",
        seconds="none",
        mode="none",
        inner={"share": "0.25", "names": ["a", "b"]},
        more=[{"share": 0.1}, {}],
        weights={"a": 1},
    )
    assert found == Outer(
        work=Path("w"),
        size=5,
        loud=True,
        mode="none",
        inner=Inner(share=0.25, names=("a", "b")),
        more=(Inner(share=0.1), Inner()),
        weights={"a": 1.0},
    )
    assert made(seconds=2, size=np.int64(4)) == Outer(work=Path("w"), seconds=2.0, size=4)
    assert isinstance(made(weights={"a": 1}).weights["a"], float)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"szie": 1},
            "r.toml: unknown key 'szie'; known: work, mode, size, kind, loud, seconds, inner, more, weights.",
        ),
        ({"inner": {"x": 1}}, "r.toml: unknown key 'inner.x'; known: share, names."),
        ({"size": "many"}, "r.toml: size must be a whole number, not 'many'."),
        ({"size": 2.5}, "r.toml: size must be a whole number, not 2.5."),
        ({"size": True}, "r.toml: size must be a whole number, not True."),
        ({"size": 10}, "r.toml: size is 10; it must be between 1 and 9 (nobody has ten)."),
        ({"kind": "page"}, "r.toml: kind is 'page'; it must be word or char."),
        ({"mode": "slow"}, "r.toml: mode is 'slow'; it must be none or fast."),
        ({"seconds": "nan"}, "r.toml: seconds is nan; it must be finite."),
        ({"loud": 3}, "r.toml: loud must be true or false, not 3."),
        ({"inner": 3}, "r.toml: inner must be a table, not 3."),
        ({"inner": {"share": 1.0}}, "r.toml: inner.share is 1.0; it must be above 0 and below 1."),
        ({"more": [{"share": 0}]}, "r.toml: more[0].share is 0.0; it must be above 0 and below 1."),
        ({"more": {}}, "r.toml: more must be a list, not {}."),
        ({"weights": {"a": "x"}}, "r.toml: weights.a must be a number, not 'x'."),
    ],
)
def test_refusals_are_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError) as refused:
        made(**values)
    assert str(refused.value) == sentence


def test_a_field_without_default_must_be_there() -> None:
    with pytest.raises(DataError, match=r"^r\.toml: work is missing; it must be a path\.$"):
        read(Outer, {}, "r.toml", DataError)


def test_an_instance_made_directly_is_judged_alike() -> None:
    check(Outer(work=Path("w"), size=9), "Outer", DataError)
    with pytest.raises(DataError, match=r"^Outer: size is 0; it must be between 1 and 9"):
        check(Outer(work=Path("w"), size=0), "Outer", DataError)
    with pytest.raises(DataError, match=r"^Outer: size must be a whole number, not '3'\.$"):
        check(Outer(work=Path("w"), size="3"), "Outer", DataError)  # type: ignore[arg-type]


def test_fields_describe_themselves() -> None:
    size = next(one for one in describe(Outer, made(size=4)) if one["name"] == "size")
    assert size == {
        "name": "size", "value": 4, "default": 3, "unit": "things", "help": "how many", "published": "3, 5"
    }  # fmt: skip
