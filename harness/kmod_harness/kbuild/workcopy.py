# SPDX-License-Identifier: MIT
"""The copy of a module's sources that is built in, kept between runs so that kbuild can build incrementally."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.kbuild import sources
from kmod_harness.kbuild.artefacts import LOG, outside_key
from kmod_harness.kbuild.sandbox import Mount
from kmod_harness.kbuild.surroundings import Surroundings


class WorkCopy:
    """A module's work copy for one kernel.

    What is copied is the module's folder, or (`wide`) all that is around it, for builds that write there.
    """

    def __init__(self, folder: Path, place: Surroundings) -> None:
        self.folder = folder
        self.log = folder / LOG
        self._place = place
        self._state_file = folder / "state.json"
        state = store.read_json(self._state_file)
        self._state = state if isinstance(state, dict) else {}
        self.wide = bool(self._state.get("wide")) and place.around is not None

    @property
    def way(self) -> str:
        """The way that led to a module the last time; "" when none has."""
        return str(self._state.get("way", ""))

    @property
    def source(self) -> Path:
        """The folder that is copied."""
        return self._place.around if self.wide and self._place.around else self._place.folder

    @property
    def _copied(self) -> Path:
        return self.folder / ("around" if self.wide else "src")

    @property
    def copy(self) -> Path:
        """The copy of the module's own folder."""
        return self._copied / self._place.folder.relative_to(self.source)

    def mount(self) -> Mount:
        """How the copy appears in the sandbox."""
        return Mount(self._place.to_inside(self.source), self._copied, writable=True)

    def bring(self, wanted: Mapping[str, str], *, fresh: bool = False) -> None:
        """Bring the copy to the state `wanted` of `source`; from scratch when it cannot be built upon.

        That is after a failed, killed or warned-about build (make would not repeat the messages of what
        it does not compile again), and when outside headers changed (their time may be older).
        """
        state, self._state = self._state, {}
        self._state_file.unlink(missing_ok=True)
        present: Mapping[str, str] = {}
        known = "sources" in state and bool(state.get("wide")) == self.wide and not fresh
        if known and all(outside_key(Path(name)) == key for name, key in state["outside"].items()):
            present = state["sources"]
        else:
            store.remove(self._copied)
        self._copied.mkdir(parents=True, exist_ok=True)
        sources.mirror(self.source, self._copied, wanted, present)
        for stale in (*self._copied.rglob("*.ko"), *self._copied.rglob("modules.order")):
            stale.unlink(missing_ok=True)

    def keep(self, present: Mapping[str, str], outside: Sequence[str], way: str, *, clean: bool) -> None:
        """Remember the way, and let the next build build upon this one if it was clean."""
        state: dict[str, object] = {"way": way, "wide": self.wide}
        if clean:
            keys = {name: outside_key(Path(name)) for name in outside}
            state |= {"sources": dict(present), "outside": keys}
        store.write_atomically(self._state_file, json.dumps(state))
