"""Evidence made wrong: every number of an item's records, a column at a time.

What a record was made from, its specification, is altered last: for claims in closed form.
"""

import dataclasses
import itertools
import warnings

import numpy as np

from pianalysis.extension import Extension
from pianalysis.rope.spec import RopeSpec

SHARES = (3.0, 0.3, -1.0)


def said(claims):
    """Key -> what a reader sees of the finding."""
    return {claim.key: (claim.verdict, claim.ours, claim.why) for claim in claims}


def alterations(value):
    """Yield a field's value made wrong in each way that its type has."""
    if isinstance(value, (RopeSpec, Extension)):
        return
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (type(value)(value * share) for share in SHARES)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fc" and value.size:
        yield from (value * share for share in SHARES)
        yield value[::-1]
        yield np.roll(value, 1)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "bi" and value.size:
        yield ~value if value.dtype.kind == "b" else value * 3
        yield value[::-1]
    elif isinstance(value, tuple) and value and all(isinstance(each, str) for each in value):
        yield value[::-1]
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from ({**value, key: other} for other in alterations(each))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            for other in alterations(getattr(value, field.name)):
                try:
                    yield dataclasses.replace(value, **{field.name: other})
                except (ValueError, TypeError):
                    continue
    elif isinstance(value, tuple):
        for place, each in enumerate(value):
            for other in alterations(each):
                yield (*value[:place], other, *value[place + 1 :])


def of_other_models(record):
    """Yield the record as if it were of another head dimension, and of another base."""
    spec = getattr(record, "spec", None)
    if isinstance(spec, RopeSpec):
        for changed in ({"head_dim": spec.head_dim // 2}, {"base": 3.0 * spec.base}):
            yield dataclasses.replace(record, spec=dataclasses.replace(spec, **changed))


def in_turn(kinds):
    """Yield (name, value), a value of each iterable by turns: none waits for the end of another."""
    for values in itertools.zip_longest(*kinds.values()):
        yield from (pair for pair in zip(kinds, values, strict=True) if pair[1] is not None)


def unmoved(item, records, claims, aside=frozenset()):
    """Return the keys of an item's claims, those aside left out, that no alteration changes."""
    before = said(claims)
    left = set(before) - set(aside)
    altered = (
        wrong
        for made_wrong in (alterations, of_other_models)
        for wrong in in_turn({stem: made_wrong(record) for stem, record in records.items()})
    )
    for stem, other in altered:
        if not left:
            return left
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            try:
                after = said(item.claims({**records, stem: other}))
            except (ValueError, TypeError, ArithmeticError, IndexError, KeyError):
                continue  # refused, not read
        left -= {key for key in left if after.get(key) != before[key]}
    return left
