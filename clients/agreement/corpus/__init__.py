"""The questions that are put to both servers: worlds, and what is asked in each, in order.

A world is a schema and relationships; its steps are asked one after the other of both servers, and may change it. A step
is a name, a call and a request, or a function that makes the request of what earlier answers left behind (tokens,
cursors). Where a request has a `consistency` and none is given, it is asked fully consistent: the other server answers
from up to five seconds ago otherwise.
"""

from dataclasses import dataclass, field
from typing import Any, Callable

import harness as h
from authzed.api.v1 import WriteRelationshipsRequest


@dataclass
class Step:
    name: str
    call: str
    request: Any
    # Asks again with the cursor of the last answer until there is none: the field of the limit, and its value.
    paged: tuple[str, int] | None = None
    # Leaves the answer under this name.
    keep: str | None = None
    # The request stays as it is, also without a consistency.
    as_it_is: bool = False
    metadata: tuple = ()
    # Messages of a stream that does not end by itself.
    take: int | None = None
    # Seconds to wait before.
    wait: float = 0


@dataclass
class World:
    name: str
    schema: str
    relationships: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def ask(self, name: str, call: str, request: Any, **rest) -> None:
        self.steps.append(Step(f"{self.name}: {name}", call, request, **rest))

    def check(self, text: str, context: dict | None = None, note: str = "", **rest) -> None:
        said = f"{text} {context}" if context is not None else text
        self.ask(f"check {said[:90]}{note}", "CheckPermission", h.check(text, context, **rest))

    def write(self, name: str, *updates: tuple[int, str], **rest) -> None:
        messages = [update for operation, text in updates for update in h.updates(operation, text)]
        self.ask(name, "WriteRelationships", WriteRelationshipsRequest(updates=messages, **rest))


Worlds = Callable[[], list[World]]
