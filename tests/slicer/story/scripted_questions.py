"""A user whose answers are known beforehand."""

from __future__ import annotations

from LabelLoopLib.workflow.questions import CANCEL, Question


class ScriptedQuestions:
    """Answers from a list; a question that nobody expects fails the test.

    Attributes:
        answers: Keys of the answers to come, the next one first.
        asked: Every question so far, in order.
    """

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.asked: list[Question] = []

    def ask(self, question: Question) -> str:
        self.asked.append(question)
        assert self.answers, f"nobody expected to be asked: {question.title}: {question.text}"
        answer = self.answers.pop(0)
        offered = [one.key for one in question.answers]
        assert answer in (*offered, CANCEL), f"'{question.title}' offers {offered}, not '{answer}'"
        return answer
