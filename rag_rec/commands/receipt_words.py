"""A receipt for people: what was removed and when, how far it has come, and a line for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag_rec.commands.printing import said
from rag_rec.forgetting.receipts.outlook import Outlook
from rag_rec.layers.finding import Status


def words(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is printed of a receipt, by name."""
    batch = {} if document["batch"] is None else {"batch": document["batch"]}
    return {
        "request": document["request"],
        **batch,
        "revision": _revision(document),
        **{name: document[name] for name in ("subject", "scope")},
        "removed": removed_in_words(document["removed"]),
        **{name: document[name] for name in ("state", "accepted", "issued", "deadline", "key")},
        **Outlook.of_receipt(document).words(),
        "proof": _proof(document),
        "complete": document["complete"],
        "layers": [_layer(line) for line in document["layers"]],
    }


def short(document: Mapping[str, Any], written: Path) -> dict[str, Any]:
    """What to know of a receipt that lies in a file."""
    told = words(document)
    names = ("request", "revision", "scope", "removed", "state", "accepted", "issued", "proof", "complete")
    outlook = Outlook.of_receipt(document).words()
    return {**{name: told[name] for name in names}, **outlook, "written": str(written)}


def removed_in_words(removed: Mapping[str, int]) -> str:
    """Rows that were removed, by kind: "1 user, 6 interactions"."""
    kinds = (_counted(removed[kind], kind) for kind in sorted(removed, reverse=True) if removed[kind])
    return ", ".join(kinds) or "nothing"


def _revision(document: Mapping[str, Any]) -> str:
    earlier = document["supersedes"]
    return str(document["revision"]) if earlier is None else f"{document['revision']}, supersedes {earlier}"


def _proof(document: Mapping[str, Any]) -> str:
    """The twin proof, if one was made; what the layers say is another matter."""
    twin = document["twin"]
    if twin is None:
        return f"none made (rag-rec prove {document['request']})"
    verdict = "equal" if twin["equal"] else "DIFFERENT"
    lists = "" if twin["mode"] == "exact" else f" (lists of {twin['users_listed']:,})"
    return f"{verdict}, {_counted(twin['users'], 'users')} compared, {twin['mode']}{lists}"


def _layer(line: Mapping[str, Any]) -> str:
    until = f" until {line['until']}" if line["until"] else ""
    figures = f" ({_figures(line['detail'])})" if line["status"] == Status.MEASURED and line["detail"] else ""
    return f"{line['layer']}: {line['status']}{until}. {line['why']}{figures}"


def _figures(detail: Mapping[str, Any]) -> str:
    """What was measured: "membership inference AUC 0.531 [0.492, 0.570] of generation g, 700 members against 150 people
    kept out" where it is that."""
    if not {"membership_inference_auc", "low", "high", "members", "held_out", "generation"} <= detail.keys():
        return said(detail)
    auc, low, high = (f"{detail[name]:.3f}" for name in ("membership_inference_auc", "low", "high"))
    people = f"{_counted(detail['members'], 'members')} against {detail['held_out']:,} people kept out"
    return f"membership inference AUC {auc} [{low}, {high}] of generation {detail['generation']}, {people}"


def _counted(number: int, kind: str) -> str:
    return f"{number:,} {kind.removesuffix('s') if number == 1 else kind}"
