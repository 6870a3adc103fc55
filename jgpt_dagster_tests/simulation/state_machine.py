"""The events of a year: one every few days, drawn by Hypothesis, and the promises looked at after each."""

import re
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from jgpt_dagster_tests.simulation import invariants
from jgpt_dagster_tests.simulation.clock import DAY, FIRST_DAY
from jgpt_dagster_tests.simulation.deployment import MODEL, SHARDS, SimulatedDeployment
from jgpt_dagster_tests.simulation.mirror import LIES, POISON
from jgpt_dagster_tests.simulation.stages import HIGHEST_RATE

EVENTS = 36
# The last month has some weeks left to end calmly in.
_DAYS_BETWEEN = 350 / EVENTS
_DUMP_DAY = 1

# What sensors leave to a person.
_GIVEN_UP = re.compile(r"([a-z0-9_+]+)(?: (\d{8}\S*))?: (?:run \S+ was terminated|\d+ runs did not)")
_FAILED = re.compile(r"(pretrained_model|release) (\S+): check \S+ failed")

# How often the daemon looks after an event, until the next: seldom enough that events meet unfinished work.
_LOOKS = st.integers(0, 5)
_PLACE = st.integers(0, 5)


class Year(RuleBasedStateMachine):
    """A deployment from its first dump on."""

    def __init__(self, *, only_begun: bool = False) -> None:
        super().__init__()
        self._only_begun = only_begun
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="year-")))
        self.world = SimulatedDeployment(self._folder)
        self._stack.enter_context(self.world.in_charge())
        self._seen, self._events = invariants.Observed(), 0
        self._next_text, self._published = "good", FIRST_DAY
        self._helped = set[tuple[str, str]]()
        self._next_prune, self._databases_lost, self._config_is_broken = 0.0, 0, False

    # ---- the daemon and time -------------------------------------------------------------------------------------

    @initialize()
    def the_first_dump_is_refreshed_to(self) -> None:
        self._let_pass(6)

    @rule(looks=_LOOKS)
    def a_quiet_week(self, looks: int) -> None:
        self._let_pass(looks)

    def _let_pass(self, looks: int) -> None:
        """Go on to the day of this event, with the dumps that appear until then, and let the daemon look."""
        world = self.world
        day = self._events * _DAYS_BETWEEN
        self._events += 1
        if self._only_begun:
            return
        world.clock.now = max(world.clock.now, FIRST_DAY.timestamp() + day * DAY)
        while self._published <= world.clock.date:
            if self._published.day == _DUMP_DAY:
                date = f"{self._published:%Y%m%d}"
                world.mirror.publish(date, self._next_text)
                world.say(f"the mirror publishes {date}, {self._next_text}")
                self._next_text = "good"
            self._published += timedelta(days=1)
        world.hours_pass(looks)

    # ---- the mirror ----------------------------------------------------------------------------------------------

    @rule(looks=_LOOKS)
    def the_mirror_goes_down_or_comes_back(self, looks: int) -> None:
        mirror = self.world.mirror
        self.world.say("the mirror comes back" if mirror.down else "the mirror is down")
        (mirror.come_back if mirror.down else mirror.go_down)()
        self._let_pass(looks)

    @rule(place=_PLACE, looks=_LOOKS)
    def the_mirror_withdraws_a_dump(self, place: int, looks: int) -> None:
        if date := self._nth_newest(self.world.mirror.dates(), place):
            self.world.say(f"the mirror withdraws {date}")
            self.world.mirror.withdraw(date)
        self._let_pass(looks)

    @rule(place=st.integers(0, 1), lie=st.sampled_from(LIES), looks=_LOOKS)
    def the_mirror_lies_about_a_dump(self, place: int, lie: str, looks: int) -> None:
        if date := self._nth_newest(self.world.mirror.dates(), place):
            self.world.say(f"the mirror lies about {date}: {lie}")
            self.world.mirror.lie(date, lie)  # type: ignore[arg-type]
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def the_next_dump_is_poisoned(self, looks: int) -> None:
        self._next_text = POISON
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def the_next_release_does_not_open(self, looks: int) -> None:
        self.world.stages.next_release_is_unusable = True
        self._let_pass(looks)

    # ---- processes and disks -------------------------------------------------------------------------------------

    @rule(place=_PLACE, death=st.sampled_from(["at once", "while writing", "between renames"]), looks=_LOOKS)
    def a_run_is_killed(self, place: int, death: str, looks: int) -> None:
        self.world.hours_pass(1)
        for live in self.world.runs.live[place % 2 : place % 2 + 1]:
            if live.work is None:
                self.world.runs.begin(live)
            if live in self.world.runs.live:
                self.world.kill(live, death)
        self._let_pass(looks)

    @rule(steps=st.integers(1, 4), looks=_LOOKS)
    def a_run_is_killed_between_steps(self, steps: int, looks: int) -> None:
        """Between an output and its checks, or between two outputs."""
        for live in self.world.runs.live[:1]:
            if live.work is None:
                self.world.runs.begin(live)
            self.world.runs.go_on(live, steps)
            if live in self.world.runs.live:
                self.world.kill(live, "at once")
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def a_run_is_lost_before_it_begins(self, looks: int) -> None:
        for live in [live for live in self.world.runs.live if live.work is None][:1]:
            self.world.lose_run(live)
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def the_disk_fills_or_is_freed(self, looks: int) -> None:
        self.world.disk_full = not self.world.disk_full
        self.world.say("the disk is full" if self.world.disk_full else "the disk has room again")
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def the_daemon_stops_or_starts(self, looks: int) -> None:
        self.world.daemon = not self.world.daemon
        self.world.say("the daemon starts" if self.world.daemon else "the daemon stops")
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def dagsters_database_is_lost(self, looks: int) -> None:
        """Twice a year."""
        if self._databases_lost < 2:
            self._databases_lost += 1
            self.world.say("Dagster's database is lost")
            self.world.lose_database()
        self._let_pass(looks)

    # ---- people --------------------------------------------------------------------------------------------------

    @rule(looks=_LOOKS)
    def a_config_file_is_broken_or_mended(self, looks: int) -> None:
        self._config_is_broken = not self._config_is_broken
        (self.world.break_config if self._config_is_broken else self.world.mend_config)()
        self.world.say("JGPT_RUN_CONFIG names no field" if self._config_is_broken else "JGPT_RUN_CONFIG is mended")
        self._let_pass(looks)

    @rule(
        asset=st.sampled_from(
            ["wikipedia_dump", "wikipedia_articles", "wikipedia_segmented", "tokenizer", "wikipedia_tokens"]
        ),
        place=_PLACE,
        looks=_LOOKS,
    )
    def a_person_materializes_text(self, asset: str, place: int, looks: int) -> None:
        if dump := self._nth_newest(self.world.store.root.dumps() or ["20250101"], place):
            keys = {"wikipedia_dump": dump, "tokenizer": None}
            self.world.click([asset], keys.get(asset, f"{dump}|{SHARDS[0]}"))
        self._let_pass(looks)

    @rule(
        asset=st.sampled_from(["training_set", "pretrained_model", "evaluation", "release"]),
        place=_PLACE,
        looks=_LOOKS,
    )
    def a_person_materializes_what_follows(self, asset: str, place: int, looks: int) -> None:
        if dump := self._nth_newest(self.world.store.root.dumps(), place):
            self.world.click([asset], dump if asset == "training_set" else f"{dump}|{MODEL}")
        self._let_pass(looks)

    @rule(place=_PLACE, looks=_LOOKS)
    def a_person_retrains(self, place: int, looks: int) -> None:
        if dump := self._nth_newest(self.world.store.root.dumps("pretrained_model"), place):
            self.world.click(["pretrained_model"], f"{dump}|{MODEL}", force=True)
        self._let_pass(looks)

    @rule(place=_PLACE, death=st.sampled_from(["while writing", "between renames"]), looks=_LOOKS)
    def a_retraining_is_killed(self, place: int, death: str, looks: int) -> None:
        if dump := self._nth_newest(self.world.store.root.dumps("pretrained_model"), place):
            live = self.world.click(["pretrained_model"], f"{dump}|{MODEL}", force=True)
            self.world.runs.begin(live)
            if live.work is not None:
                self.world.kill(live, death)
        self._let_pass(looks)

    @rule(place=_PLACE, looks=_LOOKS)
    def a_person_releases_unchecked(self, place: int, looks: int) -> None:
        if dump := self._nth_newest(self.world.store.root.dumps("evaluation"), place):
            self.world.click(["release"], f"{dump}|{MODEL}", unchecked=True)
        self._let_pass(looks)

    @rule(diverges=st.booleans(), looks=_LOOKS)
    def a_person_changes_the_learning_rate(self, diverges: bool, looks: int) -> None:
        rate = 2 * HIGHEST_RATE if diverges else HIGHEST_RATE / 2
        self.world.command("config", "set", "--yes", f"pretrained_model.learning_rate={rate}")
        self._let_pass(looks)

    @rule(share=st.sampled_from([0.3, 0.4]), looks=_LOOKS)
    def a_person_changes_the_validation_share(self, share: float, looks: int) -> None:
        self.world.command("config", "set", "--yes", f"training_set.validation_share={share}")
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def a_person_asks_for_another_learning_rate(self, looks: int) -> None:
        """Which the root does not make; the run is refused unless nothing was made yet."""
        if dump := self._nth_newest(self.world.store.root.dumps("training_set"), 0):
            self.world.click(["pretrained_model"], f"{dump}|{MODEL}", learning_rate=HIGHEST_RATE / 4)
        self._let_pass(looks)

    @rule(place=_PLACE, looks=_LOOKS)
    def a_person_terminates_a_run(self, place: int, looks: int) -> None:
        for live in self.world.runs.live[place % 2 : place % 2 + 1]:
            self.world.terminate(live)
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def a_jgpt_run_is_killed(self, looks: int) -> None:
        if dates := self.world.mirror.dates():
            self.world.killed_command(dates[-1])
        self._let_pass(looks)

    @rule(keep=st.integers(1, 3), looks=_LOOKS)
    def a_person_prunes_dumps(self, keep: int, looks: int) -> None:
        before = set(self.world.store.root.dumps())
        self.world.command("dumps", "prune", "--keep", str(keep))
        self.world.removed |= before - set(self.world.store.root.dumps())
        self._let_pass(looks)

    @rule(place=_PLACE, looks=_LOOKS)
    def a_person_removes_a_dump(self, place: int, looks: int) -> None:
        if dump := self._nth_newest(self.world.store.root.dumps(), place):
            self.world.command("dumps", "remove", "--force", dump)
            if dump not in self.world.store.root.dumps():
                self.world.removed.add(dump)
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def a_person_prunes_leftovers(self, looks: int) -> None:
        """Once in a few months: it takes long."""
        if self.world.clock.now > self._next_prune:
            self._next_prune = self.world.clock.now + 90 * DAY
            self.world.pruned = True
            before = invariants.materialized(self.world)
            self.world.command("prune")
            self.world.runs.forget_perhaps()
            invariants.no_materialization_is_lost(self.world, before)
        self._let_pass(looks)

    @rule(looks=_LOOKS)
    def a_person_mistypes_a_date(self, looks: int) -> None:
        self.world.command("dumps", "add", "20991231")
        self._let_pass(looks)

    # ---- promises ------------------------------------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self) -> None:
        if not self._only_begun:
            self.look()
        elif self._events > 1:
            reject()

    def look(self) -> None:
        """Raise Broken if a promise does not hold now."""
        invariants.nothing_whole_is_lost(self.world, self._seen)
        for promise in invariants.AFTER_EVERY_EVENT:
            promise(self.world)

    def teardown(self) -> None:
        """End the year well, unless it has ended badly."""
        with self._stack:
            if self._events > EVENTS:
                self._end_calmly()

    def _end_calmly(self) -> None:
        """Mend everything, let a person do what is left to one, and require that the newest good dump is in use."""
        world = self.world
        world.say("calm: everything works again")
        world.daemon, world.disk_full = True, False
        world.stages.next_release_is_unusable = False
        world.mend_config()
        world.command("config", "set", "--yes", f"pretrained_model.learning_rate={HIGHEST_RATE / 2}")
        if world.mirror.down:
            world.mirror.come_back()
        happened = -1
        while len(world.log) > happened or self._a_person_helps():
            happened = len(world.log)
            world.hours_pass(6)
            self.look()
        invariants.every_run_has_ended(world)
        invariants.the_newest_good_dump_is_in_use(world)

    def _a_person_helps(self) -> bool:
        """Do once what the sensors say is left to a person; return whether there was anything."""
        world, reasons = self.world, "; ".join(self.world.reasons.values())
        left = {*_GIVEN_UP.findall(reasons), *_FAILED.findall(reasons)} - self._helped
        self._helped |= left
        for assets, partition in sorted(left):
            if assets in ("pretrained_model", "release"):
                world.click([assets], partition, force=True)
            else:
                world.click(assets.split("+"), partition or None)
        return bool(left)

    def _nth_newest(self, dates: list[str], place: int) -> str | None:
        return dates[-1 - place] if place < len(dates) else None


def run_year(number: int) -> None:
    """Run the year of one seed. Raises Broken, with what happened, if a promise does not hold."""

    examples = count()

    def year() -> Year:
        # Hypothesis always begins with the simplest example, which is the same for every seed.
        return Year(only_begun=next(examples) == 0)

    once = settings(
        max_examples=1,
        stateful_step_count=EVENTS + 1,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    factory: Any = seed(number)(year)
    run_state_machine_as_test(factory, settings=once, _min_steps=EVENTS)
