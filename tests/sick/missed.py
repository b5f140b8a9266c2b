"""The sick programs whose verdict or cause is missed, each with the reason; they count against the recall."""

from __future__ import annotations

__all__ = ["MISSED"]

MISSED = {
    "an_event_of_a_service_whose_heartbeat_knows_the_service": (
        "the heartbeat holds the service, and so the event: for all that can be seen it may set it"
    ),
    "a_queue_of_the_module_that_nobody_feeds_beside_a_heartbeat": (
        "whatever a module holds can be reached by any code that runs"
    ),
}
