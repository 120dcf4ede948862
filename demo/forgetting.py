"""The part of the demonstration in which a person goes: erased at once, unlearned by a retraining, and proven gone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.claims import check
from demo.narration import Narration
from demo.service import Api, Commands
from rag_rec.layers.finding import LayerName
from rag_rec.proof.forensics import traces


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What happens to one person, over the interfaces of an application and of a privacy officer.

    Attributes:
        application: with the application's key.
        privacy: with the privacy officer's key.
        commands: the command line on the same data folder.
        tell: prints.
        home: the data folder.
        log: of the service.
    """

    application: Api
    privacy: Api
    commands: Commands
    tell: Narration
    home: Path
    log: Path

    def erase(self, user_id: str, source_before: str) -> dict[str, Any]:
        """Remove the person, and look for what is left."""
        self.tell.step("Forget", "A dry run gives a plan; DELETE /v1/users/{id} quotes it, with the officer's key.")
        refused = self.application.call("DELETE", f"/v1/users/{user_id}", params={"dry_run": "true"})
        check(refused.status_code == 403, "the application's key may not delete")
        before, export = traces(user_id, self.home, self.log), self.privacy.export(user_id).json()
        planned = self.privacy.plan(user_id)
        check(self.privacy.export(user_id).is_success, "a dry run changes nothing")
        outcome = self.privacy.forget(user_id, planned["plan"])
        after, stranger = traces(user_id, self.home, self.log), self.application.recommend(user_id)
        again = self.application.add(user_id, {"item_id": export["interactions"][0]["item_id"], "event": "like"})
        forgotten = {
            "interactions_exported_before": len(export["interactions"]),
            "export_status_after": self.privacy.export(user_id).status_code,
            "request": outcome["request_id"],
            "removed": outcome["removed"],
            "late_event": again,
            "traces_before": asdict(before),
            "traces_after": asdict(after),
            "source_before": source_before,
            "provenance_after": stranger["provenance"],
            "timings_ms": outcome["timings_ms"],
        }
        self.tell.forgotten(planned, outcome, before, after, forgotten)
        check(before.occurrences > 0, "the person was in the data folder before")
        check(after.occurrences == 0, "no byte of the person's id is left in the data folder or the log")
        check(forgotten["export_status_after"] == 404, "nothing is left to export")
        check(not stranger["provenance"]["known_user"], "the person is a stranger")
        check(stranger["provenance"]["source"] == "popularity", "a stranger gets what is popular")
        check(again["suppressed"] == 1, "a late event of the person is refused")
        return forgotten

    def unlearn(self, request: str) -> dict[str, Any]:
        """Train the adapter again without the person: the last layer of the receipt."""
        self.tell.step("Unlearn", "The LLM's adapter saw the person. rag-rec adapter retrain: the same without.")
        pending = self.privacy.receipt(request)
        self.tell.layers(pending)
        retrained = self.commands.run("adapter", "retrain")
        receipt = self.privacy.receipt(request)
        check(not pending["complete"], "a receipt is not complete as long as an adapter saw the person")
        check(receipt["complete"], "the receipt is complete after the retraining")
        return {
            "before": _open(pending),
            "after": _open(receipt),
            "gate": retrained["gate"],
            "seconds": retrained["seconds"],
        }

    def prove(self, request: str, folder: Path) -> dict[str, Any]:
        """Compare with the twin, and verify the receipt without the system."""
        self.tell.step("Prove", "The running service against a twin that never knew the person; then, the receipt.")
        proof = self.privacy.prove(request)
        self.tell.rows(proof["rows"])
        saved, key = folder / "receipt.json", folder / "public.pem"
        self.commands.run("receipt", "show", request, "--to", str(saved))
        self.commands.run("receipt", "key", "--to", str(key))
        verdict = self.commands.run("receipt", "verify", str(saved), "--key", str(key))
        self.tell.layers(self.privacy.receipt(request))
        check(proof["equal"], "the service equals a twin that never knew the person")
        check(verdict["ok"] and verdict["complete"], "the receipt is signed and complete")
        return {"equal": proof["equal"], "rows": proof["rows"], "verdict": {"ok": verdict["ok"]}}


def _open(receipt: dict[str, Any]) -> list[str]:
    """The layers for which the request waits."""
    pending = [line["layer"] for line in receipt["layers"] if line["status"] == "PENDING"]
    return [layer for layer in pending if LayerName(layer).holds_back]
