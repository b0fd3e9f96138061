"""What cheating brings, played: rounds drawn by the rules' seats and judged by their settlement.

The same coalition and the same moves as in benchmarks/economics_model.py. A round is the record
that its events would leave; who sits where comes from protocol/rules/seats.py, every amount from
protocol/rules/settlement.py. Where the coalition has a choice, each branch is settled and the best
one taken.
"""

import random
from collections.abc import Callable, Iterable
from hashlib import sha256

from benchmarks.economics_model import TURNS, Setting
from protocol.rules import seats, turns
from protocol.rules.draws import drawn_tasks
from protocol.rules.history import RoundHistory, Seal
from protocol.rules.records import Address, Outcome, Phase, Slot, Stage, Terms, bits
from protocol.rules.settlement import settle

assert turns.TURNS == TURNS

TRUTH, LIE = 1, 2
WORKER, COORDINATOR, HONEST_WORKERS, VERIFIERS = 1, 2, 1_000, 10_000
"""Where the addresses of each kind begin; verifier slots have a provider each."""

Votes = dict[int, int]  # seat -> answer


def address(number: int) -> Address:
    """An address; decimal digits only, so that its checksum is itself."""
    return Address(f"0x{number:040d}")


class Table:
    """One round in which everybody but the coalition keeps the rules."""

    def __init__(self, setting: Setting, dice: random.Random) -> None:
        self.setting = setting
        self.terms: Terms = setting.terms
        self.dice = dice
        self.roster = [(Slot(i), address(VERIFIERS + i)) for i in range(setting.verifiers)]
        self.ours = {address(VERIFIERS + i) for i in range(setting.colluding)}
        self.record = RoundHistory(
            number=0,
            state_root=bytes(32),
            state_cid=bytes(32),
            workers=[],
            verifiers=setting.verifiers,
            epoch=0,
            opened_at=0,
            coordinator_provider=address(COORDINATOR),
        )
        self.costs = 0

    # --- what happens ---

    def beacon(self, phase: Phase) -> bytes:
        """Chance for one use."""
        value = self.record.beacons[phase] = self.dice.randbytes(32)
        return value

    def seal(
        self, stage: Stage, question: int, provider: Address, answer: int, seat: int = 0
    ) -> None:
        """Seal and open an answer."""
        root = sha256(f"{question} {answer}".encode()).digest()
        self.record.seals[stage, question, seat] = Seal(
            stage=stage,
            question=question,
            seat=seat,
            provider=provider,
            operator=provider,
            hash=root,
            block=1,
            transaction="",
            outcome=Outcome(root, root, root),
        )

    def work(self, liar: int | None) -> int:
        """Every task is sealed, the liar's wrongly; returns the bitmap of the drawn ones."""
        tasks = self.terms.tasks
        for task in range(tasks):
            lies = task == liar
            who = address(WORKER if lies else HONEST_WORKERS + task)
            self.seal(Stage.WORK, task, who, LIE if lies else TRUTH)
        draw = self.beacon(Phase.DRAW)
        return drawn_tasks(draw, 2**tasks - 1, tasks, self.terms.checks)

    def checkers(self, drawn: int, phase: Phase = Phase.DRAW) -> dict[int, list[Address]]:
        """Candidates of each check, in the order of their turns."""
        draw = self.record.beacons[Phase.DRAW]
        redraw = self.beacon(Phase.REDRAW) if phase == Phase.REDRAW else None
        found = seats.check_seats(self.terms, draw, drawn, self.record, self.roster, redraw)
        return {task: [seat.provider for seat in row] for task, row in found.items()}

    def check(self, drawn: int, answer_of: Callable[[int, Address], int | None]) -> None:
        """Candidates answer in turn, in two draws; None is silence."""
        for phase in (Phase.DRAW, Phase.REDRAW):
            if not drawn:
                return
            for task, row in self.checkers(drawn, phase).items():
                for provider in row:
                    answer = answer_of(task, provider)
                    if answer is not None:
                        self.seal(Stage.CHECK, task, provider, answer)
                        drawn &= ~(1 << task)
                        break

    def gather(self) -> None:
        """Every gatherer posts that it holds everything."""
        draw = self.record.beacons[Phase.DRAW]
        for seat in seats.gatherer_seats(self.terms, draw, self.roster):
            self.record.gathered[seat.seat] = (seat.provider, 2**self.terms.tasks - 1)

    # --- what it comes to ---

    def takings(self, question: int) -> int:
        """What the coalition gets and loses on one question, by the rules."""
        known = {*self.ours, address(WORKER), address(COORDINATOR)}
        sign = {"credit": 1, "slash": -1}
        lines = settle(self.terms, self.record).lines
        return sum(
            sign[line.kind] * line.amount
            for line in lines
            if line.account in known and line.question == question
        )

    def best_vote(self, question: int, phase: Phase, work: int, fallback: int = 0) -> int:
        """The panel sits, honest members for the truth; takings after the coalition's best vote.

        `work` is what it costs the coalition to vote for the truth, which it has not computed.
        """
        stage = Stage.UPDATE_PANEL if phase == Phase.UPDATE_VERDICT_DRAW else Stage.PANEL
        find = seats.update_panel_seats if stage == Stage.UPDATE_PANEL else seats.panel_seats
        draw = self.beacon(phase)
        args = (self.terms, draw) if stage == Stage.UPDATE_PANEL else (self.terms, draw, question)
        panel: dict[int, seats.Seat] = find(*args, self.record, self.roster)  # type: ignore[operator]
        ours = [s for s in panel.values() if s.provider in self.ours]
        for s in panel.values():
            if s.provider not in self.ours:
                self.seal(stage, question, s.provider, TRUTH, s.seat)
        results = [self.takings(question) if len(ours) < len(panel) else fallback]
        for answer, cost in ((TRUTH, work), (LIE, 0)):
            if ours:
                for s in ours:
                    self.seal(stage, question, s.provider, answer, s.seat)
                results.append(self.takings(question) - cost)
        return max(results)


# --- the cheats; each returns one round's gain over honest play ---


def skip_work(s: Setting, dice: random.Random, *, void: bool = False) -> int:
    """A worker seals garbage; see the model."""
    table, t, task = Table(s, dice), s.terms, 0
    drawn = table.work(liar=task)
    first = table.checkers(drawn).get(task, [])
    friend = bool(first) and first[0] in table.ours
    honest = t.fee if friend else 0

    def answer(asked: int, provider: Address) -> int | None:
        ours = provider in table.ours
        if asked == task:
            return LIE if ours and friend else TRUTH
        return None if ours and void and first and not friend else TRUTH

    table.check(drawn, answer)
    table.gather()
    if first and not friend and not settle(t, table.record).is_void:
        return table.best_vote(task, Phase.VERDICT_DRAW, t.reward, -t.bond) - honest
    return table.takings(task) - honest


def false_dissent(s: Setting, dice: random.Random) -> int:
    """A colluding checker that did not compute; rounds in which none is drawn are drawn again."""
    while True:
        table, t = Table(s, dice), s.terms
        drawn = table.work(liar=None)
        rows = table.checkers(drawn)
        task = next((i for i in bits(drawn) if rows[i][0] in table.ours), None)
        if task is not None:
            break
    table.check(drawn, lambda asked, _: LIE if asked == task else TRUTH)
    table.gather()
    return table.best_vote(task, Phase.VERDICT_DRAW, t.reward, -t.bond) - (t.fee - t.reward)


def false_challenge(s: Setting, dice: random.Random) -> int:
    """A colluding verifier challenges an honest result that was not drawn, or was."""
    table, t = Table(s, dice), s.terms
    drawn = table.work(liar=None)
    task = 0
    # Its checker is honest, as in the model.
    table.check(drawn, lambda asked, p: None if asked == task and p in table.ours else TRUTH)
    table.gather()
    table.seal(Stage.CHALLENGE, task, address(VERIFIERS), LIE)
    return table.best_vote(task, Phase.VERDICT_DRAW, t.reward, -t.bond)


def wrong_update(s: Setting, dice: random.Random, *, join: bool) -> int:
    """The coordinator proposes a wrong update; its friends join in the lie, or keep silent."""
    table, t = Table(s, dice), s.terms
    question = t.update_question
    drawn = table.work(liar=None)
    table.check(drawn, lambda _task, _provider: TRUTH)
    table.gather()
    table.seal(Stage.UPDATE, question, address(COORDINATOR), LIE)
    draw, update_draw = table.record.beacons[Phase.DRAW], table.beacon(Phase.UPDATE_DRAW)
    rows = seats.update_check_seats(t, draw, update_draw, table.record, table.roster)
    alone = all(row[0].provider in table.ours for row in rows.values())
    for seat, row in rows.items():
        for candidate in row:
            if candidate.provider not in table.ours:
                table.seal(Stage.UPDATE_CHECK, question, candidate.provider, TRUTH, seat)
                break
            if join or alone:
                table.seal(Stage.UPDATE_CHECK, question, candidate.provider, LIE, seat)
                break
    answered = {s.seat for s in table.record.seals_of(Stage.UPDATE_CHECK, question)}
    hidden = not answered & {t.gatherers, t.gatherers + 1}
    if alone or hidden:
        paid = sum(p in table.ours for p, _ in table.record.gathered.values()) if hidden else 0
        return table.takings(question) - paid * t.update_fee
    return table.best_vote(question, Phase.UPDATE_VERDICT_DRAW, t.update_fee, -t.coordinator_bond)


def average(cheat: Callable[[random.Random], int], rounds: int, seed: int) -> tuple[float, float]:
    """Mean gain over many rounds, and its standard deviation from round to round."""
    dice = random.Random(seed)
    gains: Iterable[int] = [cheat(dice) for _ in range(rounds)]
    values = list(gains)
    mean = sum(values) / rounds
    spread = sum((value - mean) ** 2 for value in values) / (rounds - 1)
    return mean, spread**0.5
