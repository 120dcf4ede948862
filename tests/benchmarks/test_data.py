from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.data import NAMES, DataMissing, folder, forget_set, read


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four sets in their published layouts, with made-up rows."""
    monkeypatch.setenv("RAGREC_DATA", str(tmp_path))
    files = {
        "ml-1m/movies.dat": "7::First (1999)::Drama|Comedy\n9::Second (2000)::War\n12::Été (2001)::Drama\n",
        "ml-1m/derived/ratings_known.dat.gz": "1::9::5::20\n1::7::4::10\n2::12::3::5\n1::12::5::10\n2::7::5::6\n",
        "ml-100k/u.genre": "unknown|0\nDrama|1\nWar|2\n\n",
        "ml-100k/u.item": "1|One (1990)|01-Jan-1990||url|0|1|1\n2|Two (1991)|||url|0|0|1\n",
        "ml-100k/u.data": "5\t2\t4\t100\n5\t1\t5\t50\n6\t1\t1\t10\n",
        "cure4rec/ml-100k/derived_uid_to_raw_user.csv": "uid,raw_user_id\n0,5\n1,6\n2,9\n",
        "cure4rec/ml-100k/unlearn_set/edge_data_5%.csv": "uid,iid,val,tag\n2,0,4,88\n0,1,3,89\n2,7,5,90\n",
        "amazon-books-msl/id2name4Rec.json": json.dumps({"1": "Alpha", "3": "Beta"}),
        "amazon-books-msl/derived/interactions.csv.gz": (
            "user_id,position,item_id,timestamp,source\n4,1,1,,history\n4,0,3,,history\n4,2,3,99,target\n"
        ),
        "amazon-games-llmrank/Games-6k.item": "item_id:token\ttitle:token_seq\n0\tGame: One\n1\tGame Two\n",
        "amazon-games-llmrank/derived/interactions.csv.gz": "user_id,position,item_id\n0,0,1\n0,1,0\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode("latin-1")
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return tmp_path


@pytest.mark.usefixtures("root")
def test_positives_come_in_order_of_time_and_then_of_the_file() -> None:
    benchmark = read("ml-1m")
    assert benchmark.texts == ["First (1999) Drama, Comedy", "Second (2000) War", "Été (2001) Drama"]
    items = {user: [benchmark.texts[item][:3] for item in history["item"]] for user, history in benchmark.histories}
    assert items == {1: ["Fir", "Été", "Sec"], 2: ["Fir"]}
    assert benchmark.histories[0][1]["time"].tolist() == [10_000, 10_000, 20_000]


@pytest.mark.usefixtures("root")
def test_sets_of_people_to_forget_have_the_numbers_of_the_data() -> None:
    assert forget_set("edge") == [5, 9]
    with pytest.raises(DataMissing, match=r"core_data_5%.csv"):
        forget_set("core")


@pytest.mark.usefixtures("root")
def test_the_other_layouts() -> None:
    small = read("ml-100k")
    assert small.texts == ["One (1990) Drama, War", "Two (1991) War"]
    assert [(user, history["item"].tolist()) for user, history in small.histories] == [(5, [0, 1])]
    books = read("amazon-books")
    assert books.texts == ["Alpha", "Beta"]
    assert [(user, history["item"].tolist()) for user, history in books.histories] == [(4, [0, 1])]  # last place counts
    games = read("amazon-games")
    assert games.texts == ["Game: One", "Game Two"]
    assert [(user, history["item"].tolist()) for user, history in games.histories] == [(0, [1, 0])]


def test_interaction_numbers_are_unique(root: Path) -> None:
    assert root.is_dir()
    for name in NAMES:
        numbers = np.concatenate([history["interaction"] for _, history in read(name).histories])
        assert len(np.unique(numbers)) == len(numbers)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGREC_DATA", str(tmp_path))
    for name in NAMES:
        with pytest.raises(DataMissing, match="RAGREC_DATA"):
            read(name)
    with pytest.raises(DataMissing, match="choose from"):
        read("netflix")


@pytest.mark.parametrize(
    ("name", "users", "items", "positives"),
    [("ml-1m", 6038, 3883, 575_281), ("ml-100k", 942, 1682, 55_375), ("amazon-games", 50_546, 16_859, 440_264)],
)
def test_the_real_sets(name: str, users: int, items: int, positives: int) -> None:
    try:
        benchmark = read(name)
    except DataMissing:
        pytest.skip(f"{name} is not in {folder().name}")
    assert (len(benchmark.histories), benchmark.n_items) == (users, items)
    assert sum(len(history) for _, history in benchmark.histories) == positives
