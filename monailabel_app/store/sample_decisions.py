"""Which decisions about a synthetic image lead where."""

from __future__ import annotations

from monailabel_app.errors import Conflict
from monailabel_app.store.samples import Sample, SampleDecision, SampleState

_STATE_AFTER = {
    (SampleState.CANDIDATE, SampleDecision.APPROVE): SampleState.APPROVED,
    (SampleState.CANDIDATE, SampleDecision.REJECT): SampleState.REJECTED,
    (SampleState.FAILED, SampleDecision.APPROVE): SampleState.APPROVED,
    (SampleState.FAILED, SampleDecision.REJECT): SampleState.REJECTED,
    (SampleState.APPROVED, SampleDecision.REVOKE): SampleState.REVOKED,
    (SampleState.APPROVED, SampleDecision.REOPEN): SampleState.CANDIDATE,
    (SampleState.REJECTED, SampleDecision.REOPEN): SampleState.CANDIDATE,
    (SampleState.REVOKED, SampleDecision.REOPEN): SampleState.CANDIDATE,
}


def state_after(sample: Sample, decision: SampleDecision, reason: str, overrule: bool) -> SampleState:
    """The state that a decision leads to.

    Args:
        overrule: Approve although a check was not passed; needs a reason.

    Raises:
        Conflict: The decision does not suit where the sample stands.
    """
    state = _STATE_AFTER.get((sample.state, decision))
    if state is None:
        allowed = [str(one) for here, one in _STATE_AFTER if here is sample.state]
        raise Conflict(f"{sample.id} is {sample.state}: it can be given {' or '.join(allowed)}, not {decision}")
    if sample.state is SampleState.FAILED and decision is SampleDecision.APPROVE and not (overrule and reason):
        failed = "; ".join(check.reason for check in sample.checks if not check.passed)
        raise Conflict(f"{sample.id} did not pass a check ({failed}): approve it with overrule and a reason")
    if decision is SampleDecision.REOPEN and not sample.passed:
        return SampleState.FAILED
    return state
