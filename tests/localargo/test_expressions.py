"""Expressions inside `{{=...}}` tags: the values and errors of expr-lang."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.localargo.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    UnsupportedExpressionError,
    evaluate,
    identifiers,
    to_json,
)

RECORDED = json.loads((Path(__file__).parent / "recordings" / "expr-lang.json").read_text())
ENV = RECORDED["env"]
PIECES = st.sampled_from(
    [
        *"()[]{}.,:?'\"`+-*/%<>=!&|#;@\\ \n1a",
        "??",
        "?.",
        "==",
        "!=",
        "&&",
        "||",
        " in ",
        " not ",
        "w",
        "w.s",
        "w.l",
        "nil",
        "true",
        "'a'",
        "1.5",
        "0x1F",
        " matches ",
        "len(",
        "toJson(",
        "sprig.repeat(9,",
        "asInt(",
        " and ",
        " contains ",
        "jsonpath(",
        "9223372036854775807",
        "é",
    ]
)


def _of(*names: str) -> list[dict[str, object]]:
    return [case for case in RECORDED["cases"] if set(names) & set(case)]


@pytest.mark.parametrize("case", _of("value"), ids=lambda case: repr(case["source"]))
def test_expressions_have_the_values_of_expr_lang(case):
    """A template's expression gives the value it has on a cluster."""
    value = evaluate(case["source"], ENV)

    assert json.loads(to_json(value)) == case["value"]
    assert isinstance(value, bool) == isinstance(case["value"], bool)


@pytest.mark.parametrize("case", _of("fails"), ids=lambda case: repr(case["source"]))
def test_expressions_fail_where_expr_lang_fails(case):
    """A mistake in an expression is a failure here too, most with the same text."""
    with pytest.raises(ExpressionError) as caught:
        evaluate(case["source"], ENV)

    assert not isinstance(caught.value, ExpressionSyntaxError)
    assert case["fails"] in (True, str(caught.value))


@pytest.mark.parametrize("case", _of("does_not_parse"), ids=lambda case: repr(case["source"]))
def test_texts_that_are_no_expressions_are_told_apart(case):
    """What does not parse is its own kind of error: a workflow with it never starts."""
    with pytest.raises(ExpressionSyntaxError) as caught:
        evaluate(case["source"], ENV)

    assert case["does_not_parse"] in (True, str(caught.value))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("toJson(w.s)", '"str"'),
        ("toJson('<&>')", '"\\u003c\\u0026\\u003e"'),
        ("toJson([1.0, 2.5, nil])", "[1,2.5,null]"),
        ("asInt(w.num) + asFloat('0.5')", 12.5),
        ('jsonpath(\'{"a":{"b-c":[7]}}\', \'$.a["b-c"][0]\')', 7),
        ("sprig.upper(sprig.trim(' a '))", "A"),
        ("sprig.b64dec('aGVsbG8=')", "hello"),
        ("sprig.b64dec('!')", "illegal base64 data at input byte 0"),
        ("sprig.b64dec(sprig.b64enc('ü'))", "ü"),
        ("sprig.repeat(3, 'x')", "xxx"),
        ("sprig.replace('-', '_', 'a-b')", "a_b"),
        ("sprig.default('d', '')", "d"),
        ("sprig.trimPrefix('a-', 'a-b') + sprig.trimSuffix('-c', 'b-c')", "bb"),
        ("sprig.lower('ABC')", "abc"),
    ],
)
def test_the_functions_argo_adds(source, value):
    """toJson, asInt, asFloat, jsonpath and sprig are there, as in Argo."""
    assert evaluate(source, ENV) == value


@pytest.mark.parametrize(
    "source",
    [
        "sprig.env('HOME')",
        "jsonpath('{}', '$.a')",
        "jsonpath('x', '$')",
        "jsonpath(1, '$')",
        "jsonpath('{}', '$.*')",
        "sprig.repeat(999999, 'ab')",
        "toJson(sprig)",
        "toJson(1, 2)",
        "len(1, 2, 3)",
        "int([1])",
        "float(true)",
        "int('9' + '9223372036854775807')",
        "upper(1)",
        "9 matches 'a'",
        "'a' matches 'x' + '" + "y" * 200 + "'",
        "float('é')",
    ],
)
def test_functions_refuse_what_they_do_not_take(source):
    """A wrong argument is an error of the expression, never of the server."""
    with pytest.raises(ExpressionError):
        evaluate(source, ENV)


@pytest.mark.parametrize(
    "source",
    [
        "1 | string()",
        "1..3",
        "2 ** 3",
        "2 ^ 3",
        "let x = 1; x",
        "if true {1} else {2}",
        "#",
        "all([1], # > 0)",
        "filter(w.l, true)",
        "w.l[0:1]",
        "w.l[:1]",
        "max(1, 2)",
        "1; 2",
    ],
)
def test_what_is_not_evaluated_here_is_refused_by_name(source):
    """A construct that only a real Argo evaluates is never given a wrong value."""
    with pytest.raises(UnsupportedExpressionError, match="the embedded Argo does not evaluate"):
        evaluate(source, ENV)


def test_integers_wrap_at_64_bits():
    """Numbers behave like Go's, so a template cannot depend on Python's."""
    assert evaluate("9223372036854775807 + 1", {}) == -(2**63)
    assert evaluate("9223372036854775807 * 2", {}) == -2


def test_identifiers_are_the_paths_an_expression_reads():
    """Names that are not known yet can be found before anything is evaluated."""
    source = "workflow.parameters['a-b'] == item ? toJson(x.y) : len([z, {k: -q[i]}])"

    assert identifiers(source) == [
        *("workflow", "workflow.parameters", "workflow.parameters.a-b", "item"),
        *("toJson", "x", "x.y", "z", "q", "i"),
    ]


def test_long_and_deep_expressions_are_refused():
    """A value cannot hang or crash the server by its size."""
    for source in ("(" * 41 + "1" + ")" * 41, "1+" * 300 + "1", " " * 20_001, "a" + ".b" * 300):
        with pytest.raises(ExpressionSyntaxError, match=r"more than|longer than"):
            evaluate(source, {"a": {}})
    assert evaluate("(" * 38 + "1" + ")" * 38, {}) == 1


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=24).map("".join)))
def test_nothing_but_an_expression_error_leaves_the_evaluator(source):
    """Whatever stands in a tag, the answer is a value or an ExpressionError."""
    try:
        found = (evaluate(source, ENV), identifiers(source))
    except ExpressionError as error:
        assert str(error)  # noqa: PT017 - most texts are errors, none of them without a reason
    else:
        assert len(found) == 2
