"""Rules of what goes wrong: which of them counts, how often, and what is no rule."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.claude.stand_in import faults
from ccn.claude.stand_in.faults import NONE, RULES_LIMIT, STATUSES, FaultRule, FaultRules, RuleInvalid


def test_without_rules_the_one_for_always_counts() -> None:
    always = FaultRule(wait_s=1.0)
    assert FaultRules().take_rule("x") is NONE
    assert FaultRules(always).take_rule("x") is always


def test_the_newest_rule_that_matches_counts() -> None:
    rules = FaultRules()
    for status, match in ((500, ""), (529, "storm"), (429, "storm at sea")):
        rules.add_rule(FaultRule(match=match, status=status))
    assert [rules.take_rule(prompt).status for prompt in ("calm", "a storm", "a storm at sea")] == [
        500,
        529,
        429,
    ]


@given(st.integers(1, 5))
def test_a_rule_holds_as_often_as_it_says_and_is_then_gone(times: int) -> None:
    rules = FaultRules()
    rules.add_rule(FaultRule(status=500, times=times))
    assert [rules.take_rule("x").status for _ in range(times)] == [500] * times
    assert rules.list_rules() == []
    assert rules.take_rule("x") is NONE


def test_a_rule_that_does_not_match_is_not_used_up() -> None:
    rules = FaultRules()
    rules.add_rule(FaultRule(match="storm", times=1, status=500))
    assert rules.take_rule("calm") is NONE
    assert rules.take_rule("storm").status == 500


def test_what_is_left_of_a_rule_keeps_its_place() -> None:
    rules = FaultRules()
    rules.add_rule(FaultRule(status=500))
    rules.add_rule(FaultRule(status=529, times=2))
    rules.take_rule("x")
    assert [(rule["status"], rule["times"]) for rule in rules.list_rules()] == [(529, 1), (500, None)]


def test_the_oldest_rules_go_where_there_are_too_many() -> None:
    rules = FaultRules()
    for number in range(RULES_LIMIT + 1):
        rules.add_rule(FaultRule(match=str(number)))
    listed = rules.list_rules()
    assert len(listed) == RULES_LIMIT
    assert (listed[0]["match"], listed[-1]["match"]) == (str(RULES_LIMIT), "1")


def test_to_clear_ends_the_rule_for_always_too() -> None:
    rules = FaultRules(FaultRule(status=500))
    rules.add_rule(FaultRule(status=529))
    rules.clear()
    assert (rules.list_rules(), rules.take_rule("x")) == ([], NONE)


@pytest.mark.parametrize(
    "rule", [NONE, FaultRule("x", 1, 529, 0.5, 1, 2, 3, "cut", 100, "now", True), FaultRule(retry_after=0)]
)
def test_a_rule_that_was_listed_can_be_posted_again(rule: FaultRule) -> None:
    assert faults.rule_from_json(asdict(rule)) == rule


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_of_the_api_can_be_asked_for(status: int) -> None:
    assert faults.rule_from_json({"status": status}).status == status


@pytest.mark.parametrize(
    "fault",
    [
        None,
        "cut",
        {"end": []},
        {"end": None},
        {"match": 7},
        {"status": "500"},
        {"status": 200},
        {"times": 1.5},
        {"times": -1},
        {"drift": -1},
        {"drift": None},
        {"stranger": 1},
        {"until": ["x"]},
        {"wait_s": "1"},
        {"after": None},
        {"": 1},
    ],
)
def test_what_is_no_rule_is_refused(fault: object) -> None:
    with pytest.raises(RuleInvalid):
        faults.rule_from_json(fault)


def test_a_refusal_names_what_is_wrong_and_what_a_rule_has() -> None:
    with pytest.raises(RuleInvalid, match=r"no rule has statsu, end; a rule has match, times"):
        faults.rule_from_json({"statsu": 1, "end": 2, "drift": 3})


@given(st.integers(0, 1_000))
def test_a_reply_drifts_always_or_never_at_the_ends(number: int) -> None:
    request = {"messages": number}
    assert faults.reply_drifts(FaultRule(drift=100), request, "")
    assert not faults.reply_drifts(FaultRule(drift=0), request, "")


def test_a_larger_share_drifts_wherever_a_smaller_one_did() -> None:
    for number in range(200):
        drifted = [
            faults.reply_drifts(FaultRule(drift=share), {"messages": number}, "") for share in (10, 50, 90)
        ]
        assert drifted == sorted(drifted)
